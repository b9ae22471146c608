# METADATA
# title: Change window
# description: |
#   A release to production outside the change window needs a human. `input.time` is the sidecar's clock: an RFC 3339
#   string in UTC with milliseconds, 2026-11-20T10:00:00.000Z, so the hour can be read off without a time library.
#   Reading it as a string keeps this rule native to WebAssembly. Data: `holdpoint.change_window.{from_hour,to_hour}`.
package holdpoint.rules.change_window

verdicts contains {
	"outcome": "escalate",
	"code": "outside_change_window",
	"message": "releases to production outside the change window need approval",
	"approval": {"roles": ["release_manager"], "quorum": 1, "ttl_seconds": 900},
} if {
	input.action.name == "deploy.release"
	input.context.environment == "production"
	not is_open
}

# METADATA
# description: The window is open. Without a readable time, or without numbers for the window, it is not.
is_open if {
	regex.match(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$`, input.time)

	# A leading 1 keeps 08 and 09 from being numbers that begin with zero, which JSON does not have.
	hour := to_number(concat("", ["1", substring(input.time, 11, 2)])) - 100
	is_number(data.holdpoint.change_window.from_hour)
	is_number(data.holdpoint.change_window.to_hour)
	hour >= data.holdpoint.change_window.from_hour
	hour < data.holdpoint.change_window.to_hour
}
