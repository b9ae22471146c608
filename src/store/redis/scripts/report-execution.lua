-- Closes one execution with what became of it. The first report stands.
-- KEYS: 1 permit, 2 executions, 3 unknown, 4 facts, 5 facts-due
-- ARGV: 1 tenant, 2 permit id, 3 use ("" for the only one), 4 prefix of execution ids, 5 status, 6 result digest ("" for none), 7 retention ms
-- Replies: {"reported", execution, fact id} | {"repeated"|"conflict", execution} | {"not_consumed"} | {"not_found"} | {"corrupt"}
local uses = redis.call("HGET", KEYS[2], "uses")
if not uses then
  if redis.call("EXISTS", KEYS[1]) == 1 then return { "not_consumed" } end
  return { "not_found" }
end
local use = ARGV[3]
if use == "" then
  if uses ~= "1" then return { "not_consumed" } end
  use = "1"
end
local row = redis.call("HMGET", KEYS[2], use, "report:" .. use, "outcome:" .. use)
local about, report, outcome = row[1], row[2], row[3]
if not about then return { "not_consumed" } end
local consumed = string.match(about, '^"consumedAtMs":(%d+),')
if not consumed then return { "corrupt" } end

local function text_of(status, more)
  return '{"executionId":"' .. ARGV[4] .. use .. '","jti":"' .. ARGV[2] .. '","tenant":"' .. ARGV[1] .. '","status":"' .. status .. '",' .. about .. more .. "}"
end

local wanted = ARGV[5] .. " " .. ARGV[6]
if outcome then
  if not report then return { "corrupt" } end
  local status = string.match(outcome, "^(%l+) ")
  if not status then return { "corrupt" } end
  return { outcome == wanted and "repeated" or "conflict", text_of(status, report) }
end

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = string.format("%.0f", now)
report = ',"reportedAtMs":' .. now_text .. (ARGV[6] == "" and "" or ',"resultDigest":"' .. ARGV[6] .. '"')
local text = text_of(ARGV[5], report)
local fact = ARGV[4] .. use .. ":reported"
redis.call("HSET", KEYS[2], "report:" .. use, report, "outcome:" .. use, wanted)
redis.call("PEXPIREAT", KEYS[2], string.format("%.0f", now + tonumber(ARGV[7])))
redis.call("ZREM", KEYS[3], string.format("%015.0f", tonumber(consumed)) .. ":" .. ARGV[4] .. use)
redis.call("HSET", KEYS[4], fact, '{"factId":"' .. fact .. '","tenant":"' .. ARGV[1] .. '","kind":"execution_reported","atMs":' .. now_text
  .. ',"subjectId":"' .. ARGV[2] .. '","payload":{"execution":' .. text .. "}}")
redis.call("ZADD", KEYS[5], now_text, fact)
return { "reported", text, fact }
