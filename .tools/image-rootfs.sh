#!/usr/bin/env bash
# Assembles the root filesystem of the container image from dist/, node_modules/ and this machine's Node and libraries, without
# a container engine: deploy/Dockerfile runs this very script, so what is tested from .build/rootfs is what the image holds.
#
#   .tools/image-rootfs.sh [FOLDER]      default .build/rootfs; build dist/ first
#
# It holds no shell, no package manager, no dev dependency and no binary for another platform. The same inputs give the same
# tree, times included, and are not assembled twice. Sizes by part go to standard output, progress to standard error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

to=${1:-.build/rootfs}
NODE_MAJOR=24
USER_ID=65532
SIZE_MAX=${IMAGE_BYTES_MAX:-180000000} # decimal: 180 MB

say() { echo "image-rootfs: $*" >&2; }

# Node as the image has it: of that major version on PATH, else from the npm registry, else the one that is there.
find_node() {
  local folder
  if [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null)" != "$NODE_MAJOR" ]; then
    if folder=$(.tools/node.sh "$NODE_MAJOR" 2>/dev/null); then
      "$folder/node" -p process.execPath
      return
    fi
    say "no Node $NODE_MAJOR here: with $(node --version)"
  fi
  node -p process.execPath
}

# Every shared object that the given files need, the loader included; the kernel's own (vdso) has no path.
libraries_of() {
  ldd "$@" | grep -oE '(=> )?/[^ :]+ \(' | sed -E 's/^=> //; s/ \($//' | LC_ALL=C sort -u
}

digest_of_inputs() {
  {
    sha256sum .tools/image-rootfs.sh package.json package-lock.json LICENSE "$node"
    libraries_of "$node" | xargs sha256sum
    find dist rego -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    id -u
  } | sha256sum | cut -d' ' -f1
}

# The packages that package-lock.json does not mark as dev, without what only their authors and compilers read.
copy_packages() {
  "$node" - "$1" <<'JS'
const { cpSync, existsSync, readFileSync, statSync } = require("node:fs");
const { basename, join, relative } = require("node:path");
const to = process.argv[2];
const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8"));
const license = /^(licen[cs]e|notice|copying|copyright|authors|patents)/i;
const folders = new Set(["test", "tests", "__tests__", "doc", "docs", "example", "examples", "bench", "benchmark", "benchmarks"]);
const read = /\.(js|cjs|mjs|json|node|wasm|txt)$/i;
// Prebuilt addons carry their ABI and C library in their names; this Node takes its own ABI's or the stable one's.
const isForeign = (name) =>
  name.endsWith(".node") &&
  (name.includes(".musl.") || (/\.abi\d+\./.test(name) && !name.includes(`.abi${process.versions.modules}.`)));
const isKept = (inside, isFolder) => {
  const name = basename(inside);
  if (isFolder) return name !== "node_modules" && !folders.has(inside) && !name.startsWith(".");
  return license.test(name) || (read.test(name) && !name.startsWith(".") && name !== "CMakeLists.txt" && !isForeign(name));
};
for (const [path, entry] of Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1))) {
  if (path === "" || entry.dev === true) continue;
  if (!existsSync(path)) {
    if (entry.optional === true) continue;
    throw new Error(`${path} is not installed: run make build`);
  }
  const isOther = (list, own) => list !== undefined && !list.includes(own);
  if (isOther(entry.os, process.platform) || isOther(entry.cpu, process.arch)) continue;
  cpSync(path, join(to, path), {
    recursive: true,
    dereference: true,
    filter: (from) => {
      const inside = relative(path, from);
      return inside === "" || isKept(inside, statSync(from).isDirectory());
    },
  });
}
JS
}

# One library or program to where this machine has it, and the licence of the Debian package that it came from.
copy_library() {
  local package
  mkdir -p "$root$(dirname "$1")"
  cp -L "$1" "$root$1"
  package=$({ dpkg -S "$1" || dpkg -S "/usr$1" || dpkg -S "$(readlink -f "$1")"; } 2>/dev/null | head -n 1 | cut -d: -f1) || true
  if [ -n "$package" ] && [ -e "/usr/share/doc/$package/copyright" ]; then
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
  fi
}

assemble() {
  local app=$root/opt/holdpoint addons library license
  rm -rf "$root"
  mkdir -p "$root"/{dev,etc/holdpoint,etc/ssl/certs,proc,run/holdpoint,sys,tmp,usr/bin,var/lib/holdpoint} "$app"

  say "application"
  # Whatever the build made of a source, but types and maps; what it once made of a source that is gone is not taken.
  (cd dist && find . -type f ! -name '*.d.ts' ! -name '*.map' ! -path './demo/*') | LC_ALL=C sort |
    while IFS= read -r file; do if [ -f "src/${file%.js}.ts" ] || [ -f "src/$file" ]; then echo "$file"; fi; done |
    tar -C dist -cf - -T - | tar -C "$app" --one-top-level=dist -xf -
  (find rego -type f ! -name '*_test.rego') | LC_ALL=C sort | tar -cf - -T - | tar -C "$app" -xf -
  cp package.json LICENSE "$app/"
  copy_packages "$app"

  say "Node $("$node" --version) and libraries"
  cp "$node" "$root/usr/bin/node"
  mapfile -t addons < <(find "$app/node_modules" -name '*.node' | LC_ALL=C sort)
  while IFS= read -r library; do copy_library "$library"; done < <(libraries_of "$node" "${addons[@]}")
  for license in "$(dirname "$node")"/../{LICENSE,share/doc/node/LICENSE}; do
    [ ! -f "$license" ] || install -D "$license" "$root/usr/share/doc/node/LICENSE"
  done
  # The same roots that Node trusts by itself, for NODE_EXTRA_CA_CERTS, --use-openssl-ca and whatever else looks here.
  "$node" -p 'require("node:tls").rootCertificates.join("\n")' >"$root/etc/ssl/certs/ca-certificates.crt"
  # The kernel starts this one without a shell. Node takes a file without extension or package.json as CommonJS.
  printf '#!/usr/bin/node\nimport("/opt/holdpoint/dist/main.js");\n' >"$root/usr/bin/holdpoint"
  cat >"$root/etc/passwd" <<EOF
root:x:0:0:root:/root:/sbin/nologin
holdpoint:x:$USER_ID:$USER_ID:holdpoint:/var/lib/holdpoint:/sbin/nologin
EOF
  printf 'root:x:0:\nholdpoint:x:%s:\n' "$USER_ID" >"$root/etc/group"
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

  say "modes, owners, times"
  find "$root" -type d -exec chmod 755 {} +
  find "$root" -type f -exec chmod 644 {} +
  chmod 755 "$root/usr/bin/node" "$root/usr/bin/holdpoint" "$app/dist/main.js"
  find "$root" -name 'ld-linux*' -exec chmod 755 {} +
  chmod 1777 "$root/tmp"
  chmod 700 "$root/var/lib/holdpoint"
  if [ "$(id -u)" = 0 ]; then
    chown -hR 0:0 "$root"
    chown "$USER_ID:$USER_ID" "$root/var/lib/holdpoint" "$root/run/holdpoint"
  else
    say "not root, so every file stays yours; in the image they are root's, and the data folder is $USER_ID's"
  fi
  find "$root" -exec touch -hd "@${SOURCE_DATE_EPOCH:-0}" {} +
}

bytes_of() {
  (cd "$to" && find "$@" -type f -printf '%s\n' 2>/dev/null) | awk '{ sum += $1 } END { printf "%d\n", sum }'
}

report() {
  local name total
  total=$(bytes_of .)
  while read -r name paths; do
    # shellcheck disable=SC2086 # paths are several words
    printf '%-14s %12d bytes\n' "$name" "$(bytes_of $paths)"
  done <<EOF
node usr/bin
libraries lib lib64 usr/lib
node_modules opt/holdpoint/node_modules
application opt/holdpoint/dist opt/holdpoint/rego
other etc usr/share opt/holdpoint/package.json opt/holdpoint/LICENSE
EOF
  printf '%-14s %12d bytes (%d MB of at most %d MB)\n' total "$total" $((total / 1000000)) $((SIZE_MAX / 1000000))
  [ "$total" -le "$SIZE_MAX" ] || {
    say "$total bytes are more than $SIZE_MAX"
    exit 1
  }
}

[ "$(uname -s)" = Linux ] || {
  say "the image is made of this machine's libraries, so this needs Linux"
  exit 1
}
[ -f dist/main.js ] && [ -d node_modules ] || {
  say "dist/ or node_modules/ is absent: run make build"
  exit 1
}
node=$(find_node)
inputs=$(digest_of_inputs)
if [ "$(cat "$to.inputs" 2>/dev/null)" != "$inputs" ] || [ ! -d "$to" ]; then
  mkdir -p "$(dirname "$to")"
  root=$(cd "$(dirname "$to")" && pwd)/$(basename "$to").partial
  assemble
  rm -rf "$to" "$to.inputs"
  mv "$root" "$to"
  echo "$inputs" >"$to.inputs"
else
  say "$to is up to date"
fi
report
