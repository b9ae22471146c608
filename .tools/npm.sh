#!/usr/bin/env bash
# Installs what package-lock.json pins, without running any package's install script. `npm ci` would refuse a lock file that
# does not list the binaries of every foreign platform, which some registries do not carry; --no-save keeps the lock as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
npm install --no-save --ignore-scripts --no-audit --no-fund >"$log" 2>&1 || {
  cat "$log" >&2
  exit 1
}
