#!/usr/bin/env bash
# git under `larder run`. What a clone asks for with POST is kept by no cache, so that there are two runs, and offline it must fail at once.
source "$(dirname "$0")/run-lib.sh"
need git
export URL=${URL:-https://github.com/rust-lang/cfg-if.git}
[ -x "$larder" ] || { say "build it first: cargo build --release (or set LARDER)"; exit 1; }

fetch() { git clone --quiet --depth 1 "$URL" "$1/result"; }
printf '%-22s %8s %6s %11s %11s %8s\n' run requests hits cache network time
once first fetch || told first
once second fetch || told second
if once offline fetch --offline; then fail "a clone worked offline"; fi
grep -q '^larder: offline, and ' "$scratch/offline.err" || told offline
say "ok  run-git"
