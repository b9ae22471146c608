-- Records that an overdue approval has expired. Only the first caller gets "expired".
-- KEYS: 1 approval, 2 status:pending, 3 due:pending, 4 status:granted, 5 due:granted, 6 status:expired, 7 purge, 8 facts, 9 facts-due
-- ARGV: 1 index row, 2 retention ms, 3 channel
-- Replies: {"expired", approval, fact id} | {"not_overdue"} | {"not_found"} | {"corrupt"}
local FIELDS = { "id", "tenant", "status", "scope", "binding", "argument", "rule", "reviews", "uses_left", "created", "expires", "version", "subject" }

local function integer(number) return string.format("%.0f", number) end

local values, a = redis.call("HMGET", KEYS[1], unpack(FIELDS)), {}
if not values[1] then
  -- The record is gone: its rows must not keep the sweep busy for ever.
  for i = 2, 5 do redis.call("ZREM", KEYS[i], ARGV[1]) end
  return { "not_found" }
end
for i, name in ipairs(FIELDS) do
  if not values[i] then
    -- Whoever reads it gets an integrity failure; the sweep goes on with the others.
    redis.call("ZREM", KEYS[3], ARGV[1])
    redis.call("ZREM", KEYS[5], ARGV[1])
    return { "corrupt" }
  end
  a[name] = values[i]
end

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local is_open = a.status == "pending" or a.status == "granted"
if not is_open or tonumber(a.expires) > now then
  -- Rows that contradict their record are repaired from it.
  if is_open then redis.call("ZADD", a.status == "pending" and KEYS[3] or KEYS[5], a.expires, ARGV[1]) end
  if a.status ~= "pending" then redis.call("ZREM", KEYS[3], ARGV[1]) end
  if a.status ~= "granted" then redis.call("ZREM", KEYS[5], ARGV[1]) end
  return { "not_overdue" }
end

a.status, a.version = "expired", integer(tonumber(a.version) + 1)
local retained_until = integer(now + tonumber(ARGV[2]))
local text = '{"id":"' .. a.id .. '","tenant":"' .. a.tenant .. '","status":"' .. a.status .. '","scopeDigest":"' .. a.scope
  .. '","bindingDigest":"' .. a.binding .. '","argumentDigest":"' .. a.argument .. '","rule":' .. a.rule .. ',"reviews":' .. a.reviews
  .. ',"usesLeft":' .. a.uses_left .. ',"createdAtMs":' .. a.created .. ',"expiresAtMs":' .. a.expires .. ',"version":' .. a.version
  .. ',"subject":' .. a.subject .. "}"
local fact = a.id .. ":" .. a.version
redis.call("HSET", KEYS[1], "status", a.status, "version", a.version)
redis.call("PEXPIREAT", KEYS[1], retained_until)
for i = 2, 5 do redis.call("ZREM", KEYS[i], ARGV[1]) end
redis.call("ZADD", KEYS[6], 0, ARGV[1])
redis.call("ZADD", KEYS[7], retained_until, ARGV[1])
redis.call("HSET", KEYS[8], fact, '{"factId":"' .. fact .. '","tenant":"' .. a.tenant .. '","kind":"approval_expired","atMs":' .. integer(now)
  .. ',"subjectId":"' .. a.id .. '","payload":{"approval":' .. text .. "}}")
redis.call("ZADD", KEYS[9], integer(now), fact)
redis.call("PUBLISH", ARGV[3], a.tenant .. " " .. a.id)
return { "expired", text, fact }
