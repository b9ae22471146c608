package holdpoint.rules.card_numbers_test

import data.holdpoint.rules.card_numbers

release(arguments) := {"action": {"name": "deploy.release", "arguments": arguments}}

test_deny_card_number[name] if {
	some name, arguments in {
		"text": {"notes": "card 4111 1111 1111 1111."},
		"number": {"labels": {"n": 4111111111111111}},
		"key": {"labels": {"4111-1111-1111-1111": true}},
		"list": {"labels": [["4111111111111111"]]},
	}
	count(card_numbers.verdicts) == 1 with input as release(arguments)
}

test_silent_without_card_number[name] if {
	some name, arguments in {
		"short": {"notes": "4111 1111 1111"},
		"longer number": {"notes": "41111111111111112222"},
		"nothing": {},
	}
	count(card_numbers.verdicts) == 0 with input as release(arguments)
}

test_deny_when_there_is_nothing_to_render if {
	count(card_numbers.verdicts) == 1 with input as {"action": {"name": "deploy.release"}}
}

test_silent_for_other_actions if {
	count(card_numbers.verdicts) == 0 with input as {"action": {"name": "x", "arguments": {"n": 4111111111111111}}}
}
