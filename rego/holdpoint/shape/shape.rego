# METADATA
# title: Shape of contract data
# description: |
#   Whether a member of a contract is known and well typed. Everything else in the library may take a contract that
#   passed for granted; one that did not denies with `contract_invalid`. An unknown member fails too, since a misspelt
#   `threshold` would otherwise be a threshold that nobody notices is missing.
package holdpoint.shape

# METADATA
# description: True when `key` is a member of a contract and `value` is what it may hold.
member(key, value) if {
	key == "parameters"
	is_object(value)
	every spec in value {
		is_specification(spec)
	}
} else if {
	key == "thresholds"
	is_array(value)
	every threshold in value {
		is_threshold(threshold)
	}
} else if {
	key == "permissions"
	is_strings(value)
} else if {
	key == "risk"
	is_risk(value)
} else if {
	key == "permit"
	is_permit(value)
} else if {
	key == "approval"
	is_approval_rule(value)
} else if {
	key == "entity_types"
	is_strings(value)
} else if {
	key == "allowed_states"
	is_strings(value)
} else if {
	key == "environments"
	is_strings(value)
} else if {
	key == "additional_parameters"
	is_boolean(value)
} else if {
	key == "forced"
	is_object(value)
} else if {
	key == "rewrites"
	is_array(value)
	every rewrite in value {
		is_rewrite(rewrite)
	}
} else if {
	key == "limits"
	is_limits(value)
} else if {
	key == "lock"
	is_lock(value)
} else if {
	key == "obligations"
	is_object(value)
} else if {
	key == "executor"
	is_name(value)
} else if {
	key == "event"
	is_name(value)
} else if {
	key == "classifications"
	is_session_names(value)
} else if {
	key == "session"
	is_boolean(value)
} else if {
	key == "session_sums"
	is_session_names(value)
} else if {
	key == "mode"
	value in ["enforce", "observe"]
} else if {
	key == "description"
	is_string(value)
}

# Without a type only presence can be asked: anything more says of what.
is_specification(spec) if {
	is_string(spec.type)
} else if {
	spec == {"required": true}
}

# As many as a result may add to a session.
is_session_names(values) if {
	is_strings(values)
	count(values) <= 16
}

is_threshold(threshold) if {
	is_string(threshold.parameter)
	is_threshold_outcome(threshold.outcome)
	has_comparator(threshold)
	every key, value in threshold {
		threshold_member(key, value)
	}
}

has_comparator(threshold) if {
	is_number(threshold.above)
} else if {
	is_number(threshold.at_least)
} else if {
	is_number(threshold.below)
} else if {
	is_number(threshold.at_most)
}

is_risk(value) if {
	value == "medium"
} else if {
	value == "low"
} else if {
	value == "high"
} else if {
	value == "critical"
}

is_threshold_outcome(value) if {
	value == "escalate"
} else if {
	value == "deny"
}

threshold_member(key, value) if {
	is_text_member(key)
	is_name(value)
} else if {
	is_comparator(key)
	is_number(value)
} else if {
	key == "approval"
	is_requirement(value)
}

is_text_member(key) if {
	key == "parameter"
} else if {
	key == "outcome"
} else if {
	key == "message"
} else if {
	key == "code"
}

is_comparator(key) if {
	key == "above"
} else if {
	key == "at_least"
} else if {
	key == "below"
} else if {
	key == "at_most"
}

# METADATA
# description: True for what a verdict, a threshold or a contract may ask of reviewers.
is_requirement(requirement) if {
	is_object(requirement)
	has_sound_binding(requirement)
	every key, value in requirement {
		requirement_member(key, value)
	}
}

is_approval_rule(rule) if {
	is_object(rule)
	has_sound_binding(rule)
	every key, value in rule {
		approval_rule_member(key, value)
	}
}

approval_rule_member(key, value) if {
	key == "when"
	value in ["always", "threshold", "never"]
} else if {
	requirement_member(key, value)
}

requirement_member(key, value) if {
	key == "roles"
	is_strings(value)
} else if {
	is_count_member(key)
	is_count(value)
} else if {
	key == "binding"
	value in ["exact", "envelope"]
} else if {
	key == "envelope"
	is_object(value.schema)
	is_count(value.uses)
	count(value) == 2
}

is_count_member(key) if {
	key == "quorum"
} else if {
	key == "ttl_seconds"
} else if {
	key == "grant_ttl_seconds"
}

# An envelope without its schema would bind nothing; a schema under an exact binding would be ignored.
has_sound_binding(requirement) if {
	object.get(requirement, "binding", "exact") == "exact"
	object.get(requirement, "envelope", "absent") == "absent"
} else if {
	requirement.binding == "envelope"
	requirement.envelope
}

is_permit(permit) if {
	is_object(permit)
	every key, value in permit {
		permit_member(key, value)
	}
}

permit_member(key, value) if {
	key == "required"
	is_boolean(value)
} else if {
	key == "ttl_seconds"
	is_count(value)
} else if {
	key == "audience"
	is_name(value)
} else if {
	key == "bind_entity_version"
	is_boolean(value)
}

# One condition and one replacement that does not meet the condition again, so that a second round changes nothing.
is_rewrite(rewrite) if {
	is_name(rewrite.parameter)
	is_name(rewrite.prefix)
	is_string(rewrite.to)
	not startswith(rewrite.to, rewrite.prefix)
	count(rewrite) == 3
}

is_rewrite(rewrite) if {
	is_name(rewrite.parameter)
	rewrite.to != rewrite.value
	count(rewrite) == 3
}

# METADATA
# description: True for the limits of a contract, whose keys and costs have yet to be looked up.
is_limits(limits) if {
	is_array(limits)
	every limit in limits {
		is_limit(limit)
		every key, value in limit {
			limit_member(key, value)
		}
	}
}

# METADATA
# description: True for the limits of a verdict, which are what the gate takes and have nothing left to look up.
is_charges(limits) if {
	is_array(limits)
	every limit in limits {
		is_limit(limit)
		every key, value in limit {
			charge_member(key, value)
		}
	}
}

is_limit(limit) if {
	is_name(limit.key)
	is_amount(limit.limit)
	is_count(limit.window_seconds)
	has_one_measure(limit)
}

# Different values are counted one by one: a cost beside them would be a cost that nobody notices is ignored.
has_one_measure(limit) if {
	not limit.distinct
} else if {
	object.get(limit, "cost", "absent") == "absent"
	object.get(limit, "cost_parameter", "absent") == "absent"
}

limit_member(key, value) if {
	charge_member(key, value)
} else if {
	key == "by"
	is_strings(value)
} else if {
	key == "cost_parameter"
	is_name(value)
}

charge_member(key, value) if {
	key in ["key", "limit", "window_seconds"]
} else if {
	key == "on_exceed"
	value in ["deny", "escalate"]
} else if {
	key == "cost"
	is_amount(value)
} else if {
	key == "window"
	value in ["fixed", "sliding"]
} else if {
	key == "distinct"
	is_name(value)
}

is_lock(lock) if {
	is_name(lock.key)
	is_count(lock.ttl_seconds)
	every key, value in lock {
		lock_member(key, value)
	}
}

lock_member(key, value) if {
	key in ["key", "ttl_seconds"]
} else if {
	key == "by"
	is_strings(value)
} else if {
	key == "wait_seconds"
	is_wait(value)
}

is_wait(value) if {
	is_number(value)
	value >= 0
	value <= 60
	value == floor(value)
}

# METADATA
# description: |
#   True for a number that can be added up: not negative, at most 9007199254, at most six decimals. Anything else would
#   make the result one that the gate refuses.
is_amount(value) if {
	is_number(value)
	value >= 0
	value <= 9007199254
	is_in_millionths(value)
}

# By its text, because multiplied by a million 0.07 is no integer to every evaluator.
is_in_millionths(value) if {
	value == floor(value)
} else if {
	regex.match(`^[0-9]+\.[0-9]{1,6}$`, json.marshal(value))
}

# METADATA
# description: True for a string that is not empty.
is_name(value) if {
	is_string(value)
	value != ""
}

is_strings(values) if {
	is_array(values)
	every value in values {
		is_name(value)
	}
}

is_count(value) if {
	is_number(value)
	value >= 1
	value == floor(value)
}
