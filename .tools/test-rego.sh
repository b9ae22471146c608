#!/usr/bin/env bash
# Rego tests with coverage of the library, then a line "rego: N passed, N failed". Needs dist/: domains are compiled by it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
opa=$(.tools/opa.sh)
COVERAGE_MIN=100
out=$(mktemp)
domains=$(mktemp -d)
trap 'rm -rf "$out" "$domains"' EXIT
.tools/domain-data.sh "$domains" rego/holdpoint rego/examples/*/
# A test is a whole table of cases, and the default of 5 s is soon over on a busy machine.
run=("$opa" test --ignore domain.yaml --timeout 120s)
roots=(rego/holdpoint rego/examples/*/ rego/cases "$domains")
status=0
"${run[@]}" --fail-on-empty --format json "${roots[@]}" >"$out" || status=$?
read -r passed failed < <(node -e '
  const results = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
  const bad = results.filter((r) => r.fail || r.error);
  for (const r of bad) console.error(`FAIL ${r.package}.${r.name}`);
  console.log(results.length - bad.length, bad.length);
' "$out")
echo "rego: $passed passed, $failed failed"
[ "$status" = 0 ] && [ "$failed" = 0 ] || exit 1
"${run[@]}" --coverage --threshold "$COVERAGE_MIN" "${roots[@]}" >"$out" || {
  echo "rego: coverage is below $COVERAGE_MIN %" >&2
  tail -n 40 "$out" >&2
  exit 1
}
echo "rego: coverage at least $COVERAGE_MIN %"
