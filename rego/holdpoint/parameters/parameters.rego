# METADATA
# title: Argument specifications
# description: |
#   Whether a value is what its specification allows. Positive and closed by construction: every keyword of a
#   specification has to hold, and a keyword that is misspelt, or whose bound has the wrong type, never holds. So a
#   mistake in the data makes the value unacceptable and cannot switch a check off.
package holdpoint.parameters

# METADATA
# description: |
#   True when `value` may be passed. Null passes only where the specification says so; without a `type` nothing may be
#   asked but presence.
accepts(spec, value) if {
	value != null
	spec.type
	every keyword, bound in spec {
		holds(keyword, bound, value)
	}
} else if {
	value == null
	spec.nullable == true
	spec.type in type_names
} else if {
	value == null
	spec.type == "null"
} else if {
	value != null
	spec == {"required": true}
}

# METADATA
# description: The keywords that `value` fails, for the explanation of a refusal.
failures(_, value) := {"nullable"} if value == null

failures(spec, value) := {keyword |
	some keyword, bound in spec
	not holds(keyword, bound, value)
} if {
	value != null
}

type_names := {"number", "integer", "string", "boolean", "array", "object", "null"}

# METADATA
# description: True when one keyword, with its bound, holds for a value that is not null.
holds(keyword, bound, value) if holds_for_item(keyword, bound, value)

holds(keyword, bound, value) if {
	keyword == "items"
	is_object(bound)
	bound.type
	every item in value {
		every item_keyword, item_bound in bound {
			holds_for_item(item_keyword, item_bound, item)
		}
	}
}

# Specifications of items cannot have items of their own: Rego has no recursion, and arguments nested deeper than a
# list deserve a rule that knows what they mean.
holds_for_item(keyword, bound, value) if {
	keyword == "type"
	is_of_type(bound, value)
} else if {
	keyword == "required"
	is_boolean(bound)
} else if {
	keyword == "nullable"
	is_boolean(bound)
} else if {
	keyword == "description"
	is_string(bound)
} else if {
	keyword == "minimum"
	is_number(bound)
	is_number(value)
	value >= bound
} else if {
	keyword == "maximum"
	is_number(bound)
	is_number(value)
	value <= bound
} else if {
	keyword == "exclusive_minimum"
	is_number(bound)
	is_number(value)
	value > bound
} else if {
	keyword == "exclusive_maximum"
	is_number(bound)
	is_number(value)
	value < bound
} else if {
	# Lengths count code points, as OPA does: an emoji may be several.
	keyword == "min_length"
	is_number(bound)
	is_string(value)
	count(value) >= bound
} else if {
	keyword == "max_length"
	is_number(bound)
	is_string(value)
	count(value) <= bound
} else if {
	# The whole value has to match: a pattern that only had to occur somewhere would be a hole in most contracts.
	keyword == "pattern"
	is_string(bound)
	is_string(value)
	regex.match(concat("", ["^(?:", bound, ")$"]), value)
} else if {
	keyword == "allowed"
	is_array(bound)
	value in bound
} else if {
	keyword == "denied"
	is_array(bound)
	not value in bound
} else if {
	keyword == "allowed_prefixes"
	is_array(bound)
	is_string(value)
	some prefix in bound
	startswith(value, prefix)
} else if {
	# Each prefix has to be a string: `not startswith(value, 5)` is true, because the call is undefined.
	keyword == "denied_prefixes"
	is_array(bound)
	is_string(value)
	every prefix in bound {
		is_string(prefix)
		not startswith(value, prefix)
	}
} else if {
	keyword == "denied_substrings"
	is_array(bound)
	is_string(value)
	every part in bound {
		is_string(part)
		not contains(value, part)
	}
} else if {
	keyword == "min_items"
	is_number(bound)
	is_array(value)
	count(value) >= bound
} else if {
	keyword == "max_items"
	is_number(bound)
	is_array(value)
	count(value) <= bound
}

is_of_type(name, value) if {
	name == "number"
	is_number(value)
} else if {
	name == "integer"
	is_number(value)
	value == floor(value)
} else if {
	name == "string"
	is_string(value)
} else if {
	name == "boolean"
	is_boolean(value)
} else if {
	name == "array"
	is_array(value)
} else if {
	name == "object"
	is_object(value)
}
