package cases_test

# The same table runs against the compiled module in test/rego/cases.test.ts.
test_decision[name] if {
	some table, list in data.cases
	some case in list
	name := concat(": ", [table, case.name])
	data.holdpoint.decision == case.expected with input as case.input
}

# Every rewritten proposal, decided again, comes to rest: nothing is left to rewrite.
test_rewrites_come_to_rest[name] if {
	some table, list in data.cases
	some case in list
	case.expected.arguments
	name := concat(": ", [table, case.name])
	again := object.union(
		object.remove(case.input, ["action"]),
		{"action": {"name": case.input.action.name, "arguments": case.expected.arguments}},
	)
	result := data.holdpoint.decision with input as again
	result.outcome in ["allow", "escalate"]
	not result.arguments
}
