# METADATA
# title: Card numbers
# description: |
#   Denies a deployment action whose arguments, rendered as text, contain what looks like a payment card number.
#   Rendering the whole object with sprintf is how published agent policies do it: it also sees numbers, keys and
#   nested values. sprintf is a builtin of the host in WebAssembly, so this rule is only as good as a host that renders
#   as OPA does.
package holdpoint.rules.card_numbers

verdicts contains {
	"outcome": "deny",
	"code": "card_number",
	"message": "the arguments contain what looks like a card number",
} if {
	is_covered
	not is_clean
}

is_covered if startswith(input.action.name, "deploy.")

# METADATA
# description: The arguments could be rendered and show no card number. Arguments that cannot be rendered are not clean.
is_clean if {
	rendered := sprintf("%v", [input.action.arguments])
	not regex.match(`(?:^|[^0-9])[0-9]{4}(?:[ -]?[0-9]{4}){3}(?:[^0-9]|$)`, rendered)
}
