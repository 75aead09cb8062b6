#!/usr/bin/env bash
# 200 clients, one uncached 20 MB object: one request to the origin, and every client's first byte before the origin's last.
source "$(dirname "$0")/../clients/lib.sh"
python3 -u "$here/../checks/origin.py" >"$scratch/origin" &
origin_pid=$!
trap 'kill $origin_pid 2>/dev/null; stop; rm -rf "$scratch"' EXIT
until origin=$(head -n1 "$scratch/origin" 2>/dev/null) && [ -n "$origin" ]; do read -r -t 0.05 <> <(:) || true; done
start --allow-destination 127.0.0.0/8
python3 "$here/../checks/herd.py" "$proxy" "$origin/20000000/herd?slow=4" || fail "see above"
requests=$(grep -c '^request' "$scratch/origin")
say "$requests request to the origin"
[ "$requests" = 1 ] || fail "more than one"
