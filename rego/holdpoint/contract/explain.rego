package holdpoint.contract

import data.holdpoint.keys
import data.holdpoint.parameters
import data.holdpoint.shape

# METADATA
# description: |
#   What the contract says, one verdict per thing to say. Evaluated only where the contract is not plainly content.
#   Messages name what the contract names and never quote the proposal, so that equal refusals are equal texts.
verdicts contains verdict if some verdict in refusals

verdicts contains {
	"rule": "contract",
	"outcome": "deny",
	"code": "contract_not_satisfied",
	"message": "the contract of this action is not satisfied",
} if {
	not satisfied
	count(refusals) == 0
}

verdicts contains {"rule": "contract", "outcome": "allow"} if satisfied

verdicts contains {
	"rule": "contract.rewrites",
	"outcome": "compute",
	"code": "arguments_rewritten",
	"message": "the contract sets or redirects arguments",
} if {
	satisfied
	rewrites
}

verdicts contains {
	"rule": "contract.approval",
	"outcome": "escalate",
	"code": "approval_required",
	"message": "every call of this action needs approval",
	"approval": requirement,
} if {
	satisfied
	escalates_always(contract)
}

verdicts contains verdict if {
	satisfied
	some threshold in contract.thresholds
	is_crossed(threshold, effective[threshold.parameter])
	verdict := threshold_verdict(threshold)
}

threshold_verdict(threshold) := {
	"rule": "contract.thresholds",
	"outcome": "deny",
	"code": object.get(threshold, "code", "threshold_exceeded"),
	"message": threshold_message(threshold),
} if {
	threshold.outcome == "deny"
}

threshold_verdict(threshold) := {
	"rule": "contract.thresholds",
	"outcome": "escalate",
	"code": object.get(threshold, "code", "approval_required"),
	"message": threshold_message(threshold),
	"approval": object.get(threshold, "approval", requirement),
} if {
	threshold.outcome == "escalate"
	not escalates_never(contract)
}

# Nobody to ask is a no.
threshold_verdict(threshold) := {
	"rule": "contract.thresholds",
	"outcome": "deny",
	"code": "approval_not_offered",
	"message": threshold_message(threshold),
} if {
	threshold.outcome == "escalate"
	escalates_never(contract)
}

threshold_message(threshold) := object.get(
	threshold, "message",
	concat(" ", [threshold.parameter, "crosses a threshold"]),
)

# ------------------------------------------------------------------------------------------------------- refusals

refuse(rule, code, message) := {"rule": rule, "outcome": "deny", "code": code, "message": message}

refusals contains refuse("contract", "action_invalid", "action.name must be a string that is not empty") if not name

refusals contains refuse("contract", "unknown_action", "no contract governs this action") if {
	name
	not is_governed
}

is_governed if _ := contract

well_formed if is_well_formed(contract)

principal := object.get(input.actor, "on_behalf_of", null)

entity := object.get(input, "entity", null)

context := object.get(input, "context", null)

refusals contains refuse("contract", "contract_invalid", "the contract is not an object") if {
	is_governed
	not is_object(contract)
}

refusals contains refuse("contract", "contract_invalid", message) if {
	some key, value in contract
	not shape.member(key, value)
	message := concat(" ", ["the contract's member", key, "is unknown or ill-typed"])
}

# What follows compares the proposal with the contract, which only makes sense with one that can be trusted.

refusals contains refuse("contract.actor", "actor_invalid", "actor needs an id, and a list of roles if any") if {
	well_formed
	not is_actor(object.get(input, "actor", null))
}

refusals contains refuse("contract.actor", "actor_invalid", "on_behalf_of needs an id, and cannot be nested") if {
	well_formed
	principal != null
	not is_principal(principal)
}

refusals contains refuse("contract.permissions", "permission_missing", message) if {
	well_formed
	some permission in object.get(contract, "permissions", [])
	not holds_permission(input.actor, permission)
	message := concat(" ", ["the actor lacks the permission", permission])
}

refusals contains refuse("contract.permissions", "principal_permission_missing", message) if {
	well_formed
	object.get(principal, "roles", null) != null
	some permission in object.get(contract, "permissions", [])
	not holds_permission(principal, permission)
	message := concat(" ", ["who the actor acts for lacks the permission", permission])
}

refusals contains refuse("contract.entity", "entity_invalid", "entity needs a type and an id") if {
	well_formed
	not is_entity(entity)
}

refusals contains refuse("contract.entity", "entity_type_not_allowed", message) if {
	well_formed
	not admits_entity_type(contract, entity)
	message := concat(" ", ["the entity must be one of:", concat(", ", contract.entity_types)])
}

refusals contains refuse("contract.entity", "state_not_allowed", message) if {
	well_formed
	not admits_state(contract, entity)
	message := concat(" ", [state_message(entity), "it must be one of:", concat(", ", contract.allowed_states)])
}

# The state is the store's to know, not the proposer's to say, so it may be quoted.
state_message(party) := concat("", ["the entity's state is ", party.state, ";"]) if {
	is_string(party.state)
} else := "the entity has no state yet;" if {
	party.state == null
} else := "the entity's state is not known;"

refusals contains refuse("contract.context", "context_invalid", "context must be an object") if {
	well_formed
	not is_context(context)
}

refusals contains refuse("contract.context", "environment_not_allowed", message) if {
	well_formed
	not admits_environment(contract, context)
	message := concat(" ", ["context.environment must be one of:", concat(", ", contract.environments)])
}

refusals contains refuse("contract.parameters", "arguments_invalid", "action.arguments must be an object") if {
	well_formed
	not proposed
}

refusals contains refuse("contract.parameters", "parameter_missing", message) if {
	well_formed
	proposed
	some parameter, spec in contract.parameters
	not has_required(effective, parameter, spec)
	message := concat(" ", ["argument", parameter, "is required"])
}

refusals contains refuse("contract.parameters", "unexpected_parameter", "the contract does not know all arguments") if {
	well_formed
	some parameter, value in effective
	not contract.parameters[parameter]
	not admits_argument(contract, parameter, value)
}

refusals contains refuse("contract.parameters", "parameter_invalid", message) if {
	well_formed
	some parameter, value in effective
	spec := contract.parameters[parameter]
	not parameters.accepts(spec, value)

	# Sorted, because WebAssembly walks a set in another order than OPA does.
	failures := concat(", ", sort(parameters.failures(spec, value)))
	message := concat(" ", ["argument", parameter, "fails:", failures])
}

refusals contains refuse("contract.thresholds", "parameter_invalid", message) if {
	well_formed
	proposed
	some threshold in contract.thresholds
	not is_measurable(threshold)
	message := concat(" ", ["argument", threshold.parameter, "must be a number for its threshold"])
}

refusals contains refuse("contract.limits", "context_missing", "a limit or lock lacks a fact that it is kept by") if {
	well_formed
	proposed
	not has_every_fact
}

has_every_fact if {
	every rule in object.get(contract, "limits", []) {
		keys.has_facts(rule, effective)
	}
	has_lock_resolved(contract)
}

refusals contains refuse("contract.limits", "limit_cost_invalid", message) if {
	well_formed
	some rule in contract.limits
	value := effective[rule.cost_parameter]
	not shape.is_amount(value)
	message := amount_message([rule.cost_parameter, "costs a limit:"])
}

refusals contains refuse("contract.session", "session_sum_invalid", message) if {
	well_formed
	some parameter in contract.session_sums
	value := effective[parameter]
	not shape.is_amount(value)
	message := amount_message([parameter, "adds up over the session:"])
}

amount_message(words) := concat(" ", array.concat(
	array.concat(["argument"], words),
	["it must be a number from 0 to 9007199254 with at most six decimals"],
))

# A helper, because a reference that is undefined inside `not f(...)` is undefined outside of it: the compiler looks the
# argument up first.
is_measurable(threshold) if is_number(effective[threshold.parameter])
