#!/usr/bin/env bash
# npm under `larder run`, three times, from whatever registry it is set up with. PACKAGES are what it installs.
source "$(dirname "$0")/run-lib.sh"
need npm
export PACKAGES=${PACKAGES:-express lodash}

fetch() {
  mkdir "$1/result"
  cd "$1/result"
  # shellcheck disable=SC2086
  npm install --no-audit --no-fund --no-update-notifier --ignore-scripts --cache "$1/cache" $PACKAGES
}
three fetch
