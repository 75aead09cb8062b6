#!/usr/bin/env bash
# cargo under `larder run`, three times with an empty CARGO_HOME, from whatever registry it is set up with. PACKAGES are what it fetches.
source "$(dirname "$0")/run-lib.sh"
need cargo
export PACKAGES=${PACKAGES:-serde_json regex}
export OWN_HOME=${CARGO_HOME:-$HOME/.cargo}

fetch() {
  mkdir -p "$1/home" "$1/project/src" "$1/result"
  for file in config.toml config; do
    if [ -f "$OWN_HOME/$file" ]; then cp "$OWN_HOME/$file" "$1/home/"; fi
  done
  { printf '[package]\nname = "fetched"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n'; printf '%s = "*"\n' $PACKAGES; } >"$1/project/Cargo.toml"
  : >"$1/project/src/lib.rs"
  (cd "$1/project" && CARGO_HOME=$1/home cargo fetch)
  cp "$1"/home/registry/cache/*/*.crate "$1/result/"
}
three fetch
