-- Spends one use of a permit and of its approval, and puts the execution on record as unknown: all in one step. What the permit
-- reserved stays charged from its first use on, and is then the executions' to give back.
-- KEYS: 1 permit, 2 approval (or 1 again for none), 3 executions, 4 unknown, 5 status:granted, 6 due:granted, 7 status:exhausted,
--       8 purge, 9 facts, 10 facts-due; of a permit in the context's partition also 11 entity and 12 lock (or 1 again for none), and
--       limit-pending of each limit that it reserved of
-- ARGV: 1 tenant, 2 permit id, 3 approval id ("" for none), 4 prefix of execution ids, 5 action, decision and trace id as JSON members,
--       6 retention ms, 7 channel, 8 version of the entity ("" for none), 9 what the permit reserved and 10 hash of its lock, as the
--       caller has read them
-- Replies: {"consumed", execution id, uses left, now ms, fact id} | {"unknown_permit"} | {"already_consumed"} | {"expired"}
--          | {"approval_revoked", status} | {"state_changed", entity ("" for none)} | {"lock_lost"} | {"reread"} | {"corrupt"}
--
-- INVARIANT: the run of the server that issued a permit is the only one that lets it be consumed. After a restart or a failover
-- the new run may have lost the use and kept the permit; it cannot tell, so its answer is no.
local function integer(number) return string.format("%.0f", number) end

local p = redis.call("HMGET", KEYS[1], "tenant", "approval", "uses", "left", "expires", "run", "reserved", "lock", "fence")
if not p[1] then return { "unknown_permit" } end
for i = 1, 6 do
  if not p[i] then return { "corrupt" } end
end
if p[1] ~= ARGV[1] or p[2] ~= ARGV[3] then return { "unknown_permit" } end
local uses, left = tonumber(p[3]), tonumber(p[4])
if left < 1 then return { "already_consumed" } end
local info = redis.call("INFO", "server", "replication")
local run = string.match(info, "run_id:(%x+)") .. ":" .. string.match(info, "master_replid:(%x+)")
if p[6] ~= run then return { "unknown_permit" } end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if tonumber(p[5]) <= now then return { "expired" } end

local a
if ARGV[3] ~= "" then
  a = redis.call("HMGET", KEYS[2], "id", "status", "uses_left", "expires", "version", "created")
  if not a[1] then return { "approval_revoked", "absent" } end
  for i = 1, 6 do
    if not a[i] then return { "corrupt" } end
  end
  local is_open = a[2] == "pending" or a[2] == "granted"
  if is_open and tonumber(a[4]) <= now then return { "approval_revoked", "expired" } end
  if a[2] ~= "granted" then return { "approval_revoked", a[2] } end
  if tonumber(a[3]) < 1 then return { "approval_revoked", "exhausted" } end
end

if (p[7] or "") ~= ARGV[9] or (p[8] or "") ~= ARGV[10] then return { "reread" } end
if ARGV[8] ~= "" and (redis.call("HGET", KEYS[11], "version") or "0") ~= ARGV[8] then
  local entity = redis.call("HMGET", KEYS[11], "text", "changed")
  return { "state_changed", entity[1] and entity[2] and entity[1] .. ',"changedAtMs":' .. entity[2] .. "}" or "" }
end
if ARGV[10] ~= "" then
  local holder, expires = string.match(redis.call("GET", KEYS[12]) or "", "^([%w_]+ %d+) (%d+)$")
  if not p[9] then return { "corrupt" } end
  if holder ~= ARGV[2] .. " " .. p[9] or tonumber(expires) <= now then return { "lock_lost" } end
end
local pending = {}
if left == uses then
  for about in string.gmatch(ARGV[9], "[^;]+") do pending[#pending + 1] = ARGV[2] .. string.match(about, "|.+$") end
  for i, member in ipairs(pending) do
    -- Given back as expired, by a clock that has been set back since: nothing is consumed that is not charged.
    if not redis.call("ZSCORE", KEYS[12 + i], member) then return { "expired" } end
  end
end

local use = integer(uses - left + 1)
local execution_id = ARGV[4] .. use
local now_text = integer(now)
local retained_until = integer(now + tonumber(ARGV[6]))
left = left - 1
redis.call("HSET", KEYS[1], "left", integer(left))
if a then
  local uses_left = tonumber(a[3]) - 1
  redis.call("HSET", KEYS[2], "uses_left", integer(uses_left), "version", integer(tonumber(a[5]) + 1))
  if uses_left == 0 then
    local member = string.format("%015.0f", tonumber(a[6])) .. ":" .. a[1]
    redis.call("HSET", KEYS[2], "status", "exhausted")
    redis.call("ZREM", KEYS[5], member)
    redis.call("ZREM", KEYS[6], member)
    redis.call("ZADD", KEYS[7], 0, member)
    redis.call("ZADD", KEYS[8], retained_until, member)
    redis.call("PEXPIREAT", KEYS[2], retained_until)
  end
  redis.call("PUBLISH", ARGV[7], ARGV[1] .. " " .. a[1])
end
local about = '"consumedAtMs":' .. now_text .. "," .. ARGV[5]
redis.call("HSET", KEYS[3], "uses", p[3], use, about)
for i, member in ipairs(pending) do redis.call("ZREM", KEYS[12 + i], member) end
if ARGV[9] ~= "" or ARGV[10] ~= "" then
  redis.call("HSET", KEYS[3], "reserved", ARGV[9], "lock", ARGV[10], "fence", p[9])
  redis.call("HINCRBY", KEYS[3], "open", 1)
end
if ARGV[10] ~= "" then
  -- From its first use on the lock is held for as long as policy said.
  local held_until = redis.call("HGET", KEYS[1], "lock_until")
  if held_until and tonumber(held_until) > now then
    redis.call("SET", KEYS[12], ARGV[2] .. " " .. p[9] .. " " .. held_until, "PXAT", held_until)
  end
end
redis.call("PEXPIREAT", KEYS[3], retained_until)
redis.call("ZADD", KEYS[4], 0, string.format("%015.0f", now) .. ":" .. execution_id)
local approval_id = ARGV[3] == "" and "" or ',"approvalId":"' .. ARGV[3] .. '"'
redis.call("HSET", KEYS[9], execution_id, '{"factId":"' .. execution_id .. '","tenant":"' .. ARGV[1] .. '","kind":"permit_consumed","atMs":' .. now_text
  .. ',"subjectId":"' .. ARGV[2] .. '","payload":{"execution":{"executionId":"' .. execution_id .. '","jti":"' .. ARGV[2] .. '","tenant":"' .. ARGV[1]
  .. '","status":"unknown",' .. about .. "}" .. approval_id .. ',"usesLeft":' .. integer(left) .. "}}")
redis.call("ZADD", KEYS[10], now_text, execution_id)
return { "consumed", execution_id, integer(left), now_text, execution_id }
