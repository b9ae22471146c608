#!/usr/bin/env bash
# Prints the path of kustomize v5: the one on PATH where its major version is 5; else .tools/bin/kustomize, built from source
# by `go install` (the Go checksum database vouches for it). Everything but the path goes to standard error.
set -euo pipefail

VERSION=5.7.1

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin="$here/bin/kustomize"

say() { echo "kustomize: $*" >&2; }

is_usable() {
  local have
  have=$("$1" version 2>/dev/null) || return 1
  [[ "$have" =~ ^v?5\.[0-9]+\.[0-9]+ ]]
}

if command -v kustomize >/dev/null && is_usable "$(command -v kustomize)"; then
  command -v kustomize
  exit 0
fi
if [ ! -x "$bin" ] || ! is_usable "$bin"; then
  command -v go >/dev/null || {
    say "cannot find or build it. Install kustomize v5 and put it on PATH (https://kubectl.docs.kubernetes.io/installation/kustomize/), or Go to build it with"
    exit 1
  }
  say "building v$VERSION with go install (half a minute)"
  mkdir -p "$here/bin"
  # Outside the project, so that no go.mod or go.work around it has a say.
  (cd / && GOBIN="$here/bin" CGO_ENABLED=0 go install -trimpath -ldflags '-s -w' "sigs.k8s.io/kustomize/kustomize/v5@v$VERSION" >&2)
fi
echo "$bin"
