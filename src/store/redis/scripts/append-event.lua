-- Appends an event to its entity's history and replaces the entity's record, if nothing came between.
-- KEYS: 1 entity, 2 events, 3 event-claim, 4 facts, 5 facts-due
-- ARGV: 1 tenant, 2 hash of the entity, 3 expected events, 4 events and 5 version after it, 6 record as JSON up to its time (an open
--       object), 7 content digest, 8 event, 9 event id as a JSON string, 10 fact id
-- Replies: {"appended", now ms} | {"repeated", sequence, time and event} | {"conflict"} | {"changed", entity ("" for none)} | {"corrupt"}
local claim = redis.call("GET", KEYS[3])
if claim then
  local digest, entity, sequence = string.match(claim, "^(%S+) (%x+) (%d+)$")
  if not digest then return { "corrupt" } end
  if digest ~= ARGV[7] or entity ~= ARGV[2] then return { "conflict" } end
  local event = redis.call("LINDEX", KEYS[2], tonumber(sequence) - 1)
  if not event then return { "corrupt" } end
  return { "repeated", sequence, event }
end

local record = redis.call("HMGET", KEYS[1], "events", "text", "changed")
if record[1] and not (record[2] and record[3]) then return { "corrupt" } end
if (record[1] or "0") ~= ARGV[3] then
  return { "changed", record[1] and record[2] .. ',"changedAtMs":' .. record[3] .. "}" or "" }
end
-- A history with a hole would give the next event another one's place.
if redis.call("LLEN", KEYS[2]) ~= tonumber(ARGV[3]) then return { "corrupt" } end

local time = redis.call("TIME")
local now_text = string.format("%.0f", tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call("HSET", KEYS[1], "events", ARGV[4], "version", ARGV[5], "text", ARGV[6], "changed", now_text)
redis.call("RPUSH", KEYS[2], now_text .. " " .. ARGV[8])
redis.call("SET", KEYS[3], ARGV[7] .. " " .. ARGV[2] .. " " .. ARGV[4])
redis.call("HSET", KEYS[4], ARGV[10], '{"factId":"' .. ARGV[10] .. '","tenant":"' .. ARGV[1] .. '","kind":"event_appended","atMs":' .. now_text
  .. ',"subjectId":' .. ARGV[9] .. ',"payload":{"event":' .. ARGV[8] .. ',"sequence":' .. ARGV[4] .. "}}")
redis.call("ZADD", KEYS[5], now_text, ARGV[10])
return { "appended", now_text }
