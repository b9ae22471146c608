# METADATA
# title: Refunds within the payment
# description: |
#   Nobody pays back more than was paid, by what the order's events say. Where no event said how much, nothing is paid
#   back automatically; a reviewer may still agree to a refund. Orders that are not paid are the contract's to refuse.
package holdpoint.rules.payment

verdicts contains {
	"outcome": "deny",
	"code": "refund_exceeds_payment",
	"message": "the refund is above what is on record as paid for the order",
} if {
	input.action.name == "AUTO_REFUND"
	input.entity.state == "PAID"
	not is_within_payment
}

verdicts contains {
	"outcome": "deny",
	"code": "refund_exceeds_payment",
	"message": "the refund is above what is on record as paid for the order",
} if {
	input.action.name == "REFUND_ORDER"
	input.entity.attributes.paid
	not is_within_payment
}

# METADATA
# description: The amount is at most what was paid. Unless both are numbers it is not.
is_within_payment if {
	is_number(input.action.arguments.amount)
	is_number(input.entity.attributes.paid)
	input.action.arguments.amount <= input.entity.attributes.paid
}
