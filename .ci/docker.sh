#!/bin/sh
# A throwaway Docker engine for the tests: its images, its socket and all that it runs live in a folder of their own.
#   .ci/docker.sh start DIR   starts it, prints its address (export it as SEARCHD_TEST_DOCKER)
#   .ci/docker.sh stop DIR    ends it, all its containers too, and removes DIR
# It has no default bridge: builds have no network, services get the networks that a compose file makes for them.
# Exit 3: no engine can be had here (no dockerd, not root, or the kernel refuses; the last lines say which).
set -eu
usage() { sed -n '2,6p' "$0" >&2; exit 2; }
[ $# -eq 2 ] || usage
verb=$1 dir=$2

case $verb in
start)
    command -v dockerd >/dev/null || { echo "no dockerd on the PATH: apt-get install docker.io" >&2; exit 3; }
    command -v docker >/dev/null || { echo "no docker on the PATH: apt-get install docker.io" >&2; exit 3; }
    [ "$(id -u)" = 0 ] || { echo "dockerd needs root" >&2; exit 3; }
    mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
    [ ${#dir} -le 60 ] || { echo "$dir is too long for a unix socket: at most 60 bytes" >&2; exit 2; }
    setsid dockerd --data-root "$dir/root" --exec-root "$dir/exec" --host "unix://$dir/docker.sock" \
        --pidfile "$dir/pid" --bridge none --default-address-pool base=10.98.0.0/16,size=24 \
        >"$dir/dockerd.log" 2>&1 </dev/null &
    started=$! tries=0
    until docker --host "unix://$dir/docker.sock" info >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 120 ] || ! kill -0 $started 2>/dev/null; then
            echo "dockerd does not start:" >&2; tail -n 5 "$dir/dockerd.log" >&2; "$0" stop "$dir"; exit 3
        fi
        sleep 0.5
    done
    echo "unix://$dir/docker.sock"
    ;;
stop)
    [ -d "$dir" ] || exit 0
    dir=$(cd "$dir" && pwd)
    if [ -s "$dir/pid" ]; then
        pid=$(cat "$dir/pid") tries=0
        kill "$pid" 2>/dev/null || true
        while kill -0 "$pid" 2>/dev/null && [ $tries -lt 120 ]; do tries=$((tries + 1)); sleep 0.5; done
        kill -9 "$pid" 2>/dev/null || true
    fi
    # what a killed engine leaves mounted; innermost first
    awk -v at="$dir/" 'index($2, at) == 1 { print $2 }' /proc/self/mounts | sort -r | while read -r mounted; do
        umount -l "$mounted" 2>/dev/null || true
    done
    rm -rf "$dir"
    ;;
*) usage ;;
esac
