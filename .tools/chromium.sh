#!/usr/bin/env bash
# Prints the path of Chromium or Chrome, installing Debian's package where that is possible. Nothing is printed, and the
# status is 1, where there is none: the tests in a browser are then skipped.
set -euo pipefail
find_browser() {
  local name
  for name in chromium chromium-browser google-chrome-stable google-chrome; do
    command -v "$name" && return
  done
  return 1
}
if ! find_browser >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "chromium: installing chromium with apt-get" >&2
  (apt-get install -y --no-install-recommends chromium || { apt-get update && apt-get install -y --no-install-recommends chromium; }) >/dev/null 2>&1 || true
fi
if ! find_browser; then
  echo "chromium: not found, so the tests in a browser are skipped. Debian: apt-get install chromium" >&2
  exit 1
fi
