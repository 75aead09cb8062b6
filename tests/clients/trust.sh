#!/usr/bin/env bash
# Clients that trust an intercepting larder after `larder ca trust`, with nothing set but the proxy: curl, git, Python, OpenSSL, a headless
# Chromium. Against an https origin on loopback, so that no network is needed. Needs root, util-linux, openssl and python3; clients that are
# not there are skipped (Debian: curl git chromium libnss3-tools). The system's store and hosts file are covered by copies in a mount
# namespace of its own, and nothing of it stays.
set -euo pipefail
if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || { echo "needs root"; exit 1; }
  exec unshare --mount --propagation private "$0" inside
fi
source "$(dirname "$0")/lib.sh"

for dir in /usr/local/share/ca-certificates /etc/ssl /etc/pki /etc/ca-certificates; do
  if [ -d "$dir" ]; then
    cp -a "$dir" "$scratch/copy"
    mount -t tmpfs -o mode=755 tmpfs "$dir"
    cp -a "$scratch/copy/." "$dir"
    rm -rf "$scratch/copy"
  fi
done
{ cat /etc/hosts; echo '127.0.0.1 site.test'; } >"$scratch/hosts"
mount --bind "$scratch/hosts" /etc/hosts
export HOME=$scratch/home LARDER_CA_DIR=$scratch/ca
mkdir "$HOME"

# An origin with a CA that only the proxy trusts: whoever gets through without the proxy's certificates fails.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj '/CN=origins' \
  -keyout "$scratch/origins.key" -out "$scratch/origins.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=site.test' \
  -keyout "$scratch/site.key" -out "$scratch/site.csr" 2>/dev/null
openssl x509 -req -in "$scratch/site.csr" -CA "$scratch/origins.pem" -CAkey "$scratch/origins.key" -CAcreateserial -days 30 \
  -extfile <(echo subjectAltName=DNS:site.test) -out "$scratch/site.pem" 2>/dev/null
mkdir "$scratch/site"
echo '<!doctype html><title>t</title><p id=p>hello from the origin</p>' >"$scratch/site/page.html"
touch -d '30 days ago' "$scratch/site/page.html"
if command -v git >/dev/null; then
  git init -q --bare "$scratch/site/repo.git"
  git -C "$scratch" -c init.defaultBranch=main init -q work
  (cd "$scratch/work" && echo hi >a && git add a && git -c user.name=t -c user.email=t@example.com commit -qm a && git push -q "$scratch/site/repo.git" HEAD:refs/heads/main)
  git -C "$scratch/site/repo.git" symbolic-ref HEAD refs/heads/main
  git -C "$scratch/site/repo.git" update-server-info
fi
cat >"$scratch/origin.py" <<'PY'
import functools, http.server, ssl, sys
directory, certificate, key = sys.argv[1:]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=directory)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()
PY
python3 "$scratch/origin.py" "$scratch/site" "$scratch/site.pem" "$scratch/site.key" >"$scratch/port" 2>/dev/null &
origin_pid=$!
trap 'kill $origin_pid 2>/dev/null; stop; rm -rf "$scratch"' EXIT
until [ -s "$scratch/port" ]; do read -r -t 0.05 <> <(:) || true; done
port=$(cat "$scratch/port")
origin=https://site.test:$port

"$larder" ca create >/dev/null
start --intercept --upstream-ca "$scratch/origins.pem" --allow-destination 127.0.0.0/8 --connect-ports "$port"
export http_proxy=$proxy https_proxy=$proxy HTTP_PROXY=$proxy HTTPS_PROXY=$proxy

printf '%-12s %-28s %s\n' client 'before larder ca trust' 'after it'
declare -A before
failed=0

# client NAME COMMAND FUNCTION: whether FUNCTION gets the page, before and after. Run twice.
attempt() { if timeout 60 "$@" >"$scratch/out" 2>&1; then echo works; else echo refused; fi; }
each() {
  client curl curl by_curl
  client openssl openssl by_openssl
  client python python3 by_python
  client git git by_git
  client chromium chromium by_chromium
}
by_curl() { curl -sS --fail "$origin/page.html" | grep -q hello; }
by_openssl() { openssl s_client -proxy "${proxy#http://}" -connect "site.test:$port" -servername site.test -verify_return_error </dev/null; }
by_python() { python3 -c 'import sys, urllib.request; assert b"hello" in urllib.request.urlopen(sys.argv[1]).read()' "$origin/page.html"; }
by_git() { rm -rf "$scratch/clone"; GIT_TERMINAL_PROMPT=0 git clone -q "$origin/repo.git" "$scratch/clone" && [ -f "$scratch/clone/a" ]; }
by_chromium() {
  chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update \
    --disable-sync --user-data-dir="$(mktemp -d -p "$scratch")" --proxy-server="$proxy" --dump-dom "$origin/page.html" 2>/dev/null | grep -q hello
}
export -f by_curl by_openssl by_python by_git by_chromium
export origin proxy port scratch
client() {
  local name=$1 command=$2 function=$3
  if ! command -v "$command" >/dev/null; then
    [ "$round" = before ] || printf '%-12s %s\n' "$name" 'skipped: it is not installed'
    return 0
  fi
  local came
  came=$(attempt bash -c "set -o pipefail; $function")
  if [ "$round" = before ]; then
    before[$name]=$came
  else
    printf '%-12s %-28s %s\n' "$name" "${before[$name]}" "$came"
    [ "${before[$name]}" = refused ] && [ "$came" = works ] || { failed=1; tail -3 "$scratch/out"; }
  fi
}

round=before
each
# What the distrustful clients have taught is forgotten with a restart; with so many hosts it would not have been learned.
stop
if command -v certutil >/dev/null; then
  # Chromium's store, which it makes only when it is first used for real.
  mkdir -p "$HOME/.pki/nssdb" && certutil -N -d "sql:$HOME/.pki/nssdb" --empty-password
fi
"$larder" ca trust >"$scratch/trust"
start --intercept --upstream-ca "$scratch/origins.pem" --allow-destination 127.0.0.0/8 --connect-ports "$port"
export http_proxy=$proxy https_proxy=$proxy HTTP_PROXY=$proxy HTTPS_PROXY=$proxy
round=after
each
[ $failed = 0 ] || fail "see above"
[ "$(count 'NONE_NONE/200 .* CONNECT')" -gt 0 ] || fail "nothing was opened"
say "ok  trust"
