-- One decision's whole effect on the shared context: checks, charges, locks, appends and registers, all or nothing.
-- KEYS: 1 permit, 2 entity, 3 session, 4 fence, 5 lock, 6 lock-queue, 7 lock-tickets (1 again for what the request lacks),
--       then for each limit: limit, limit-pending, limit-values
-- ARGV: 1 tenant, 2 permit id, 3 entity version ("" for none), 4 expected session version ("" for none), 5 session version,
--       6 session text, 7 session ttl ms, 8 hash of the lock ("" for none), 9 lock ttl ms, 10 waits (1 or 0), 11 ticket lease ms,
--       12 tickets max, 13 uses ("" for no permit), 14 approval id ("" for none), 15 permit's expiry ms, 16 grace ms,
--       17 permit's subject, 18 is a reservation (1 or 0), 19 distinct values max, 20 rows to tidy at most,
--       then for each limit: hash, limit, cost, ms of a bucket, ms that a bucket counts from its beginning, value ("" for none),
--       is binding (1 or 0)
-- Replies: {"settled", now ms, fence, lock's expiry, (used, resets, is exceeded) of each limit}
--          | {"repeated", subject, "live"|"used"|"dead", fence, lock's expiry}, the last two "" unless it holds the lock
--          | {"stale", entity, session version, session text} | {"exceeded", (used, resets, is exceeded) of each limit}
--          | {"locked", is waiting, ahead, expiry} | {"queue_full"} | {"tidied"} | {"corrupt"}
--          "" for what is not. "tidied": there was more to tidy up than one call may; nothing is settled, ask again.
local MICROS, MAX = 1000000, 9007199254740991
local FIRST_KEY, FIRST_ARG, ARGS = 7, 20, 7

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

local function entity_of(key)
  local record = redis.call("HMGET", key, "text", "changed")
  return record[1] and record[2] and record[1] .. ',"changedAtMs":' .. record[2] .. "}" or ""
end

local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now_text = integer(now)

local function run_of_server()
  local info = redis.call("INFO", "server", "replication")
  return string.match(info, "run_id:(%x+)") .. ":" .. string.match(info, "master_replid:(%x+)")
end

if redis.call("EXISTS", KEYS[1]) == 1 then
  local known = redis.call("HMGET", KEYS[1], "subject", "uses", "left", "expires", "run", "cancelled", "lock", "fence")
  for i = 1, 5 do
    if not known[i] then return { "corrupt" } end
  end
  local state = "live"
  if known[6] then state = "dead"
  -- What another run of the server registered, this one may have forgotten the use of.
  elseif known[2] ~= known[3] or known[5] ~= run_of_server() then state = "used"
  elseif tonumber(known[4]) <= now then state = "dead" end
  local fence, expires = "", ""
  if ARGV[8] ~= "" and known[7] == ARGV[8] and known[8] then
    local holder, ends = string.match(redis.call("GET", KEYS[5]) or "", "^([%w_]+ %d+) (%d+)$")
    if holder == ARGV[2] .. " " .. known[8] and tonumber(ends) > now then fence, expires = known[8], ends end
  end
  return { "repeated", known[1], state, fence, expires }
end

local has_entity, has_session = ARGV[3] ~= "", ARGV[4] ~= ""
if (has_entity and (redis.call("HGET", KEYS[2], "version") or "0") ~= ARGV[3])
  or (has_session and (redis.call("HGET", KEYS[3], "version") or "0") ~= ARGV[4]) then
  local session = has_session and redis.call("HMGET", KEYS[3], "version", "text") or {}
  return { "stale", has_entity and entity_of(KEYS[2]) or "", session[1] or "", session[2] or "" }
end

local budget, limits, is_refused = tonumber(ARGV[20]), {}, false

-- What permits reserved that expired unused comes back; what no longer counts goes. False where a row is not ours.
local function tidy(l)
  for _, member in ipairs(redis.call("ZRANGE", l.pending, "-inf", now_text, "BYSCORE", "LIMIT", 0, budget)) do
    local bucket, cost, value = string.match(member, "^[%w_]+|(%d+)|(%d+)|(%x*)$")
    if not bucket then return false end
    give_back(l.limit, l.values, bucket, cost, value)
    redis.call("ZREM", l.pending, member)
    budget = budget - 1
  end
  if l.value == "" or budget <= 0 then return true end
  for _, value in ipairs(redis.call("ZRANGE", l.values, "-inf", integer(now - l.span), "BYSCORE", "LIMIT", 0, budget)) do
    local buckets = {}
    for start, times in string.gmatch(redis.call("HGET", l.limit, value) or "", "(%d+):(%d+)") do
      if tonumber(start) + l.span > now then buckets[#buckets + 1] = start .. ":" .. times end
    end
    keep_value(l.limit, l.values, value, buckets)
    budget = budget - 1
  end
  return true
end

-- A limit on amounts has at most as many buckets as its window; those that no longer count are dropped when they are met.
local function read_buckets(l)
  local fields, used, oldest = redis.call("HGETALL", l.limit), 0, nil
  for i = 1, #fields, 2 do
    local start, micros = tonumber(fields[i]), tonumber(fields[i + 1])
    if not start or not micros then return false end
    if start + l.span <= now then
      redis.call("HDEL", l.limit, fields[i])
    else
      used = used + micros
      if start == l.start then l.is_begun = true end
      if not oldest or start < oldest then oldest = start end
    end
  end
  l.used, l.oldest, l.addition, l.countable = used, oldest, l.cost, MAX
  return true
end

local function oldest_value(l) return tonumber(redis.call("ZRANGE", l.values, 0, 0, "WITHSCORES")[2]) end

local function read_values(l)
  l.held = redis.call("HGET", l.limit, l.value) or ""
  l.used, l.oldest = redis.call("ZCARD", l.values) * MICROS, oldest_value(l)
  l.addition, l.countable = l.held == "" and MICROS or 0, tonumber(ARGV[19]) * MICROS
end

-- Past what can be counted nothing is charged, whoever has granted it.
for at = FIRST_ARG + 1, #ARGV, ARGS do
  local key = FIRST_KEY + #limits * 3
  local l = {
    limit = KEYS[key + 1], pending = KEYS[key + 2], values = KEYS[key + 3],
    hash = ARGV[at], most = tonumber(ARGV[at + 1]), cost = tonumber(ARGV[at + 2]), span = tonumber(ARGV[at + 4]), value = ARGV[at + 5],
  }
  local bucket_ms = tonumber(ARGV[at + 3])
  l.start = math.floor(now / bucket_ms) * bucket_ms
  if not tidy(l) then return { "corrupt" } end
  if budget <= 0 then return { "tidied" } end
  if l.value ~= "" then read_values(l) elseif not read_buckets(l) then return { "corrupt" } end
  l.after = l.used + l.addition
  local is_countable = l.after <= l.countable
  l.is_exceeded = l.after > l.most or not is_countable
  if not is_countable or (l.is_exceeded and ARGV[at + 6] == "1") then is_refused = true end
  limits[#limits + 1] = l
end

local reply = {}
local function say_limit(l, used)
  reply[#reply + 1] = integer(used)
  reply[#reply + 1] = integer((l.oldest or l.start) + l.span)
  reply[#reply + 1] = l.is_exceeded and "1" or "0"
end

if is_refused then
  reply = { "exceeded" }
  for _, l in ipairs(limits) do say_limit(l, l.used) end
  return reply
end

-- First come, first served: a lock that nobody holds goes to the head of its queue, and to others where nobody waits.
local function queue_of()
  local queue = redis.call("ZRANGE", KEYS[6], 0, -1)
  if #queue == 0 then return queue end
  local lapsed = redis.call("ZRANGE", KEYS[7], "-inf", now_text, "BYSCORE")
  if #lapsed == 0 then return queue end
  redis.call("ZREM", KEYS[6], unpack(lapsed))
  redis.call("ZREM", KEYS[7], unpack(lapsed))
  return redis.call("ZRANGE", KEYS[6], 0, -1)
end

local function take_place(queue)
  if #queue >= tonumber(ARGV[12]) then return false end
  local last = redis.call("ZRANGE", KEYS[6], -1, -1, "WITHSCORES")[2] or "0"
  redis.call("ZADD", KEYS[6], integer(tonumber(last) + 1), ARGV[2])
  return true
end

local has_lock, place = ARGV[8] ~= "", nil
if has_lock then
  local held, free_at = redis.call("GET", KEYS[5]), 0
  if held then
    free_at = tonumber(string.match(held, "^[%w_]+ %d+ (%d+)$"))
    if not free_at then return { "corrupt" } end
  end
  local queue = queue_of()
  for i, ticket in ipairs(queue) do
    if ticket == ARGV[2] then place = i break end
  end
  local ahead = place and place - 1 or #queue
  if free_at > now or ahead > 0 then
    local lease = integer(now + tonumber(ARGV[11]))
    -- A free lock is kept for the head of its queue, for as long as the head's place lasts.
    if free_at <= now then free_at = tonumber(redis.call("ZSCORE", KEYS[7], queue[1]) or now_text) end
    if ARGV[10] == "0" then return { "locked", "0", integer(ahead), integer(free_at) } end
    if not place and not take_place(queue) then return { "queue_full" } end
    redis.call("ZADD", KEYS[7], lease, ARGV[2])
    redis.call("PEXPIREAT", KEYS[6], lease)
    redis.call("PEXPIREAT", KEYS[7], lease)
    return { "locked", "1", integer(ahead), integer(free_at) }
  end
end

-- From here on nothing refuses.
local reserved = {}
local function charge(l)
  local start, cost = integer(l.start), integer(l.cost)
  if l.value == "" then
    if l.cost == 0 then return end
    redis.call("HINCRBY", l.limit, start, cost)
    -- Its first charge has given the bucket its end.
    if not l.is_begun then redis.call("PEXPIREAT", l.limit, integer(l.start + l.span)) end
    if not l.oldest or l.start < l.oldest then l.oldest = l.start end
  else
    local buckets, times = {}, 0
    cost = integer(MICROS)
    for bucket, count in string.gmatch(l.held, "(%d+):(%d+)") do
      if bucket == start then times = tonumber(count) else buckets[#buckets + 1] = bucket .. ":" .. count end
    end
    buckets[#buckets + 1] = start .. ":" .. integer(times + 1)
    keep_value(l.limit, l.values, l.value, buckets)
    redis.call("PEXPIREAT", l.values, integer(l.start + l.span))
    redis.call("PEXPIREAT", l.limit, integer(l.start + l.span))
    l.oldest = oldest_value(l)
  end
  if ARGV[18] == "0" then return end
  local about = start .. "|" .. cost .. "|" .. l.value
  redis.call("ZADD", l.pending, ARGV[15], ARGV[2] .. "|" .. about)
  -- Kept for as long as there is anything to give back, and as any permit in it may still be consumed.
  local last = tonumber(redis.call("ZRANGE", l.pending, -1, -1, "WITHSCORES")[2])
  redis.call("PEXPIREAT", l.pending, integer(math.max(last, l.start + l.span)))
  reserved[#reserved + 1] = l.hash .. "|" .. about
end

local fence, lock_expires = "", ""
reply = { "settled", now_text, "", "" }
for _, l in ipairs(limits) do
  charge(l)
  say_limit(l, l.after)
end
if has_lock then
  -- Never below the time: a server that lost its counter does not give a fence again that somebody has seen.
  fence = integer(math.max(tonumber(redis.call("GET", KEYS[4]) or "0") + 1, now))
  redis.call("SET", KEYS[4], fence)
  lock_expires = integer(now + tonumber(ARGV[9]))
  -- Until the permit is used, its lock ends with it.
  local ends = ARGV[15] == "" and lock_expires or integer(math.min(tonumber(lock_expires), tonumber(ARGV[15])))
  redis.call("SET", KEYS[5], ARGV[2] .. " " .. fence .. " " .. ends, "PXAT", ends)
  if place then
    redis.call("ZREM", KEYS[6], ARGV[2])
    redis.call("ZREM", KEYS[7], ARGV[2])
  end
  reply[3], reply[4] = fence, lock_expires
end
if has_session then
  redis.call("HSET", KEYS[3], "version", ARGV[5], "text", ARGV[6])
  redis.call("PEXPIRE", KEYS[3], ARGV[7])
end
if ARGV[13] ~= "" then
  -- As issue-permit.lua, and what it rests on.
  redis.call("HSET", KEYS[1], "tenant", ARGV[1], "approval", ARGV[14], "uses", ARGV[13], "left", ARGV[13], "expires", ARGV[15], "subject", ARGV[17],
    "run", run_of_server(), "reserved", table.concat(reserved, ";"), "lock", ARGV[8], "fence", fence, "lock_until", lock_expires)
  redis.call("PEXPIREAT", KEYS[1], integer(tonumber(ARGV[15]) + tonumber(ARGV[16])))
end
return reply
