-- Gives back what an unconsumed permit reserved, lets go of its lock, and leaves it without a use. Safe to repeat.
-- KEYS: 1 permit, 2 lock (1 again for none), then for each limit that it reserved of: limit, limit-pending, limit-values
-- ARGV: 1 tenant, 2 permit id, 3 what it reserved and 4 hash of its lock, as the caller has read them
-- Replies: {"cancelled"} | {"consumed"} | {"not_found"} | {"reread"} | {"corrupt"}
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

local p = redis.call("HMGET", KEYS[1], "tenant", "uses", "left", "reserved", "lock", "fence", "cancelled")
if not p[1] then return { "not_found" } end
if not p[2] or not p[3] then return { "corrupt" } end
if p[1] ~= ARGV[1] then return { "not_found" } end
if (p[4] or "") ~= ARGV[3] or (p[5] or "") ~= ARGV[4] then return { "reread" } end
if p[7] then return { "cancelled" } end
if p[2] ~= p[3] then return { "consumed" } end

local key = 2
for about in string.gmatch(ARGV[3], "[^;]+") do
  local member, bucket, cost, value = string.match(about, "^%x+|((%d+)|(%d+)|(%x*))$")
  if not bucket then return { "corrupt" } end
  -- What is not there any more has come back already.
  if redis.call("ZREM", KEYS[key + 2], ARGV[2] .. "|" .. member) == 1 then give_back(KEYS[key + 1], KEYS[key + 3], bucket, cost, value) end
  key = key + 3
end
if ARGV[4] ~= "" and p[6] then
  local held = redis.call("GET", KEYS[2])
  if held and string.match(held, "^[%w_]+ %d+") == ARGV[2] .. " " .. p[6] then redis.call("DEL", KEYS[2]) end
end
-- Its id stays known: no settle makes it anew.
redis.call("HSET", KEYS[1], "left", "0", "cancelled", "1")
return { "cancelled" }
