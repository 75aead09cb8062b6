#!/usr/bin/env bash
# curl under `larder run`, three times. URL is what it fetches.
source "$(dirname "$0")/run-lib.sh"
need curl
export URL=${URL:-https://example.com/}

fetch() {
  mkdir "$1/result"
  curl -sS --fail-with-body -o "$1/result/page" "$URL"
}
three fetch
