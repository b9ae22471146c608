-- KEYS: 1 lock-queue, 2 lock-tickets
-- ARGV: 1 permit id
-- Replies: {"left"}
redis.call("ZREM", KEYS[1], ARGV[1])
redis.call("ZREM", KEYS[2], ARGV[1])
return { "left" }
