-- One reviewer's act. Mirrors reviewTransition() of core/approval-state.ts, check by check.
-- KEYS: 1 approval, 2 status:pending, 3 due:pending, 4 status:granted, 5 due:granted, 6 status:denied, 7 status:cancelled,
--       8 purge, 9 facts, 10 facts-due
-- ARGV: 1 verdict, 2 reviewer id, 3 review as JSON up to its time (an open object), 4 expected version, 5 retention ms,
--       6 edits max, 7 edited binding ("" for none), 8 edited argument digest, 9 edited subject, 10 channel
-- Replies: {"reviewed", approval, fact id} | {"not_found"} | {"not_pending"|"already_reviewed"|"version_changed", approval}
--          | {"too_many_edits"} | {"corrupt"}
local FIELDS = { "id", "tenant", "status", "scope", "binding", "argument", "rule", "reviews", "uses_left", "created", "expires", "version", "subject",
  "quorum", "grant_ttl", "generation", "grants", "review_count" }

local function text_of(a)
  return '{"id":"' .. a.id .. '","tenant":"' .. a.tenant .. '","status":"' .. a.status .. '","scopeDigest":"' .. a.scope
    .. '","bindingDigest":"' .. a.binding .. '","argumentDigest":"' .. a.argument .. '","rule":' .. a.rule .. ',"reviews":' .. a.reviews
    .. ',"usesLeft":' .. a.uses_left .. ',"createdAtMs":' .. a.created .. ',"expiresAtMs":' .. a.expires .. ',"version":' .. a.version
    .. ',"subject":' .. a.subject .. "}"
end

local function integer(number) return string.format("%.0f", number) end

local values, a = redis.call("HMGET", KEYS[1], unpack(FIELDS)), {}
if not values[1] then return { "not_found" } end
for i, name in ipairs(FIELDS) do
  if not values[i] then return { "corrupt" } end
  a[name] = values[i]
end

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local verdict, stored_status = ARGV[1], a.status
local is_open = a.status == "pending" or a.status == "granted"
if is_open and tonumber(a.expires) <= now then
  -- Recording the expiry is the sweep's, which hands it to one caller.
  a.status, a.version = "expired", integer(tonumber(a.version) + 1)
  return { "not_pending", text_of(a) }
end
if not (a.status == "pending" or (verdict == "cancel" and a.status == "granted")) then return { "not_pending", text_of(a) } end

local has_edit = verdict == "grant" and ARGV[7] ~= ""
local is_rebound = has_edit and ARGV[7] ~= a.binding
if verdict == "grant" and not is_rebound and redis.call("HEXISTS", KEYS[1], "grant:" .. a.generation .. ":" .. ARGV[2]) == 1 then
  return { "already_reviewed", text_of(a) }
end
if a.version ~= ARGV[4] then return { "version_changed", text_of(a) } end
if has_edit and tonumber(a.review_count) >= tonumber(ARGV[6]) then return { "too_many_edits" } end

local retained_until = integer(now + tonumber(ARGV[5]))
local member = string.format("%015.0f", tonumber(a.created)) .. ":" .. a.id
if has_edit then a.binding, a.argument, a.subject = ARGV[7], ARGV[8], ARGV[9] end
-- Grants count within their generation, and a new binding begins a new one: none of the old ones can come back.
if is_rebound then a.generation, a.grants = integer(tonumber(a.generation) + 1), "0" end
local separator = a.reviews == "[]" and "" or ","
a.reviews = string.sub(a.reviews, 1, -2) .. separator .. ARGV[3] .. ',"atMs":' .. integer(now) .. ',"bindingDigest":"' .. a.binding .. '"}]'
a.review_count = integer(tonumber(a.review_count) + 1)
a.version = integer(tonumber(a.version) + 1)

if verdict == "deny" then
  a.status = "denied"
elseif verdict == "cancel" then
  a.status = "cancelled"
else
  a.grants = integer(tonumber(a.grants) + 1)
  if tonumber(a.grants) >= tonumber(a.quorum) then
    a.status, a.expires = "granted", integer(now + tonumber(a.grant_ttl))
    retained_until = integer(tonumber(a.expires) + tonumber(ARGV[5]))
  end
  redis.call("HSET", KEYS[1], "grant:" .. a.generation .. ":" .. ARGV[2], "1")
end

for _, name in ipairs({ "status", "binding", "argument", "subject", "reviews", "expires", "version", "generation", "grants", "review_count" }) do
  redis.call("HSET", KEYS[1], name, a[name])
end
if a.status ~= stored_status then
  local from = stored_status == "pending" and { KEYS[2], KEYS[3] } or { KEYS[4], KEYS[5] }
  redis.call("ZREM", from[1], member)
  redis.call("ZREM", from[2], member)
  if a.status == "granted" then
    redis.call("ZADD", KEYS[4], 0, member)
    redis.call("ZADD", KEYS[5], a.expires, member)
  else
    redis.call("ZADD", a.status == "denied" and KEYS[6] or KEYS[7], 0, member)
    redis.call("ZADD", KEYS[8], retained_until, member)
  end
  redis.call("PEXPIREAT", KEYS[1], retained_until)
end
local fact = a.id .. ":" .. a.version
redis.call("HSET", KEYS[9], fact, '{"factId":"' .. fact .. '","tenant":"' .. a.tenant .. '","kind":"approval_reviewed","atMs":' .. integer(now)
  .. ',"subjectId":"' .. a.id .. '","payload":{"approval":' .. text_of(a) .. "}}")
redis.call("ZADD", KEYS[10], integer(now), fact)
redis.call("PUBLISH", ARGV[10], a.tenant .. " " .. a.id)
return { "reviewed", text_of(a), fact }
