-- Replaces a session's record where nothing came between.
-- KEYS: 1 session
-- ARGV: 1 expected version, 2 version, 3 text, 4 ttl ms
-- Replies: {"written"} | {"stale", version, text} ("" where there is none)
local session = redis.call("HMGET", KEYS[1], "version", "text")
if (session[1] or "0") ~= ARGV[1] then return { "stale", session[1] or "", session[2] or "" } end
redis.call("HSET", KEYS[1], "version", ARGV[2], "text", ARGV[3])
redis.call("PEXPIRE", KEYS[1], ARGV[4])
return { "written" }
