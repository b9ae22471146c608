package holdpoint.rules.change_window_test

import data.holdpoint.rules.change_window

at(time) := {
	"action": {"name": "deploy.release", "arguments": {}},
	"context": {"environment": "production"},
	"time": time,
}

test_escalate_outside_the_window[time] if {
	some time in [
		"2026-11-20T05:59:59.999Z",
		"2026-11-20T18:00:00.000Z",
		"2026-11-20T10:00:00Z",
		"2026-11-20T10:00:00.000+02:00",
		"",
		null,
		10,
	]
	codes := {verdict.code | some verdict in change_window.verdicts} with input as at(time)
	codes == {"outside_change_window"}
}

test_silent_inside_the_window[time] if {
	some time in ["2026-11-20T06:00:00.000Z", "2026-11-20T08:30:00.000Z", "2026-11-20T17:59:59.999Z"]
	count(change_window.verdicts) == 0 with input as at(time)
}

test_escalate_when_the_window_is_not_set if {
	count(change_window.verdicts) == 1 with input as at("2026-11-20T08:30:00.000Z")
		with data.holdpoint.change_window as {"from_hour": "6"}
}

test_escalate_without_time if {
	count(change_window.verdicts) == 1 with input as object.remove(at(""), ["time"])
}

test_silent_for_other_actions_and_environments if {
	count(change_window.verdicts) == 0 with input as object.union(at(""), {"context": {"environment": "staging"}})
	count(change_window.verdicts) == 0 with input as object.union(at(""), {"action": {"name": "x"}})
}
