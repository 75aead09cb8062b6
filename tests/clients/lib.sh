# What the scripts beside this one share: a larder of their own in a scratch directory, and how they tell what they saw.
# They drive real clients and may need the network, so that they are not part of the test command.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$(mktemp -d)
larder=${LARDER:-$root/target/release/larder}
log=$scratch/access.log
pid=

stop() {
  if [ -n "$pid" ]; then kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; pid=; fi
}
trap 'stop; rm -rf "$scratch"' EXIT

# start [serve flags]: starts a proxy on a free port and sets $proxy.
start() {
  [ -x "$larder" ] || { echo "build it first: cargo build --release (or set LARDER)"; exit 1; }
  : >"$scratch/stderr"
  "$larder" serve --listen 127.0.0.1:0 --cache-dir "$scratch/cache" --access-log "$log" "$@" 2>"$scratch/stderr" &
  pid=$!
  local tries=0
  until proxy=http://$(sed -n 's/.*listening on \([0-9.:]*\).*/\1/p' "$scratch/stderr") && [ "$proxy" != http:// ]; do
    kill -0 "$pid" 2>/dev/null || { cat "$scratch/stderr"; exit 1; }
    tries=$((tries + 1)); [ $tries -lt 200 ] || { echo "it does not start"; exit 1; }
    read -r -t 0.05 <> <(:) || true
  done
}

say() { printf '%s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

# count PATTERN: lines of the access log that match.
count() { grep -cE "$1" "$log" || true; }
