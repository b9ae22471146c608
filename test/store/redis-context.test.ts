/** The shared context on a real Redis: races, what is left behind, and what becomes of it when something is gone. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AppendEvent,
  type LimitCharge,
  LOCK_QUEUE_MAX,
  type Settle,
  type SettledPermit,
  TICKET_LEASE_MS,
} from "../../src/core/context.ts";
import { bucketEndsAtMs } from "../../src/core/limit-window.ts";
import { CONTEXT_PARTITION, permitIdIn } from "../../src/core/partition.ts";
import type { ReportExecution, Store } from "../../src/core/ports.ts";
import { entityHash } from "../../src/store/context-names.ts";
import { contextKeysOf } from "../../src/store/redis/keys.ts";
import { projectRoot } from "../support/tools.ts";
import { granted } from "./conformance.ts";
import { redisHarness } from "./harnesses.ts";
import { anOpening, aUse, digestOf, freshTenant, unique } from "./samples.ts";

const HOUR_MS = 3_600_000;
const PERMIT_MS = 60_000;
const ENTITY = { type: "order", id: "ord_1" };

let harness: Awaited<ReturnType<typeof redisHarness>>;
let stores: readonly [Store, Store];
let store: Store;
beforeAll(async () => {
  harness = await redisHarness();
  stores = [await harness.open(), await harness.open()];
  store = stores[0];
});
afterAll(async () => {
  await Promise.all(stores.map((one) => one.close()));
  await harness.dispose();
});

const aJti = (): string => permitIdIn(CONTEXT_PARTITION, unique());

function aCharge(more: Partial<LimitCharge> = {}): LimitCharge {
  return {
    id: digestOf("limit"),
    limitMicros: 10_000_000,
    costMicros: 1_000_000,
    windowMs: 24 * HOUR_MS,
    isSliding: true,
    value: undefined,
    isBinding: true,
    ...more,
  };
}

function aSettle(more: Partial<Omit<Settle, "permit">> & { readonly permit?: Partial<SettledPermit> } = {}): Settle {
  return {
    jti: aJti(),
    entity: undefined,
    session: undefined,
    limits: [],
    lock: undefined,
    isReservation: true,
    ...more,
    permit: {
      approvalId: undefined,
      uses: 1,
      expiresAtMs: Date.now() + PERMIT_MS,
      subjectText: '{"a":"{}"}',
      ...more.permit,
    },
  };
}

const LOCK = { id: digestOf("lock"), ttlMs: 30_000, waits: false };

function anEvent(more: Partial<AppendEvent> = {}): AppendEvent {
  const expectedEvents = more.expectedEvents ?? 0;
  return {
    expectedEvents,
    after: {
      ref: ENTITY,
      state: "paid",
      version: expectedEvents + 1,
      attributes: { 'odd "{}\n': [] },
      events: expectedEvents + 1,
      chain: digestOf(`chain ${expectedEvents}`),
    },
    source: "shop",
    eventId: `event"${expectedEvents}"`,
    contentDigest: digestOf("content"),
    eventText: `{"id":"event","data":{"list":[],"big":6.022e23},"n":${expectedEvents}}`,
    ...more,
  };
}

const useOf = (tenant: string, { jti, permit }: Settle) =>
  aUse({ tenant, jti, approvalId: permit?.approvalId, uses: 1, expiresAtMs: 0, subjectText: "" });

function aReport(tenant: string, jti: string, more: Partial<ReportExecution> = {}): ReportExecution {
  return { tenant, jti, executionId: undefined, status: "failed", resultDigest: undefined, ...more };
}

/** All at once, over two sidecars; gives the requests by what became of them. */
async function contend(tenant: string, requests: readonly Settle[]): Promise<Map<string, Settle[]>> {
  const results = await Promise.all(requests.map((request, index) => stores[index % 2]!.settle(tenant, request)));
  const byKind = new Map<string, Settle[]>();
  for (const [index, { kind }] of results.entries()) byKind.set(kind, [...(byKind.get(kind) ?? []), requests[index]!]);
  return byKind;
}

const many = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => make(index));

async function usedOf(tenant: string, charge = aCharge()): Promise<number | undefined> {
  const probe = aSettle({ limits: [{ ...charge, limitMicros: 0, costMicros: 1 }] });
  const result = await store.settle(tenant, probe);
  if (result.kind !== "exceeded") throw new Error(result.kind);
  return result.limits[0]?.usedMicros;
}

describe("settle() on Redis", () => {
  for (const charge of [aCharge(), aCharge({ isSliding: false, windowMs: 720 * HOUR_MS })]) {
    it(`gives a budget of ten to exactly ten of a hundred, ${charge.isSliding ? "sliding" : "fixed"} window`, async () => {
      const tenant = freshTenant();
      const first = await contend(
        tenant,
        many(100, () => aSettle({ limits: [charge] })),
      );
      const winners = first.get("settled")!;
      expect([winners.length, first.get("exceeded")?.length]).toEqual([10, 90]);
      // Three never used and cancelled, two that failed, two left to expire, three that stand.
      expect(await Promise.all(winners.slice(0, 3).map(({ jti }) => store.cancelPermit(tenant, jti)))).toEqual([
        true,
        true,
        true,
      ]);
      for (const winner of winners.slice(3, 8)) {
        expect(await store.consumePermit(useOf(tenant, winner))).toMatchObject({ kind: "consumed" });
      }
      for (const { jti } of winners.slice(3, 5)) {
        expect(await store.reportExecution(aReport(tenant, jti))).toMatchObject({ kind: "reported" });
      }
      const second = await contend(
        tenant,
        many(100, () => aSettle({ limits: [charge] })),
      );
      expect(second.get("settled")).toHaveLength(5);
      await harness.passTime(PERMIT_MS);
      // What nobody consumed by then is back: two of the first, five of the second.
      const third = await contend(
        tenant,
        many(100, () => aSettle({ limits: [charge] })),
      );
      expect(third.get("settled")).toHaveLength(7);
      expect(await usedOf(tenant, charge)).toBe(10_000_000);
      await harness.passTime(2 * charge.windowMs);
      expect(await usedOf(tenant, charge)).toBe(0);
    });
  }

  it("charges, locks and registers once, however often one decision is settled", async () => {
    const tenant = freshTenant();
    const request = aSettle({ limits: [aCharge()], lock: LOCK });
    const results = await Promise.all(many(50, (index) => stores[index % 2]!.settle(tenant, request)));
    const settled = results.filter((result) => result.kind === "settled");
    expect(settled).toHaveLength(1);
    const { fence } = settled[0]!.lock!;
    for (const result of results.filter((one) => one.kind !== "settled")) {
      expect(result).toMatchObject({ kind: "repeated", subjectText: '{"a":"{}"}', state: "live", lock: { fence } });
    }
    expect(await usedOf(tenant)).toBe(1_000_000);
  });

  it("charges nothing of several limits when one of them is exceeded, and no lock is taken", async () => {
    const tenant = freshTenant();
    const [one, other] = [aCharge({ id: digestOf("one") }), aCharge({ id: digestOf("other"), limitMicros: 999_999 })];
    expect(await store.settle(tenant, aSettle({ limits: [one, other], lock: LOCK }))).toMatchObject({
      kind: "exceeded",
      limits: [
        { usedMicros: 0, isExceeded: false },
        { usedMicros: 0, isExceeded: true },
      ],
    });
    expect(await harness.server.admin.keys(`hp:{${tenant}:*`)).toEqual([]);
  });

  it("counts values, and only as many as it can keep", async () => {
    const tenant = freshTenant();
    const charge = (value: string) => aCharge({ value: digestOf(value), limitMicros: 3_000_000 });
    const first = await contend(
      tenant,
      many(60, (index) => aSettle({ limits: [charge(`v${index % 6}`)] })),
    );
    const settled = first.get("settled")!;
    expect(new Set(settled.map(({ limits }) => limits[0]!.value)).size).toBe(3);
    expect(settled).toHaveLength(30);
    // A value is counted for as long as one charge of it stands.
    const value = settled[0]!.limits[0]!.value;
    const same = settled.filter(({ limits }) => limits[0]!.value === value);
    for (const { jti } of same.slice(1)) await store.cancelPermit(tenant, jti);
    expect(await store.settle(tenant, aSettle({ limits: [charge("new")] }))).toMatchObject({ kind: "exceeded" });
    await store.cancelPermit(tenant, same[0]!.jti);
    expect(await store.settle(tenant, aSettle({ limits: [charge("new")] }))).toMatchObject({
      kind: "settled",
      limits: [{ usedMicros: 3_000_000, isExceeded: false }],
    });
    const keys = contextKeysOf(tenant);
    const hash = charge("").id.slice(7);
    const start = (await harness.server.admin.zrange(keys.limitValues(hash), "0", "0", "WITHSCORES"))[1]!;
    const values = harness.server.admin.pipeline();
    for (let index = 3; index < 10_000; index += 1) {
      const digits = index.toString(16).padStart(64, "0");
      values.hset(keys.limit(hash), digits, `${start}:1`).zadd(keys.limitValues(hash), start, digits);
    }
    await values.exec();
    const full = { ...charge("one too many"), limitMicros: 9e15, isBinding: false };
    expect(await store.settle(tenant, aSettle({ limits: [full] }))).toMatchObject({
      kind: "exceeded",
      limits: [{ usedMicros: 10_000_000_000, isExceeded: true }],
    });
    const known = { ...charge("new"), limitMicros: 9e15 };
    expect(await store.settle(tenant, aSettle({ limits: [known] }))).toMatchObject({ kind: "settled" });
  });

  it("keeps a value for as long as its newest charge counts", async () => {
    const tenant = freshTenant();
    const charge = aCharge({ value: digestOf("v"), windowMs: HOUR_MS, limitMicros: 1_000_000 });
    const other = { ...charge, value: digestOf("w") };
    const settled = async (limit: LimitCharge, isReservation = false) =>
      (await store.settle(tenant, aSettle({ limits: [limit], isReservation }))).kind;
    expect(await settled(charge)).toBe("settled");
    await harness.passTime(HOUR_MS / 2);
    expect(await settled(charge)).toBe("settled");
    await harness.passTime(HOUR_MS / 2 + HOUR_MS / 30);
    expect(await settled(other)).toBe("exceeded");
    await harness.passTime(HOUR_MS / 2);
    expect(await settled(other)).toBe("settled");
  });

  it("counts a value to the end of its bucket's time, and no longer", async () => {
    const charge = aCharge({ value: digestOf("v"), windowMs: HOUR_MS, limitMicros: 1_000_000 });
    const keptMs = bucketEndsAtMs(charge, 0);
    for (const [sinceMs, kind] of [
      [keptMs + 1, "settled"],
      [keptMs - 30_000, "exceeded"],
    ] as const) {
      const tenant = freshTenant();
      const [keys, hash, other] = [contextKeysOf(tenant), charge.id.slice(7), digestOf("w").slice(7)];
      const start = String(Date.now() - sinceMs);
      await harness.server.admin.hset(keys.limit(hash), other, `${start}:1`);
      await harness.server.admin.zadd(keys.limitValues(hash), start, other);
      expect((await store.settle(tenant, aSettle({ limits: [charge] }))).kind).toBe(kind);
      expect(await harness.server.admin.zcard(keys.limitValues(hash))).toBe(1);
    }
  });

  it("tidies up more than one run may before it weighs a limit", async () => {
    const tenant = freshTenant();
    const keys = contextKeysOf(tenant);
    const hash = aCharge().id.slice(7);
    await store.settle(tenant, aSettle({ limits: [aCharge()], isReservation: false }));
    const [start] = await harness.server.admin.hkeys(keys.limit(hash));
    await harness.server.admin.hset(keys.limit(hash), start!, String(2_502 * 4_000));
    const pending = harness.server.admin.pipeline();
    for (let index = 0; index < 2_501; index += 1) pending.zadd(keys.limitPending(hash), 1, `${aJti()}|${start}|4000|`);
    await pending.exec();
    expect(await usedOf(tenant)).toBe(4_000);
    expect(await harness.server.admin.zcard(keys.limitPending(hash))).toBe(0);
  });

  it("says integrity failure of rows that it never wrote, and changes nothing", async () => {
    const tenant = freshTenant();
    const keys = contextKeysOf(tenant);
    const hash = aCharge().id.slice(7);
    const admin = harness.server.admin;
    for (const spoil of [
      () => admin.zadd(keys.limitPending(hash), 1, "perm_10A|x|1|"),
      () => admin.hset(keys.limit(hash), "soon", "1"),
      () => admin.hset(keys.limit(hash), "1", "much"),
      () => admin.set(keys.lock(LOCK.id.slice(7)), "somebody"),
      () => admin.set(keys.limit(hash), "x"),
    ]) {
      await admin.flushall();
      await spoil();
      const failed = store.settle(tenant, aSettle({ limits: [aCharge()], lock: LOCK }));
      await expect(failed).rejects.toMatchObject({ code: "integrity_failure" });
      expect(await admin.keys("*permit*")).toEqual([]);
    }
    await admin.flushall();
  });

  it("leaves nothing without an end but histories, freezes, facts and the last fence", async () => {
    const tenant = freshTenant();
    const distinct = aCharge({ id: digestOf("distinct"), value: digestOf("v") });
    await store.appendEvent(tenant, anEvent());
    const session = { id: digestOf("s"), expectedVersion: 0, after: { version: 1, text: "{}" }, ttlMs: 1_000 };
    const entity = { ref: ENTITY, version: 1 };
    const request = aSettle({ entity, session, limits: [aCharge(), distinct], lock: LOCK });
    expect(await store.settle(tenant, request)).toMatchObject({ kind: "settled" });
    await store.settle(tenant, aSettle({ lock: { ...LOCK, waits: true } }));
    await store.putFreeze(tenant, { id: "f", kind: "tenant", subject: "", reason: "", by: "ann" });
    await store.consumePermit(useOf(tenant, request));
    const ENDLESS = /}:(entity:|events:|event-claim:|freezes$|fence$|facts$|facts-due$|unknown$)/;
    const keys = await harness.server.admin.keys(`hp:{${tenant}:*`);
    expect(keys.length).toBeGreaterThan(12);
    for (const key of keys) {
      expect([key, (await harness.server.admin.pttl(key)) > 0]).toEqual([key, !ENDLESS.test(key)]);
      expect(key.startsWith(`hp:{${tenant}:${CONTEXT_PARTITION}}:`)).toBe(true);
    }
  });
});

describe("locks on Redis", () => {
  it("have one holder of fifty, and fences that grow", async () => {
    const tenant = freshTenant();
    let last = 0;
    for (let round = 0; round < 5; round += 1) {
      const requests = many(50, () => aSettle({ lock: LOCK }));
      const byKind = await contend(tenant, requests);
      const [holder, ...others] = byKind.get("settled")!;
      expect([others.length, byKind.get("locked")?.length]).toEqual([0, 49]);
      const again = await store.settle(tenant, holder!);
      if (again.kind !== "repeated") throw new Error(again.kind);
      expect(again.lock!.fence).toBeGreaterThan(last);
      last = again.lock!.fence;
      expect(await store.consumePermit(useOf(tenant, holder!))).toMatchObject({ kind: "consumed" });
      await store.reportExecution(aReport(tenant, holder!.jti, { status: "succeeded" }));
    }
  });

  it("go through the queue in the order in which it was joined, and past whoever is gone", async () => {
    const tenant = freshTenant();
    const holder = aSettle({ lock: LOCK });
    await store.settle(tenant, holder);
    const waiting = many(5, () => aSettle({ lock: { ...LOCK, waits: true } }));
    for (const [ahead, request] of waiting.entries()) {
      expect(await store.settle(tenant, request)).toMatchObject({ kind: "locked", isWaiting: true, ahead });
    }
    await store.leaveQueue(tenant, LOCK.id, waiting[1]!.jti);
    await store.cancelPermit(tenant, holder.jti);
    // It is free, and somebody waits: not for those who just came.
    expect(await store.settle(tenant, aSettle({ lock: LOCK }))).toMatchObject({
      kind: "locked",
      isWaiting: false,
      ahead: 4,
    });
    const taken: Settle[] = [];
    for (let round = 0; round < 4; round += 1) {
      const byKind = await contend(
        tenant,
        waiting.toReversed().filter((one) => one !== waiting[1] && !taken.includes(one)),
      );
      expect(byKind.get("settled")).toHaveLength(1);
      taken.push(byKind.get("settled")![0]!);
      await store.cancelPermit(tenant, taken.at(-1)!.jti);
    }
    expect(taken.map(({ jti }) => jti)).toEqual([0, 2, 3, 4].map((index) => waiting[index]!.jti));
  });

  it("drop a place that nobody asks for again, and take no more than they can keep", async () => {
    const tenant = freshTenant();
    await store.settle(tenant, aSettle({ lock: LOCK }));
    const waiting = many(LOCK_QUEUE_MAX + 20, () => aSettle({ lock: { ...LOCK, waits: true } }));
    const byKind = await contend(tenant, waiting);
    expect([byKind.get("locked")?.length, byKind.get("queue_full")?.length]).toEqual([LOCK_QUEUE_MAX, 20]);
    await harness.passTime(TICKET_LEASE_MS / 2);
    const kept = byKind.get("locked")![7]!;
    expect(await store.settle(tenant, kept)).toMatchObject({ kind: "locked", isWaiting: true });
    await harness.passTime(TICKET_LEASE_MS / 2);
    expect(await store.settle(tenant, byKind.get("queue_full")![0]!)).toMatchObject({ kind: "locked", ahead: 1 });
    expect(await store.settle(tenant, kept)).toMatchObject({ kind: "locked", ahead: 0 });
    await harness.passTime(LOCK.ttlMs);
    expect(await store.settle(tenant, aSettle({ lock: LOCK }))).toMatchObject({ kind: "settled" });
  });

  it("let a permit through only while it holds its own", async () => {
    const tenant = freshTenant();
    const [late, gone] = [aSettle({ lock: LOCK }), aSettle({ lock: { ...LOCK, id: digestOf("gone") } })];
    for (const request of [late, gone]) expect((await store.settle(tenant, request)).kind).toBe("settled");
    await harness.server.admin.del(contextKeysOf(tenant).lock(gone.lock!.id.slice(7)));
    expect(await store.consumePermit(useOf(tenant, gone))).toEqual({ kind: "lock_lost" });
    // Whether Redis has dropped it by then or not.
    const key = contextKeysOf(tenant).lock(LOCK.id.slice(7));
    const held = await harness.server.admin.get(key);
    await harness.server.admin.set(key, held!.replace(/[0-9]+$/, String(Date.now())));
    expect(await store.consumePermit(useOf(tenant, late))).toEqual({ kind: "lock_lost" });
    await harness.passTime(LOCK.ttlMs);
    expect(await store.consumePermit(useOf(tenant, late))).toEqual({ kind: "lock_lost" });
    const next = aSettle({ lock: LOCK });
    await store.settle(tenant, next);
    expect(await store.consumePermit(useOf(tenant, late))).toEqual({ kind: "lock_lost" });
    // Nor does it let go of what is another one's by now.
    expect(await store.cancelPermit(tenant, late.jti)).toBe(true);
    expect(await store.consumePermit(useOf(tenant, next))).toMatchObject({ kind: "consumed" });
  });
});

describe("permits of the context on Redis", () => {
  it("are either cancelled or consumed, and charged accordingly", async () => {
    const tenant = freshTenant();
    const charge = aCharge({ limitMicros: 1e12 });
    const requests = many(50, () => aSettle({ limits: [charge] }));
    await contend(tenant, requests);
    const ends = await Promise.all(
      requests.map(async (request, index) => {
        const [cancelled, consumed] = await Promise.all([
          stores[index % 2]!.cancelPermit(tenant, request.jti),
          stores[(index + 1) % 2]!.consumePermit(useOf(tenant, request)),
        ]);
        expect([cancelled, consumed.kind]).toEqual(cancelled ? [true, "already_consumed"] : [false, "consumed"]);
        return cancelled;
      }),
    );
    expect(await usedOf(tenant, charge)).toBe(ends.filter((isCancelled) => !isCancelled).length * 1_000_000);
  });

  it("give back what they reserved once, however often their failure is reported", async () => {
    const tenant = freshTenant();
    const [kept, failed] = [aSettle({ limits: [aCharge()], lock: LOCK }), aSettle({ limits: [aCharge()] })];
    for (const request of [kept, failed]) {
      await store.settle(tenant, request);
      await store.consumePermit(useOf(tenant, request));
    }
    const reports = many(50, (index) => stores[index % 2]!.reportExecution(aReport(tenant, failed.jti)));
    const kinds = (await Promise.all(reports)).map(({ kind }) => kind);
    expect(kinds.filter((kind) => kind === "reported")).toHaveLength(1);
    expect(kinds.filter((kind) => kind === "repeated")).toHaveLength(49);
    expect(await usedOf(tenant)).toBe(1_000_000);
    expect(await store.cancelPermit(tenant, failed.jti)).toBe(false);
    expect(await usedOf(tenant)).toBe(1_000_000);
  });

  it("of several uses stand for one charge, given back when the last of them has failed, too", async () => {
    const tenant = freshTenant();
    for (const ends of [
      ["failed", "failed"],
      ["succeeded", "failed"],
      ["failed", "succeeded"],
    ] as const) {
      await harness.passTime(48 * HOUR_MS);
      const request = aSettle({ limits: [aCharge()], lock: LOCK, permit: { uses: 2 } });
      expect(await store.settle(tenant, request)).toMatchObject({ kind: "settled" });
      const uses = [
        await store.consumePermit(useOf(tenant, request)),
        await store.consumePermit(useOf(tenant, request)),
      ];
      for (const [index, status] of ends.entries()) {
        const use = uses[index]!;
        if (use.kind !== "consumed") throw new Error(use.kind);
        expect(await usedOf(tenant)).toBe(1_000_000);
        expect(await store.settle(tenant, aSettle({ lock: LOCK }))).toMatchObject({ kind: "locked" });
        await store.reportExecution(aReport(tenant, request.jti, { executionId: use.executionId, status }));
      }
      expect(await usedOf(tenant)).toBe(ends.every((status) => status === "failed") ? 0 : 1_000_000);
      expect(await store.settle(tenant, aSettle({ lock: LOCK }))).toMatchObject({ kind: "settled" });
    }
  });

  it("give back once, even where a clock that was set back lets one be consumed again", async () => {
    const tenant = freshTenant();
    const request = aSettle({ limits: [aCharge()], permit: { uses: 2 } });
    for (const settle of [request, aSettle({ limits: [aCharge()] })]) await store.settle(tenant, settle);
    const fails = async () => {
      const use = await store.consumePermit(useOf(tenant, request));
      if (use.kind !== "consumed") throw new Error(use.kind);
      await harness.server.admin.hset(contextKeysOf(tenant).permit(request.jti), "expires", "1");
      await store.reportExecution(aReport(tenant, request.jti, { executionId: use.executionId }));
    };
    await fails();
    expect(await usedOf(tenant)).toBe(1_000_000);
    await harness.server.admin.hset(
      contextKeysOf(tenant).permit(request.jti),
      "expires",
      String(Date.now() + PERMIT_MS),
    );
    await fails();
    expect(await usedOf(tenant)).toBe(1_000_000);
  });

  it("are consumed where the window of their limit is over before they are", async () => {
    const tenant = freshTenant();
    const charge = aCharge({ windowMs: 1_000 });
    const request = aSettle({ limits: [charge] });
    await store.settle(tenant, request);
    const key = contextKeysOf(tenant).limitPending(charge.id.slice(7));
    expect(await harness.server.admin.pttl(key)).toBeGreaterThan(PERMIT_MS / 2);
    await harness.passTime(10_000);
    expect(await store.consumePermit(useOf(tenant, request))).toMatchObject({ kind: "consumed" });
  });

  it("are not consumed once what they reserved has come back", async () => {
    const tenant = freshTenant();
    const request = aSettle({ limits: [aCharge()] });
    await store.settle(tenant, request);
    const key = contextKeysOf(tenant).limitPending(aCharge().id.slice(7));
    // As after a sweep by a clock that has since been set back.
    const [member] = await harness.server.admin.zrange(key, "0", "-1");
    await harness.server.admin.zrem(key, member!);
    expect(await store.consumePermit(useOf(tenant, request))).toEqual({ kind: "expired" });
    expect(await store.readPermit(tenant, request.jti)).toMatchObject({ usesLeft: 1 });
  });

  it("say the state that stands in their way, under an approval as well", async () => {
    const tenant = freshTenant();
    const approval = await granted(store, anOpening(tenant));
    const request = aSettle({ permit: { approvalId: approval.id } });
    await store.appendEvent(tenant, anEvent());
    await store.settle(tenant, request);
    const use = { ...useOf(tenant, request), entity: { ref: ENTITY, version: 2 } };
    expect(await store.consumePermit(use)).toMatchObject({
      kind: "state_changed",
      entity: { state: "paid", version: 1, attributes: { 'odd "{}\n': [] } },
    });
    const elsewhere = { ...use, entity: { ref: { type: "order", id: "none" }, version: 1 } };
    expect(await store.consumePermit(elsewhere)).toEqual({ kind: "state_changed", entity: undefined });
    await store.appendEvent(tenant, anEvent({ expectedEvents: 1 }));
    expect(await store.consumePermit(use)).toMatchObject({ kind: "consumed" });
    expect(await store.readApproval(tenant, approval.id)).toMatchObject({ status: "exhausted" });
  });

  it("are refused as corrupt where what they hold is no record of ours", async () => {
    const tenant = freshTenant();
    for (const [field, value] of [
      ["reserved", "x;y"],
      ["reserved", `${"a".repeat(64)}|1|1|}`],
      ["lock", "x}"],
    ] as const) {
      const request = aSettle({ limits: [aCharge()] });
      await store.settle(tenant, request);
      await harness.server.admin.hset(contextKeysOf(tenant).permit(request.jti), field, value);
      const failure = { code: "integrity_failure" };
      await expect(store.consumePermit(useOf(tenant, request))).rejects.toMatchObject(failure);
      await expect(store.cancelPermit(tenant, request.jti)).rejects.toMatchObject(failure);
    }
  });
});

describe("appendEvent() on Redis", () => {
  it("appends one of fifty that are the same, and says to the others where", async () => {
    const tenant = freshTenant();
    const results = await Promise.all(many(50, (index) => stores[index % 2]!.appendEvent(tenant, anEvent())));
    const appended = results.filter((result) => result.kind === "appended");
    expect(appended).toHaveLength(1);
    const { atMs } = appended[0]!;
    const event = { sequence: 1, atMs, text: anEvent().eventText };
    for (const result of results) if (result.kind !== "appended") expect(result).toEqual({ kind: "repeated", event });
    expect(await store.readEvents(tenant, ENTITY, 1, 10)).toEqual([event]);
    expect(await store.takeFacts(tenant, 0, 10)).toMatchObject([
      { kind: "event_appended", subjectId: 'event"0"', payload: { sequence: 1, event: JSON.parse(event.text) } },
    ]);
  });

  it("appends one of fifty that expect the same history", async () => {
    const tenant = freshTenant();
    const events = many(50, (index) => anEvent({ eventId: `e${index}`, contentDigest: digestOf(`c${index}`) }));
    const results = await Promise.all(events.map((event, index) => stores[index % 2]!.appendEvent(tenant, event)));
    expect(results.filter(({ kind }) => kind === "appended")).toHaveLength(1);
    expect(results.filter(({ kind }) => kind === "changed")).toHaveLength(49);
    expect(await store.readEntity(tenant, ENTITY)).toMatchObject({ events: 1, version: 1, state: "paid" });
  });

  it("refuses a history with a hole, and an entity's record without its history", async () => {
    const tenant = freshTenant();
    const keys = contextKeysOf(tenant);
    const hash = entityHash(ENTITY);
    const admin = harness.server.admin;
    const failure = { code: "integrity_failure" };
    await store.appendEvent(tenant, anEvent());
    await admin.del(keys.events(hash));
    await expect(store.appendEvent(tenant, anEvent())).rejects.toMatchObject(failure);
    await expect(store.appendEvent(tenant, anEvent({ expectedEvents: 1 }))).rejects.toMatchObject(failure);
    await admin.hdel(keys.entity(hash), "text");
    await expect(store.readEntity(tenant, ENTITY)).rejects.toMatchObject(failure);
    await admin.del(keys.entity(hash));
    expect(await store.readEntity(tenant, ENTITY)).toBeUndefined();
  });
});

describe("sessions and freezes on Redis", () => {
  it("have one writer of fifty for each version", async () => {
    const tenant = freshTenant();
    const id = digestOf("session");
    for (let version = 0; version < 3; version += 1) {
      const change = (index: number) => ({
        id,
        expectedVersion: version,
        after: { version: version + 1, text: `{"by":${index}}` },
        ttlMs: 1_000,
      });
      const results = await Promise.all(
        many(50, (index) =>
          index % 2 === 0
            ? stores[0].writeSession(tenant, change(index)).then(({ kind }) => kind === "written")
            : stores[1].settle(tenant, aSettle({ session: change(index) })).then(({ kind }) => kind === "settled"),
        ),
      );
      expect(results.filter((isWritten) => isWritten)).toHaveLength(1);
      expect(await store.readSession(tenant, id)).toMatchObject({ version: version + 1 });
    }
    await harness.passTime(1_000);
    expect(await store.readSession(tenant, id)).toBeUndefined();
  });

  it("set one freeze of fifty, and lift it once", async () => {
    const tenant = freshTenant();
    const freeze = { id: "f", kind: "actor", subject: "agent", reason: 'odd "{}"', by: "ann" } as const;
    const put = await Promise.all(many(50, (index) => stores[index % 2]!.putFreeze(tenant, freeze)));
    expect(new Set(put.map((one) => one?.factId)).size).toBe(1);
    const lift = { id: "f", by: "bob", reason: 'over,"atMs":1}' };
    const lifted = await Promise.all(many(50, (index) => stores[index % 2]!.liftFreeze(tenant, lift)));
    expect(lifted.filter((one) => one !== undefined)).toHaveLength(1);
    const facts = await store.takeFacts(tenant, 0, 10);
    expect(facts).toMatchObject([
      { kind: "freeze_set", subjectId: "f", payload: { freeze } },
      { kind: "freeze_lifted", subjectId: "f", payload: { freeze, by: "bob", reason: lift.reason } },
    ]);
    await store.dropFacts(
      tenant,
      facts.map(({ factId }) => factId),
    );
    await harness.passTime(1_000_000);
    expect(await store.takeFacts(tenant, 0, 10)).toEqual([]);
  });
});

describe("scripts that give back", () => {
  it("do it in the same lines", () => {
    const parts = ["settle", "cancel-permit", "report-execution"].map((name) => {
      const lua = readFileSync(join(projectRoot, `src/store/redis/scripts/${name}.lua`), "utf8");
      return lua.slice(lua.indexOf("-- give-back:"), lua.indexOf("-- end of give-back"));
    });
    expect(parts[0]!.length).toBeGreaterThan(500);
    expect(new Set(parts).size).toBe(1);
  });
});
