-- KEYS: 1 freezes, 2 facts, 3 facts-due
-- ARGV: 1 tenant, 2 freeze id, 3 who lifts it and why, as JSON members, 4 freeze id as a JSON string, 5 fact id up to its time
-- Replies: {"lifted", freeze, fact id} | {"not_found"} | {"corrupt"}
local freeze = redis.call("HGET", KEYS[1], ARGV[2])
if not freeze then return { "not_found" } end
local set_at = string.match(freeze, ',"atMs":(%d+)}$')
if not set_at then return { "corrupt" } end

local time = redis.call("TIME")
local now_text = string.format("%.0f", tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local fact = ARGV[5] .. ":" .. set_at .. ":lifted"
redis.call("HDEL", KEYS[1], ARGV[2])
redis.call("HSET", KEYS[2], fact, '{"factId":"' .. fact .. '","tenant":"' .. ARGV[1] .. '","kind":"freeze_lifted","atMs":' .. now_text
  .. ',"subjectId":' .. ARGV[4] .. ',"payload":{"freeze":' .. freeze .. "," .. ARGV[3] .. "}}")
redis.call("ZADD", KEYS[3], now_text, fact)
return { "lifted", freeze, fact }
