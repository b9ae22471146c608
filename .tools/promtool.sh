#!/usr/bin/env bash
# Prints the path of promtool, installing Debian's prometheus where that is possible. Nothing is printed, and the status is 1,
# where there is none: the test that lints the metrics is then skipped.
set -euo pipefail
if ! command -v promtool >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "promtool: installing prometheus with apt-get" >&2
  (apt-get install -y --no-install-recommends prometheus || { apt-get update && apt-get install -y --no-install-recommends prometheus; }) >/dev/null 2>&1 || true
fi
if ! command -v promtool; then
  echo "promtool: not found, so the metrics are not linted. Debian: apt-get install prometheus" >&2
  exit 1
fi
