-- Makes a permit consumable, on this run of this server only (see consume-permit.lua).
-- KEYS: 1 permit
-- ARGV: 1 tenant, 2 approval id ("" for none), 3 uses, 4 expiry ms, 5 grace ms, 6 subject
-- Replies: {"issued"} | {"exists"}
if redis.call("EXISTS", KEYS[1]) == 1 then return { "exists" } end
local info = redis.call("INFO", "server", "replication")
local run = string.match(info, "run_id:(%x+)") .. ":" .. string.match(info, "master_replid:(%x+)")
redis.call("HSET", KEYS[1], "tenant", ARGV[1], "approval", ARGV[2], "uses", ARGV[3], "left", ARGV[3], "expires", ARGV[4], "subject", ARGV[6], "run", run)
redis.call("PEXPIREAT", KEYS[1], string.format("%.0f", tonumber(ARGV[4]) + tonumber(ARGV[5])))
return { "issued" }
