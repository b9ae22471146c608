# METADATA
# title: Keys of limits and locks
# description: |
#   A contract names a key and, in `by`, the facts that tell one counter or lock from another: `actor.id`,
#   `principal.id`, `entity.type`, `entity.id`, `entity.attributes.<name>`, `context.<name>` or `arguments.<name>`, each a
#   text. The parts are joined by colons, and a colon inside a part is escaped, so that nobody can choose an id that lands
#   on another key. `distinct` of a limit is such a fact too: how many different ones there are is what is limited.
package holdpoint.keys

import data.holdpoint.shape

# METADATA
# description: |
#   One limit as the gate takes it; undefined when a fact that it counts by is missing, or a cost is no amount.
limit(rule, arguments) := object.union(measure(rule, arguments), {
	"key": key(rule, arguments),
	"limit": rule.limit,
	"window_seconds": rule.window_seconds,
	"on_exceed": object.get(rule, "on_exceed", "deny"),
})

measure(rule, arguments) := {"cost": cost(rule, arguments)} if {
	not rule.window
	not rule.distinct
} else := {"cost": cost(rule, arguments), "window": rule.window} if {
	not rule.distinct
} else := object.union(object.filter(rule, ["window"]), {"distinct": distinct(rule, arguments)})

# METADATA
# description: A lock as the gate takes it; undefined when a fact that it is kept by is missing.
lock(rule, arguments) := {
	"key": key(rule, arguments),
	"ttl_seconds": rule.ttl_seconds,
} if {
	not rule.wait_seconds
} else := {
	"key": key(rule, arguments),
	"ttl_seconds": rule.ttl_seconds,
	"wait_seconds": rule.wait_seconds,
}

# METADATA
# description: True when every fact is there that the key, the cost and the distinct value of this limit come from.
has_facts(rule, arguments) if {
	_ := key(rule, arguments)
	has_distinct(rule, arguments)
	has_cost(rule, arguments)
}

has_distinct(rule, arguments) if {
	not rule.distinct
} else if {
	_ := distinct(rule, arguments)
}

has_cost(rule, arguments) if {
	not rule.cost_parameter
} else if {
	_ := arguments[rule.cost_parameter]
}

# Longer than the gate takes is as good as missing.
distinct(rule, arguments) := value if {
	value := fact(rule.distinct, arguments)
	is_string(value)
	count(value) <= 512
}

# A negative cost would give budget back.
cost(rule, arguments) := object.get(rule, "cost", 1) if {
	not rule.cost_parameter
} else := value if {
	value := arguments[rule.cost_parameter]
	shape.is_amount(value)
}

# METADATA
# description: The parts joined; undefined when one is missing or no text.
key(rule, arguments) := concat(":", array.concat([rule.key], parts)) if {
	by := object.get(rule, "by", [])
	parts := [escaped(fact(path, arguments)) | some path in by]
	count(parts) == count(by)
}

escaped(text) := replace(replace(text, "%", "%25"), ":", "%3A")

fact(path, arguments) := input.entity.id if {
	path == "entity.id"
} else := input.actor.id if {
	path == "actor.id"
} else := arguments[trim_prefix(path, "arguments.")] if {
	startswith(path, "arguments.")
} else := input.context[trim_prefix(path, "context.")] if {
	startswith(path, "context.")
} else := input.entity.attributes[trim_prefix(path, "entity.attributes.")] if {
	startswith(path, "entity.attributes.")
} else := input.actor.on_behalf_of.id if {
	path == "principal.id"
} else := input.entity.type if {
	path == "entity.type"
}
