package holdpoint.rules.payment_test

import data.holdpoint.rules.payment

refund(action, amount, attributes) := {
	"action": {"name": action, "arguments": {"amount": amount}},
	"entity": {"type": "order", "id": "ord_001", "state": "PAID", "version": 2, "attributes": attributes},
}

refunds := ["AUTO_REFUND", "REFUND_ORDER"]

codes(given) := found if {
	found := {verdict.code | some verdict in payment.verdicts} with input as given
}

test_silent_up_to_the_payment[action] if {
	some action in refunds
	codes(refund(action, 49, {"paid": 49})) == set()
	codes(refund(action, 48.99, {"paid": 49})) == set()
}

test_deny_above_the_payment[action] if {
	some action in refunds
	codes(refund(action, 49.01, {"paid": 49})) == {"refund_exceeds_payment"}
}

test_deny_when_amount_or_payment_is_no_number[action] if {
	some action in refunds
	codes(refund(action, "49", {"paid": 49})) == {"refund_exceeds_payment"}
	codes(refund(action, 49, {"paid": "49"})) == {"refund_exceeds_payment"}
	codes(refund(action, 49, {"paid": null})) == {"refund_exceeds_payment"}
}

test_without_a_known_payment_only_a_human_may_agree if {
	codes(refund("AUTO_REFUND", 49, {})) == {"refund_exceeds_payment"}
	codes(refund("REFUND_ORDER", 49, {})) == set()
}

test_silent_where_the_state_says_no if {
	unpaid := object.union(refund("AUTO_REFUND", 49, {}), {"entity": {"state": "CREATED"}})
	codes(unpaid) == set()
	codes(object.remove(unpaid, ["entity"])) == set()
}

test_silent_for_other_actions if codes(refund("ISSUE_REFUND", 49, {"paid": 1})) == set()
