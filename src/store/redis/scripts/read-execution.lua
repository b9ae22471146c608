-- One execution: as it was consumed, and what was reported of it.
-- KEYS: 1 executions
-- ARGV: 1 tenant, 2 permit id, 3 use, 4 execution id
-- Replies: {"unknown"|"reported", execution} | {"gone"} | {"corrupt"}
local row = redis.call("HMGET", KEYS[1], ARGV[3], "outcome:" .. ARGV[3], "report:" .. ARGV[3])
if not row[1] then return { "gone" } end
local status = row[2] and string.match(row[2], "^(%l+) ") or "unknown"
if row[2] and (not row[3] or status == "unknown") then return { "corrupt" } end
return { row[2] and "reported" or "unknown", '{"executionId":"' .. ARGV[4] .. '","jti":"' .. ARGV[2] .. '","tenant":"' .. ARGV[1]
  .. '","status":"' .. status .. '",' .. row[1] .. (row[3] or "") .. "}" }
