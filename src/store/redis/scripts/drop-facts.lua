-- The ledger holds these: forget them. Safe to repeat.
-- KEYS: 1 facts, 2 facts-due
-- ARGV: fact ids
-- Replies: {"dropped"}
redis.call("HDEL", KEYS[1], unpack(ARGV))
redis.call("ZREM", KEYS[2], unpack(ARGV))
return { "dropped" }
