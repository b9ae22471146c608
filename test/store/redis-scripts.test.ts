/** Each script on keys that are gone, and the rule that its keys share one slot. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AppendEvent, LimitCharge, SessionChange, Settle } from "../../src/core/context.ts";
import type { ReportExecution } from "../../src/core/ports.ts";
import type { Digest } from "../../src/core/types.ts";
import { connectRedis } from "../../src/store/redis/connect-redis.ts";
import { contextKeysOf, keysOf, tagOf } from "../../src/store/redis/keys.ts";
import { parseRedisUrl } from "../../src/store/redis/parse-redis-url.ts";
import { RedisLink } from "../../src/store/redis/redis-link.ts";
import { appendEvent } from "../../src/store/redis/scripts/append-event.ts";
import { cancelPermit } from "../../src/store/redis/scripts/cancel-permit.ts";
import { consumePermit } from "../../src/store/redis/scripts/consume-permit.ts";
import { countApprovals } from "../../src/store/redis/scripts/count-approvals.ts";
import { dropFacts } from "../../src/store/redis/scripts/drop-facts.ts";
import { expireApproval } from "../../src/store/redis/scripts/expire-approval.ts";
import { type HeldInContext, withHeld } from "../../src/store/redis/scripts/held.ts";
import { issuePermit } from "../../src/store/redis/scripts/issue-permit.ts";
import { leaveQueue } from "../../src/store/redis/scripts/leave-queue.ts";
import { liftFreeze } from "../../src/store/redis/scripts/lift-freeze.ts";
import { listOverdue } from "../../src/store/redis/scripts/list-overdue.ts";
import { openApproval } from "../../src/store/redis/scripts/open-approval.ts";
import { putFreeze } from "../../src/store/redis/scripts/put-freeze.ts";
import { readApproval } from "../../src/store/redis/scripts/read-approval.ts";
import { readExecution } from "../../src/store/redis/scripts/read-execution.ts";
import { readPermit } from "../../src/store/redis/scripts/read-permit.ts";
import { reportExecution } from "../../src/store/redis/scripts/report-execution.ts";
import { reviewApproval } from "../../src/store/redis/scripts/review-approval.ts";
import type { Script, ScriptRunner } from "../../src/store/redis/scripts/script.ts";
import { settle } from "../../src/store/redis/scripts/settle.ts";
import { takeFacts } from "../../src/store/redis/scripts/take-facts.ts";
import { writeSession } from "../../src/store/redis/scripts/write-session.ts";
import { type RedisServer, startRedis, until } from "../support/redis.ts";
import { projectRoot } from "../support/tools.ts";
import { anOpening, aPermit, aReview, aUse, digestOf, HOSTILE_IDS, HOSTILE_TENANTS, SUBJECT } from "./samples.ts";

const ID = "appr_03GONE";
const JTI = "perm_03GONE";
const retentionMs = 1_000_000;
const keys = keysOf("t", "03");
const request = anOpening("t");

const CONTEXT_JTI = "perm_10GONE";
const ENTITY = { type: "order", id: "ord_1" };
const contextKeys = contextKeysOf("t");
const contextPermit = aPermit("t", undefined, { jti: CONTEXT_JTI });
const HASHES = ["1", "2"].map((text) => digestOf(text).slice("sha256:".length));
/** A sum and a value, and a lock. */
const held: HeldInContext = {
  keys: contextKeys,
  reserved: `${HASHES[0]}|0|1000000|;${HASHES[1]}|0|1000000|${HASHES[0]}`,
  lock: HASHES[0]!,
};
const session = (expectedVersion: number): SessionChange => ({
  id: digestOf("session"),
  expectedVersion,
  after: { version: expectedVersion + 1, text: "{}" },
  ttlMs: 1_000,
});
const event = (expectedEvents: number): AppendEvent => ({
  expectedEvents,
  after: {
    ref: ENTITY,
    state: null,
    version: 0,
    attributes: {},
    events: expectedEvents + 1,
    chain: digestOf("chain"),
  },
  source: "shop",
  eventId: "event",
  contentDigest: digestOf("content"),
  eventText: "{}",
});
const charge = (value: Digest | undefined): LimitCharge => ({
  id: digestOf(value ?? "sum"),
  limitMicros: 1_000_000,
  costMicros: 1_000_000,
  windowMs: 60_000,
  isSliding: true,
  value,
  isBinding: true,
});
const settlement: Settle = {
  jti: CONTEXT_JTI,
  entity: { ref: ENTITY, version: 0 },
  session: session(0),
  limits: [charge(undefined), charge(digestOf("value"))],
  lock: { id: digestOf("lock"), ttlMs: 1_000, waits: true },
  permit: { approvalId: undefined, uses: 1, expiresAtMs: contextPermit.expiresAtMs, subjectText: "{}" },
  isReservation: true,
};
const report = (jti: string): ReportExecution => ({
  tenant: "t",
  jti,
  executionId: undefined,
  status: "failed",
  resultDigest: undefined,
});

/** Every script once, on an empty partition; those that may be given more keys, with all that they need, too. */
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
  "consume-permit in context": (runner) =>
    consumePermit(runner, contextKeys, {
      request: { ...aUse(contextPermit), entity: { ref: ENTITY, version: 1 } },
      retentionMs,
      held,
    }),
  "report-execution": (runner) => reportExecution(runner, keys, { request: report(JTI), use: undefined, retentionMs }),
  "report-execution in context": (runner) =>
    reportExecution(runner, contextKeys, { request: report(CONTEXT_JTI), use: undefined, retentionMs, held }),
  "cancel-permit": (runner) => cancelPermit(runner, keys, { tenant: "t", jti: JTI, held: undefined }),
  "cancel-permit in context": (runner) => cancelPermit(runner, contextKeys, { tenant: "t", jti: CONTEXT_JTI, held }),
  "leave-queue": (runner) => leaveQueue(runner, contextKeys, { lock: HASHES[0]!, jti: CONTEXT_JTI }),
  "lift-freeze": (runner) => liftFreeze(runner, contextKeys, { tenant: "t", id: "f", by: "ann", reason: "" }),
  "write-session": (runner) => writeSession(runner, contextKeys, session(1)),
  "append-event": (runner) => appendEvent(runner, contextKeys, { tenant: "t", event: event(1) }),
  settle: (runner) =>
    settle(runner, contextKeys, {
      tenant: "t",
      request: { ...settlement, entity: { ref: ENTITY, version: 1 } },
      graceMs: 1,
    }),
  "put-freeze": (runner) =>
    putFreeze(runner, contextKeys, {
      tenant: "t",
      freeze: { id: "f", kind: "tenant", subject: "", reason: "", by: "ann" },
    }),
  "read-execution": (runner) => readExecution(runner, keys, { tenant: "t", executionId: "exec_03GONE_1" }),
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
    "consume-permit in context": { kind: "unknown_permit" },
    "report-execution": { kind: "not_found" },
    "report-execution in context": { kind: "not_found" },
    "cancel-permit": { kind: "not_found" },
    "cancel-permit in context": { kind: "not_found" },
    "leave-queue": undefined,
    "lift-freeze": undefined,
    "write-session": { kind: "stale", session: undefined },
    "append-event": { kind: "changed", entity: undefined },
    settle: { kind: "stale", entity: undefined, session: undefined },
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

  it("settle, append-event, write-session and put-freeze begin when nothing is there", async () => {
    await server.admin.flushall();
    expect(await settle(link, contextKeys, { tenant: "t", request: settlement, graceMs: 1 })).toMatchObject({
      kind: "settled",
      limits: [{ usedMicros: 1_000_000 }, { usedMicros: 1_000_000 }],
      lock: { fence: expect.any(Number) },
    });
    expect(await appendEvent(link, contextKeys, { tenant: "t", event: event(0) })).toMatchObject({ kind: "appended" });
    expect(await writeSession(link, contextKeys, { ...session(0), id: digestOf("other") })).toEqual({
      kind: "written",
    });
    expect(await CALLS["put-freeze"]!(link)).toMatchObject({ kind: "set" });
  });

  it("settle, consume-permit, report-execution and cancel-permit go on when what was charged is gone", async () => {
    const holding = { tenant: "t", jti: CONTEXT_JTI, key: contextKeys.permit(CONTEXT_JTI) };
    const settled = () => settle(link, contextKeys, { tenant: "t", request: settlement, graceMs: 1 });
    const lose = async (...kinds: string[]) => {
      for (const kind of kinds) await server.admin.del(...(await server.admin.keys(`hp:{t:10}:${kind}:*`)));
    };
    const request = aUse(contextPermit);
    await server.admin.flushall();
    await settled();
    await lose("limit", "limit-values");
    expect(
      await withHeld(link, holding, (kept) => cancelPermit(link, contextKeys, { ...holding, held: kept })),
    ).toEqual({
      kind: "cancelled",
    });
    expect(await server.admin.keys("hp:{t:10}:limit*")).toEqual([]);
    await server.admin.flushall();
    await settled();
    const consumed = await withHeld(link, holding, (kept) =>
      consumePermit(link, contextKeys, { request, retentionMs, held: kept }),
    );
    expect(consumed).toMatchObject({ kind: "consumed" });
    await lose("limit", "limit-values", "lock", "permit");
    const executions = { ...holding, key: contextKeys.executions(CONTEXT_JTI) };
    const reported = await withHeld(link, executions, (kept) =>
      reportExecution(link, contextKeys, { request: report(CONTEXT_JTI), use: 1, retentionMs, held: kept }),
    );
    expect(reported).toMatchObject({ kind: "reported" });
    expect(await server.admin.keys("hp:{t:10}:l*")).toEqual([]);
  });

  it("ask for another reading when a permit holds something else than its caller has read", async () => {
    await server.admin.flushall();
    await settle(link, contextKeys, { tenant: "t", request: settlement, graceMs: 1 });
    const nothing = { ...held, reserved: "", lock: "" };
    const request = aUse(contextPermit);
    const reread = { kind: "reread" };
    expect(await consumePermit(link, contextKeys, { request, retentionMs, held: nothing })).toEqual(reread);
    expect(await cancelPermit(link, contextKeys, { tenant: "t", jti: CONTEXT_JTI, held: nothing })).toEqual(reread);
    const holding = { tenant: "t", jti: CONTEXT_JTI, key: contextKeys.permit(CONTEXT_JTI) };
    let readings = 0;
    const result = withHeld(link, holding, async () => {
      readings += 1;
      return { kind: "reread" };
    });
    await expect(result).rejects.toMatchObject({ code: "store_unavailable" });
    expect(readings).toBeLessThan(10);
    await withHeld(link, holding, (kept) => consumePermit(link, contextKeys, { request, retentionMs, held: kept }));
    const late = reportExecution(link, contextKeys, {
      request: report(CONTEXT_JTI),
      use: undefined,
      retentionMs,
      held: nothing,
    });
    expect(await late).toEqual(reread);
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
    const seen = new Set<string>();
    const spy: ScriptRunner = {
      run: async (script: Script, given, args) => {
        seen.add(script.name);
        const slots = await Promise.all(given.map((key) => slotOf(key)));
        expect([script.name, new Set(slots).size]).toEqual([script.name, 1]);
        expect(given.length).toBeGreaterThanOrEqual(script.keys);
        expect(given.length).toBeLessThanOrEqual(script.keysMax);
        expect(["t:03", "t:10"]).toContain(tagOf(given[0]!));
        const named = [...script.lua.matchAll(/KEYS\[(\d+)\]/g)].map((match) => Number(match[1]));
        expect(Math.max(...named)).toBeLessThanOrEqual(script.keysMax);
        expect(script.lua).not.toMatch(/["']hp:/);
        return link.run(script, given, args);
      },
    };
    await server.admin.flushall();
    for (const call of Object.values(CALLS)) await call(spy);
    const scripts = readdirSync(join(projectRoot, "src/store/redis/scripts")).filter((name) => name.endsWith(".lua"));
    expect([...seen].sort()).toEqual(scripts.map((name) => name.slice(0, -".lua".length)).sort());
  });

  it("never run across slots", async () => {
    const script: Script = { name: "none", lua: "return {'x'}", keys: 2, keysMax: 3 };
    await expect(link.run(script, [keys.purge(), keysOf("t", "04").purge()], [])).rejects.toThrow(RangeError);
    await expect(link.run(script, [keys.purge()], [])).rejects.toThrow(RangeError);
    const four = Array.from({ length: 4 }, () => keys.purge());
    await expect(link.run(script, four, [])).rejects.toThrow(RangeError);
    expect(await link.run(script, four.slice(1), [])).toEqual(["x"]);
    await expect(link.run(script, ["plain", "plain"], [])).rejects.toThrow(RangeError);
  });

  it("get no key from hostile text", () => {
    for (const id of HOSTILE_IDS) {
      if (/^(perm|appr|exec)_00ABC_1$/.test(id)) continue; // harmless in a key, and refused by kind further out
      for (const make of [keys.approval, keys.permit, keys.executions]) expect(() => make(id)).toThrow(RangeError);
    }
    expect(() => keys.approval("appr_04OTHER")).toThrow(RangeError);
    for (const hash of ["", "a", HASHES[0]!.toUpperCase(), `${HASHES[0]}0`, `${HASHES[0]!.slice(1)}}`, digestOf("x")]) {
      for (const make of [contextKeys.entity, contextKeys.limit, contextKeys.lock, contextKeys.session]) {
        expect(() => make(hash)).toThrow(RangeError);
      }
    }
    for (const tenant of HOSTILE_TENANTS) {
      expect(() => keysOf(tenant, "03")).toThrow();
      expect(() => contextKeysOf(tenant)).toThrow();
    }
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
