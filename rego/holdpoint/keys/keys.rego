# METADATA
# title: Keys of limits and locks
# description: |
#   A contract names a key and, in `by`, the facts that tell one counter or lock from another: `actor.id`,
#   `principal.id`, `entity.type`, `entity.id`, `context.<name>` or `arguments.<name>`. The parts are joined by colons,
#   and a colon inside a part is escaped, so that nobody can choose an id that lands on another key.
package holdpoint.keys

# METADATA
# description: One limit as the gate takes it; undefined when a fact that it counts by is missing.
limit(rule, arguments) := {
	"key": key(rule, arguments),
	"limit": rule.limit,
	"window_seconds": rule.window_seconds,
	"cost": cost(rule, arguments),
	"on_exceed": object.get(rule, "on_exceed", "deny"),
}

# METADATA
# description: A lock as the gate takes it; undefined when a fact that it is kept by is missing.
lock(rule, arguments) := {
	"key": key(rule, arguments),
	"ttl_seconds": rule.ttl_seconds,
}

# A negative cost would give budget back.
cost(rule, arguments) := value if {
	value := arguments[rule.cost_parameter]
	is_number(value)
	value >= 0
}

cost(rule, _) := object.get(rule, "cost", 1) if not rule.cost_parameter

key(rule, arguments) := concat(":", array.concat([rule.key], parts)) if {
	by := object.get(rule, "by", [])
	parts := [escaped(fact(path, arguments)) | some path in by]
	count(parts) == count(by)
}

escaped(text) := replace(replace(text, "%", "%25"), ":", "%3A")

fact(path, _) := input.actor.id if path == "actor.id"

fact(path, _) := input.actor.on_behalf_of.id if path == "principal.id"

fact(path, _) := input.entity.type if path == "entity.type"

fact(path, _) := input.entity.id if path == "entity.id"

fact(path, _) := input.context[trim_prefix(path, "context.")] if startswith(path, "context.")

fact(path, arguments) := arguments[trim_prefix(path, "arguments.")] if startswith(path, "arguments.")
