-- Sets a freeze. The same one again is the same freeze.
-- KEYS: 1 freezes, 2 facts, 3 facts-due
-- ARGV: 1 tenant, 2 freeze id, 3 freeze as JSON up to its time (an open object), 4 freezes max, 5 freeze id as a JSON string,
--       6 fact id up to its time
-- Replies: {"set", freeze, fact id} | {"other"} | {"full"} | {"corrupt"}
local known = redis.call("HGET", KEYS[1], ARGV[2])
if known then
  local about, set_at = string.match(known, '^(.*),"atMs":(%d+)}$')
  if not about then return { "corrupt" } end
  if about ~= ARGV[3] then return { "other" } end
  return { "set", known, ARGV[6] .. ":" .. set_at .. ":set" }
end
if redis.call("HLEN", KEYS[1]) >= tonumber(ARGV[4]) then return { "full" } end

local time = redis.call("TIME")
local now_text = string.format("%.0f", tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local freeze, fact = ARGV[3] .. ',"atMs":' .. now_text .. "}", ARGV[6] .. ":" .. now_text .. ":set"
redis.call("HSET", KEYS[1], ARGV[2], freeze)
redis.call("HSET", KEYS[2], fact, '{"factId":"' .. fact .. '","tenant":"' .. ARGV[1] .. '","kind":"freeze_set","atMs":' .. now_text
  .. ',"subjectId":' .. ARGV[5] .. ',"payload":{"freeze":' .. freeze .. "}}")
redis.call("ZADD", KEYS[3], now_text, fact)
return { "set", freeze, fact }
