-- What the sweep of one partition has to do; also drops index rows whose records have reached the end of their retention.
-- KEYS: 1 due:pending, 2 due:granted, 3 purge, 4 unknown, 5 status:denied, 6 status:expired, 7 status:cancelled, 8 status:exhausted
-- ARGV: 1 limit, 2 retention ms
-- Replies: {"overdue", member, deadline, member, deadline, ...}, at most `limit` of each of the two indexes
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = string.format("%.0f", now)

local ended = redis.call("ZRANGE", KEYS[3], "-inf", now_text, "BYSCORE", "LIMIT", 0, ARGV[1])
for _, member in ipairs(ended) do
  for i = 5, 8 do redis.call("ZREM", KEYS[i], member) end
  redis.call("ZREM", KEYS[3], member)
end
local forgotten = "(" .. string.format("%015.0f", math.max(0, now - tonumber(ARGV[2])))
for _, member in ipairs(redis.call("ZRANGE", KEYS[4], "-", forgotten, "BYLEX", "LIMIT", 0, ARGV[1])) do
  redis.call("ZREM", KEYS[4], member)
end

local reply = { "overdue" }
for i = 1, 2 do
  local rows = redis.call("ZRANGE", KEYS[i], "-inf", now_text, "BYSCORE", "LIMIT", 0, ARGV[1], "WITHSCORES")
  for _, value in ipairs(rows) do reply[#reply + 1] = value end
end
return reply
