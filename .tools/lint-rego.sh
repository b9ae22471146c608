#!/usr/bin/env bash
# opa fmt, domain check and opa check --strict over every policy, the last with the input schema. Needs dist/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
opa=$(.tools/opa.sh)
unformatted=$("$opa" fmt --list rego)
[ -z "$unformatted" ] || { printf 'not formatted (make format):\n%s\n' "$unformatted" >&2; exit 1; }
roots=(rego/holdpoint rego/examples/*/)
domains=$(mktemp -d)
trap 'rm -rf "$domains"' EXIT
.tools/domain-data.sh "$domains" "${roots[@]}"
if [ -s "$domains/data.json" ]; then node dist/main.js domain check --strict "${roots[@]}"; fi
"$opa" check --ignore domain.yaml --strict --schema rego/schemas/input.json --capabilities rego/capabilities.json "${roots[@]}" "$domains"
