#!/usr/bin/env bash
# A 1 GiB body to a client that reads 1 MB/s, storable and not: larder's resident memory, watched for a minute each.
# Fails above 100 MiB.
source "$(dirname "$0")/../clients/lib.sh"
python3 -u "$here/../checks/origin.py" >"$scratch/origin" &
origin_pid=$!
trap 'kill $origin_pid 2>/dev/null; stop; rm -rf "$scratch"' EXIT
until origin=$(head -n1 "$scratch/origin" 2>/dev/null) && [ -n "$origin" ]; do read -r -t 0.05 <> <(:) || true; done
seconds=${SECONDS_EACH:-60}
worst=0
for control in max-age=3600 no-store; do
  start --allow-destination 127.0.0.0/8
  curl -s -o /dev/null -x "$proxy" --limit-rate 1M --max-time "$seconds" "$origin/1073741824/big?control=$control" &
  client=$!
  peak=0
  while kill -0 "$client" 2>/dev/null; do
    now=$(awk '/VmRSS/ { print $2 }' "/proc/$pid/status")
    [ "$now" -le "$peak" ] || peak=$now
    read -r -t 0.25 <> <(:) || true
  done
  wait "$client" || true
  say "$control: at most $((peak / 1024)) MiB resident in $seconds s"
  [ "$peak" -le "$worst" ] || worst=$peak
  stop
  rm -rf "$scratch/cache"
done
[ "$worst" -lt 102400 ] || fail "more than 100 MiB"
