#!/usr/bin/env bash
# Stand-ins for the three images that compose.yaml and the Dockerfile begin from, for an engine that reaches no registry
# of images: Debian from apt, with the official images' names, users, folders and settings as far as this project uses
# them. pip installs from a folder of wheels inside the Python one, which this machine's pip filled by its own settings,
# so a build there needs no network. The official images themselves are not tried here.
#   .ci/images.sh ENGINE DIR PYTHON    ENGINE: unix://…; DIR: for the files; PYTHON: its pip downloads the wheels
# Exit 3: they cannot be made here.
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,8p' "$0" >&2; exit 2; }
export DOCKER_HOST=$1
dir=$2 python=$3 repo=$(cd "$(dirname "$0")/.." && pwd)
suite=bookworm    # its Python is the Dockerfile's: 3.11
command -v debootstrap >/dev/null || { echo "no debootstrap on the PATH: apt-get install debootstrap" >&2; exit 3; }
mkdir -p "$dir"

# The wheels of the three images' extras, each one version, for the image's Python whatever this machine's is.
wheels() {
  "$python" - "$repo/pyproject.toml" >"$dir/wanted" <<'EOF'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)
extras = project["project"]["optional-dependencies"]
for wanted in (project["build-system"]["requires"], project["project"]["dependencies"], *map(extras.get, ("server", "worker", "ui"))):
    print(*wanted, sep="\n")
print("async-timeout")    # of redis before Python 3.11.3: pip asks its own Python, not the image's 3.11.2
EOF
  "$python" -m pip download -q --disable-pip-version-check --only-binary=:all: --python-version 3.11 \
    -d "$dir/wheels" -c "$repo/constraints.txt" -r "$dir/wanted" 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 3; }
}
wheels & downloading=$!

# Debian twice: with Python, and a copy with the two servers. apt's own mirror, else debootstrap's.
mirror=$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
  awk -v suite=$suite '$1 == suite && $2 == "main" { print $3; exit }' || true)
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv $suite "$dir/python" ${mirror:+"$mirror"} \
  >"$dir/debootstrap.log" 2>&1 || { tail -n 5 "$dir/debootstrap.log" >&2; exit 3; }
cp -a "$dir/python" "$dir/servers"
cp /etc/resolv.conf "$dir/servers/etc/resolv.conf"
printf '#!/bin/sh\nexit 101\n' >"$dir/servers/usr/sbin/policy-rc.d"; chmod +x "$dir/servers/usr/sbin/policy-rc.d"
DEBIAN_FRONTEND=noninteractive chroot "$dir/servers" sh -c 'apt-get update -qq &&
  apt-get install -y -qq --no-install-recommends redis-server postgresql &&
  apt-get clean && rm -rf /var/lib/apt/lists /usr/share/doc /usr/share/locale' >"$dir/apt.log" 2>&1 ||
  { tail -n 5 "$dir/apt.log" >&2; exit 3; }
mkdir -p "$dir/servers/data"
chroot "$dir/servers" sh -c 'ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/ && chown redis:redis /data'
cat >"$dir/servers/usr/local/bin/postgres-entrypoint" <<'EOF'
#!/bin/sh
# What the official image does with POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB before the first start.
set -eu
data=/var/lib/postgresql/data
mkdir -p $data /var/run/postgresql; chown postgres:postgres $data /var/run/postgresql; chmod 700 $data
as() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
if [ ! -s $data/PG_VERSION ]; then
    printf %s "$POSTGRES_PASSWORD" >/tmp/password; chown postgres /tmp/password
    as initdb -D $data -U "$POSTGRES_USER" -A scram-sha-256 --auth-local=trust --pwfile=/tmp/password -E UTF8 --locale=C.UTF-8
    rm /tmp/password
    echo 'host all all all scram-sha-256' >>$data/pg_hba.conf
    as pg_ctl -D $data -w -o "-c listen_addresses=''" start
    as createdb -U "$POSTGRES_USER" "$POSTGRES_DB"
    as pg_ctl -D $data -w stop
fi
exec setpriv --reuid postgres --regid postgres --init-groups postgres -D $data -c listen_addresses='*'
EOF
# the official image is built without the protected mode, which lets in nobody from another container
printf '#!/bin/sh\nexec /usr/bin/redis-server --protected-mode no "$@"\n' >"$dir/servers/usr/local/bin/redis-server"
chmod +x "$dir/servers/usr/local/bin/"{postgres-entrypoint,redis-server}
tar -C "$dir/servers" -c . | docker import - standin/servers >/dev/null
printf 'FROM standin/servers\nWORKDIR /data\nCMD ["redis-server"]\n' | docker build -q -t redis:7 - >/dev/null 2>"$dir/build.log"
printf 'FROM standin/servers\nSTOPSIGNAL SIGINT\nENTRYPOINT ["postgres-entrypoint"]\n' | docker build -q -t postgres:17 - >/dev/null 2>"$dir/build.log"

# `python` and `pip` in /usr/local/bin, as in the official image.
chroot "$dir/python" python3 -m venv /usr/local
wait $downloading || exit 3
mkdir "$dir/python/opt/wheels"; mv "$dir/wheels"/* "$dir/python/opt/wheels/"
printf '[global]\nno-index = true\nfind-links = /opt/wheels\n' >"$dir/python/etc/pip.conf"
tar -C "$dir/python" -c . | docker import --change 'CMD ["python3"]' - python:3.11-slim >/dev/null
docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}'
