/** Each script on keys that are gone, and the rule that its keys share one slot. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectRedis } from "../../src/store/redis/connect-redis.ts";
import { keysOf, tagOf } from "../../src/store/redis/keys.ts";
import { parseRedisUrl } from "../../src/store/redis/parse-redis-url.ts";
import { RedisLink } from "../../src/store/redis/redis-link.ts";
import { consumePermit } from "../../src/store/redis/scripts/consume-permit.ts";
import { countApprovals } from "../../src/store/redis/scripts/count-approvals.ts";
import { dropFacts } from "../../src/store/redis/scripts/drop-facts.ts";
import { expireApproval } from "../../src/store/redis/scripts/expire-approval.ts";
import { issuePermit } from "../../src/store/redis/scripts/issue-permit.ts";
import { listOverdue } from "../../src/store/redis/scripts/list-overdue.ts";
import { openApproval } from "../../src/store/redis/scripts/open-approval.ts";
import { readApproval } from "../../src/store/redis/scripts/read-approval.ts";
import { readUnknownExecution } from "../../src/store/redis/scripts/read-execution.ts";
import { readPermit } from "../../src/store/redis/scripts/read-permit.ts";
import { reportExecution } from "../../src/store/redis/scripts/report-execution.ts";
import { reviewApproval } from "../../src/store/redis/scripts/review-approval.ts";
import type { Script, ScriptRunner } from "../../src/store/redis/scripts/script.ts";
import { takeFacts } from "../../src/store/redis/scripts/take-facts.ts";
import { type RedisServer, startRedis, until } from "../support/redis.ts";
import { anOpening, aPermit, aReview, aUse, HOSTILE_IDS, HOSTILE_TENANTS, SUBJECT } from "./samples.ts";

const ID = "appr_03GONE";
const JTI = "perm_03GONE";
const retentionMs = 1_000_000;
const keys = keysOf("t", "03");
const request = anOpening("t");

/** Every script once, on an empty partition. */
const CALLS: Readonly<Record<string, (runner: ScriptRunner) => Promise<unknown>>> = {
  "read-approval": (runner) => readApproval(runner, keys, ID),
  "review-approval": (runner) =>
    reviewApproval(runner, keys, {
      request: aReview({ tenant: "t", id: ID, version: 1 }),
      editedSubjectText: "",
      retentionMs,
      editsMax: 4,
    }),
  "expire-approval": (runner) => expireApproval(runner, keys, { row: `000000000000001:${ID}`, retentionMs }),
  "list-overdue": (runner) => listOverdue(runner, keys, { limit: 10, retentionMs }),
  "read-permit": (runner) => readPermit(runner, keys, JTI),
  "consume-permit": (runner) =>
    consumePermit(runner, keys, { request: aUse(aPermit("t", ID, { jti: JTI })), retentionMs }),
  "report-execution": (runner) =>
    reportExecution(runner, keys, {
      request: { tenant: "t", jti: JTI, executionId: undefined, status: "failed", resultDigest: undefined },
      use: undefined,
      retentionMs,
    }),
  "read-execution": (runner) => readUnknownExecution(runner, keys, { tenant: "t", executionId: "exec_03GONE_1" }),
  "take-facts": (runner) => takeFacts(runner, keys, { olderThanMs: 0, limit: 5, leaseMs: 1 }),
  "drop-facts": (runner) => dropFacts(runner, keys, ["appr_03GONE:1"]),
  "count-approvals": (runner) => countApprovals(runner, keys),
  "issue-permit": (runner) => issuePermit(runner, keys, { record: aPermit("t", undefined, { jti: JTI }), graceMs: 1 }),
  "open-approval": (runner) =>
    openApproval(runner, keys, { request, subjectText: JSON.stringify(SUBJECT), id: ID, newestId: "", retentionMs }),
};

let server: RedisServer;
let link: RedisLink;
beforeAll(async () => {
  server = await startRedis();
  const client = connectRedis(parseRedisUrl(server.url), { timeoutMs: 2_000, isPatient: false });
  link = new RedisLink(client, undefined, { waitReplicas: 0, waitMs: 0 });
  await until(() => client.status === "ready");
});
afterAll(async () => {
  link.close();
  await server.dispose();
});

describe("scripts", () => {
  const gone: Readonly<Record<string, unknown>> = {
    "read-approval": undefined,
    "review-approval": { kind: "not_found" },
    "expire-approval": undefined,
    "list-overdue": [],
    "read-permit": undefined,
    "consume-permit": { kind: "unknown_permit" },
    "report-execution": { kind: "not_found" },
    "read-execution": undefined,
    "take-facts": [],
    "drop-facts": undefined,
    "count-approvals": { pending: 0, oldestPendingMs: 0, unknownExecutions: 0 },
  };
  for (const [name, answer] of Object.entries(gone)) {
    it(`${name} answers when its keys are gone, and leaves nothing`, async () => {
      await server.admin.flushall();
      expect(await CALLS[name]!(link)).toEqual(answer);
      expect(await server.admin.keys("*")).toEqual([]);
    });
  }

  it("open-approval opens anew when the record that its scope names is gone", async () => {
    await server.admin.flushall();
    await server.admin.set(keys.scope(request.scopeDigest), "appr_03LOST");
    const first = await CALLS["open-approval"]!(link);
    expect(first).toEqual({ kind: "newest_is", id: "appr_03LOST" });
    const again = openApproval(link, keys, {
      request,
      subjectText: "{}",
      id: ID,
      newestId: "appr_03LOST",
      retentionMs,
    });
    await expect(again).rejects.toMatchObject({ code: "integrity_failure" }); // "{}" is no subject: refused on the way out
    expect(await server.admin.get(keys.scope(request.scopeDigest))).toBe(ID);
  });

  it("issue-permit issues when nothing is there, and not over what is", async () => {
    await server.admin.flushall();
    expect(await CALLS["issue-permit"]!(link)).toBe(true);
    expect(await CALLS["issue-permit"]!(link)).toBe(false);
  });

  it("consume-permit refuses when the approval's record is gone", async () => {
    await server.admin.flushall();
    const permit = aPermit("t", ID, { jti: JTI });
    await issuePermit(link, keys, { record: permit, graceMs: 1_000 });
    expect(await consumePermit(link, keys, { request: aUse(permit), retentionMs })).toEqual({
      kind: "approval_revoked",
      status: "absent",
    });
    expect(await readPermit(link, keys, JTI)).toMatchObject({ usesLeft: 1 });
  });

  it("take-facts forgets a row whose fact is gone, and expire-approval one whose approval is", async () => {
    await server.admin.flushall();
    await server.admin.zadd(keys.factsDue(), 1, "appr_03GONE:1");
    expect(await CALLS["take-facts"]!(link)).toEqual([]);
    await server.admin.zadd(keys.due("pending"), 1, `000000000000001:${ID}`);
    expect(await CALLS["list-overdue"]!(link)).toHaveLength(1);
    expect(await CALLS["expire-approval"]!(link)).toBeUndefined();
    expect(await server.admin.keys("*")).toEqual([]);
  });

  it("says integrity failure of a key that holds another type", async () => {
    await server.admin.flushall();
    await server.admin.set(keys.permit(JTI), "x");
    await expect(CALLS["read-permit"]!(link)).rejects.toMatchObject({ code: "integrity_failure" });
    await server.admin.set(keys.approval(ID), "x");
    await expect(CALLS["read-approval"]!(link)).rejects.toMatchObject({ code: "integrity_failure" });
  });

  it("get keys of one slot each, as many as they declare, and use no other", async () => {
    const seen: string[] = [];
    const spy: ScriptRunner = {
      run: async (script: Script, given, args) => {
        seen.push(script.name);
        const slots = await Promise.all(given.map((key) => slotOf(key)));
        expect([script.name, given.length, new Set(slots).size]).toEqual([script.name, script.keys, 1]);
        expect(tagOf(given[0]!)).toBe("t:03");
        const named = [...script.lua.matchAll(/KEYS\[(\d+)\]/g)].map((match) => Number(match[1]));
        expect(Math.max(...named)).toBeLessThanOrEqual(script.keys);
        expect(script.lua).not.toMatch(/["']hp:/);
        return link.run(script, given, args);
      },
    };
    await server.admin.flushall();
    for (const call of Object.values(CALLS)) await call(spy);
    expect(seen.sort()).toEqual(Object.keys(CALLS).sort());
  });

  it("never run across slots", async () => {
    const script: Script = { name: "none", lua: "return {'x'}", keys: 2 };
    await expect(link.run(script, [keys.purge(), keysOf("t", "04").purge()], [])).rejects.toThrow(RangeError);
    await expect(link.run(script, [keys.purge()], [])).rejects.toThrow(RangeError);
    await expect(link.run(script, ["plain", "plain"], [])).rejects.toThrow(RangeError);
  });

  it("get no key from hostile text", () => {
    for (const id of HOSTILE_IDS) {
      if (/^(perm|appr|exec)_00ABC_1$/.test(id)) continue; // harmless in a key, and refused by kind further out
      for (const make of [keys.approval, keys.permit, keys.executions]) expect(() => make(id)).toThrow(RangeError);
    }
    expect(() => keys.approval("appr_04OTHER")).toThrow(RangeError);
    for (const tenant of HOSTILE_TENANTS) expect(() => keysOf(tenant, "03")).toThrow();
  });

  async function slotOf(key: string): Promise<number> {
    return crc16(tagOf(key)) % 16_384;
  }
});

/** CRC-16/XMODEM, as in the Redis Cluster specification; "123456789" gives 0x31c3. */
function crc16(text: string): number {
  let crc = 0;
  for (const byte of Buffer.from(text)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
