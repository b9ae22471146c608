#!/usr/bin/env bash
# Compiles src/ to dist/ and copies what the compiler leaves behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
node_modules/.bin/tsc -p tsconfig.build.json
(cd src && find . -name '*.lua' -print0 | while IFS= read -r -d '' file; do
  mkdir -p "../dist/$(dirname "$file")"
  cp "$file" "../dist/$file"
done)
chmod 755 dist/main.js
