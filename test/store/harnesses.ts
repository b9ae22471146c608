import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";
import type { TimeSource } from "../../src/store/embedded/monotone-clock.ts";
import { openEmbeddedStore } from "../../src/store/embedded/open-embedded-store.ts";
import { openStore } from "../../src/store/open-store.ts";
import { completeStoreOptions } from "../../src/store/store-options.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { type Harness, TEST_OPTIONS } from "./conformance.ts";

/**
 * Moves every time that is stored into the past. The scripts ask the server what time it is, and the server's clock is
 * not a test's to move.
 */
const PASS_TIME = `
local ms = tonumber(ARGV[1])
local function earlier(text) return string.format("%.0f", tonumber(text) - ms) end
-- What permits reserved names buckets by their beginnings.
local function reserved_earlier(key)
  local reserved = redis.call("HGET", key, "reserved")
  if reserved then
    local moved = string.gsub(reserved, "|(%d+)|(%d+|)", function(start, rest) return "|" .. earlier(start) .. "|" .. rest end)
    redis.call("HSET", key, "reserved", moved)
  end
end
for _, key in ipairs(redis.call("KEYS", "hp:{*")) do
  local kind = string.match(key, "}:([a-z-]+)")
  local ttl = redis.call("PTTL", key)
  if kind == "approval" then
    if redis.call("TYPE", key).ok == "hash" and redis.call("HEXISTS", key, "created") == 1 then
      for _, field in ipairs({ "created", "expires" }) do redis.call("HSET", key, field, earlier(redis.call("HGET", key, field))) end
    end
  elseif kind == "permit" then
    if redis.call("HEXISTS", key, "expires") == 1 then redis.call("HSET", key, "expires", earlier(redis.call("HGET", key, "expires"))) end
    local held_until = redis.call("HGET", key, "lock_until")
    if held_until and held_until ~= "" then redis.call("HSET", key, "lock_until", earlier(held_until)) end
    reserved_earlier(key)
  elseif kind == "limit" then
    local all = redis.call("HGETALL", key)
    redis.call("DEL", key)
    for i = 1, #all, 2 do
      local moved = string.gsub(all[i + 1], "(%d+):", function(start) return earlier(start) .. ":" end)
      redis.call("HSET", key, string.match(all[i], "^%d+$") and #all[i] < 64 and earlier(all[i]) or all[i], moved)
    end
  elseif kind == "lock" then
    local holder, expires = string.match(redis.call("GET", key), "^(.+ )(%d+)$")
    redis.call("SET", key, holder .. earlier(expires))
  elseif kind == "executions" then
    reserved_earlier(key)
    local all = redis.call("HGETALL", key)
    for i = 1, #all, 2 do
      local at, rest = string.match(all[i + 1], '^"consumedAtMs":(%d+)(.*)$')
      if at then redis.call("HSET", key, all[i], '"consumedAtMs":' .. earlier(at) .. rest) end
    end
  elseif redis.call("TYPE", key).ok == "zset" and kind ~= "lock-queue" then
    local rows = redis.call("ZRANGE", key, 0, -1, "WITHSCORES")
    redis.call("DEL", key)
    for i = 1, #rows, 2 do
      local at, rest = string.match(rows[i], "^(%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d)(:.*)$")
      local member = at and string.format("%015.0f", tonumber(at) - ms) .. rest or rows[i]
      if kind == "limit-pending" then member = string.gsub(member, "|(%d+)|", function(start) return "|" .. earlier(start) .. "|" end, 1) end
      redis.call("ZADD", key, rows[i + 1] == "0" and "0" or earlier(rows[i + 1]), member)
    end
  end
  if ttl > 0 then redis.call("PEXPIRE", key, string.format("%.0f", ttl - ms)) end
end`;

export async function redisHarness(url?: string): Promise<Harness & { readonly server: RedisServer }> {
  const server = await startRedis();
  return {
    server,
    open: (options = {}) => openStore({ url: url ?? server.url, dataDir: "/nonexistent", ...TEST_OPTIONS, ...options }),
    nowMs: () => Date.now(),
    passTime: async (ms) => void (await server.admin.eval(PASS_TIME, 0, String(ms))),
    corrupt: async (kind, tenant, id) => {
      const [key] = await server.admin.keys(`hp:{${tenant}:*}:${kind}:${id}`);
      await server.admin.hset(
        key!,
        kind === "approval" ? "reviews" : "left",
        kind === "approval" ? '[{"verdict":"grant"}]' : "99",
      );
      await server.admin.hdel(key!, kind === "approval" ? "binding" : "run");
    },
    dispose: () => server.dispose(),
  };
}

export interface EmbeddedHarness extends Harness {
  readonly directory: string;
  /** Moves the wall clock alone, as an operator or NTP would. */
  setWallBack(ms: number): void;
}

export async function embeddedHarness(): Promise<EmbeddedHarness> {
  const directory = mkdtempSync(join(tmpdir(), "hp-embedded-"));
  let passedMs = 0;
  let backMs = 0;
  const time: TimeSource = {
    wallMs: () => Date.now() + passedMs - backMs,
    monotonicMs: () => performance.now() + passedMs,
  };
  return {
    directory,
    open: (options = {}) => openEmbeddedStore(directory, completeStoreOptions({ ...TEST_OPTIONS, ...options }), time),
    nowMs: () => Date.now() + passedMs,
    passTime: async (ms) => {
      passedMs += ms;
    },
    setWallBack: (ms) => {
      backMs += ms;
    },
    corrupt: async (kind, tenant, id) => {
      const database = open<string>({ path: directory, noSubdir: false, encoding: "string", overlappingSync: false });
      await database.put([kind, tenant, id], '{"status":"granted"}');
      await database.close();
    },
    dispose: async () => rmSync(directory, { recursive: true, force: true }),
  };
}
