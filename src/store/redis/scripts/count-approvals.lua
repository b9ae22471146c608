-- KEYS: 1 status:pending, 2 unknown
-- Replies: {"counts", pending, created ms of the oldest pending ("" for none), unknown executions, now ms}
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local oldest = redis.call("ZRANGE", KEYS[1], 0, 0)[1]
local created = oldest and string.format("%.0f", tonumber(string.sub(oldest, 1, 15))) or ""
return { "counts", tostring(redis.call("ZCARD", KEYS[1])), created, tostring(redis.call("ZCARD", KEYS[2])), string.format("%.0f", now) }
