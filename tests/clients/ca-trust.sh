#!/usr/bin/env bash
# `larder ca trust` and `untrust` against the real store of this system (Debian-like or Fedora-like), judged by openssl. Needs root and
# util-linux: the directories of the store are covered by copies in a mount namespace of their own, and nothing of it stays.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LARDER=${LARDER:-$root/target/release/larder}
[ -x "$LARDER" ] || { echo "build it first: cargo build --release (or set LARDER)"; exit 1; }
if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || { echo "needs root"; exit 1; }
  exec unshare --mount --propagation private "$0" inside
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
say() { printf '%s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*"; exit 1; }

# A copy in memory in the place of each directory; what is not there is not of this system.
for dir in /usr/local/share/ca-certificates /etc/ssl /etc/pki /etc/ca-certificates; do
  if [ -d "$dir" ]; then
    mkdir "$scratch/copy"
    cp -a "$dir/." "$scratch/copy"
    mount -t tmpfs -o mode=755 tmpfs "$dir"
    cp -a "$scratch/copy/." "$dir"
    rm -rf "$scratch/copy"
  fi
done

export LARDER_CA_DIR=$scratch/ca HOME=$scratch/home
mkdir "$HOME"
ca() { "$LARDER" ca "$@"; }
trusted() { openssl verify "$1" >/dev/null 2>&1; }

ca create >/dev/null
cp "$LARDER_CA_DIR/ca.pem" "$scratch/first.pem"
! trusted "$scratch/first.pem" || fail "trusted before it should be"
if setpriv --reuid 65534 --clear-groups true 2>/dev/null; then
  # Others than root are told what to run.
  mkdir "$scratch/other" && cp "$LARDER_CA_DIR/ca.pem" "$scratch/other" && chmod 755 "$scratch" "$scratch/other" && chmod 644 "$scratch/other/ca.pem"
  cp "$LARDER" "$scratch/larder" && chmod 755 "$scratch/larder"
  if setpriv --reuid 65534 --clear-groups "$scratch/larder" ca trust --ca-dir "$scratch/other" 2>"$scratch/said"; then fail "not root, and no failure"; fi
  grep -q "sudo larder ca trust --ca-dir $scratch/other" "$scratch/said" || fail "$(cat "$scratch/said")"
  say "ok  others than root are told what to run"
fi
ca trust
trusted "$scratch/first.pem" || fail "not trusted"
ca trust >/dev/null
trusted "$scratch/first.pem" || fail "not trusted after a second run"
say "ok  trusted, also when that is said twice"

ca rotate >/dev/null
cp "$LARDER_CA_DIR/next.pem" "$scratch/second.pem"
! trusted "$scratch/second.pem" || fail "the next CA is trusted before it should be"
ca trust >/dev/null
trusted "$scratch/first.pem" && trusted "$scratch/second.pem" || fail "both should be trusted"
say "ok  both trusted during a rotation"
ca rotate --activate >/dev/null
ca trust >/dev/null
! trusted "$scratch/first.pem" && trusted "$scratch/second.pem" || fail "only the second should be trusted"
say "ok  the previous one no longer trusted after it"

ca untrust
! trusted "$scratch/second.pem" || fail "still trusted"
ca untrust >/dev/null
say "ok  no longer trusted, also when that is said twice"
