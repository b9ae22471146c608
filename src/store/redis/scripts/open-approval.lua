-- Opens an approval for a scope, unless the newest one of that scope still speaks for it.
-- KEYS: 1 scope, 2 approval to open, 3 approval that the caller believes to be the newest (or 2 again),
--       4 status:pending, 5 due:pending, 6 facts, 7 facts-due
-- ARGV: 1 id believed to be the newest ("" for none), 2 new id, 3 tenant, 4 pendingMax, 5 ttl ms, 6 grant ttl ms,
--       7 quorum, 8 uses, 9 retention ms, 10 scope digest, 11 binding digest, 12 argument digest, 13 rule, 14 subject
-- Replies: {"newest_is", id} | {"existing", approval} | {"full"} | {"opened", approval, fact id} | {"corrupt"}
-- A crash of the server in here leaves all of it or nothing, as far as its persistence goes.
local FIELDS = { "id", "tenant", "status", "scope", "binding", "argument", "rule", "reviews", "uses_left", "created", "expires", "version", "subject" }

local function read(key)
  local values, a = redis.call("HMGET", key, unpack(FIELDS)), {}
  if not values[1] then return nil end
  for i, name in ipairs(FIELDS) do
    if not values[i] then return false end
    a[name] = values[i]
  end
  return a
end

local function text_of(a)
  return '{"id":"' .. a.id .. '","tenant":"' .. a.tenant .. '","status":"' .. a.status .. '","scopeDigest":"' .. a.scope
    .. '","bindingDigest":"' .. a.binding .. '","argumentDigest":"' .. a.argument .. '","rule":' .. a.rule .. ',"reviews":' .. a.reviews
    .. ',"usesLeft":' .. a.uses_left .. ',"createdAtMs":' .. a.created .. ',"expiresAtMs":' .. a.expires .. ',"version":' .. a.version
    .. ',"subject":' .. a.subject .. "}"
end

local function integer(number) return string.format("%.0f", number) end

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local newest = redis.call("GET", KEYS[1]) or ""
if newest ~= ARGV[1] then return { "newest_is", newest } end
if newest ~= "" then
  local a = read(KEYS[3])
  if a == false then return { "corrupt" } end
  if a then
    local is_live = tonumber(a.expires) > now
    local speaks = a.status == "denied" or (a.status == "pending" and is_live)
      or (a.status == "granted" and is_live and tonumber(a.uses_left) > 0)
    if speaks then return { "existing", text_of(a) } end
  end
end

if redis.call("ZCOUNT", KEYS[5], "(" .. integer(now), "+inf") >= tonumber(ARGV[4]) then return { "full" } end

local expires = now + tonumber(ARGV[5])
local a = {
  id = ARGV[2], tenant = ARGV[3], status = "pending", scope = ARGV[10], binding = ARGV[11], argument = ARGV[12], rule = ARGV[13],
  reviews = "[]", uses_left = ARGV[8], created = integer(now), expires = integer(expires), version = "1", subject = ARGV[14],
}
local member = string.format("%015.0f", now) .. ":" .. a.id
local fact = a.id .. ":1"
for name, value in pairs(a) do redis.call("HSET", KEYS[2], name, value) end
redis.call("HSET", KEYS[2], "quorum", ARGV[7], "grant_ttl", ARGV[6], "generation", "0", "grants", "0", "review_count", "0")
redis.call("SET", KEYS[1], a.id)
-- Gone after the retention even where no sweep ever runs again.
redis.call("PEXPIREAT", KEYS[2], integer(expires + tonumber(ARGV[9])))
-- The pointer outlives the record whatever becomes of it, a grant included: a denial is terminal for as long as it is kept.
redis.call("PEXPIREAT", KEYS[1], integer(expires + tonumber(ARGV[6]) + tonumber(ARGV[9])))
redis.call("ZADD", KEYS[4], 0, member)
redis.call("ZADD", KEYS[5], integer(expires), member)
redis.call("HSET", KEYS[6], fact, '{"factId":"' .. fact .. '","tenant":"' .. a.tenant .. '","kind":"approval_opened","atMs":' .. integer(now)
  .. ',"subjectId":"' .. a.id .. '","payload":{"approval":' .. text_of(a) .. "}}")
redis.call("ZADD", KEYS[7], integer(now), fact)
return { "opened", text_of(a), fact }
