#!/usr/bin/env bash
# render.sh OVERLAY BUNDLE OUT: puts the compiled policy where kustomize reads it, and renders one overlay to a file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
overlay=$1 bundle=$2 out=$3
CONFIG_MAP_MAX=1048576 # bytes that the Kubernetes API takes in one ConfigMap

say() { echo "manifests: $*" >&2; }

[[ "$overlay" =~ ^[a-z0-9-]+$ ]] && [ -d "deploy/kustomize/overlays/$overlay" ] || {
  say "expected OVERLAY=$(cd deploy/kustomize/overlays && echo * | sed 's/ / or /g'), got \"$overlay\""
  exit 2
}
size=$(($(wc -c <"$bundle")))
[ "$size" -le "$CONFIG_MAP_MAX" ] || {
  say "the policy bundle has $size bytes, and a ConfigMap holds $CONFIG_MAP_MAX: split the policy, or mount a volume instead"
  exit 1
}
kustomize=$(.tools/kustomize.sh)
mkdir -p deploy/kustomize/base/policy
cp "$bundle" deploy/kustomize/base/policy/bundle.tar.gz
"$kustomize" build "deploy/kustomize/overlays/$overlay" >"$out.partial"
mv "$out.partial" "$out"
say "$(grep -c '^kind: ' "$out") objects in $out"
