package holdpoint.rules.consent_test

import data.holdpoint.rules.consent

ticket(action, state) := {"action": {"name": action}, "entity": {"type": "ticket", "id": "t-1", "state": state}}

codes(given) := found if {
	found := {verdict.code | some verdict in consent.verdicts} with input as given
}

actions := ["support.reply", "support.look_up", "support.forward"]

test_silent_with_consent[action] if {
	some action in actions
	codes(ticket(action, "CONSENTED")) == set()
}

test_deny_without_consent[name] if {
	some action in actions
	some state in ["OPEN", "WITHDRAWN", null, true]
	name := concat(" ", [action, json.marshal(state)])
	codes(ticket(action, state)) == {"consent_missing"}
}

test_deny_without_entity_or_state if {
	codes(object.remove(ticket("support.reply", ""), ["entity"])) == {"consent_missing"}
	codes({"action": {"name": "support.reply"}, "entity": null}) == {"consent_missing"}
}

test_silent_for_what_needs_none[action] if {
	some action in ["support.escalate", "support.close", "deploy.release"]
	codes(ticket(action, "OPEN")) == set()
}
