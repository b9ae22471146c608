package holdpoint.rules.executables_test

import data.holdpoint.rules.executables

write(arguments) := {"action": {"name": "fs.write_file", "arguments": arguments}}

test_escalate_script if count(executables.verdicts) == 1 with input as write({"content": "#!/bin/sh"})

test_escalate_when_content_is_missing_or_ill_typed if {
	count(executables.verdicts) == 1 with input as write({})
	count(executables.verdicts) == 1 with input as write({"content": ["#!/bin/sh"]})
}

test_silent_for_text_and_other_actions if {
	count(executables.verdicts) == 0 with input as write({"content": "text"})
	count(executables.verdicts) == 0 with input as {"action": {"name": "fs.read_file", "arguments": {}}}
}
