#!/usr/bin/env bash
# pip under `larder run`, three times, from whatever index it is set up with. PACKAGES are what it downloads.
source "$(dirname "$0")/run-lib.sh"
need pip
export PACKAGES=${PACKAGES:-requests rich jinja2 attrs packaging}

fetch() {
  # shellcheck disable=SC2086
  pip download --quiet --disable-pip-version-check --no-cache-dir -d "$1/result" $PACKAGES
}
three fetch
