# METADATA
# title: What the session did before
# description: |
#   Each step may be harmless where the sequence is not: reading a customer's record and then writing to a stranger, or
#   many small refunds in a row. A session that is not known is treated as one that did it all. Data:
#   `holdpoint.support.{own_mail_domains,session_refunds_max}`.
package holdpoint.rules.session

verdicts contains {
	"outcome": "escalate",
	"code": "personal_data_may_leave",
	"message": "this session has read personal data, or is not known: sending outside needs approval",
	"approval": {"roles": ["privacy_officer"], "quorum": 1, "ttl_seconds": 1800},
} if {
	input.action.name == "support.forward"
	not is_inside
	not is_free_of_personal_data
}

verdicts contains {
	"outcome": "deny",
	"code": "session_refunds_spent",
	"message": "this session has refunded as much as one may, or is not known: escalate the ticket",
} if {
	input.action.name == "support.issue_refund"
	not has_refunds_left
}

# METADATA
# description: The recipient is one of us. The name behind the last @ decides.
is_inside if {
	parts := split(input.action.arguments.to, "@")
	parts[count(parts) - 1] in data.holdpoint.support.own_mail_domains
}

# METADATA
# description: Nothing that was allowed in this session touched personal data.
is_free_of_personal_data if {
	is_array(input.session.classifications)
	every class in input.session.classifications {
		is_string(class)
		class != "pii"
	}
}

# METADATA
# description: What was refunded in this session so far leaves something.
has_refunds_left if {
	is_object(input.session.sums)
	refunded := object.get(input.session.sums, "amount", 0)
	is_number(refunded)
	is_number(data.holdpoint.support.session_refunds_max)
	refunded < data.holdpoint.support.session_refunds_max
}
