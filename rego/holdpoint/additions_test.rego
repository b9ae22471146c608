package holdpoint.additions_test

# What a result brings for the gate to do: limits to charge, a lock to take, a record of the session to extend.

proposal := {
	"action": {"name": "act", "arguments": {"a": 1, "to": "bob", "n": 7, "list": ["bob"]}},
	"actor": {"id": "x", "roles": ["r"]},
	"entity": {"type": "t", "id": "a:b", "attributes": {"owner": "eve", "size": 3}},
	"context": {"session": "s"},
	"tenant": "default",
	"time": "2026-11-20T10:00:00.000Z",
}

base := {"additional_parameters": true}

decide(members, arguments, said) := result if {
	changed := object.union(object.remove(proposal, ["action"]), {"action": {"name": "act", "arguments": arguments}})
	result := data.holdpoint.decision with input as changed
		with data.holdpoint.contracts as {"act": object.union(base, members)}
		with data.holdpoint.rules as said
}

decide_plain(members) := decide(members, proposal.action.arguments, {})

codes(result) := {reason.code | some reason in result.reasons}

says(verdict) := {"mine": {"verdicts": {verdict}}}

limit := {"key": "k", "limit": 5, "window_seconds": 60}

limits(members) := {"limits": [object.union(limit, members)]}

# ---------------------------------------------------------------------------------------------------------- limits

test_limit_without_more_counts_calls if {
	decide_plain(limits({})).limits == [object.union(limit, {"cost": 1, "on_exceed": "deny"})]
}

test_window_is_passed_on[window] if {
	some window in ["fixed", "sliding"]
	expected := object.union(limit, {"cost": 1, "on_exceed": "deny", "window": window})
	decide_plain(limits({"window": window})).limits == [expected]
}

test_distinct_value_is_looked_up[path] if {
	some path, value in {
		"arguments.to": "bob",
		"entity.id": "a:b",
		"entity.type": "t",
		"actor.id": "x",
		"context.session": "s",
		"entity.attributes.owner": "eve",
	}
	expected := {
		"key": "k:x",
		"limit": 5,
		"window_seconds": 60,
		"window": "sliding",
		"distinct": value,
		"on_exceed": "escalate",
	}
	members := {"distinct": path, "by": ["actor.id"], "window": "sliding", "on_exceed": "escalate"}
	decide_plain(limits(members)).limits == [expected]
}

# A number could be the text of the same digits, and what is missing is nobody in particular.
test_deny_when_a_distinct_value_is_no_text[path] if {
	some path in ["arguments.n", "arguments.list", "arguments.nobody", "principal.id", "entity.owner", "entity.attributes.size", "to"]
	result := decide_plain(limits({"distinct": path}))
	result.outcome == "deny"
	codes(result) == {"context_missing"}
}

test_deny_when_a_distinct_value_is_too_long if {
	fits := concat("", [sprintf("%08d", [n]) | some n in numbers.range(1, 64)])
	decide(limits({"distinct": "arguments.to"}), {"to": fits}, {}).outcome == "allow"
	result := decide(limits({"distinct": "arguments.to"}), {"to": concat("", [fits, "x"])}, {})
	codes(result) == {"context_missing"}
}

test_key_by_an_attribute if {
	decide_plain(limits({"by": ["entity.attributes.owner", "entity.id"]})).limits[0].key == "k:eve:a%3Ab"
	codes(decide_plain(limits({"by": ["entity.attributes.size"]}))) == {"context_missing"}
}

test_cost_by_argument[name] if {
	some name, cost in {"nothing": 0, "whole": 49, "cents": 0.07, "millionths": 0.000001, "most": 9007199254}
	decide(limits({"cost_parameter": "a"}), {"a": cost}, {}).limits[0].cost == cost
}

test_deny_when_a_cost_is_no_amount[name] if {
	some name, cost in {
		"negative": -1,
		"text": "1",
		"null": null,
		"false": false,
		"list": [1],
		"too precise": 0.0000001,
		"seven decimals": 1.1234567,
		"too large": 9007199255,
	}
	result := decide(limits({"cost_parameter": "a"}), {"a": cost}, {})
	result.outcome == "deny"
	result.reasons == [{
		"code": "limit_cost_invalid",
		"message": "argument a costs a limit: it must be a number from 0 to 9007199254 with at most six decimals",
	}]
}

test_deny_when_a_cost_is_missing if {
	codes(decide(limits({"cost_parameter": "a"}), {}, {})) == {"context_missing"}
}

test_one_limit_that_resolves_is_not_blamed_for_another if {
	distinct := object.union(limit, {"distinct": "arguments.to"})
	costly := object.union(limit, {"cost_parameter": "a"})
	result := decide({"limits": [distinct, costly]}, {"to": "bob", "a": -1}, {})
	codes(result) == {"limit_cost_invalid"}
}

test_lock_waits if {
	lock := {"key": "l", "ttl_seconds": 5, "wait_seconds": 60}
	decide_plain({"lock": lock}).lock == lock
	decide_plain({"lock": object.union(lock, {"wait_seconds": 0})}).lock.wait_seconds == 0
}

test_rule_adds_limits if {
	distinct := object.union(limit, {"window": "sliding", "distinct": "bob"})
	costly := object.union(limit, {"cost": 0.5, "on_exceed": "escalate"})
	said := {"outcome": "allow", "limits": [distinct, costly]}
	{one | some one in decide({}, {}, says(said)).limits} == {distinct, costly}
}

# -------------------------------------------------------------------------------- whom to ask when a limit is exceeded

asking := {"when": "threshold", "roles": ["boss"], "quorum": 2}

test_allow_says_whom_to_ask if {
	members := object.union(limits({"on_exceed": "escalate"}), {"approval": asking})
	result := decide_plain(members)
	result.outcome == "allow"
	result.approval == {"roles": ["boss"], "quorum": 2}
	decide(members, {}, says({"outcome": "allow", "obligations": {"log": true}})).approval == result.approval
}

test_allow_asks_nobody_when_limits_deny if {
	members := object.union(limits({"on_exceed": "deny"}), {"approval": asking})
	not decide_plain(members).approval
	not decide(members, {}, says({"outcome": "allow", "obligations": {"log": true}})).approval
}

test_allow_says_whom_to_ask_for_the_limit_of_a_rule if {
	said := {"outcome": "allow", "limits": [object.union(limit, {"on_exceed": "escalate"})]}
	decide({"approval": asking}, {}, says(said)).approval == {"roles": ["boss"], "quorum": 2}
}

test_allow_without_a_requirement_says_nothing[name] if {
	some name, approval in {"absent": {}, "without more": {"approval": {"when": "threshold"}}}
	members := object.union(limits({"on_exceed": "escalate"}), approval)
	not decide_plain(members).approval
	not decide(members, {}, says({"outcome": "allow", "obligations": {"log": true}})).approval
}

test_limit_denies_where_approval_is_never_offered if {
	members := object.union(limits({"on_exceed": "escalate"}), {"approval": {"when": "never", "roles": ["boss"]}})
	result := decide_plain(members)
	result.limits[0].on_exceed == "deny"
	not result.approval
}

test_escalation_keeps_its_own_requirement if {
	said := {"outcome": "escalate", "code": "c", "message": "m", "approval": {"roles": ["other"]}}
	members := object.union(limits({"on_exceed": "escalate"}), {"approval": asking})
	result := decide(members, {}, says(said))
	result.outcome == "escalate"
	result.approval == {"roles": ["other"]}
	result.limits[0].on_exceed == "escalate"
}

# --------------------------------------------------------------------------------------------------------- sessions

test_session_is_extended if {
	members := {"classifications": ["pii", "money"], "session_sums": ["a", "b"]}
	expected := {"classifications": ["pii", "money"], "sums": {"a": 1}}
	decide_plain(members).session == expected
	ask := {"outcome": "escalate", "code": "c", "message": "m"}
	decide(members, proposal.action.arguments, says(ask)).session == expected
}

test_session_without_anything_to_add_is_left_out[name] if {
	some name, members in {
		"no sums": {"session_sums": []},
		"no classes": {"classifications": []},
		"missing argument": {"session_sums": ["b"]},
		"nothing": {},
	}
	not decide_plain(members).session
}

test_session_is_not_extended_by_a_denial_or_a_rewrite[outcome] if {
	some outcome, members in {
		"deny": {"code": "c", "message": "m"},
		"compute": {"code": "c", "message": "m", "arguments": {"a": 2}},
	}
	said := object.union(members, {"outcome": outcome})
	result := decide({"classifications": ["pii"], "session_sums": ["a"]}, {"a": 1}, says(said))
	result.outcome == outcome
	not result.session
}

test_sum_is_of_the_effective_argument if {
	members := {"session_sums": ["a"], "forced": {"a": 9}}
	decide(members, {"a": 9}, {}).session == {"sums": {"a": 9}}
}

test_deny_when_a_sum_is_no_amount[name] if {
	some name, value in {
		"negative": -1,
		"text": "1",
		"null": null,
		"false": false,
		"too precise": 1.1234567,
		"too large": 9007199255,
	}
	result := decide({"session_sums": ["a"]}, {"a": value}, {})
	result.outcome == "deny"
	result.reasons == [{
		"code": "session_sum_invalid",
		"message": "argument a adds up over the session: it must be a number from 0 to 9007199254 with at most six decimals",
	}]
}
