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
# What would run, and is not yet yours.
! grep -q 'image: registry\.example\.com/' "$out" ||
  say "warning: the image is still at registry.example.com: say where you pushed yours in deploy/kustomize/images"
! grep -q 'image: docker\.io/curlimages/curl:' "$out" ||
  say "warning: the agent is still the example, which asks for a refund once a minute: deploy/kustomize/base/agent.yaml and images"
grep -v '^ *#' deploy/kustomize/control/config.yaml | grep -q 'scopes:.*review\|^ *- review' ||
  say "warning: nobody can grant: deploy/kustomize/control/config.yaml has no reviewer (holdpoint api-key prints an entry)"
! cmp -s "$bundle" .build/bundle.tar.gz ||
  say "warning: the policy is the examples': BUNDLE=path packs your own (holdpoint policy build)"
say "$(grep -c '^kind: ' "$out") objects in $out"
