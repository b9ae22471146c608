#!/usr/bin/env bash
# Rego tests with coverage of the library, then a line "rego: N passed, N failed".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
opa=$(.tools/opa.sh)
COVERAGE_MIN=100
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
"$opa" test --fail-on-empty --format json rego/holdpoint rego/examples/*/ rego/cases >"$out" || status=$?
read -r passed failed < <(node -e '
  const results = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
  const bad = results.filter((r) => r.fail || r.error);
  for (const r of bad) console.error(`FAIL ${r.package}.${r.name}`);
  console.log(results.length - bad.length, bad.length);
' "$out")
echo "rego: $passed passed, $failed failed"
[ "$status" = 0 ] && [ "$failed" = 0 ] || exit 1
"$opa" test --coverage --threshold "$COVERAGE_MIN" rego/holdpoint rego/examples/*/ rego/cases >"$out" || {
  echo "rego: coverage is below $COVERAGE_MIN %" >&2
  tail -n 40 "$out" >&2
  exit 1
}
echo "rego: coverage at least $COVERAGE_MIN %"
