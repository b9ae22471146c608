# METADATA
# title: Contracts
# description: |
#   Judges a proposal by the contract of its action, which is data: `data.holdpoint.contracts[<action name>]`.
#
#   `satisfied` and `quiet` are the authority and are positive: they say what holds, and whatever is absent or wrongly
#   typed leaves them undefined. `verdicts` explains. An explanation that is missing cannot turn into an allow: a
#   contract that is not satisfied denies, if need be with `contract_not_satisfied`.
#
#   What is judged are the effective arguments: those that would run, after `rewrites` and `forced`. So the round
#   after a rewrite gives the same judgement and nothing to rewrite.
#
#   Most helpers are functions of what they look at. Compiled to WebAssembly a rule costs a memo entry and each use of
#   it a look-up, a function neither; and alternatives are chained with `else`, because without it every one is tried
#   even after the first has held. Together that halved the time of an allow.
package holdpoint.contract

import data.holdpoint.keys
import data.holdpoint.parameters
import data.holdpoint.shape

# METADATA
# description: Name of the action, when it is one.
name := input.action.name if shape.is_name(input.action.name)

# METADATA
# description: The contract of this action.
contract := data.holdpoint.contracts[name]

# METADATA
# description: Everything that the contract demands holds, thresholds and approval aside.
satisfied if {
	current := contract
	is_well_formed(current)
	admits_actor(current, input.actor)
	admits_entity(current, object.get(input, "entity", null))
	admits_context(current, object.get(input, "context", null))
	arguments := effective
	admits_arguments(current, arguments)
	has_additions_resolved(current)
}

# METADATA
# description: Nothing calls for a human or a refusal, and nothing needs rewriting. Only meaningful when satisfied.
quiet if {
	current := contract
	not rewrites
	not escalates_always(current)
	not crosses_threshold(current, effective)
}

# METADATA
# description: The contract is an object and each of its members is known and well typed.
is_well_formed(candidate) if {
	is_object(candidate)
	every key, value in candidate {
		shape.member(key, value)
	}
}

# ---------------------------------------------------------------------------------------------------------- actor

admits_actor(current, actor) if {
	is_actor(actor)
	is_permitted(current, actor)
	admits_principal(current, object.get(actor, "on_behalf_of", null))
}

is_actor(actor) if {
	shape.is_name(actor.id)
	has_sound_roles(actor)
}

# No roles is an actor without any; roles that are not a list of strings are a mistake worth hearing about.
has_sound_roles(party) if {
	roles := object.get(party, "roles", null)
	roles != null
	shape.is_strings(roles)
} else if {
	object.get(party, "roles", null) == null
}

# Who acts for somebody needs the permissions itself, and cannot lend that somebody any: where the principal's roles
# are known, they have to carry the permissions too.
admits_principal(current, principal) if {
	principal == null
} else if {
	is_principal(principal)
	is_permitted_principal(current, principal)
}

is_principal(principal) if {
	is_actor(principal)

	# One level: permissions of a chain that nobody checks to its end would be a way around them.
	object.get(principal, "on_behalf_of", null) == null
}

is_permitted_principal(current, principal) if {
	object.get(principal, "roles", null) == null
} else if {
	is_permitted(current, principal)
}

is_permitted(current, party) if {
	every permission in object.get(current, "permissions", []) {
		holds_permission(party, permission)
	}
}

holds_permission(party, permission) if {
	some role in party.roles
	gives_permission(data.holdpoint.roles[role], permission)
}

# A role is a list of permissions, or an object of permissions that are true: objects of several files merge into one
# role, lists do not.
gives_permission(permissions, permission) if {
	permissions[permission] == true
} else if {
	is_array(permissions)
	permission in permissions
}

# ------------------------------------------------------------------------------------------------ entity, context

admits_entity(current, entity) if {
	is_entity(entity)
	admits_entity_type(current, entity)
	admits_state(current, entity)
}

is_entity(entity) if {
	entity == null
} else if {
	shape.is_name(entity.type)
	shape.is_name(entity.id)
}

admits_entity_type(current, entity) if {
	not current.entity_types
} else if {
	entity.type in current.entity_types
}

admits_state(current, entity) if {
	not current.allowed_states
} else if {
	entity.state in current.allowed_states
}

admits_context(current, context) if {
	is_context(context)
	admits_environment(current, context)
}

is_context(context) if {
	is_object(context)
} else if {
	context == null
}

admits_environment(current, context) if {
	not current.environments
} else if {
	context.environment in current.environments
}

# ------------------------------------------------------------------------------------------------------ arguments

# METADATA
# description: The arguments as proposed.
proposed := input.action.arguments if is_object(input.action.arguments)

# METADATA
# description: The arguments that would run.
effective := rewritten(contract, proposed)

# METADATA
# description: What would run is not what was proposed.
rewrites if {
	may_rewrite(contract)
	effective != proposed
}

may_rewrite(current) if {
	current.forced
} else if {
	current.rewrites
}

rewritten(current, arguments) := arguments if {
	not may_rewrite(current)
} else := overlay(redirected, object.get(current, "forced", {})) if {
	redirected := {parameter: value |
		some parameter, old in arguments
		value := replaced(current, parameter, old)
	}
}

# The first rewrite that fits decides, in the order in which the contract lists them.
replaced(current, parameter, old) := candidates[0] if {
	candidates := [value |
		some rewrite in current.rewrites
		rewrite.parameter == parameter
		value := applied(rewrite, old)
	]
} else := old

applied(rewrite, old) := concat("", [rewrite.to, trim_prefix(old, rewrite.prefix)]) if {
	startswith(old, rewrite.prefix)
} else := rewrite.to if {
	old == rewrite.value
}

# METADATA
# description: |
#   `top` laid over `base`, member by member. Not object.union alone: it merges objects inside objects, and a forced
#   value would keep members that the proposer chose.
overlay(base, top) := object.union(object.remove(base, top), top)

admits_arguments(current, arguments) if {
	specifications := object.get(current, "parameters", {})
	every parameter, value in arguments {
		admits_argument(current, parameter, value)
	}
	every parameter, spec in specifications {
		has_required(arguments, parameter, spec)
	}
	every threshold in object.get(current, "thresholds", []) {
		is_number(arguments[threshold.parameter])
	}
}

admits_argument(current, parameter, value) if {
	parameters.accepts(current.parameters[parameter], value)
} else if {
	not current.parameters[parameter]
	value == current.forced[parameter]
} else if {
	not current.parameters[parameter]
	current.additional_parameters == true
}

# Anything but a plain false counts as required.
has_required(arguments, parameter, spec) if {
	_ := arguments[parameter]
} else if {
	object.get(spec, "required", false) == false
}

# ------------------------------------------------------------------------------------------- thresholds, approval

crosses_threshold(current, arguments) if {
	some threshold in current.thresholds
	is_crossed(threshold, arguments[threshold.parameter])
}

is_crossed(threshold, value) if {
	value > threshold.above
} else if {
	value >= threshold.at_least
} else if {
	value < threshold.below
} else if {
	value <= threshold.at_most
}

escalates_always(current) if current.approval.when == "always"

# METADATA
# description: What the contract asks of reviewers.
requirement := object.remove(object.get(contract, "approval", {}), ["when"])

# ------------------------------------------------------------------------------------------------ what comes along

# METADATA
# description: Members of an allow or an escalation that come from the contract.
grants := granted(contract)

granted(current) := object.filter(current, ["risk", "mode", "permit", "obligations"]) if {
	not has_additions(current)
} else := object.union(object.filter(current, ["risk", "mode", "permit", "obligations"]), additions)

# METADATA
# description: Members of every result that come from the contract. One that cannot be trusted has none to give.
labels := object.filter(contract, ["risk", "mode"]) if is_well_formed(contract)

has_additions(current) if {
	current.limits
} else if {
	current.lock
} else if {
	current.classifications
} else if {
	current.session_sums
}

# All of them or nothing: a limit that lacks a fact must not be left out of those that are charged.
has_additions_resolved(current) if {
	not has_additions(current)
} else if {
	count(limits) == count(object.get(current, "limits", []))
	has_lock_resolved(current)
	has_sums_resolved(current, effective)
}

has_lock_resolved(current) if {
	not current.lock
} else if {
	lock
}

has_sums_resolved(current, arguments) if {
	every parameter in object.get(current, "session_sums", []) {
		has_sum_resolved(arguments, parameter)
	}
}

# An argument that is not there adds nothing. One that is negative would give back what the session has used.
has_sum_resolved(arguments, parameter) if {
	shape.is_amount(arguments[parameter])
} else if {
	not parameter in object.keys(arguments)
}

limits := [keys.limit(rule, effective) | some rule in contract.limits] if {
	not escalates_never(contract)
} else := [object.union(keys.limit(rule, effective), {"on_exceed": "deny"}) | some rule in contract.limits]

# Nobody to ask is a no.
escalates_never(current) if current.approval.when == "never"

lock := keys.lock(contract.lock, effective)

additions["limits"] := limits if contract.limits

additions["lock"] := lock if contract.lock

additions["session"] := session if count(session) > 0

# Whom to ask when a limit that escalates is exceeded: only the gate will know that it is.
additions["approval"] := requirement if {
	may_escalate(limits)
	count(requirement) > 0
}

# METADATA
# description: True when the gate may send an allow to a reviewer because one of these limits is exceeded.
may_escalate(candidates) if {
	some candidate in candidates
	candidate.on_exceed == "escalate"
}

session["classifications"] := contract.classifications if count(contract.classifications) > 0

session["sums"] := sums if count(sums) > 0

sums := {parameter: effective[parameter] | some parameter in contract.session_sums}
