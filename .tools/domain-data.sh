#!/usr/bin/env bash
# Writes what the domain files below the given paths compile to into FOLDER/data.json, and nothing where there are none: OPA
# takes the folder as one more root, with --ignore domain.yaml. Needs dist/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$1
shift
[ -n "$(find "$@" -name domain.yaml)" ] || exit 0
node dist/main.js domain compile "$@" >"$folder/data.json"
