#!/usr/bin/env bash
# Compiles src/ to dist/ and copies what the compiler leaves behind. With a folder as argument it only copies there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
to=${1:-dist}
[ $# -gt 0 ] || node_modules/.bin/tsc -p tsconfig.build.json
(cd src && find . -type f \( -name '*.lua' -o -name '*.css' -o -path './cli/project/template/*' \) -print0) | while IFS= read -r -d '' file; do
  mkdir -p "$to/$(dirname "$file")"
  cp "src/$file" "$to/$file"
done
[ $# -gt 0 ] || chmod 755 dist/main.js
