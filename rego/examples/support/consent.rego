# METADATA
# title: Consent
# description: |
#   Nothing is sent on behalf of a customer, nor read about one, before they have agreed to it, or after they took it
#   back. States say where a ticket stands; what to do about it is `consent_missing`, which an agent can act on.
package holdpoint.rules.consent

verdicts contains {
	"outcome": "deny",
	"code": "consent_missing",
	"message": "the customer has not agreed to this: ask for consent, or escalate the ticket",
} if {
	input.action.name in {"support.reply", "support.look_up", "support.forward"}
	not has_consent
}

# METADATA
# description: The ticket says that its customer has agreed.
has_consent if input.entity.state == "CONSENTED"
