#!/usr/bin/env bash
# apt-get through larder, with apt's own state and cache in a scratch directory: update, then some twenty packages, twice.
# The second run starts with empty client caches and after a restart of the proxy; its packages and by-hash indices must come from the store.
# Uses the http sources that this machine is set up with.
source "$(dirname "$0")/lib.sh"
packages=${PACKAGES:-hello sl figlet cowsay tree jq bc dc time pv htop ncdu tmux screen zsh rsync socat netcat-openbsd mtr-tiny whois}

start
apt_run() {
  local state=$scratch/apt-$1
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/work" "$state/sources"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    if [ -f "$file" ] && grep -q 'http://' "$file" && ! grep -q 'https://' "$file"; then cp "$file" "$state/sources/"; fi
  done
  local options=(-qq -o Dir::State="$state" -o Dir::State::lists="$state/lists" -o Dir::Cache="$state" -o Dir::Cache::archives="$state/archives"
    -o Dir::State::status=/var/lib/dpkg/status -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$state/sources" -o APT::Sandbox::User=root)
  (
    cd "$state/work"
    export http_proxy=$proxy
    apt-get "${options[@]}" update
    # shellcheck disable=SC2086
    apt-get "${options[@]}" download $packages
  )
  say "run $1: $(ls "$state/work"/*.deb | wc -l) packages"
}

apt_run 1
stop
rm "$log"
start
apt_run 2
stop
cmp <(cd "$scratch/apt-1/work" && sha256sum -- *.deb) <(cd "$scratch/apt-2/work" && sha256sum -- *.deb) || fail "the packages differ"

immutable='/by-hash/SHA|\.deb '
total=$(count "$immutable") ; hits=$(grep -E "$immutable" "$log" | grep -cE ' TCP_(MEM_)?HIT/' || true)
say "run 2: $hits of $total requests for packages and by-hash indices came from the store"
awk '{ split($4, code, "/"); n[code[1]]++; bytes[code[1]] += $5 } END { for (c in n) printf "  %-26s %4d requests %12d bytes\n", c, n[c], bytes[c] }' "$log"
[ "$total" -gt 0 ] && [ "$hits" = "$total" ] || { grep -E "$immutable" "$log" | grep -vE ' TCP_(MEM_)?HIT/' | head; fail "some were fetched again"; }
say "ok  apt"
