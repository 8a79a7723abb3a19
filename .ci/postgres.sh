#!/bin/sh
# A throwaway PostgreSQL cluster for the tests, with no password, on a unix socket in its own folder (no TCP port).
#   .ci/postgres.sh start DIR   makes it, starts it, prints its URL (export it as SEARCHD_TEST_POSTGRES)
#   .ci/postgres.sh stop DIR    ends it and removes DIR
# Run as root it drops to the user `postgres` or `nobody`: the server refuses to run as root. Exit 3: no PostgreSQL here.
set -eu
usage() { sed -n '2,5p' "$0" >&2; exit 2; }
[ $# -eq 2 ] || usage
verb=$1 dir=$2

bin=""
for candidate in "$(command -v initdb 2>/dev/null || true)" /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
                 /opt/homebrew/opt/postgresql*/bin/initdb; do
    [ -n "$candidate" ] && [ -x "$candidate" ] && bin=$(dirname "$(readlink -f "$candidate" || echo "$candidate")")
done
[ -n "$bin" ] || { echo "no initdb on the PATH nor in the usual places: apt-get install postgresql" >&2; exit 3; }

user=""
if [ "$(id -u)" = 0 ]; then
    for name in postgres nobody; do id "$name" >/dev/null 2>&1 && { user=$name; break; }; done
    [ -n "$user" ] || { echo "neither the user postgres nor nobody is there to run the server as" >&2; exit 3; }
fi
# as the server's user; the folder of the repository may be closed to it, so from /
as() { if [ -n "$user" ]; then (cd / && setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"); else "$@"; fi; }

case $verb in
start)
    mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    [ ${#dir} -le 80 ] || { echo "$dir is too long for a unix socket: at most 80 bytes" >&2; exit 2; }
    [ -z "$user" ] || chown "$user" "$dir"
    chmod 755 "$dir"
    # durability is off: a throwaway cluster
    as "$bin/initdb" -D "$dir/data" -U searchd -A trust -E UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; exit 1; }
    as "$bin/pg_ctl" -D "$dir/data" -l "$dir/data/server.log" -w -t 60 \
        -o "-k $dir -c listen_addresses='' -c fsync=off -c synchronous_commit=off -c full_page_writes=off" \
        start >"$dir/start.log" 2>&1 || { cat "$dir/start.log" "$dir/data/server.log" >&2; exit 1; }
    echo "postgresql://searchd@/postgres?host=$dir"
    ;;
stop)
    [ -d "$dir/data" ] || exit 0
    dir=$(cd "$dir" && pwd)
    as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$dir"
    ;;
*) usage ;;
esac
