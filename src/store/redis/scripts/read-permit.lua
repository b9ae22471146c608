-- KEYS: 1 permit
-- Replies: {"found", tenant, approval id, uses, left, expiry ms, subject, "live"|"used"|"dead"} | {"not_found"} | {"corrupt"}
local values = redis.call("HMGET", KEYS[1], "tenant", "approval", "uses", "left", "expires", "subject", "run", "cancelled")
if not values[1] then return { "not_found" } end
for i = 1, 7 do
  if not values[i] then return { "corrupt" } end
end
local info = redis.call("INFO", "server", "replication")
local run = string.match(info, "run_id:(%x+)") .. ":" .. string.match(info, "master_replid:(%x+)")
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
-- As settle.lua says it.
local state = "live"
if values[8] then state = "dead"
elseif values[3] ~= values[4] or values[7] ~= run then state = "used"
elseif tonumber(values[5]) <= now then state = "dead" end
return { "found", values[1], values[2], values[3], values[4], values[5], values[6], state }
