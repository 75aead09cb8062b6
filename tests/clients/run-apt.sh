#!/usr/bin/env bash
# apt-get under `larder run` with https sources, three times with lists and archives of its own. It takes the proxy from the environment
# and the certificates from an option. The sources are this machine's http ones, asked by https. PACKAGES are what it downloads.
source "$(dirname "$0")/run-lib.sh"
need apt-get
export PACKAGES=${PACKAGES:-hello sl figlet cowsay tree jq}

fetch() {
  local state=$1/apt
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/sources" "$1/result"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -f "$file" ] && grep -q 'http://' "$file" && ! grep -q 'https://' "$file"; then
      sed 's,http://,https://,g' "$file" >"$state/sources/$(basename "$file")"
    fi
  done
  local options=(-qq -o Dir::State="$state" -o Dir::State::lists="$state/lists" -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives"
    -o Dir::State::status=/var/lib/dpkg/status -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$state/sources"
    -o APT::Sandbox::User=root -o Acquire::https::CAInfo="$SSL_CERT_FILE")
  apt-get "${options[@]}" update
  # shellcheck disable=SC2086
  (cd "$1/result" && apt-get "${options[@]}" download $PACKAGES)
}
three fetch
