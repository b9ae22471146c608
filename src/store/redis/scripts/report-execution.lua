-- Closes one execution with what became of it. The first report stands. With the last one of a permit that has no use left its
-- lock is let go, and where none succeeded, what it reserved is given back.
-- KEYS: 1 permit, 2 executions, 3 unknown, 4 facts, 5 facts-due; in the context's partition also 6 lock (or 1 again for none), and
--       limit and limit-values of each limit that it reserved of
-- ARGV: 1 tenant, 2 permit id, 3 use ("" for the only one), 4 prefix of execution ids, 5 status, 6 result digest ("" for none), 7 retention ms,
--       8 what the permit reserved and 9 hash of its lock, as the caller has read them
-- Replies: {"reported", execution, fact id} | {"repeated"|"conflict", execution} | {"not_consumed"} | {"not_found"} | {"reread"} | {"corrupt"}
local function integer(number) return string.format("%.0f", number) end

-- give-back: the same lines in settle.lua, cancel-permit.lua and report-execution.lua.
local function keep_value(limit, values, value, buckets)
  if #buckets == 0 then
    redis.call("HDEL", limit, value)
    redis.call("ZREM", values, value)
  else
    redis.call("HSET", limit, value, table.concat(buckets, ","))
    redis.call("ZADD", values, string.match(buckets[1], "^%d+"), value)
  end
end

local function give_back(limit, values, bucket, cost, value)
  if value == "" then
    local used = tonumber(redis.call("HGET", limit, bucket) or "0")
    if used > tonumber(cost) then redis.call("HINCRBY", limit, bucket, "-" .. cost) else redis.call("HDEL", limit, bucket) end
    return
  end
  local held, buckets = redis.call("HGET", limit, value), {}
  if not held then return end
  for start, times in string.gmatch(held, "(%d+):(%d+)") do
    local left = tonumber(times) - (start == bucket and 1 or 0)
    if left > 0 then buckets[#buckets + 1] = start .. ":" .. integer(left) end
  end
  keep_value(limit, values, value, buckets)
end
-- end of give-back

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

local held = redis.call("HMGET", KEYS[2], "reserved", "lock", "fence", "succeeded")
if (held[1] or "") ~= ARGV[8] or (held[2] or "") ~= ARGV[9] then return { "reread" } end

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = integer(now)
report = ',"reportedAtMs":' .. now_text .. (ARGV[6] == "" and "" or ',"resultDigest":"' .. ARGV[6] .. '"')
local text = text_of(ARGV[5], report)
local fact = ARGV[4] .. use .. ":reported"
redis.call("HSET", KEYS[2], "report:" .. use, report, "outcome:" .. use, wanted)
redis.call("PEXPIREAT", KEYS[2], integer(now + tonumber(ARGV[7])))
redis.call("ZREM", KEYS[3], string.format("%015.0f", tonumber(consumed)) .. ":" .. ARGV[4] .. use)
redis.call("HSET", KEYS[4], fact, '{"factId":"' .. fact .. '","tenant":"' .. ARGV[1] .. '","kind":"execution_reported","atMs":' .. now_text
  .. ',"subjectId":"' .. ARGV[2] .. '","payload":{"execution":' .. text .. "}}")
redis.call("ZADD", KEYS[5], now_text, fact)
if ARGV[8] == "" and ARGV[9] == "" then return { "reported", text, fact } end

local open = redis.call("HINCRBY", KEYS[2], "open", -1)
local has_succeeded = held[4] or ARGV[5] == "succeeded"
if has_succeeded then redis.call("HSET", KEYS[2], "succeeded", "1") end
local p = redis.call("HMGET", KEYS[1], "left", "expires")
local is_over = not p[1] or p[1] == "0" or tonumber(p[2]) <= now
if open > 0 or not is_over then return { "reported", text, fact } end
if ARGV[9] ~= "" and string.match(redis.call("GET", KEYS[6]) or "", "^[%w_]+ %d+") == ARGV[2] .. " " .. held[3] then
  redis.call("DEL", KEYS[6])
end
-- Once, even where a clock that was set back lets the permit be consumed again.
if not has_succeeded and redis.call("HSETNX", KEYS[2], "returned", "1") == 1 then
  local key = 6
  for bucket, cost, value in string.gmatch(ARGV[8], "%x+|(%d+)|(%d+)|(%x*)") do
    give_back(KEYS[key + 1], KEYS[key + 2], bucket, cost, value)
    key = key + 2
  end
end
return { "reported", text, fact }
