#!/usr/bin/env bash
# pnpm under `larder run`, three times with an empty store of its own, from whatever registry it is set up with. PACKAGES are what it installs.
source "$(dirname "$0")/run-lib.sh"
need pnpm
export PACKAGES=${PACKAGES:-express lodash}

fetch() {
  mkdir "$1/result" "$1/project"
  cd "$1/project"
  echo '{"name":"fetched","version":"1.0.0","private":true}' >package.json
  # shellcheck disable=SC2086
  pnpm add --silent --ignore-scripts --store-dir "$1/store" --cache-dir "$1/cache" --state-dir "$1/state" $PACKAGES
  cp -rL node_modules/. "$1/result/"
  rm -rf "$1/result/.modules.yaml" "$1/result/.pnpm" "$1/result/.pnpm-workspace-state"*.json "$1/result/.bin"
}
three fetch
