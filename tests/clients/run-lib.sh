# What the run-*.sh beside this one share: one client, three times through `larder run` with a cache of its own. The second run
# starts with empty client caches, the third is offline as well; what comes of all three must be the same.
# They need a network and the client's registry, whose address is the client's own affair.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# need COMMAND: ends the script where the client is not installed.
need() { command -v "$1" >/dev/null || { say "skipped  $1 is not installed"; exit 0; }; }

# once NUMBER FUNCTION [run options]: FUNCTION DIRECTORY under `larder run`; its exit code, and a row of the table.
once() {
  local number=$1 function=$2 code=0
  shift 2
  mkdir -p "$scratch/$number"
  export -f "${function?}"
  "$larder" run --cache-dir "$scratch/cache" --linger 5s --record "$scratch/$number.record" "$@" -- \
    bash -c "set -euo pipefail; $function \"\$1\"" bash "$scratch/$number" >"$scratch/$number.out" 2>"$scratch/$number.err" || code=$?
  sed -nE "s/^larder: ([0-9]+) requests?, ([0-9]+) hits?, (.*) from the cache, (.*) from the network, (.*)$/\1|\2|\3|\4|\5/p" "$scratch/$number.err" |
    while IFS='|' read -r requests hits cache network took; do
      printf '%-22s %8s %6s %11s %11s %8s\n' "$number" "$requests" "$hits" "$cache" "$network" "$took"
    done
  return $code
}

# three FUNCTION: the table of all three runs. FUNCTION DIRECTORY leaves what it fetched in DIRECTORY/result.
three() {
  [ -x "$larder" ] || { say "build it first: cargo build --release (or set LARDER)"; exit 1; }
  printf '%-22s %8s %6s %11s %11s %8s\n' run requests hits cache network time
  once first "$1" || told first
  once second "$1" || told second
  once offline "$1" --offline || told offline
  for run in second offline; do
    diff <(sums first) <(sums $run) || fail "what the $run run fetched differs"
  done
  # A tunnel keeps nothing: then the certificates were not taken, and the figures above are no figures of a cache.
  ! grep -q '^tunnel ' "$scratch"/*.record || fail "some requests went through tunnels"
  grep -q '^hit ' "$scratch/second.record" || fail "the second run had no hit"
  say "ok  $(basename "$0" .sh)"
}

told() { cat "$scratch/$1.out" "$scratch/$1.err"; fail "the $1 run"; }
sums() { (cd "$scratch/$1/result" && find . -type f -print0 | sort -z | xargs -0 -r sha256sum); }
