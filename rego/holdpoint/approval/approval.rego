# METADATA
# title: Merging what several escalations ask
# description: |
#   The strictest of each: the highest quorum, the shortest lifetimes, the roles that are in every list, and an exact
#   binding unless all ask for the same envelope. Roles without a common one cannot be satisfied by any reviewer, so
#   `conflict` holds and main denies: granting by one list would pass over the other.
package holdpoint.approval

# METADATA
# description: One requirement that satisfies all of `requirements`, a set of objects.
merge(requirements) := requirement if {
	count(requirements) == 1
	some requirement in requirements
}

merge(requirements) := {member: value |
	some member in ["roles", "quorum", "ttl_seconds", "grant_ttl_seconds", "binding", "envelope"]
	value := merged(member, requirements)
} if {
	count(requirements) > 1
}

# METADATA
# description: True when no reviewer can hold a role of every list.
conflict(requirements) if {
	role_lists := lists(requirements)
	count(role_lists) > 0
	count(intersection(role_lists)) == 0
}

merged(member, requirements) := max(values(member, requirements)) if member == "quorum"

merged(member, requirements) := min(values(member, requirements)) if member in ["ttl_seconds", "grant_ttl_seconds"]

merged(member, requirements) := sort(intersection(lists(requirements))) if {
	member == "roles"
	count(lists(requirements)) > 0
}

merged(member, requirements) := shared if {
	member in ["binding", "envelope"]
	every requirement in requirements {
		requirement.envelope
	}
	some shared in values(member, requirements)
	count(values("envelope", requirements)) == 1
}

values(member, requirements) := {requirement[member] | some requirement in requirements}

# An empty list names nobody in particular: any reviewer.
lists(requirements) := {roles |
	some requirement in requirements
	count(requirement.roles) > 0
	roles := {role | some role in requirement.roles}
}
