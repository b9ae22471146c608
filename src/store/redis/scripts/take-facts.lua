-- Facts that no ledger has confirmed for a while, leased to the caller.
-- KEYS: 1 facts, 2 facts-due
-- ARGV: 1 older than ms, 2 limit, 3 lease ms
-- Replies: {"facts", fact, fact, ...}
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local before = string.format("%.0f", now - tonumber(ARGV[1]))
local leased_until = string.format("%.0f", now + tonumber(ARGV[3]))
local reply = { "facts" }
for _, fact in ipairs(redis.call("ZRANGE", KEYS[2], "-inf", before, "BYSCORE", "LIMIT", 0, ARGV[2])) do
  local text = redis.call("HGET", KEYS[1], fact)
  if text then
    redis.call("ZADD", KEYS[2], leased_until, fact)
    reply[#reply + 1] = text
  else
    redis.call("ZREM", KEYS[2], fact)
  end
end
return reply
