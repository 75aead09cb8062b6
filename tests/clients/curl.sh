#!/usr/bin/env bash
# curl through larder: a miss, a hit, a range, a tunnel, an upload, all against an origin on loopback.
source "$(dirname "$0")/lib.sh"

mkdir "$scratch/site"
head -c 3000000 /dev/urandom >"$scratch/site/big.bin"
echo hello >"$scratch/site/hello.txt"
python3 -u -m http.server --bind 127.0.0.1 --directory "$scratch/site" 0 >"$scratch/origin" 2>&1 &
origin_pid=$!
trap 'kill $origin_pid 2>/dev/null; stop; rm -rf "$scratch"' EXIT
until origin=$(sed -n 's/.*(\(http:[^)]*\)\/).*/\1/p' "$scratch/origin") && [ -n "$origin" ]; do read -r -t 0.05 <> <(:) || true; done
touch -d '30 days ago' "$scratch/site/"*

start --allow-destination 127.0.0.0/8 --connect-ports "${origin##*:}"
get() { curl -sS --fail-with-body -x "$proxy" "$@"; }

get -o "$scratch/one" -D "$scratch/head1" "$origin/big.bin"
get -o "$scratch/two" -D "$scratch/head2" "$origin/big.bin"
cmp "$scratch/one" "$scratch/site/big.bin" && cmp "$scratch/two" "$scratch/site/big.bin" || fail "bytes differ"
grep -qi '^cache-status: larder; hit' "$scratch/head2" || fail "the second answer is no hit: $(cat "$scratch/head2")"
grep -qiE '^age: [0-9]+' "$scratch/head2" || fail "no Age"
say "ok  miss, then hit, the same bytes"

get -r 1000-1999 "$origin/big.bin" | cmp - <(tail -c +1001 "$scratch/site/big.bin" | head -c 1000) || fail "a range differs"
say "ok  a range"

[ "$(get -p "$origin/hello.txt")" = hello ] || fail "tunnel"
say "ok  a tunnel"

kill -9 "$pid"; wait "$pid" 2>/dev/null || true
start --allow-destination 127.0.0.0/8
get -o "$scratch/three" -D "$scratch/head3" "$origin/big.bin"
cmp "$scratch/three" "$scratch/site/big.bin" || fail "bytes differ after kill -9"
grep -qi '^cache-status: larder; hit' "$scratch/head3" || fail "no hit after kill -9: $(cat "$scratch/head3")"
say "ok  a hit after kill -9 and a restart"

code=$(curl -s -o /dev/null -w '%{http_code}' -x "$proxy" http://127.0.0.1:1/)
[ "$code" = 502 ] || fail "a refused origin gives $code"
say "ok  a refused origin is 502"
