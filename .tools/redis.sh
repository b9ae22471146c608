#!/usr/bin/env bash
# Prints the path of a redis-server (7.0 or newer), installing Debian's package where that is possible.
set -euo pipefail
if ! command -v redis-server >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "redis: installing redis-server with apt-get" >&2
    (apt-get install -y --no-install-recommends redis-server || { apt-get update && apt-get install -y --no-install-recommends redis-server; }) >/dev/null 2>&1 || true
  fi
fi
if ! command -v redis-server >/dev/null; then
  echo "redis: the tests need redis-server 7 or newer on PATH. Debian, Ubuntu: apt-get install redis-server. macOS: brew install redis" >&2
  exit 1
fi
major=$(redis-server --version | sed -n 's/.*v=\([0-9]*\)\..*/\1/p')
if [ "${major:-0}" -lt 7 ]; then
  echo "redis: found $(redis-server --version), need 7 or newer" >&2
  exit 1
fi
command -v redis-server
