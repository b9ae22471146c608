package holdpoint.rules.session_test

import data.holdpoint.rules.session

settings := {"own_mail_domains": ["example.com"], "session_refunds_max": 300}

session_with(classifications, sums) := {
	"id": "s-1",
	"count": 3,
	"head": "",
	"actions": [],
	"classifications": classifications,
	"sums": sums,
}

codes(given) := found if {
	found := {verdict.code | some verdict in session.verdicts} with input as given
		with data.holdpoint.support as settings
}

forward(to, said) := {"action": {"name": "support.forward", "arguments": {"to": to}}, "session": said}

test_forward_is_silent_inside_or_before_personal_data if {
	codes(forward("a@example.com", session_with(["pii"], {}))) == set()
	codes(forward("a@example.com", null)) == set()
	codes(forward("a@else.org", session_with([], {}))) == set()
	codes(forward("a@else.org", session_with(["money"], {}))) == set()
}

test_forward_asks_after_personal_data if {
	codes(forward("a@else.org", session_with(["money", "pii"], {}))) == {"personal_data_may_leave"}
}

test_forward_asks_for_addresses_that_only_look_inside[to] if {
	some to in ["a@example.com@else.org", "a@example.com.else.org", "a@sub.example.com", "example.com.", "", null, 5]
	codes(forward(to, session_with(["pii"], {}))) == {"personal_data_may_leave"}
}

test_forward_asks_when_the_session_is_not_known[name] if {
	some name, given in {
		"null": forward("a@else.org", null),
		"absent": object.remove(forward("a@else.org", null), ["session"]),
		"without classes": forward("a@else.org", {"id": "s-1"}),
		"ill-typed class": forward("a@else.org", session_with([null], {})),
		"ill-typed classes": forward("a@else.org", {"classifications": "none"}),
	}
	codes(given) == {"personal_data_may_leave"}
}

test_forward_asks_when_our_own_domains_are_not_known if {
	found := {verdict.code | some verdict in session.verdicts} with data.holdpoint.support as {}
		with input as forward("a@example.com", session_with(["pii"], {}))
	found == {"personal_data_may_leave"}
}

test_deny_refund_when_the_most_is_not_set[name] if {
	some name, changed in {"absent": {}, "ill-typed": {"session_refunds_max": "300"}}
	found := {verdict.code | some verdict in session.verdicts} with data.holdpoint.support as changed
		with input as refund(session_with([], {}))
	found == {"session_refunds_spent"}
}

refund(said) := {"action": {"name": "support.issue_refund", "arguments": {"amount": 10}}, "session": said}

test_refund_is_silent_while_something_is_left if {
	codes(refund(session_with([], {}))) == set()
	codes(refund(session_with([], {"amount": 299.99}))) == set()
}

test_deny_refund_when_the_session_has_spent_all if {
	codes(refund(session_with([], {"amount": 300}))) == {"session_refunds_spent"}
	codes(refund(session_with([], {"amount": 301}))) == {"session_refunds_spent"}
}

test_deny_refund_when_the_session_is_not_known[name] if {
	some name, given in {
		"null": refund(null),
		"absent": object.remove(refund(null), ["session"]),
		"without sums": refund({"id": "s-1"}),
		"ill-typed sums": refund({"sums": []}),
		"ill-typed sum": refund({"sums": {"amount": "0"}}),
	}
	codes(given) == {"session_refunds_spent"}
}

test_silent_for_other_actions if codes({"action": {"name": "x", "arguments": {}}, "session": null}) == set()
