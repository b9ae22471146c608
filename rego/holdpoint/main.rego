# METADATA
# title: Holdpoint policy library
# description: |
#   One entrypoint, `holdpoint/decision`. Rules contribute verdicts to a set and never decide alone; the strongest
#   outcome is taken (deny > escalate > compute > allow), every reason is kept, and without any verdict, or on input
#   that is absent or wrongly typed, the answer is deny.
#
#   Verdicts come from the contract of the action (package holdpoint.contract) and from every package
#   `holdpoint.rules.<name>` that defines `verdicts`, a set of objects:
#
#     outcome      "deny", "escalate", "compute" or "allow"
#     code         word for machines; optional with "allow"
#     message      sentence for people; optional with "allow"
#     approval     with "escalate": roles, quorum, ttl_seconds, grant_ttl_seconds, binding, envelope
#     arguments    with "compute", and only there: arguments to set, laid over those that would run
#     limits       with "allow" or "escalate": limits to add, each {key, limit, window_seconds, window, on_exceed} with
#                  cost, or with distinct: the value of which only so many different ones may come
#     obligations  with "allow" or "escalate": members to add
#
#   A verdict that is anything else denies (`verdict_invalid`). An "allow" of a rule never outweighs the contract: an
#   action without a contract, or outside it, is denied whatever else speaks.
#
#   A rewrite is decided again. The gate puts `arguments`, when a result has them, back through this entrypoint until a
#   result has none. Besides "compute", an "escalate" has them when a rule wants a human and a rewrite is still due:
#   the approval then binds the rewritten arguments of the last round. "allow" and "deny" never have them.
package holdpoint

import data.holdpoint.approval
import data.holdpoint.contract
import data.holdpoint.shape

# METADATA
# title: The decision on one proposal
# description: Validated by the gate against a strict schema; members that say nothing are left out.
# entrypoint: true
default decision := {
	"outcome": "deny",
	"reasons": [{"code": "no_verdict", "message": "no rule spoke for this proposal"}],
	"rules": [],
}

# Most proposals end here, so it builds nothing that it does not return.
decision := object.union(contract.grants, {
	"outcome": "allow",
	"reasons": [],
	"contract": contract.name,
	"rules": ["contract"],
}) if {
	is_plain
}

decision := object.union(_merged, _additions) if not is_plain

is_plain if {
	contract.satisfied
	contract.quiet
	count(_packages) == 0
}

# ------------------------------------------------------------------------------------------------ what rules said

# A package whose `verdicts` is empty had nothing to say; one whose `verdicts` is no collection is a mistake.
_packages[package_name] := said if {
	some package_name
	said := data.holdpoint.rules[package_name].verdicts
	_speaks(said)
}

_speaks(said) if count(said) > 0

_speaks(said) if not _is_collection(said)

_is_collection(said) if is_set(said)

_is_collection(said) if is_array(said)

_said contains verdict if some verdict in contract.verdicts

# A rule that sets what is set already has nothing to compute: so a round after a rewrite comes to rest.
_said contains object.union(verdict, {"rule": _rule_id(package_name)}) if {
	some package_name, said in _packages
	_is_collection(said)
	some verdict in said
	is_verdict(verdict)
	_matters(verdict)
}

_said contains {
	"rule": _rule_id(package_name),
	"outcome": "deny",
	"code": "verdict_invalid",
	"message": "a rule returned something that is not a verdict",
} if {
	some package_name, said in _packages
	not _are_verdicts(said)
}

_matters(verdict) if verdict.outcome != "compute"

_matters(verdict) if {
	some parameter, value in verdict.arguments
	not _is_set_already(parameter, value)
}

# A helper, because in `not value == object[key]` a missing key makes the whole expression undefined, not true.
_is_set_already(parameter, value) if value == contract.effective[parameter]

_rule_id(package_name) := concat(".", ["rules", package_name])

_are_verdicts(said) if {
	_is_collection(said)
	every verdict in said {
		is_verdict(verdict)
	}
}

# METADATA
# description: True for what a rule may contribute.
is_verdict(verdict) if {
	verdict.outcome in ["deny", "escalate", "compute", "allow"]
	_explains(verdict)
	_sets_arguments(verdict)
	every member, value in verdict {
		_verdict_member(member, value, verdict.outcome)
	}
}

_explains(verdict) if verdict.outcome == "allow"

_explains(verdict) if {
	verdict.code
	verdict.message
}

_sets_arguments(verdict) if verdict.outcome != "compute"

_sets_arguments(verdict) if count(verdict.arguments) > 0

_verdict_member(member, _, _) if member == "outcome"

_verdict_member(member, value, _) if {
	member in ["code", "message"]
	shape.is_name(value)
}

_verdict_member(member, value, outcome) if {
	member == "approval"
	outcome == "escalate"
	shape.is_requirement(value)
}

_verdict_member(member, value, outcome) if {
	member == "arguments"
	outcome == "compute"
	is_object(value)
}

_verdict_member(member, value, outcome) if {
	member == "limits"
	outcome in ["allow", "escalate"]
	shape.is_charges(value)
}

_verdict_member(member, value, outcome) if {
	member == "obligations"
	outcome in ["allow", "escalate"]
	is_object(value)
}

# ------------------------------------------------------------------------------------------- what they amount to

_verdicts := _said | _conflicts

_conflicts contains {
	"rule": "holdpoint",
	"outcome": "deny",
	"code": "approval_conflict",
	"message": "no reviewer has a role that every escalation asks for",
} if {
	approval.conflict(_requirements)
}

_conflicts contains {
	"rule": "holdpoint",
	"outcome": "deny",
	"code": "compute_conflict",
	"message": "rules set one argument to different values",
} if {
	_disagree(_overrides)
}

_conflicts contains {
	"rule": "holdpoint",
	"outcome": "deny",
	"code": "obligation_conflict",
	"message": "rules give one obligation different values",
} if {
	_disagree(_obligations)
}

_disagree(objects) if {
	some object_1 in objects
	some key, value in object_1
	some object_2 in objects
	object_2[key] != value
}

# Only for objects that agree: two values for one key are an error in Rego.
_joined(objects) := {key: value |
	some object_1 in objects
	some key, value in object_1
}

_requirements := {object.get(verdict, "approval", {}) |
	some verdict in _said
	verdict.outcome == "escalate"
}

_overrides := {verdict.arguments | some verdict in _said}

_obligations := {verdict.obligations | some verdict in _said} | {contract.contract.obligations}

# Sorted, because WebAssembly walks a set in another order than OPA does.
_limits := array.concat(
	object.get(contract.grants, "limits", []),
	sort({limit | some verdict in _said; some limit in verdict.limits}),
)

_strengths := {"allow": 0, "compute": 1, "escalate": 2, "deny": 3}

_strength := max({_strengths[verdict.outcome] | some verdict in _verdicts})

_outcome := outcome if {
	some outcome, strength in _strengths
	strength == _strength
}

# Strongest first, so that the first reason is the one that decided.
_reasons := [{"code": entry[1], "message": entry[2]} |
	some entry in sort({[0 - _strengths[verdict.outcome], verdict.code, verdict.message] | some verdict in _verdicts})
]

_arguments := contract.overlay(contract.effective, _joined(_overrides))

_merged := object.union(
	_labels,
	{
		"outcome": _outcome,
		"reasons": _reasons,
		"rules": sort({verdict.rule | some verdict in _verdicts}),
	},
)

default _labels := {}

_labels := object.union(contract.labels, {"contract": contract.name})

_additions[member] := value if {
	_outcome in ["allow", "escalate"]
	some member in ["permit", "lock", "session"]
	value := contract.grants[member]
}

_additions["limits"] := _limits if {
	_outcome in ["allow", "escalate"]
	count(_limits) > 0
}

_additions["obligations"] := obligations if {
	_outcome in ["allow", "escalate"]
	obligations := _joined(_obligations)
	count(obligations) > 0
}

_additions["approval"] := requirement if {
	_outcome == "escalate"
	requirement := approval.merge(_requirements)
	count(requirement) > 0
}

_additions["approval"] := contract.requirement if {
	_outcome == "allow"
	contract.may_escalate(_limits)
	count(contract.requirement) > 0
}

_additions["arguments"] := _arguments if {
	_outcome in ["compute", "escalate"]
	_arguments != contract.proposed
}
