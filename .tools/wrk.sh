#!/usr/bin/env bash
# Makes sure that wrk, the HTTP load generator, is on PATH; installs Debian's package where that is possible.
set -euo pipefail
command -v wrk && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  (apt-get install -y --no-install-recommends wrk || { apt-get update && apt-get install -y --no-install-recommends wrk; }) >/dev/null 2>&1 || true
fi
command -v wrk || {
  echo "wrk: the benches need wrk on PATH. Debian, Ubuntu: apt-get install wrk. macOS: brew install wrk" >&2
  exit 1
}
