package holdpoint_test

proposal := {
	"action": {"name": "act", "arguments": {"a": 1}},
	"actor": {"id": "x", "roles": ["r"]},
	"entity": {"type": "t", "id": "a:b", "state": "s"},
	"context": {"environment": "e", "session": "s"},
	"tenant": "default",
	"time": "2026-11-20T10:00:00.000Z",
}

base := {"parameters": {"a": {"type": "number"}}, "risk": "low"}

decide(contract, said) := result if {
	result := data.holdpoint.decision with input as proposal
		with data.holdpoint.contracts as {"act": contract}
		with data.holdpoint.rules as said
}

decide_with(contract, change) := result if {
	result := data.holdpoint.decision with input as object.union(proposal, change)
		with data.holdpoint.contracts as {"act": contract}
		with data.holdpoint.roles as {"r": ["p"], "m": {"p": true, "q": false}}
		with data.holdpoint.rules as {}
}

with_member(member, value) := object.union(object.remove(base, [member]), {member: value})

codes(result) := {reason.code | some reason in result.reasons}

speaks(verdicts) := {"mine": {"verdicts": verdicts}}

plain := {"outcome": "allow", "reasons": [], "contract": "act", "rules": ["contract"], "risk": "low"}

test_allow_plain if decide(base, {}) == plain

test_allow_when_a_package_is_silent if decide(base, speaks(set())) == plain

test_deny_without_input if {
	data.holdpoint.decision.outcome == "deny" with input as {}
	data.holdpoint.decision.outcome == "deny" with input as null
}

test_deny_when_nothing_speaks if {
	result := data.holdpoint.decision with data.holdpoint.contract.verdicts as set()
		with input as {}
		with data.holdpoint.rules as {}
	result.outcome == "deny"
	codes(result) == {"no_verdict"}
}

test_deny_when_unexplained if {
	result := data.holdpoint.decision with data.holdpoint.contract.refusals as set()
		with input as {}
	result.outcome == "deny"
	codes(result) == {"contract_not_satisfied"}
}

# ---------------------------------------------------------------------------------------------------------- rules

no := {"outcome": "deny", "code": "no", "message": "no"}

ask := {"outcome": "escalate", "code": "ask", "message": "ask"}

set_a := {"outcome": "compute", "code": "set", "message": "set", "arguments": {"a": 2}}

test_strongest_wins_and_all_reasons_stay if {
	decide(base, speaks({no, ask, set_a, {"outcome": "allow"}})) == {
		"outcome": "deny",
		"reasons": [
			{"code": "no", "message": "no"},
			{"code": "ask", "message": "ask"},
			{"code": "set", "message": "set"},
		],
		"contract": "act",
		"rules": ["contract", "rules.mine"],
		"risk": "low",
	}
}

test_escalate_carries_arguments_of_a_compute if {
	result := decide(base, speaks([ask, set_a]))
	result.outcome == "escalate"
	result.arguments == {"a": 2}
}

test_compute_by_rule if {
	result := decide(base, speaks({set_a}))
	result.outcome == "compute"
	result.arguments == {"a": 2}
}

test_compute_adds_an_argument if {
	said := object.union(set_a, {"arguments": {"a": 1, "b": 2}})
	adds := object.union(object.remove(set_a, ["arguments"]), {"arguments": {"b": 2}})
	decide(base, speaks({said})).arguments == {"a": 1, "b": 2}
	decide(base, speaks({adds})).arguments == {"a": 1, "b": 2}
}

test_compute_that_changes_nothing_is_silent if {
	said := object.union(set_a, {"arguments": {"a": 1}})
	decide(base, speaks({said})).outcome == "allow"
}

test_compute_replaces_objects_whole if {
	said := object.union(set_a, {"arguments": {"a": {"safe": true}}})
	result := data.holdpoint.decision with input as object.union(proposal, {"action": {"arguments": {"a": {"bad": 1}}}})
		with data.holdpoint.contracts as {"act": {"parameters": {"a": {"type": "object"}}}}
		with data.holdpoint.rules as speaks({said})
	result.arguments == {"a": {"safe": true}}
}

test_deny_when_rules_set_different_values if {
	other := object.union(set_a, {"arguments": {"a": 3}})
	result := decide(base, speaks({set_a, other}))
	result.outcome == "deny"
	"compute_conflict" in codes(result)
}

test_obligations_and_limits_of_rules if {
	limit := {"key": "k", "limit": 1, "window_seconds": 60}
	said := {"outcome": "allow", "code": "fine", "message": "fine", "obligations": {"log": true}, "limits": [limit]}
	result := decide(with_member("obligations", {"mask": 1}), speaks({said}))
	result.outcome == "allow"
	result.reasons == [{"code": "fine", "message": "fine"}]
	result.obligations == {"log": true, "mask": 1}
	result.limits == [limit]
}

test_deny_when_obligations_disagree if {
	said := {"outcome": "allow", "obligations": {"mask": 2}}
	result := decide(with_member("obligations", {"mask": 1}), speaks({said}))
	codes(result) == {"obligation_conflict"}
	result.outcome == "deny"
}

test_allow_of_a_rule_does_not_outweigh_the_contract if {
	result := data.holdpoint.decision with input as proposal
		with data.holdpoint.contracts as {}
		with data.holdpoint.rules as speaks({{"outcome": "allow"}})
	result.outcome == "deny"
	codes(result) == {"unknown_action"}
}

test_deny_verdict_invalid[name] if {
	some name, said in {
		"a number": 5,
		"a string": "deny",
		"an object": {"x": no},
		"false": false,
		"unknown outcome": [{"outcome": "block", "code": "c", "message": "m"}],
		"no outcome": [{"code": "c", "message": "m"}],
		"not an object": ["deny"],
		"no message": [{"outcome": "deny", "code": "c"}],
		"empty code": [{"outcome": "deny", "code": "", "message": "m"}],
		"unknown member": [object.union(ask, {"quorum": 2})],
		"approval on deny": [object.union(no, {"approval": {}})],
		"bad quorum": [object.union(ask, {"approval": {"quorum": 0}})],
		"compute without arguments": [{"outcome": "compute", "code": "c", "message": "m"}],
		"compute with a list": [object.union(set_a, {"arguments": [1]})],
		"arguments on escalate": [object.union(ask, {"arguments": {"a": 2}})],
		"bad limits": [{"outcome": "allow", "limits": [{}]}],
		"limits to look up": [{"outcome": "allow", "limits": [{
			"key": "k",
			"by": ["actor.id"],
			"limit": 1,
			"window_seconds": 60,
		}]}],
		"bad obligations": [{"outcome": "allow", "obligations": []}],
	}
	result := decide(base, speaks(said))
	result.outcome == "deny"
	"verdict_invalid" in codes(result)
}

# ------------------------------------------------------------------------------------------------------- approvals

asks(approval) := object.union(ask, {"code": json.marshal(approval), "approval": approval})

test_approvals_merge_to_the_strictest if {
	envelope := {"schema": {}, "uses": 2}
	first := {"roles": ["a", "b"], "quorum": 1, "ttl_seconds": 60, "binding": "envelope", "envelope": envelope}
	second := {"roles": ["b", "c"], "quorum": 2, "ttl_seconds": 90, "grant_ttl_seconds": 5}
	result := decide(base, speaks({asks(first), asks(second)}))
	result.approval == {"roles": ["b"], "quorum": 2, "ttl_seconds": 60, "grant_ttl_seconds": 5}
}

test_envelopes_that_agree_stay if {
	envelope := {"schema": {}, "uses": 2}
	first := {"quorum": 1, "binding": "envelope", "envelope": envelope}
	second := {"quorum": 2, "binding": "envelope", "envelope": envelope}
	result := decide(base, speaks({asks(first), asks(second)}))
	result.approval == {"quorum": 2, "binding": "envelope", "envelope": envelope}
}

test_deny_when_no_reviewer_fits_all if {
	result := decide(base, speaks({asks({"roles": ["a"]}), asks({"roles": ["b"]})}))
	result.outcome == "deny"
	"approval_conflict" in codes(result)
}

# ------------------------------------------------------------------------------------------------------- contracts

wrong_values := [null, true, false, 0, -1, 1.5, "", "x", [], [1], [null], {}, {"x": 1}]

# Values that happen to be right for a member.
right := {
	"parameters": [{}],
	"thresholds": [[]],
	"permissions": [[]],
	"entity_types": [[]],
	"allowed_states": [[]],
	"environments": [[]],
	"additional_parameters": [true, false],
	"forced": [{}, {"x": 1}],
	"rewrites": [[]],
	"limits": [[]],
	"obligations": [{}, {"x": 1}],
	"permit": [{}],
	"approval": [{}],
	"description": ["", "x"],
	"risk": [],
	"lock": [],
	"executor": ["x"],
	"event": ["x"],
	"classifications": [[]],
	"session": [true, false],
	"session_sums": [[]],
	"mode": [],
	"unknown": [],
}

test_deny_contract_invalid[name] if {
	some member, values in right
	some value in wrong_values
	not value in values
	name := concat(" ", [member, json.marshal(value)])
	result := decide(with_member(member, value), {})
	result.outcome == "deny"
	codes(result) == {"contract_invalid"}
	not result.mode
}

test_deny_contract_invalid_inside[name] if {
	approval := {"when": "always"}
	threshold := {"parameter": "a", "above": 5, "outcome": "deny"}
	rewrite := {"parameter": "a", "prefix": "/p/", "to": "/s/p/"}
	limit := {"key": "k", "limit": 1, "window_seconds": 60}
	some name, change in {
		"spec without type": {"parameters": {"a": {"minimum": 1}}},
		"spec without type, required": {"parameters": {"a": {"required": true, "minimum": 1}}},
		"spec without type, optional": {"parameters": {"a": {"required": false}}},
		"spec empty": {"parameters": {"a": {}}},
		"spec false": {"parameters": {"a": false}},
		"threshold without comparator": {"thresholds": [object.remove(threshold, ["above"])]},
		"threshold misspelt": {"thresholds": [object.union(threshold, {"abov": 1})]},
		"threshold allows": {"thresholds": [object.union(threshold, {"outcome": "allow"})]},
		"threshold text": {"thresholds": [object.union(threshold, {"below": "5"})]},
		"threshold approval": {"thresholds": [object.union(threshold, {"approval": {"quorum": "1"}})]},
		"threshold code": {"thresholds": [object.union(threshold, {"code": ""})]},
		"approval when": {"approval": {"when": "sometimes"}},
		"approval unknown": {"approval": object.union(approval, {"quorom": 2})},
		"approval fraction": {"approval": object.union(approval, {"quorum": 1.5})},
		"approval binding": {"approval": object.union(approval, {"binding": "loose"})},
		"envelope missing": {"approval": object.union(approval, {"binding": "envelope"})},
		"envelope without binding": {"approval": object.union(approval, {"envelope": {"schema": {}, "uses": 1}})},
		"envelope uses": {"approval": object.union(approval, {"binding": "envelope", "envelope": {"schema": {}}})},
		"permit required": {"permit": {"required": "yes"}},
		"permit ttl": {"permit": {"ttl_seconds": 0}},
		"permit audience": {"permit": {"audience": ""}},
		"permit version": {"permit": {"bind_entity_version": "yes"}},
		"rewrite onto itself": {"rewrites": [object.union(rewrite, {"to": "/p/x"})]},
		"rewrite extra": {"rewrites": [object.union(rewrite, {"x": 1})]},
		"rewrite value onto itself": {"rewrites": [{"parameter": "a", "value": 1, "to": 1}]},
		"limit cost": {"limits": [object.union(limit, {"cost": -1})]},
		"limit cost of millionths": {"limits": [object.union(limit, {"cost": 0.0000001})]},
		"limit cost parameter": {"limits": [object.union(limit, {"cost_parameter": ""})]},
		"limit negative": {"limits": [object.union(limit, {"limit": -1})]},
		"limit too large": {"limits": [object.union(limit, {"limit": 9007199255})]},
		"limit unknown": {"limits": [object.union(limit, {"every": 1})]},
		"limit by": {"limits": [object.union(limit, {"by": "actor.id"})]},
		"limit window": {"limits": [object.union(limit, {"window": "rolling"})]},
		"limit distinct": {"limits": [object.union(limit, {"distinct": ""})]},
		"limit distinct with cost": {"limits": [object.union(limit, {"distinct": "entity.id", "cost": 1})]},
		"limit distinct with cost parameter": {"limits": [object.union(
			limit,
			{"distinct": "entity.id", "cost_parameter": "a"},
		)]},
		"limit on_exceed": {"limits": [object.union(limit, {"on_exceed": "allow"})]},
		"lock unknown": {"lock": {"key": "k", "ttl_seconds": 1, "x": 1}},
		"lock wait": {"lock": {"key": "k", "ttl_seconds": 1, "wait_seconds": 61}},
		"lock wait of a fraction": {"lock": {"key": "k", "ttl_seconds": 1, "wait_seconds": 0.5}},
		"lock wait backwards": {"lock": {"key": "k", "ttl_seconds": 1, "wait_seconds": -1}},
		"classes that are numbers": {"classifications": [1]},
		"seventeen classes": {"classifications": [sprintf("c%d", [n]) | some n in numbers.range(1, 17)]},
		"seventeen sums": {"session_sums": [sprintf("s%d", [n]) | some n in numbers.range(1, 17)]},
	}
	contract := object.union(object.remove(base, change), change)
	result := decide(contract, {})
	result.outcome == "deny"
	"contract_invalid" in codes(result)
}

test_deny_contract_that_is_no_object[name] if {
	some value in [null, false, 5, "x", [], [{}]]
	name := json.marshal(value)
	result := decide(value, {})
	result.outcome == "deny"
	"contract_invalid" in codes(result)
}

test_thresholds[name] if {
	some name, expected in {"above": [0, 1], "at_least": [1, 1.5], "below": [2, 1], "at_most": [1, 0]}
	crossed := {"thresholds": [{"parameter": "a", name: expected[0], "outcome": "deny"}]}
	quiet := {"thresholds": [{"parameter": "a", name: expected[1], "outcome": "deny"}]}
	codes(decide(object.union(base, crossed), {})) == {"threshold_exceeded"}
	decide(object.union(base, quiet), {}).outcome == "allow"
}

test_threshold_has_its_own_approval if {
	threshold := {"parameter": "a", "above": 0, "outcome": "escalate", "approval": {"quorum": 2}}
	result := decide(object.union(base, {"thresholds": [threshold], "approval": {"roles": ["z"]}}), {})
	result.approval == {"quorum": 2}
	result.reasons == [{"code": "approval_required", "message": "a crosses a threshold"}]
}

test_deny_when_approval_is_never_offered if {
	threshold := {"parameter": "a", "above": 0, "outcome": "escalate"}
	result := decide(object.union(base, {"thresholds": [threshold], "approval": {"when": "never"}}), {})
	result.outcome == "deny"
	codes(result) == {"approval_not_offered"}
}

test_deny_when_a_threshold_cannot_be_measured if {
	threshold := {"parameter": "b", "above": 0, "outcome": "escalate"}
	result := decide(with_member("thresholds", [threshold]), {})
	result.outcome == "deny"
	codes(result) == {"parameter_invalid"}
}

test_permissions_as_list_and_as_object if {
	needs := with_member("permissions", ["p"])
	decide_with(needs, {}).outcome == "allow"
	decide_with(needs, {"actor": {"roles": ["m"]}}).outcome == "allow"
	decide_with(with_member("permissions", ["q"]), {"actor": {"roles": ["m"]}}).outcome == "deny"
}

test_principal_needs_the_permission_too if {
	needs := with_member("permissions", ["p"])
	decide_with(needs, {"actor": {"on_behalf_of": {"id": "y", "roles": ["m"]}}}).outcome == "allow"
	codes(decide_with(needs, {"actor": {"on_behalf_of": {"id": "y", "roles": []}}})) == {"principal_permission_missing"}
	codes(decide_with(needs, {"actor": {"on_behalf_of": 5}})) == {"actor_invalid"}
}

test_context if {
	needs := with_member("environments", ["e"])
	decide_with(needs, {}).outcome == "allow"
	codes(decide_with(needs, {"context": {"environment": "f"}})) == {"environment_not_allowed"}
	codes(decide_with(base, {"context": 5})) == {"context_invalid"}
}

test_entity if {
	codes(decide_with(base, {"entity": 5})) == {"entity_invalid"}
	codes(decide_with(with_member("entity_types", ["u"]), {})) == {"entity_type_not_allowed"}
	codes(decide_with(with_member("allowed_states", ["u"]), {})) == {"state_not_allowed"}
}

test_state_in_the_reason[name] if {
	some name, expected in {
		"another": [{"state": "s"}, "the entity's state is s; it must be one of: u, v"],
		"none yet": [{"state": null}, "the entity has no state yet; it must be one of: u, v"],
		"unknown": [{}, "the entity's state is not known; it must be one of: u, v"],
		"of another type": [{"state": 5}, "the entity's state is not known; it must be one of: u, v"],
	}
	entity := object.union({"type": "t", "id": "x"}, expected[0])
	result := data.holdpoint.decision with input as object.union(object.remove(proposal, ["entity"]), {"entity": entity})
		with data.holdpoint.contracts as {"act": with_member("allowed_states", ["u", "v"])}
		with data.holdpoint.rules as {}
	result.outcome == "deny"
	result.reasons == [{"code": "state_not_allowed", "message": expected[1]}]
}

test_presence_alone_may_be_required if {
	contract := {"parameters": {"a": {"required": true}}}
	decide_with(contract, {}).outcome == "allow"
	decide_with(contract, {"action": {"arguments": {"a": false}}}).outcome == "allow"
	codes(decide_with(contract, {"action": {"arguments": {"a": null}}})) == {"parameter_invalid"}
	codes(decide_with({"parameters": {"b": {"required": true}}}, {})) == {"unexpected_parameter", "parameter_missing"}
}

test_arguments_must_be_an_object if codes(decide_with(base, {"action": {"arguments": [1]}})) == {"arguments_invalid"}

test_additional_parameters if {
	extra := {"action": {"arguments": {"zzz": 1}}}
	codes(decide_with(base, extra)) == {"unexpected_parameter"}
	decide_with(with_member("additional_parameters", true), extra).outcome == "allow"
}

test_forced_argument_needs_no_specification if {
	forces := with_member("forced", {"dry_run": true})
	result := decide(forces, {})
	result.outcome == "compute"
	result.arguments == {"a": 1, "dry_run": true}
	decide_with(forces, {"action": {"arguments": {"dry_run": true}}}).outcome == "allow"
}

test_rewrite_of_a_value if {
	rewrites := with_member("rewrites", [{"parameter": "a", "value": 1, "to": 2}])
	result := decide(rewrites, {})
	result.outcome == "compute"
	result.arguments == {"a": 2}
}

# ---------------------------------------------------------------------------------------------------- limits, locks

test_keys_are_built_and_escaped if {
	limit := {"key": "k", "by": ["entity.type", "entity.id"], "limit": 5, "window_seconds": 60, "cost_parameter": "a"}
	lock := {"key": "l", "by": ["actor.id", "context.session", "principal.id"], "ttl_seconds": 5}
	result := decide_with(
		object.union(base, {"limits": [limit], "lock": lock}),
		{"actor": {"on_behalf_of": {"id": "100%"}}},
	)
	result.limits == [{"key": "k:t:a%3Ab", "limit": 5, "window_seconds": 60, "cost": 1, "on_exceed": "deny"}]
	result.lock == {"key": "l:x:s:100%25", "ttl_seconds": 5}
}

test_key_by_argument if {
	limit := {"key": "k", "by": ["arguments.to"], "limit": 5, "window_seconds": 60, "cost": 2, "on_exceed": "escalate"}
	contract := object.union(base, {"limits": [limit], "parameters": {"to": {"type": "string"}}})
	result := decide_with(contract, {"action": {"arguments": {"to": "bob"}}})
	result.limits == [{"key": "k:bob", "limit": 5, "window_seconds": 60, "cost": 2, "on_exceed": "escalate"}]
	codes(decide_with(contract, {})) == {"context_missing"}
}

test_deny_when_a_lock_lacks_its_fact if {
	result := decide(with_member("lock", {"key": "l", "by": ["context.none"], "ttl_seconds": 5}), {})
	codes(result) == {"context_missing"}
}

test_every_member_at_once if {
	contract := {
		"description": "all",
		"entity_types": ["t"],
		"allowed_states": ["s"],
		"environments": ["e"],
		"permissions": ["p"],
		"risk": "critical",
		"parameters": {"a": {"type": "number"}},
		"additional_parameters": false,
		"approval": {"when": "threshold"},
		"permit": {"required": true, "ttl_seconds": 5, "audience": "x", "bind_entity_version": true},
		"executor": "x.do",
		"event": "DONE",
		"classifications": ["pii"],
		"session": true,
		"session_sums": ["a"],
		"obligations": {"log": true},
		"mode": "observe",
	}
	decide_with(contract, {}) == {
		"outcome": "allow",
		"reasons": [],
		"contract": "act",
		"rules": ["contract"],
		"risk": "critical",
		"permit": {"required": true, "ttl_seconds": 5, "audience": "x", "bind_entity_version": true},
		"session": {"classifications": ["pii"], "sums": {"a": 1}},
		"obligations": {"log": true},
		"mode": "observe",
	}
	decide_with(with_member("risk", "high"), {}).risk == "high"
}

test_deny_empty_permission_or_actor if {
	codes(decide_with(base, {"actor": {"id": ""}})) == {"actor_invalid"}
	codes(decide_with(base, {"actor": {"roles": "r"}})) == {"actor_invalid"}
}

test_rewrite_that_does_not_fit if {
	decide(with_member("rewrites", [{"parameter": "a", "value": 7, "to": 2}]), {}) == plain
}

test_null_is_absence_for_context_and_entity if {
	result := data.holdpoint.decision with input as object.union(
		object.remove(proposal, ["context", "entity"]),
		{"context": null, "entity": null},
	)
		with data.holdpoint.contracts as {"act": base}
		with data.holdpoint.rules as {}
	result == plain
}
