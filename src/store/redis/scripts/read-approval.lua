-- An approval as it is now: past its deadline it reads as expired, recorded or not.
-- KEYS: 1 approval
-- Replies: {"found", approval} | {"not_found"} | {"corrupt"}
local FIELDS = { "id", "tenant", "status", "scope", "binding", "argument", "rule", "reviews", "uses_left", "created", "expires", "version", "subject" }

local values, a = redis.call("HMGET", KEYS[1], unpack(FIELDS)), {}
if not values[1] then return { "not_found" } end
for i, name in ipairs(FIELDS) do
  if not values[i] then return { "corrupt" } end
  a[name] = values[i]
end

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if (a.status == "pending" or a.status == "granted") and tonumber(a.expires) <= now then
  a.status = "expired"
  a.version = string.format("%.0f", tonumber(a.version) + 1)
end
return { "found", '{"id":"' .. a.id .. '","tenant":"' .. a.tenant .. '","status":"' .. a.status .. '","scopeDigest":"' .. a.scope
  .. '","bindingDigest":"' .. a.binding .. '","argumentDigest":"' .. a.argument .. '","rule":' .. a.rule .. ',"reviews":' .. a.reviews
  .. ',"usesLeft":' .. a.uses_left .. ',"createdAtMs":' .. a.created .. ',"expiresAtMs":' .. a.expires .. ',"version":' .. a.version
  .. ',"subject":' .. a.subject .. "}" }
