#!/usr/bin/env bash
# Prints the path of an OPA CLI that can build and test the policies: `opa` on PATH when it is 1.x and not older than the
# pinned version; else .tools/bin/opa, which is downloaded with its checksum or, where that is not possible, built from
# source by `go install` (the Go checksum database then vouches for it). Everything but the path goes to standard error.
set -euo pipefail

VERSION=1.20.2
# SHA-256 of the published binaries. A platform that is not listed is built from source.
declare -A SHA256=(
  [opa_linux_amd64_static]=69da5179ee403d10fa11bab6cfb4ffb0d23dba5f9b682fa977db772a1da5670f
)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin="$here/bin/opa"

say() { echo "opa: $*" >&2; }

version_of() { "$1" version 2>/dev/null | sed -n 's/^Version: //p'; }

is_usable() {
  local have
  have=$(version_of "$1") || return 1
  [[ "$have" =~ ^1\.[0-9]+\.[0-9]+$ ]] || return 1
  [ "$(printf '%s\n%s\n' "$VERSION" "$have" | sort -V | head -n 1)" = "$VERSION" ]
}

asset() {
  case "$(uname -s)/$(uname -m)" in
    Linux/x86_64) echo opa_linux_amd64_static ;;
    Linux/aarch64) echo opa_linux_arm64_static ;;
    Darwin/arm64) echo opa_darwin_arm64_static ;;
    Darwin/x86_64) echo opa_darwin_amd64 ;;
    *) echo unknown ;;
  esac
}

download() {
  local name expected partial
  name=$(asset)
  expected=${SHA256[$name]:-}
  [ -n "$expected" ] || { say "no checksum on file for $name, so it is not downloaded"; return 1; }
  command -v curl >/dev/null || return 1
  partial=$(mktemp "$here/bin/opa.XXXXXX")
  if ! curl -fsSL --connect-timeout 10 --max-time 300 -o "$partial" \
    "https://github.com/open-policy-agent/opa/releases/download/v$VERSION/$name" 2>/dev/null; then
    rm -f "$partial"
    say "cannot download $name v$VERSION"
    return 1
  fi
  if [ "$(sha256sum "$partial" | cut -d' ' -f1)" != "$expected" ]; then
    rm -f "$partial"
    say "REFUSED: $name v$VERSION does not have the pinned checksum $expected"
    exit 1
  fi
  chmod 755 "$partial"
  mv "$partial" "$bin"
}

build() {
  command -v go >/dev/null || { say "no go toolchain to build it with"; return 1; }
  say "building v$VERSION with go install (about a minute)"
  GOBIN="$here/bin" CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "github.com/open-policy-agent/opa@v$VERSION" >&2
}

if command -v opa >/dev/null && is_usable "$(command -v opa)"; then
  command -v opa
  exit 0
fi
mkdir -p "$here/bin"
if [ ! -x "$bin" ] || ! is_usable "$bin"; then
  download || build || {
    say "cannot find, download or build OPA. Install OPA 1.x (>= $VERSION) and put it on PATH: https://www.openpolicyagent.org/docs/#running-opa"
    exit 1
  }
fi
echo "$bin"
