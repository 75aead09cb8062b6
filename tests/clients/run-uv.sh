#!/usr/bin/env bash
# uv under `larder run`, three times with an empty cache of its own, from whatever index it is set up with. PACKAGES are what it installs.
source "$(dirname "$0")/run-lib.sh"
need uv
export PACKAGES=${PACKAGES:-requests rich jinja2 attrs packaging}

fetch() {
  mkdir "$1/result"
  # shellcheck disable=SC2086
  uv pip install --quiet --no-compile-bytecode --cache-dir "$1/cache" --target "$1/result" $PACKAGES
  # What an installer writes of itself is not what was fetched.
  find "$1/result" \( -name RECORD -o -name direct_url.json -o -name REQUESTED -o -name uv_cache.json -o -name .lock \) -delete
}
three fetch
