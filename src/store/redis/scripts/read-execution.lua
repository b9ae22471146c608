-- One execution that was never reported, for the list of those.
-- KEYS: 1 executions
-- ARGV: 1 tenant, 2 permit id, 3 use, 4 execution id
-- Replies: {"unknown", execution} | {"gone"}
local row = redis.call("HMGET", KEYS[1], ARGV[3], "outcome:" .. ARGV[3])
if not row[1] or row[2] then return { "gone" } end
return { "unknown", '{"executionId":"' .. ARGV[4] .. '","jti":"' .. ARGV[2] .. '","tenant":"' .. ARGV[1] .. '","status":"unknown",' .. row[1] .. "}" }
