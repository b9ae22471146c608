-- KEYS: 1 permit
-- Replies: {"found", tenant, approval id, uses, left, expiry ms, subject} | {"not_found"} | {"corrupt"}
local values = redis.call("HMGET", KEYS[1], "tenant", "approval", "uses", "left", "expires", "subject")
if not values[1] then return { "not_found" } end
for i = 1, 6 do
  if not values[i] then return { "corrupt" } end
end
return { "found", unpack(values) }
