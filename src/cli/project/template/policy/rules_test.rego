# The tests of rules.rego: `make test` runs every *_test.rego.
package holdpoint.rules.protected_test

import data.holdpoint.rules.protected

proposal(action, attributes) := {
	"action": {"name": action, "arguments": {}},
	"entity": {"type": "task", "id": "task-1", "state": "OPEN", "version": 1, "attributes": attributes},
}

codes(given) := found if {
	found := {verdict.code | some verdict in protected.verdicts} with input as given
}

test_deny_deletion_of_a_protected_label[label] if {
	some label in ["audit", "legal-hold"]
	codes(proposal("DELETE_TASK", {"label": label})) == {"task_protected"}
}

test_deny_deletion_when_label_is_missing_or_ill_typed if {
	codes(proposal("DELETE_TASK", {})) == {"task_protected"}
	codes(proposal("DELETE_TASK", {"label": ["chore"]})) == {"task_protected"}
	codes({"action": {"name": "DELETE_TASK"}, "entity": null}) == {"task_protected"}
}

test_silent_for_other_labels_and_actions if {
	codes(proposal("DELETE_TASK", {"label": "chore"})) == set()
	codes(proposal("CLOSE_TASK", {"label": "audit"})) == set()
}
