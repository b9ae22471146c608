import { type Key, open, type RootDatabase } from "lmdb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { IntegrityError } from "../../src/core/errors.ts";
import type { Store } from "../../src/core/ports.ts";
import { contextConformance } from "./context-conformance.ts";
import { aLimit, aLock, anEvent, aReport, aSettle, aUseOf, ORDER } from "./context-samples.ts";
import { type EmbeddedHarness, embeddedHarness } from "./harnesses.ts";
import { digestOf, freshTenant } from "./samples.ts";

contextConformance("embedded store", embeddedHarness);

describe("embedded store, its rows of the context", () => {
  let harness: EmbeddedHarness;
  let store: Store;
  let rows: RootDatabase<string, Key>;
  beforeAll(async () => {
    harness = await embeddedHarness();
    store = await harness.open();
    rows = open<string>({ path: harness.directory, noSubdir: false, encoding: "string", overlappingSync: false });
  });
  afterAll(async () => {
    await rows.close();
    await store.close();
    await harness.dispose();
  });

  const keysOf = (tenant: string): Key[][] => {
    rows.resetReadTxn();
    return [...rows.getKeys()].map((key) => key as Key[]).filter((key) => key[1] === tenant);
  };
  const kindsOf = (tenant: string): unknown[] => [...new Set(keysOf(tenant).map(([kind]) => kind))].sort();
  const session = (expectedVersion: number) => ({
    id: digestOf("session"),
    expectedVersion,
    after: { version: expectedVersion + 1, text: "{}" },
    ttlMs: 1_000_000,
  });
  const limits = (isSliding: boolean) => [
    aLimit({ isSliding }),
    aLimit({ name: "values", isSliding, value: digestOf("a") }),
  ];

  it("keeps nothing for ever but histories, claims, fences and freezes", async () => {
    const tenant = freshTenant();
    await store.appendEvent(tenant, anEvent(undefined));
    const about = { limits: limits(true), session: session(0) };
    const request = () => aSettle(harness.nowMs(), about);
    const consumed = { ...request(), lock: aLock() };
    const kept = [
      consumed,
      { ...request(), session: session(1) },
      { ...request(), session: session(2), limits: limits(false) },
    ];
    for (const one of kept) expect(await store.settle(tenant, one)).toMatchObject({ kind: "settled" });
    const [, failed, cancelled] = kept;
    for (const one of [consumed, failed!])
      expect(await store.consumePermit(aUseOf(tenant, one))).toMatchObject({ kind: "consumed" });
    await store.reportExecution(aReport(tenant, failed!));
    await store.cancelPermit(tenant, cancelled!.jti);
    await store.settle(tenant, { ...request(), session: session(3), isReservation: false });
    await store.settle(tenant, { ...request(), session: session(4) });
    await store.settle(tenant, { ...request(), session: undefined, lock: aLock({ waits: true }) });
    for (const kind of [
      "used",
      "value",
      "spread",
      "values",
      "reserved",
      "holding",
      "lock",
      "session",
      "permit",
      "purge",
    ])
      expect(kindsOf(tenant)).toContain(kind);
    await store.dropFacts(
      tenant,
      (await store.takeFacts(tenant, 0, 100)).map(({ factId }) => factId),
    );
    await harness.passTime(200_000_000);
    await store.expireApprovals(tenant, 1);
    expect(kindsOf(tenant)).toEqual(["claim", "count", "entity", "event", "fence"]);
  });

  it("sweeps a limit that nobody charges again in as many steps as it needs", async () => {
    const tenant = freshTenant();
    const charge = (index: number) => {
      const limit = aLimit({ limitMicros: Number.MAX_SAFE_INTEGER, value: digestOf(`v${index}`) });
      return store.settle(tenant, aSettle(harness.nowMs(), { limits: [limit], isReservation: false }));
    };
    await Promise.all(Array.from({ length: 2_500 }, (_, index) => charge(index)));
    await harness.passTime(62 * 60_000);
    const values = () => keysOf(tenant).filter(([kind]) => kind === "value").length;
    const left = [values()];
    for (let sweeps = 0; sweeps < 5 && values() > 0; sweeps += 1) {
      await store.expireApprovals(tenant, 500);
      left.push(values());
    }
    expect(left[0]).toBe(2_500);
    expect(left.length).toBeGreaterThan(2);
    expect(left.at(-1)).toBe(0);
    await store.expireApprovals(tenant, 500);
    expect(kindsOf(tenant)).toEqual([]);
  });

  it("goes on sweeping past a row that is not its own", async () => {
    const tenant = freshTenant();
    await store.writeSession(tenant, session(0));
    await store.writeSession(tenant, { ...session(0), id: digestOf("sound") });
    await rows.put(["session", tenant, digestOf("session")], "{}");
    await harness.passTime(1_000_000);
    await store.expireApprovals(tenant, 500);
    expect(keysOf(tenant)).toEqual([["session", tenant, digestOf("session")]]);
  });

  it("calls a row that is not its own what it is, and does nothing on its word", async () => {
    const bad: [string, string][] = [
      ["entity", '{"state":null}'],
      ["used", "x"],
      ["used", "-1"],
      ["used", ""],
      ["values", "0.5"],
      ["reserved", '{"micros":1}'],
      ["lock", '{"tickets":[{}]}'],
      ["fence", "x"],
      ["session", "[]"],
      ["permit", "{}"],
    ];
    for (const [kind, text] of bad) {
      const tenant = freshTenant();
      await store.appendEvent(tenant, anEvent(undefined));
      const about = { entity: { ref: ORDER, version: 1 }, limits: limits(true), lock: aLock() };
      const first = aSettle(harness.nowMs(), {
        ...about,
        session: session(0),
        permit: { expiresAtMs: harness.nowMs() + 60_000 },
      });
      await store.settle(tenant, first);
      await harness.passTime(60_000);
      const key = keysOf(tenant).find((one) => one[0] === kind)!;
      await rows.put(key, text);
      const next = aSettle(harness.nowMs(), {
        ...about,
        session: session(1),
        jti: kind === "permit" ? first.jti : aSettle(0).jti,
      });
      await expect(store.settle(tenant, next), `${kind} ${text}`).rejects.toBeInstanceOf(IntegrityError);
      if (kind !== "permit") expect(await store.readPermit(tenant, next.jti)).toBeUndefined();
      // Nothing of it is left behind, neither what it had written before it met the row.
      expect(rows.get(key)).toBe(text);
    }
  });

  it("calls other texts of the context what they are, too", async () => {
    const tenant = freshTenant();
    const event = anEvent(undefined);
    await store.appendEvent(tenant, event);
    const freeze = { id: "frz", kind: "tenant" as const, subject: "", reason: "", by: "alice" };
    await store.putFreeze(tenant, freeze);
    const held = aSettle(harness.nowMs(), { limits: limits(true) });
    await store.settle(tenant, held);
    const spoil = async (kind: string, text: string) => {
      await rows.put(keysOf(tenant).find((one) => one[0] === kind)!, text);
    };
    await spoil("event", '{"sequence":1,"atMs":1,"text":"x"}');
    await expect(store.readEvents(tenant, ORDER, 1, 1)).rejects.toBeInstanceOf(IntegrityError);
    await expect(store.appendEvent(tenant, event)).rejects.toBeInstanceOf(IntegrityError);
    await spoil("claim", "{}");
    await expect(store.appendEvent(tenant, event)).rejects.toBeInstanceOf(IntegrityError);
    await spoil("entity", JSON.stringify({ ...event.after, changedAtMs: 1, ref: { type: "order", id: "other" } }));
    await expect(store.readEntity(tenant, ORDER)).rejects.toBeInstanceOf(IntegrityError);
    await spoil("entity", JSON.stringify({ ...event.after, changedAtMs: 1, version: 2 }));
    await expect(store.readEntity(tenant, ORDER)).rejects.toBeInstanceOf(IntegrityError);
    await spoil("freeze", JSON.stringify({ ...freeze, atMs: 1, subject: "alice" }));
    await expect(store.readFreezes(tenant)).rejects.toBeInstanceOf(IntegrityError);
    await spoil("holding", "{}");
    await expect(store.consumePermit(aUseOf(tenant, held))).rejects.toBeInstanceOf(IntegrityError);
    await expect(store.cancelPermit(tenant, held.jti)).rejects.toBeInstanceOf(IntegrityError);
    expect(await store.readPermit(tenant, held.jti)).toMatchObject({ usesLeft: 1 });
  });
});
