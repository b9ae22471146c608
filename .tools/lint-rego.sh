#!/usr/bin/env bash
# opa fmt and opa check --strict over every policy, with the input schema.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
opa=$(.tools/opa.sh)
unformatted=$("$opa" fmt --list rego)
[ -z "$unformatted" ] || { printf 'not formatted (make format):\n%s\n' "$unformatted" >&2; exit 1; }
"$opa" check --strict --schema rego/schemas/input.json --capabilities rego/capabilities.json rego/holdpoint rego/examples/*/
