package holdpoint.parameters_test

import data.holdpoint.parameters

# keyword: [type, bound, values that pass, values that fail]
keywords := {
	"minimum": ["number", 1, [1, 2.5], [0.999, -1]],
	"maximum": ["number", 1, [1, -5], [1.001]],
	"exclusive_minimum": ["number", 0, [0.001], [0, -1]],
	"exclusive_maximum": ["number", 10, [9.99], [10]],
	"min_length": ["string", 2, ["ab", "😀😀"], ["", "😀"]],
	"max_length": ["string", 2, ["", "😀😀"], ["abc"]],
	"pattern": ["string", "a|b", ["a", "b"], ["ab", "a\n", "\na", "xa", ""]],
	"allowed": ["string", ["x", "y"], ["x"], ["X", "", "z"]],
	"denied": ["string", ["x"], ["y", ""], ["x"]],
	"allowed_prefixes": ["string", ["/a/", "/b/"], ["/a/x", "/b/"], ["/a", "/c/a/"]],
	"denied_prefixes": ["string", ["/a/"], ["/b", "/a"], ["/a/x"]],
	"denied_substrings": ["string", [".."], ["a.b"], ["a..b"]],
	"min_items": ["array", 1, [[1]], [[]]],
	"max_items": ["array", 1, [[], [1]], [[1, 2]]],
	"items": ["array", {"type": "integer", "minimum": 1}, [[], [1, 2.0]], [["1"], [1.5], [0], [null]]],
	"description": ["string", "what it is", ["x"], [5]],
	"required": ["string", true, ["x"], [5]],
	"nullable": ["string", true, ["x"], [5]],
}

test_keyword_passes[name] if {
	some name, row in keywords
	every value in row[2] {
		parameters.accepts({"type": row[0], name: row[1]}, value)
	}
}

test_keyword_fails[name] if {
	some name, row in keywords
	every value in row[3] {
		not parameters.accepts({"type": row[0], name: row[1]}, value)
	}
}

# A bound of the wrong type makes every value unacceptable: it never switches the check off.
test_keyword_with_a_wrong_bound_fails[name] if {
	some name, row in object.remove(keywords, ["description"])
	some bound in [null, 5, true, "", {"x": 1}]
	type_name(bound) != type_name(row[1])
	every value in row[2] {
		not parameters.accepts({"type": row[0], name: bound}, value)
	}
}

types := {
	"number": [1, 1.5, 6.022e23],
	"integer": [1, -1, 0, 2.0, 9007199254740991],
	"string": ["", "1", "NaN"],
	"boolean": [true, false],
	"array": [[], [1]],
	"object": [{}, {"__proto__": 1}],
}

test_type[name] if {
	some name, values in types
	every value in values {
		parameters.accepts({"type": name}, value)
	}
}

test_type_fails_for_other_types[name] if {
	some name, _ in types
	some other, values in types
	not {name, other} == {"number", "integer"}
	name != other
	every value in values {
		not parameters.accepts({"type": name}, value)
	}
}

test_null if {
	parameters.accepts({"type": "null"}, null)
	parameters.accepts({"type": "string", "nullable": true}, null)
	not parameters.accepts({"type": "string"}, null)
	not parameters.accepts({"type": "string", "nullable": "yes"}, null)
	not parameters.accepts({"type": "strin", "nullable": true}, null)
	not parameters.accepts({"type": "null"}, 0)
}

test_unknown_keyword_fails if not parameters.accepts({"type": "number", "maximun": 5}, 1)

test_missing_type_fails if not parameters.accepts({"minimum": 0}, 1)

test_pattern_that_is_none_fails if not parameters.accepts({"type": "string", "pattern": "("}, "(")

test_prefix_of_another_type_fails if {
	not parameters.accepts({"type": "string", "denied_prefixes": [5]}, "x")
	not parameters.accepts({"type": "string", "denied_substrings": [null]}, "x")
	not parameters.accepts({"type": "string", "allowed_prefixes": [5]}, "x")
}

test_failures_name_the_keywords if {
	parameters.failures({"type": "number", "minimum": 5, "maximum": 0}, 3) == {"minimum", "maximum"}
	parameters.failures({"type": "number"}, null) == {"nullable"}
}
