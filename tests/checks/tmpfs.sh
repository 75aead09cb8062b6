#!/usr/bin/env bash
# Small disks, for real: a tmpfs of its own as the cache directory, a limit of 4 MiB, 100 clients at once that each want another
# 1 MiB. Every client gets its right bytes, and what is allocated, looked at all the time, never passes the limit by more than one
# body. Once on 8 MiB; once on 2 MiB with nothing to be kept free, while somebody else fills the rest again and again, so that the
# disk refuses all the time.
# Needs root, for a mount in a mount namespace of its own.
[ "$(id -u)" = 0 ] || { echo "needs root: it mounts a tmpfs in a mount namespace of its own"; exit 77; }
[ -n "${IN_NAMESPACE:-}" ] || IN_NAMESPACE=1 exec unshare -m "$0" "$@"
source "$(dirname "$0")/../clients/lib.sh"
python3 -u "$here/../checks/origin.py" >"$scratch/origin" &
origin_pid=$!
trap 'kill $origin_pid 2>/dev/null; stop; umount "$scratch/cache" 2>/dev/null || true; rm -rf "$scratch"' EXIT
until origin=$(head -n1 "$scratch/origin" 2>/dev/null) && [ -n "$origin" ]; do read -r -t 0.05 <> <(:) || true; done
body=1048576
limit=4194304
rounds=${ROUNDS:-3}
filler=

# round NAME: 100 downloads at once, while somebody looks at the disk.
round() {
  rm -f "$scratch/done" "$scratch/most"
  (
    most=0
    until [ -e "$scratch/done" ]; do
      now=$(du -s --block-size=1 --exclude=somebody "$scratch/cache" 2>/dev/null | cut -f1 || true)
      [ "${now:-0}" -le "$most" ] || most=$now
    done
    echo "$most" >"$scratch/most"
  ) &
  local watcher=$!
  python3 "$here/../checks/downloads.py" "$proxy" "$origin/$body/$1" 100 || { touch "$scratch/done"; cat "$scratch/stderr"; fail "see above"; }
  touch "$scratch/done"
  wait "$watcher"
  local most
  most=$(cat "$scratch/most")
  say "$1: 100 right bodies, at most $((most / 1024)) KiB allocated"
  [ "$most" -le $((limit + body)) ] || fail "more than the limit and one body"
}

# on SIZE NAME [serve flags]: some rounds on a tmpfs of that size.
on() {
  local size=$1 name=$2
  shift 2
  mkdir -p "$scratch/cache"
  mount -t tmpfs -o "size=$size,mode=700" tmpfs "$scratch/cache"
  start --allow-destination 127.0.0.0/8 --memory 0B "$@"
  for n in $(seq "$rounds"); do round "$name-$n"; done
  if [ -n "$filler" ]; then kill "$filler"; wait "$filler" 2>/dev/null || true; rm -f "$scratch/cache/somebody"; fi
  # A little later, when it is tried again, larder still stores.
  local tries=0
  until curl -s -o /dev/null -D - -x "$proxy" "$origin/1000/$name-small" | grep -q 'Cache-Status: .*hit'; do
    tries=$((tries + 1)); [ $tries -lt 600 ] || { cat "$scratch/stderr"; fail "nothing is stored any more"; }
    read -r -t 0.05 <> <(:) || true
  done
  local warnings
  warnings=$(grep -c ' WARN ' "$scratch/stderr" || true)
  say "$name: $warnings warnings"
  [ "$warnings" -le 5 ] || { cat "$scratch/stderr"; fail "it floods its log"; }
  grep -q panicked "$scratch/stderr" && { cat "$scratch/stderr"; fail "it panicked"; }
  say "$name: $(stats)"
  stop
  umount -l "$scratch/cache"
}

stats() { "$larder" stats --json --cache-dir "$scratch/cache" 2>/dev/null | grep -oE '"(stored|relayed|evicted|read_errors|write_errors)":[0-9]+' | tr '\n' ' '; }

on 8m roomy --disk 4MiB
cat >"$scratch/larder.toml" <<END
[cache]
disk = "4MiB"
keep_free = "0B"
END
# Not before the store is made: a directory with other things in it would be refused.
fill() {
  until [ -e "$scratch/cache/format" ]; do read -r -t 0.05 <> <(:) || true; done
  while :; do
    head -c 2097152 /dev/zero >"$scratch/cache/somebody" || true
    read -r -t 0.1 <> <(:) || true
    rm -f "$scratch/cache/somebody"
    read -r -t 0.1 <> <(:) || true
  done 2>/dev/null
}
fill &
filler=$!
trap 'kill $origin_pid $filler 2>/dev/null; stop; umount -l "$scratch/cache" 2>/dev/null || true; rm -rf "$scratch"' EXIT
on 2m refusing --config "$scratch/larder.toml"
grep -q 'No space left' "$scratch/stderr" || fail "the disk never refused: this proves nothing"
