#!/usr/bin/env bash
# Prints the folder of a Node.js of the given major version, from the npm packages that carry its binaries.
set -euo pipefail
major=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder="$here/node$major"
package="node-$(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')"
if [ ! -x "$folder/node_modules/$package/bin/node" ]; then
  mkdir -p "$folder"
  echo '{"private":true}' >"$folder/package.json"
  npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts "$package@$major" >/dev/null 2>&1
fi
"$folder/node_modules/$package/bin/node" --version >&2
echo "$folder/node_modules/$package/bin"
