# METADATA
# title: Protected tasks
# description: |
#   What the domain file cannot say: a task with a protected label is deleted by nobody, whoever agrees. A rule adds
#   verdicts to what the action's contract says; the strictest one counts.
package holdpoint.rules.protected

protected_labels := {"audit", "legal-hold"}

verdicts contains {
	"outcome": "deny",
	"code": "task_protected",
	"message": "the task's label is protected, or not known",
} if {
	input.action.name == "DELETE_TASK"
	not is_unprotected
}

# METADATA
# description: The label is known, and not among the protected ones. Asked this way, what is missing denies.
is_unprotected if {
	is_string(input.entity.attributes.label)
	not input.entity.attributes.label in protected_labels
}
