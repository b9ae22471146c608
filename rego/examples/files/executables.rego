# METADATA
# title: Executable files
# description: |
#   Asks a human before a file is written that a shell would run. Shows a rule that adds to a contract: the contract
#   still checks path and content, and still redirects production paths first.
package holdpoint.rules.executables

verdicts contains {
	"outcome": "escalate",
	"code": "executable_content",
	"message": "writing executable content needs approval",
	"approval": {"roles": ["ops_operator"]},
} if {
	input.action.name == "fs.write_file"
	not is_harmless
}

# METADATA
# description: The content is text that does not begin as a script.
is_harmless if {
	is_string(input.action.arguments.content)
	not startswith(input.action.arguments.content, "#!")
}
