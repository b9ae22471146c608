/**
 * What every store must do with the shared context, from the comments in core/context-store.ts, core/context.ts and
 * core/limit-window.ts. Run over both adapters: `contextConformance(name, startHarness)`, as conformance.ts.
 *
 * `passTime` is only ever given whole buckets of the sliding limits in play, and either whole windows of the fixed ones or
 * a part that stays within them: a harness that moves stored times moves buckets by floor(ms / bucket).
 *
 * What the comments leave open, and this suite settles:
 * - `isExceeded` says whether the charge is over the limit, binding or not. A sum past Number.MAX_SAFE_INTEGER, and a value
 *   past DISTINCT_VALUES_MAX, are "exceeded" even where the limit does not bind: they could not be counted.
 * - A permit with several uses gives its reservation back once every use was consumed (or the permit expired) and reported,
 *   and none succeeded; its lock is let go at the same moment, whatever the outcomes.
 * - `ahead` counts the live tickets before this one, without the holder. A free lock that is kept for the head of its queue
 *   says when the head's ticket ends as `expiresAtMs`.
 * - A cancelled permit can be cancelled again (true), and reads as used up. One without reservation can be cancelled too.
 * - putFreeze with an id that is on record: the same freeze again gives the same answer (and no second fact), another one is
 *   an InvalidRequestError.
 * - consumePermit with `entity` for a permit outside CONTEXT_PARTITION, or for what is no entity, is "unknown_permit".
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type EntityRecord,
  FREEZES_MAX,
  type Freeze,
  type LimitCharge,
  LOCK_QUEUE_MAX,
  type Settle,
  type SettleResult,
  TICKET_LEASE_MS,
} from "../../src/core/context.ts";
import { InvalidRequestError } from "../../src/core/errors.ts";
import { bucketAt, bucketEndsAtMs, bucketMs } from "../../src/core/limit-window.ts";
import type { Store } from "../../src/core/ports.ts";
import type { Digest } from "../../src/core/types.ts";
import { DISTINCT_VALUES_MAX } from "../../src/store/check-context.ts";
import { granted, type Harness } from "./conformance.ts";
import {
  aLimit,
  aLock,
  anEvent,
  aReport,
  aSettle,
  aUseOf,
  HOSTILE_REFS,
  jtiOf,
  ODD_REFS,
  ORDER,
  units,
  windowFarFromItsEnd,
} from "./context-samples.ts";
import { anOpening, aPermit, aUse, digestOf, freshTenant, HOSTILE_IDS, HOSTILE_TENANTS, unique } from "./samples.ts";

type Settled = Extract<SettleResult, { readonly kind: "settled" }>;

export function contextConformance(name: string, startHarness: () => Promise<Harness>): void {
  describe(`${name}, context`, () => {
    let harness: Harness;
    let store: Store;
    let other: Store;
    const aRequest = (more: Parameters<typeof aSettle>[1] = {}): Settle => aSettle(harness.nowMs(), more);
    const settled = async (
      tenant: string,
      more: Parameters<typeof aSettle>[1] = {},
    ): Promise<Settle & { readonly result: Settled }> => {
      const request = aRequest(more);
      const result = await store.settle(tenant, request);
      if (result.kind !== "settled") throw new Error(`not settled: ${JSON.stringify(result)}`);
      return { ...request, result };
    };
    /** What the limit holds now, asked for without charging it. */
    const usedOf = async (tenant: string, limit: LimitCharge): Promise<number> => {
      const probe: LimitCharge = {
        ...limit,
        costMicros: Number.MAX_SAFE_INTEGER,
        limitMicros: 0,
        isBinding: true,
        value: limit.value && digestOf(unique()),
      };
      const result = await store.settle(tenant, aRequest({ limits: [probe] }));
      if (result.kind !== "exceeded") throw new Error(`no probe: ${result.kind}`);
      return result.limits[0]!.usedMicros;
    };
    const both = (index: number): Store => (index % 2 ? store : other);

    beforeAll(async () => {
      harness = await startHarness();
      store = await harness.open({ timeoutMs: 20_000 });
      other = await harness.open({ timeoutMs: 20_000 });
    });
    afterAll(async () => {
      await store.close();
      await other.close();
      await harness.dispose();
    });

    describe("appendEvent()", () => {
      it("appends, and replaces the record", async () => {
        const tenant = freshTenant();
        expect(await store.readEntity(tenant, ORDER)).toBeUndefined();
        expect(await store.readEvents(tenant, ORDER, 1, 10)).toEqual([]);
        const first = anEvent(undefined);
        const result = await store.appendEvent(tenant, first);
        expect(result).toEqual({ kind: "appended", sequence: 1, atMs: expect.any(Number), factId: expect.any(String) });
        const { atMs } = result as { atMs: number };
        expect(Math.abs(atMs - harness.nowMs())).toBeLessThan(30_000);
        const record = (await other.readEntity(tenant, ORDER))!;
        expect(record).toEqual({ ...first.after, changedAtMs: atMs });
        const second = anEvent(record);
        expect(await other.appendEvent(tenant, second)).toMatchObject({ kind: "appended", sequence: 2 });
        expect(await store.readEntity(tenant, ORDER)).toMatchObject(second.after);
        expect(await store.readEvents(tenant, ORDER, 1, 10)).toEqual([
          { sequence: 1, atMs, text: first.eventText },
          { sequence: 2, atMs: expect.any(Number), text: second.eventText },
        ]);
      });

      it("keeps an entity that has no state, and an event that did not count", async () => {
        const tenant = freshTenant();
        const event = anEvent(undefined);
        const after = { ...event.after, state: null, version: 0, attributes: {} };
        await store.appendEvent(tenant, { ...event, after });
        expect(await store.readEntity(tenant, ORDER)).toMatchObject(after);
      });

      it("leaves a fact in the same step, until it is dropped", async () => {
        const tenant = freshTenant();
        const event = anEvent(undefined);
        const { factId, atMs } = (await store.appendEvent(tenant, event)) as { factId: string; atMs: number };
        const payload = { event: JSON.parse(event.eventText), sequence: 1 };
        expect(await other.takeFacts(tenant, 0, 10)).toEqual([
          { factId, tenant, kind: "event_appended", atMs, subjectId: event.eventId, payload },
        ]);
        await store.appendEvent(tenant, event);
        await other.dropFacts(tenant, [factId]);
        await harness.passTime(100_000);
        expect(await store.takeFacts(tenant, 0, 10)).toEqual([]);
      });

      it("names the facts of two entities and two sequences apart", async () => {
        const tenant = freshTenant();
        const ids: string[] = [];
        for (const ref of ODD_REFS) {
          const one = await store.appendEvent(tenant, anEvent(undefined, {}, ref));
          const next = await store.appendEvent(tenant, anEvent(await store.readEntity(tenant, ref), {}, ref));
          ids.push((one as { factId: string }).factId, (next as { factId: string }).factId);
        }
        expect(new Set(ids).size).toBe(2 * ODD_REFS.length);
        expect((await store.takeFacts(tenant, 0, 100)).map((fact) => fact.factId).sort()).toEqual(ids.sort());
      });

      it("appends an id of a source once, and gives back what was recorded then", async () => {
        const tenant = freshTenant();
        const event = anEvent(undefined);
        const { atMs } = (await store.appendEvent(tenant, event)) as { atMs: number };
        const record = await store.readEntity(tenant, ORDER);
        await store.appendEvent(tenant, anEvent(record));
        const repeated = { kind: "repeated", event: { sequence: 1, atMs, text: event.eventText } };
        expect(await other.appendEvent(tenant, event)).toEqual(repeated);
        expect(await other.appendEvent(tenant, { ...anEvent(record), eventId: event.eventId })).toEqual(repeated);
        expect((await store.readEntity(tenant, ORDER))?.events).toBe(2);
      });

      it("calls other content, or another entity, under the same id a conflict", async () => {
        const tenant = freshTenant();
        const event = anEvent(undefined);
        await store.appendEvent(tenant, event);
        expect(await store.appendEvent(tenant, { ...event, contentDigest: digestOf("other") })).toEqual({
          kind: "conflict",
        });
        const elsewhere = { ...ORDER, id: "ord_003" };
        const moved = anEvent(undefined, { eventId: event.eventId }, elsewhere);
        expect(await store.appendEvent(tenant, moved)).toEqual({ kind: "conflict" });
        expect(await store.readEntity(tenant, elsewhere)).toBeUndefined();
        expect(await store.appendEvent(tenant, { ...moved, source: "crm" })).toMatchObject({
          kind: "appended",
          sequence: 1,
        });
      });

      it("says what there is where another event came first", async () => {
        const tenant = freshTenant();
        expect(await store.appendEvent(tenant, anEvent({ events: 3, version: 1 } as EntityRecord))).toEqual({
          kind: "changed",
          entity: undefined,
        });
        await store.appendEvent(tenant, anEvent(undefined));
        const entity = await store.readEntity(tenant, ORDER);
        expect(await store.appendEvent(tenant, anEvent(undefined))).toEqual({ kind: "changed", entity });
        expect(await store.readEvents(tenant, ORDER, 1, 10)).toHaveLength(1);
      });

      it("gives fifty parallel appenders a place each", async () => {
        const tenant = freshTenant();
        const append = async (index: number): Promise<number> => {
          for (;;) {
            const event = anEvent(await both(index).readEntity(tenant, ORDER), { eventId: `e${index}` });
            const result = await both(index + 1).appendEvent(tenant, event);
            if (result.kind === "appended") return result.sequence;
            expect(result.kind).toBe("changed");
          }
        };
        const places = await Promise.all(Array.from({ length: 50 }, (_, index) => append(index)));
        const ordered = Array.from({ length: 50 }, (_, index) => index + 1);
        expect(places.sort((one, next) => one - next)).toEqual(ordered);
        const events = await store.readEvents(tenant, ORDER, 1, 1_000);
        expect(events.map(({ sequence }) => sequence)).toEqual(ordered);
        expect(await store.readEntity(tenant, ORDER)).toMatchObject({ events: 50, version: 50 });
      });

      it("appends one event that is sent fifty times at once a single time", async () => {
        const tenant = freshTenant();
        const event = anEvent(undefined);
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) => both(index).appendEvent(tenant, event)),
        );
        expect(results.filter(({ kind }) => kind === "appended")).toHaveLength(1);
        expect(results.filter(({ kind }) => kind === "repeated")).toHaveLength(49);
        expect(await store.takeFacts(tenant, 0, 100)).toHaveLength(1);
      });

      it("keeps entities with odd names, and entities of tenants, apart", async () => {
        const [tenant, stranger] = [freshTenant(), freshTenant()];
        for (const ref of ODD_REFS)
          expect((await store.appendEvent(tenant, anEvent(undefined, {}, ref))).kind).toBe("appended");
        for (const ref of ODD_REFS) {
          expect(await other.readEntity(tenant, ref)).toMatchObject({ ref, events: 1 });
          expect(await other.readEntity(stranger, ref)).toBeUndefined();
          expect(await other.readEvents(stranger, ref, 1, 10)).toEqual([]);
        }
        const event = anEvent(undefined);
        await store.appendEvent(tenant, event);
        expect(await store.appendEvent(stranger, event)).toMatchObject({ kind: "appended", sequence: 1 });
      });

      it("refuses what must not be stored, and knows nothing under such names", async () => {
        const tenant = freshTenant();
        const event = anEvent(undefined);
        const { after } = event;
        const bad = [
          ...HOSTILE_REFS.map((ref) => ({ ...event, after: { ...after, ref } })),
          { ...event, source: "a b" },
          { ...event, source: "" },
          { ...event, eventId: "a\nb" },
          { ...event, eventId: "a".repeat(257) },
          { ...event, contentDigest: "sha256:}" as Digest },
          { ...event, expectedEvents: -1 },
          { ...event, expectedEvents: 1 },
          { ...event, after: { ...after, events: 2 } },
          { ...event, after: { ...after, version: 2 } },
          { ...event, after: { ...after, version: 0.5 } },
          { ...event, after: { ...after, state: "a b" } },
          { ...event, after: { ...after, chain: "" as const } },
          { ...event, after: { ...after, attributes: [] as never } },
          { ...event, eventText: "{" },
          { ...event, eventText: "[]" },
          { ...event, eventText: "null" },
        ];
        for (const request of bad)
          await expect(store.appendEvent(tenant, request)).rejects.toBeInstanceOf(InvalidRequestError);
        for (const hostile of HOSTILE_TENANTS) {
          await expect(store.appendEvent(hostile, event)).rejects.toBeInstanceOf(InvalidRequestError);
          expect(await store.readEntity(hostile, ORDER)).toBeUndefined();
          expect(await store.readEvents(hostile, ORDER, 1, 1)).toEqual([]);
        }
        for (const ref of HOSTILE_REFS) {
          expect(await store.readEntity(tenant, ref)).toBeUndefined();
          expect(await store.readEvents(tenant, ref, 1, 1)).toEqual([]);
        }
        expect(await store.takeFacts(tenant, 0, 10)).toEqual([]);
      });
    });

    it("readEvents() reads a part in order, and no more than a thousand", async () => {
      const tenant = freshTenant();
      for (let count = 0; count < 5; count += 1)
        await store.appendEvent(tenant, anEvent(await store.readEntity(tenant, ORDER)));
      const sequences = async (from: number, limit: number) =>
        (await other.readEvents(tenant, ORDER, from, limit)).map(({ sequence }) => sequence);
      expect(await sequences(2, 2)).toEqual([2, 3]);
      expect(await sequences(4, 1_000)).toEqual([4, 5]);
      expect(await sequences(6, 10)).toEqual([]);
      for (const [from, limit] of [
        [0, 1],
        [1.5, 1],
        [-1, 1],
        [1, 0],
        [1, 1_001],
        [1, 1.5],
      ] as const) {
        await expect(sequences(from, limit)).rejects.toBeInstanceOf(InvalidRequestError);
      }
    });

    it("holds texts to their bytes: at the number, and not one past it", async () => {
      const bounded = await harness.open({ subjectBytesMax: 4_000 });
      const tenant = freshTenant();
      const textOf = (bytes: number) => `{"a":"${"é".repeat((bytes - 8) / 2)}"}`;
      const event = anEvent(undefined);
      const wide = (bytes: number) => {
        const attributes = { a: "" };
        const rest = Buffer.byteLength(JSON.stringify({ ...event.after, attributes }));
        return { ...event, after: { ...event.after, attributes: { a: "x".repeat(bytes - rest) } } };
      };
      const session = (bytes: number) => ({
        id: digestOf(unique()),
        expectedVersion: 0,
        after: { version: 1, text: textOf(bytes) },
        ttlMs: 60_000,
      });
      const permit = (bytes: number) => aRequest({ permit: { subjectText: textOf(bytes) } });
      const past = { code: "body_too_large" };
      await expect(bounded.appendEvent(tenant, { ...event, eventText: textOf(4_002) })).rejects.toMatchObject(past);
      await expect(bounded.appendEvent(tenant, wide(4_001))).rejects.toMatchObject(past);
      await expect(bounded.writeSession(tenant, session(4_002))).rejects.toMatchObject(past);
      await expect(bounded.settle(tenant, aRequest({ session: session(4_002) }))).rejects.toMatchObject(past);
      await expect(bounded.settle(tenant, permit(4_002))).rejects.toMatchObject(past);
      expect(await bounded.appendEvent(tenant, { ...wide(4_000), eventText: textOf(4_000) })).toMatchObject({
        kind: "appended",
      });
      expect(await bounded.writeSession(tenant, session(4_000))).toEqual({ kind: "written" });
      expect(await bounded.settle(tenant, permit(4_000))).toMatchObject({ kind: "settled" });
      await bounded.close();
    });

    describe("sessions", () => {
      const aChange = (expectedVersion: number, more: object = {}) => ({
        id: digestOf("session"),
        expectedVersion,
        after: { version: expectedVersion + 1, text: `{"n":${expectedVersion},"é":"\\u0000"}` },
        ttlMs: 1_000_000,
        ...more,
      });

      it("are replaced by whoever expects what there is", async () => {
        const tenant = freshTenant();
        expect(await store.readSession(tenant, digestOf("session"))).toBeUndefined();
        expect(await store.writeSession(tenant, aChange(1))).toEqual({ kind: "stale", session: undefined });
        expect(await store.writeSession(tenant, aChange(0))).toEqual({ kind: "written" });
        expect(await other.readSession(tenant, digestOf("session"))).toEqual(aChange(0).after);
        expect(await other.writeSession(tenant, aChange(0))).toEqual({ kind: "stale", session: aChange(0).after });
        expect(await other.writeSession(tenant, aChange(1))).toEqual({ kind: "written" });
        expect(await store.readSession(tenant, digestOf("session"))).toEqual(aChange(1).after);
        expect(await store.readSession(freshTenant(), digestOf("session"))).toBeUndefined();
        expect(await store.readSession(tenant, digestOf("another"))).toBeUndefined();
      });

      it("are replaced by one of twenty that expect the same", async () => {
        const tenant = freshTenant();
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, index) => both(index).writeSession(tenant, aChange(0))),
        );
        expect(results.filter(({ kind }) => kind === "written")).toHaveLength(1);
      });

      it("end with their time, which each change begins anew", async () => {
        const tenant = freshTenant();
        await store.writeSession(tenant, aChange(0));
        await harness.passTime(900_000);
        await store.settle(tenant, aRequest({ session: aChange(1) }));
        await harness.passTime(900_000);
        await store.expireApprovals(tenant, 500);
        expect(await store.readSession(tenant, digestOf("session"))).toEqual(aChange(1).after);
        await harness.passTime(100_000);
        expect(await store.readSession(tenant, digestOf("session"))).toBeUndefined();
        expect(await store.writeSession(tenant, aChange(2))).toEqual({ kind: "stale", session: undefined });
        expect(await store.writeSession(tenant, aChange(0))).toEqual({ kind: "written" });
      });

      it("are refused where they could not be kept", async () => {
        const tenant = freshTenant();
        const bad = [
          aChange(0, { id: "sha256:}" }),
          aChange(-1),
          aChange(0, { after: { version: 0, text: "" } }),
          aChange(1, { after: { version: 1, text: "" } }),
          aChange(0, { ttlMs: 0 }),
          aChange(0, { ttlMs: Number.NaN }),
          aChange(0, { ttlMs: Number.MAX_SAFE_INTEGER }),
        ];
        for (const change of bad) {
          await expect(store.writeSession(tenant, change)).rejects.toBeInstanceOf(InvalidRequestError);
          await expect(store.settle(tenant, aRequest({ session: change }))).rejects.toBeInstanceOf(InvalidRequestError);
        }
        for (const hostile of HOSTILE_TENANTS) {
          await expect(store.writeSession(hostile, aChange(0))).rejects.toBeInstanceOf(InvalidRequestError);
          expect(await store.readSession(hostile, digestOf("session"))).toBeUndefined();
        }
        expect(await store.readSession(tenant, "sha256:}" as Digest)).toBeUndefined();
      });
    });

    describe("settle()", () => {
      const session = (expectedVersion: number) => ({
        id: digestOf("session"),
        expectedVersion,
        after: { version: expectedVersion + 1, text: "{}" },
        ttlMs: 1_000_000,
      });

      it("registers the permit, which then is one as any other", async () => {
        const tenant = freshTenant();
        const { jti, permit, result, ...rest } = await settled(tenant, {
          permit: { uses: 2 },
          limits: [aLimit()],
          lock: aLock(),
        });
        expect(result).toEqual({
          kind: "settled",
          limits: [{ id: aLimit().id, usedMicros: units(1), resetsAtMs: expect.any(Number), isExceeded: false }],
          lock: { fence: expect.any(Number), expiresAtMs: result.atMs + 60_000 },
          atMs: expect.any(Number),
        });
        expect(await other.readPermit(tenant, jti)).toEqual({ ...permit, jti, tenant, usesLeft: 2, state: "live" });
        expect(await other.issuePermit({ ...permit!, jti, tenant })).toBe(false);
        expect(await other.consumePermit(aUseOf(tenant, { jti, permit, ...rest }))).toMatchObject({
          kind: "consumed",
          usesLeft: 1,
        });
        expect(await other.readPermit(tenant, jti)).toEqual({ ...permit, jti, tenant, usesLeft: 1, state: "used" });
        expect(await other.readPermit(freshTenant(), jti)).toBeUndefined();
      });

      it("appends to a session without any permit", async () => {
        const tenant = freshTenant();
        const request = { ...aRequest({ session: session(0) }), permit: undefined };
        expect(await store.settle(tenant, request)).toEqual({
          kind: "settled",
          limits: [],
          lock: undefined,
          atMs: expect.any(Number),
        });
        expect(await store.readSession(tenant, digestOf("session"))).toEqual(session(0).after);
        expect(await store.readPermit(tenant, request.jti)).toBeUndefined();
      });

      it("answers the same permit again with what is on record, and charges nothing", async () => {
        const tenant = freshTenant();
        const request = aRequest({ limits: [aLimit()], lock: aLock(), session: session(0) });
        const { lock } = (await store.settle(tenant, request)) as Settled;
        const again = {
          ...request,
          permit: { ...request.permit!, subjectText: "other" },
          limits: [aLimit({ costMicros: units(5) })],
        };
        const repeated = { kind: "repeated", subjectText: request.permit!.subjectText, state: "live" };
        const held = { fence: lock!.fence, expiresAtMs: expect.any(Number) };
        expect(await other.settle(tenant, again)).toEqual({ ...repeated, lock: held });
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
        expect(await store.readSession(tenant, digestOf("session"))).toEqual(session(0).after);
        await store.consumePermit(aUseOf(tenant, request));
        expect(await other.settle(tenant, request)).toMatchObject({ ...repeated, state: "used" });
        const plain = await settled(tenant);
        expect(await other.settle(tenant, plain)).toEqual({ ...repeated, lock: undefined });
        const issued = aPermit(tenant, undefined, {
          jti: jtiOf(),
          expiresAtMs: harness.nowMs() + 600_000,
          subjectText: "issued",
        });
        await store.issuePermit(issued);
        expect(await store.settle(tenant, aRequest({ jti: issued.jti }))).toEqual({
          kind: "repeated",
          subjectText: "issued",
          state: "live",
          lock: undefined,
        });
      });

      it("says of a permit that nobody will ever use that it is dead, and of one that was used that it was", async () => {
        const tenant = freshTenant();
        const cancelled = await settled(tenant);
        await store.cancelPermit(tenant, cancelled.jti);
        const lapsed = await settled(tenant, { lock: aLock() });
        const used = await settled(tenant);
        await store.consumePermit(aUseOf(tenant, used));
        await harness.passTime(lapsed.permit!.expiresAtMs - harness.nowMs() + 1);
        const states = [];
        for (const request of [cancelled, lapsed, used]) {
          const again = await other.settle(tenant, request);
          states.push(again.kind === "repeated" ? [again.state, again.lock] : again.kind);
          expect((await other.readPermit(tenant, request.jti))?.state).toBe(again.kind === "repeated" && again.state);
        }
        expect(states).toEqual([
          ["dead", undefined],
          ["dead", undefined],
          ["used", undefined],
        ]);
      });

      it("lets a lock end with a permit that is not used, and not with one that is", async () => {
        const tenant = freshTenant();
        const short = (jti: string, id: Digest) => {
          const permit = { ...aRequest().permit!, expiresAtMs: harness.nowMs() + 10_000 };
          return aRequest({ jti, permit, lock: { id, ttlMs: 60_000, waits: false } });
        };
        const [unused, used] = [short(jtiOf(), digestOf("unused")), short(jtiOf(), digestOf("used"))];
        const { lock } = (await store.settle(tenant, unused)) as Settled;
        await store.settle(tenant, used);
        expect(await store.consumePermit(aUseOf(tenant, used))).toMatchObject({ kind: "consumed" });
        await harness.passTime(10_001);
        const next = (await other.settle(tenant, { ...short(jtiOf(), digestOf("unused")) })) as Settled;
        expect(next.lock!.fence).toBeGreaterThan(lock!.fence);
        expect(await other.settle(tenant, short(jtiOf(), digestOf("used")))).toMatchObject({ kind: "locked" });
        await harness.passTime(50_000);
        expect(await other.settle(tenant, short(jtiOf(), digestOf("used")))).toMatchObject({ kind: "settled" });
      });

      it("settles once for fifty parallel repetitions", async () => {
        const tenant = freshTenant();
        const request = aRequest({ limits: [aLimit()] });
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) => both(index).settle(tenant, request)),
        );
        expect(results.filter(({ kind }) => kind === "settled")).toHaveLength(1);
        expect(results.filter(({ kind }) => kind === "repeated")).toHaveLength(49);
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
      });

      it("says what is so now where entity or session are not as they were, and does nothing", async () => {
        const tenant = freshTenant();
        await store.appendEvent(tenant, anEvent(undefined));
        const entity = await store.readEntity(tenant, ORDER);
        const at = (version: number) => ({ ref: ORDER, version });
        const limits = [aLimit()];
        expect(await store.settle(tenant, aRequest({ entity: at(0), limits }))).toEqual({
          kind: "stale",
          entity,
          session: undefined,
        });
        expect(await store.settle(tenant, aRequest({ entity: at(2), session: session(0) }))).toMatchObject({
          kind: "stale",
          entity,
        });
        expect(await store.readSession(tenant, digestOf("session"))).toBeUndefined();
        const late = { ref: { type: "order", id: "none" }, version: 1 };
        expect(await store.settle(tenant, aRequest({ entity: late }))).toEqual({
          kind: "stale",
          entity: undefined,
          session: undefined,
        });
        await settled(tenant, { entity: at(1), session: session(0) });
        await settled(tenant, { entity: { ...late, version: 0 } });
        const stale = aRequest({ entity: at(1), session: session(0), limits, lock: aLock() });
        expect(await store.settle(tenant, stale)).toEqual({ kind: "stale", entity, session: session(0).after });
        expect(await store.settle(tenant, aRequest({ session: session(4) }))).toEqual({
          kind: "stale",
          entity: undefined,
          session: session(0).after,
        });
        expect(await store.readPermit(tenant, stale.jti)).toBeUndefined();
        expect(await usedOf(tenant, aLimit())).toBe(0);
        await settled(tenant, { lock: aLock() });
      });

      it("checks in order: repeated, stale, exceeded, locked", async () => {
        const tenant = freshTenant();
        const first = await settled(tenant, { limits: [aLimit({ limitMicros: units(1) })], lock: aLock() });
        const bad = { entity: { ref: ORDER, version: 7 }, limits: [aLimit({ limitMicros: units(1) })], lock: aLock() };
        expect(await store.settle(tenant, aRequest({ ...bad, jti: first.jti }))).toMatchObject({ kind: "repeated" });
        expect(await store.settle(tenant, aRequest(bad))).toMatchObject({ kind: "stale" });
        expect(await store.settle(tenant, aRequest({ ...bad, entity: undefined }))).toMatchObject({ kind: "exceeded" });
        expect(await store.settle(tenant, aRequest({ lock: aLock(), limits: [aLimit()] }))).toMatchObject({
          kind: "locked",
        });
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
      });

      it("does nothing at all where a limit is exceeded", async () => {
        const tenant = freshTenant();
        const limits = [aLimit({ name: "one" }), aLimit({ name: "two", limitMicros: 0 })];
        const request = aRequest({ limits, lock: aLock(), session: session(0) });
        expect(await store.settle(tenant, request)).toEqual({
          kind: "exceeded",
          limits: [
            { id: limits[0]!.id, usedMicros: 0, resetsAtMs: expect.any(Number), isExceeded: false },
            { id: limits[1]!.id, usedMicros: 0, resetsAtMs: expect.any(Number), isExceeded: true },
          ],
        });
        expect(await store.readPermit(tenant, request.jti)).toBeUndefined();
        expect(await store.readSession(tenant, digestOf("session"))).toBeUndefined();
        expect(await usedOf(tenant, limits[0]!)).toBe(0);
        await settled(tenant, { lock: aLock() });
      });

      it("takes 32 limits, and not 33, nor one twice", async () => {
        const tenant = freshTenant();
        const limits = (count: number) =>
          Array.from({ length: count }, (_, index) => aLimit({ name: `limit ${index}` }));
        const { result } = await settled(tenant, { limits: limits(32) });
        expect(result.limits.map(({ id }) => id)).toEqual(limits(32).map(({ id }) => id));
        expect(new Set(result.limits.map(({ usedMicros }) => usedMicros))).toEqual(new Set([units(1)]));
        await expect(store.settle(tenant, aRequest({ limits: limits(33) }))).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
        const twice = [aLimit(), aLimit({ costMicros: 1 })];
        await expect(store.settle(tenant, aRequest({ limits: twice }))).rejects.toBeInstanceOf(InvalidRequestError);
      });

      it("refuses what must not be stored", async () => {
        const tenant = freshTenant();
        const noPermit = { permit: undefined };
        const bad: Settle[] = [
          ...HOSTILE_IDS.map((jti) => aRequest({ jti })),
          aRequest({ jti: "perm_00ABC" }),
          ...HOSTILE_REFS.map((ref) => aRequest({ entity: { ref, version: 0 } })),
          aRequest({ entity: { ref: ORDER, version: -1 } }),
          { ...aRequest({ limits: [aLimit()] }), ...noPermit },
          { ...aRequest({ lock: aLock() }), ...noPermit },
          aRequest({ permit: { uses: 0 } }),
          aRequest({ permit: { expiresAtMs: Number.NaN } }),
          aRequest({ permit: { approvalId: "appr_00ABC" } }),
          aRequest({ permit: { approvalId: "" } }),
          aRequest({ limits: [aLimit({ id: "sha256:}{" })] }),
          aRequest({ limits: [aLimit({ value: "x" as Digest })] }),
          ...[-1, 0.5, Number.NaN, Number.MAX_SAFE_INTEGER + 1, "1" as never].flatMap((amount) => [
            aRequest({ limits: [aLimit({ limitMicros: amount })] }),
            aRequest({ limits: [aLimit({ costMicros: amount })] }),
          ]),
          ...[0, 999, 1_000.5, 30 * 24 * 3_600_000 + 1, Number.NaN].map((windowMs) =>
            aRequest({ limits: [aLimit({ windowMs })] }),
          ),
          ...[0, -1, 0.5, 3_600_001, Number.NaN].map((ttlMs) => aRequest({ lock: aLock({ ttlMs }) })),
          aRequest({ lock: aLock({ id: "sha256:}" }) }),
        ];
        for (const request of bad)
          await expect(store.settle(tenant, request)).rejects.toBeInstanceOf(InvalidRequestError);
        for (const hostile of HOSTILE_TENANTS)
          await expect(store.settle(hostile, aRequest())).rejects.toBeInstanceOf(InvalidRequestError);
        const edges = [
          aLimit({ windowMs: 1_000, limitMicros: Number.MAX_SAFE_INTEGER }),
          aLimit({ windowMs: 30 * 24 * 3_600_000 }),
        ];
        await settled(tenant, { limits: edges, lock: aLock({ ttlMs: 3_600_000 }) });
      });
    });

    describe.each([
      ["fixed", false],
      ["sliding", true],
    ] as const)("%s limits", (kind, isSliding) => {
      /** Sixty buckets of whole milliseconds where it slides; far from its end where it does not. */
      const limitOf = (more: Parameters<typeof aLimit>[0] = {}): LimitCharge =>
        aLimit({
          windowMs: isSliding ? 3_600_000 : windowFarFromItsEnd(harness.nowMs(), 3_000_000),
          isSliding,
          ...more,
        });

      it("take the last charge that fits, and not a millionth more", async () => {
        const tenant = freshTenant();
        const limit = limitOf();
        const charge = (costMicros: number) => store.settle(tenant, aRequest({ limits: [{ ...limit, costMicros }] }));
        expect(await charge(units(4))).toMatchObject({
          kind: "settled",
          limits: [{ usedMicros: units(4), isExceeded: false }],
        });
        expect(await charge(units(6) + 1)).toMatchObject({
          kind: "exceeded",
          limits: [{ usedMicros: units(4), isExceeded: true }],
        });
        expect(await charge(units(6))).toMatchObject({
          kind: "settled",
          limits: [{ usedMicros: units(10), isExceeded: false }],
        });
        expect(await charge(1)).toMatchObject({ kind: "exceeded", limits: [{ usedMicros: units(10) }] });
        expect(await charge(0)).toMatchObject({
          kind: "settled",
          limits: [{ usedMicros: units(10), isExceeded: false }],
        });
        expect(await usedOf(freshTenant(), limit)).toBe(0);
        expect(await usedOf(tenant, { ...limit, id: digestOf("another") })).toBe(0);
      });

      it("give exactly ten of a hundred contenders a budget of ten", async () => {
        const tenant = freshTenant();
        const requests = Array.from({ length: 100 }, () => aRequest({ limits: [limitOf()] }));
        const results = await Promise.all(requests.map((request, index) => both(index).settle(tenant, request)));
        const [won, lost] = [
          results.filter((one) => one.kind === "settled"),
          results.filter((one) => one.kind === "exceeded"),
        ];
        expect([won.length, lost.length]).toEqual([10, 90]);
        expect(won.map((one) => one.limits[0]!.usedMicros).sort((one, next) => one - next)).toEqual(
          Array.from({ length: 10 }, (_, index) => units(index + 1)),
        );
      });

      it("give contenders of different weight no more than the limit", async () => {
        const tenant = freshTenant();
        const costs = Array.from({ length: 100 }, (_, index) => units(1 + (index % 4)) + 1);
        const results = await Promise.all(
          costs.map((costMicros, index) => both(index).settle(tenant, aRequest({ limits: [limitOf({ costMicros })] }))),
        );
        const sum = costs.reduce((total, cost, index) => total + (results[index]!.kind === "settled" ? cost : 0), 0);
        expect(sum).toBeLessThanOrEqual(units(10));
        expect(sum).toBeGreaterThan(units(8));
        expect(await usedOf(tenant, limitOf())).toBe(sum);
      });

      it("count different values, each once while it is live", async () => {
        const tenant = freshTenant();
        const limit = (value: string) => limitOf({ name: "values", limitMicros: units(2), value: digestOf(value) });
        const charge = (value: string) => store.settle(tenant, aRequest({ limits: [limit(value)] }));
        expect(await charge("a")).toMatchObject({ kind: "settled", limits: [{ usedMicros: units(1) }] });
        expect(await charge("a")).toMatchObject({ kind: "settled", limits: [{ usedMicros: units(1) }] });
        expect(await charge("b")).toMatchObject({ kind: "settled", limits: [{ usedMicros: units(2) }] });
        expect(await charge("c")).toMatchObject({
          kind: "exceeded",
          limits: [{ usedMicros: units(2), isExceeded: true }],
        });
        expect(await charge("a")).toMatchObject({
          kind: "settled",
          limits: [{ usedMicros: units(2), isExceeded: false }],
        });
        expect(await usedOf(freshTenant(), limit("a"))).toBe(0);
      });

      it("give ten of a hundred contenders with different values room for ten", async () => {
        const tenant = freshTenant();
        const request = (index: number) => aRequest({ limits: [limitOf({ value: digestOf(`v${index % 50}`) })] });
        const results = await Promise.all(
          Array.from({ length: 100 }, (_, index) => both(index).settle(tenant, request(index))),
        );
        const values = new Set(results.flatMap((result, index) => (result.kind === "settled" ? [index % 50] : [])));
        expect(values.size).toBe(10);
        expect(await usedOf(tenant, limitOf({ value: digestOf("any") }))).toBe(units(10));
      });

      it("take back a value with the last that counts it", async () => {
        const tenant = freshTenant();
        const limit = limitOf({ name: "values", value: digestOf("a") });
        const permits = [await settled(tenant, { limits: [limit] }), await settled(tenant, { limits: [limit] })];
        expect(await store.cancelPermit(tenant, permits[0]!.jti)).toBe(true);
        expect(await usedOf(tenant, limit)).toBe(units(1));
        await store.consumePermit(aUseOf(tenant, permits[1]!));
        await store.reportExecution(aReport(tenant, permits[1]!));
        expect(await usedOf(tenant, limit)).toBe(0);
      });

      it("take back what a permit reserved the moment that it expires, swept or not", async () => {
        const tenant = freshTenant();
        const limit = limitOf({ limitMicros: units(3) });
        const values = limitOf({ name: "values", limitMicros: units(1), value: digestOf("a") });
        await settled(tenant, {
          limits: [{ ...limit, costMicros: units(2) }, values],
          permit: { expiresAtMs: harness.nowMs() + 660_000 },
        });
        await settled(tenant, { limits: [limit], permit: { expiresAtMs: harness.nowMs() + 1_860_000 } });
        const fresh = aRequest({ limits: [limit, { ...values, value: digestOf("b") }] });
        expect(await store.settle(tenant, fresh)).toMatchObject({ kind: "exceeded" });
        await harness.passTime(600_000);
        expect(await store.settle(tenant, fresh)).toMatchObject({ kind: "exceeded" });
        await harness.passTime(60_000);
        expect(await store.settle(tenant, { ...fresh, limits: [{ ...limit, costMicros: units(3) }] })).toMatchObject({
          kind: "exceeded",
          limits: [{ usedMicros: units(1) }],
        });
        expect(await store.settle(tenant, fresh)).toMatchObject({
          kind: "settled",
          limits: [{ usedMicros: units(2) }, { usedMicros: units(1) }],
        });
      });

      it("take back nothing twice: expiry, sweep, cancellation and report of one permit", async () => {
        const tenant = freshTenant();
        const limit = limitOf();
        await settled(tenant, { limits: [{ ...limit, costMicros: units(5) }], isReservation: false });
        const late = await settled(tenant, { limits: [limit], permit: { expiresAtMs: harness.nowMs() + 60_000 } });
        await harness.passTime(60_000);
        expect(await usedOf(tenant, limit)).toBe(units(5));
        expect(await store.cancelPermit(tenant, late.jti)).toBe(true);
        expect(await store.cancelPermit(tenant, late.jti)).toBe(true);
        expect(await usedOf(tenant, limit)).toBe(units(5));
        await harness.passTime(660_000);
        await store.expireApprovals(tenant, 500);
        expect(await usedOf(tenant, limit)).toBe(units(5));
      });

      it("keep what was consumed, and what was never a reservation, past the permit's expiry", async () => {
        const tenant = freshTenant();
        const limit = limitOf();
        const permit = { expiresAtMs: harness.nowMs() + 60_000 };
        const used = await settled(tenant, { limits: [{ ...limit, costMicros: units(2) }], permit });
        const good = await settled(tenant, {
          limits: [{ ...limit, costMicros: units(3) }],
          permit,
          isReservation: false,
        });
        await settled(tenant, { limits: [{ ...limit, costMicros: units(4) }], permit });
        expect(await store.consumePermit(aUseOf(tenant, used))).toMatchObject({ kind: "consumed" });
        await harness.passTime(60_000);
        expect(await usedOf(tenant, limit)).toBe(units(5));
        await harness.passTime(660_000);
        await store.expireApprovals(tenant, 500);
        expect(await usedOf(tenant, limit)).toBe(units(5));
        expect(await store.reportExecution(aReport(tenant, used, { status: "succeeded" }))).toMatchObject({
          kind: "reported",
        });
        expect(await usedOf(tenant, limit)).toBe(units(5));
        expect(await store.cancelPermit(tenant, good.jti)).toBe(false);
      });

      it("take back what a failed execution had charged, once, and even when the permit's record is gone", async () => {
        const tenant = freshTenant();
        const limit = limitOf();
        const permits = [];
        for (let index = 0; index < 3; index += 1) {
          const permit = await settled(tenant, {
            limits: [limit, limitOf({ name: "values", value: digestOf(`v${index}`) })],
          });
          await store.consumePermit(aUseOf(tenant, permit));
          permits.push(permit);
        }
        const values = limitOf({ name: "values", value: digestOf("any") });
        expect(await store.reportExecution(aReport(tenant, permits[0]!))).toMatchObject({ kind: "reported" });
        expect(await other.reportExecution(aReport(tenant, permits[0]!))).toMatchObject({ kind: "repeated" });
        expect([await usedOf(tenant, limit), await usedOf(tenant, values)]).toEqual([units(2), units(2)]);
        await harness.passTime(1_260_000);
        await store.expireApprovals(tenant, 500);
        expect(await store.readPermit(tenant, permits[1]!.jti)).toBeUndefined();
        expect(await store.reportExecution(aReport(tenant, permits[1]!))).toMatchObject({ kind: "reported" });
        expect([await usedOf(tenant, limit), await usedOf(tenant, values)]).toEqual([units(1), units(1)]);
        expect(await store.reportExecution(aReport(tenant, permits[2]!, { status: "succeeded" }))).toMatchObject({
          kind: "reported",
        });
        expect(await store.reportExecution(aReport(tenant, permits[2]!))).toMatchObject({ kind: "conflict" });
        expect([await usedOf(tenant, limit), await usedOf(tenant, values)]).toEqual([units(1), units(1)]);
      });

      it("take back nothing that was charged for good when its execution fails", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { limits: [limitOf()], isReservation: false });
        await store.consumePermit(aUseOf(tenant, permit));
        await store.reportExecution(aReport(tenant, permit));
        expect(await usedOf(tenant, limitOf())).toBe(units(1));
        const unused = await settled(tenant, { limits: [limitOf()], isReservation: false });
        expect(await store.cancelPermit(tenant, unused.jti)).toBe(true);
        expect(await usedOf(tenant, limitOf())).toBe(units(2));
      });

      it("charge what does not bind, and count it against what does", async () => {
        const tenant = freshTenant();
        const free = limitOf({ costMicros: units(12), isBinding: false });
        const result = { limits: [{ usedMicros: units(12), isExceeded: true }] };
        expect(await store.settle(tenant, aRequest({ limits: [free] }))).toMatchObject({ kind: "settled", ...result });
        expect(await store.settle(tenant, aRequest({ limits: [limitOf({ costMicros: 0 })] }))).toMatchObject({
          kind: "exceeded",
          ...result,
        });
        const value = { name: "values", limitMicros: 0, isBinding: false };
        for (const one of ["a", "b"]) await settled(tenant, { limits: [limitOf({ ...value, value: digestOf(one) })] });
        expect(await usedOf(tenant, limitOf({ ...value, value: digestOf("a") }))).toBe(units(2));
      });

      it("refuse sums that are no exact integers, whatever binds", async () => {
        const tenant = freshTenant();
        const limit = limitOf({ costMicros: Number.MAX_SAFE_INTEGER, isBinding: false });
        await settled(tenant, { limits: [limit] });
        expect(await store.settle(tenant, aRequest({ limits: [{ ...limit, costMicros: 1 }] }))).toMatchObject({
          kind: "exceeded",
          limits: [{ usedMicros: Number.MAX_SAFE_INTEGER, isExceeded: true }],
        });
      });

      it(`say when ${kind} ones reset`, async () => {
        const tenant = freshTenant();
        const limit = limitOf();
        const { result } = await settled(tenant, { limits: [limit] });
        expect(result.limits[0]!.resetsAtMs).toBe(bucketEndsAtMs(limit, bucketAt(limit, result.atMs)));
        const none = await settled(tenant, { limits: [limitOf({ name: "none", costMicros: 0 })] });
        expect(none.result.limits[0]!.resetsAtMs).toBe(bucketEndsAtMs(limit, bucketAt(limit, none.result.atMs)));
        const refused = await store.settle(tenant, aRequest({ limits: [{ ...limit, costMicros: units(10) }] }));
        expect(refused).toMatchObject({ kind: "exceeded", limits: [{ resetsAtMs: result.limits[0]!.resetsAtMs }] });
        const valued = await settled(tenant, { limits: [limitOf({ name: "values", value: digestOf("a") })] });
        expect(valued.result.limits[0]!.resetsAtMs).toBe(bucketEndsAtMs(limit, bucketAt(limit, valued.result.atMs)));
      });
    });

    it("limits take back more than one step may, before anybody is refused", async () => {
      const tenant = freshTenant();
      const limits = (costMicros: number, value: string) => [
        ...Array.from({ length: 30 }, (_, index) => aLimit({ name: `${index}`, limitMicros: units(70), costMicros })),
        aLimit({ name: "values", limitMicros: units(70), value: digestOf(value) }),
      ];
      const permit = { expiresAtMs: harness.nowMs() + 60_000 };
      const fill = (index: number) =>
        both(index).settle(tenant, aRequest({ permit, limits: limits(units(1), `v${index}`) }));
      await Promise.all(Array.from({ length: 70 }, (_, index) => fill(index)));
      expect(await fill(70)).toMatchObject({ kind: "exceeded" });
      await harness.passTime(60_000);
      const whole = await settled(tenant, { limits: limits(units(70), "new") });
      const used = whole.result.limits.map(({ usedMicros }) => usedMicros);
      expect(used).toEqual([...Array(30).fill(units(70)), units(1)]);
    });

    it("fixed limits begin anew with each window", async () => {
      const tenant = freshTenant();
      const windowMs = windowFarFromItsEnd(harness.nowMs(), 600_000);
      const limits = [
        aLimit({ windowMs, isSliding: false }),
        aLimit({ name: "values", windowMs, isSliding: false, value: digestOf("a") }),
      ];
      const old = await settled(tenant, { limits, permit: { expiresAtMs: harness.nowMs() + 2 * windowMs } });
      await harness.passTime(windowMs);
      expect([await usedOf(tenant, limits[0]!), await usedOf(tenant, limits[1]!)]).toEqual([0, 0]);
      await settled(tenant, { limits });
      expect(await store.cancelPermit(tenant, old.jti)).toBe(true);
      expect([await usedOf(tenant, limits[0]!), await usedOf(tenant, limits[1]!)]).toEqual([units(1), units(1)]);
    });

    it("sliding limits reset by what is still charged, not by what came back", async () => {
      const tenant = freshTenant();
      const limits = [aLimit(), aLimit({ name: "values", value: digestOf("a") })];
      const permits = [await settled(tenant, { limits }), await settled(tenant, { limits })];
      for (const { jti } of permits) await store.cancelPermit(tenant, jti);
      await harness.passTime(10 * bucketMs(limits[0]!));
      const { result } = await settled(tenant, { limits });
      const resetsAtMs = bucketEndsAtMs(limits[0]!, bucketAt(limits[0]!, result.atMs));
      expect(result.limits).toMatchObject([
        { usedMicros: units(1), resetsAtMs },
        { usedMicros: units(1), resetsAtMs },
      ]);
    });

    it("sliding limits count for their length, and a sixtieth longer at most", async () => {
      const tenant = freshTenant();
      const limits = [aLimit(), aLimit({ name: "values", value: digestOf("a") })];
      const part = bucketMs(limits[0]!);
      const permit = { expiresAtMs: harness.nowMs() + 100_000_000 };
      const first = await settled(tenant, { limits, permit });
      await harness.passTime(10 * part);
      const next = await settled(tenant, { limits: [limits[0]!, { ...limits[1]!, value: digestOf("b") }], permit });
      const firstResets = first.result.limits.map(({ resetsAtMs }) => resetsAtMs);
      const shiftMs = firstResets[0]! - next.result.limits[0]!.resetsAtMs;
      expect(next.result.limits.map(({ usedMicros }) => usedMicros)).toEqual([units(2), units(2)]);
      // The oldest part in use is still the first one's; on a store whose stored times were moved, moved with them.
      expect([0, 10 * part]).toContain(shiftMs);
      await harness.passTime(50 * part);
      expect([await usedOf(tenant, limits[0]!), await usedOf(tenant, limits[1]!)]).toEqual([units(2), units(2)]);
      await harness.passTime(2 * part);
      expect([await usedOf(tenant, limits[0]!), await usedOf(tenant, limits[1]!)]).toEqual([units(1), units(1)]);
      await harness.passTime(10 * part);
      expect([await usedOf(tenant, limits[0]!), await usedOf(tenant, limits[1]!)]).toEqual([0, 0]);
    });

    it(`limits on values keep ${DISTINCT_VALUES_MAX} of them, and refuse one more whatever they say`, async () => {
      const tenant = freshTenant();
      const limitMicros = Number.MAX_SAFE_INTEGER;
      const charge = (index: number) => {
        const limits = [aLimit({ limitMicros, value: digestOf(`v${index}`), isBinding: false })];
        return both(index).settle(tenant, aRequest({ limits, isReservation: false }));
      };
      for (let from = 0; from < DISTINCT_VALUES_MAX; from += 1_000) {
        await Promise.all(Array.from({ length: 1_000 }, (_, index) => charge(from + index)));
      }
      const full = { limits: [{ usedMicros: units(DISTINCT_VALUES_MAX) }] };
      expect(await charge(7)).toMatchObject({ kind: "settled", ...full });
      expect(await charge(DISTINCT_VALUES_MAX)).toMatchObject({ kind: "exceeded", ...full });
      await harness.passTime(62 * 60_000);
      expect(await charge(DISTINCT_VALUES_MAX)).toMatchObject({ kind: "settled", limits: [{ usedMicros: units(1) }] });
    });

    describe("permits with several uses", () => {
      const consumed = async (tenant: string, permit: Settle): Promise<string> => {
        const use = await store.consumePermit(aUseOf(tenant, permit));
        return (use as { executionId: string }).executionId;
      };

      it("give back when all failed, and let go of the lock when all are reported", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { limits: [aLimit()], lock: aLock(), permit: { uses: 2 } });
        const first = await consumed(tenant, permit);
        await store.reportExecution(aReport(tenant, permit, { executionId: first }));
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
        const second = await consumed(tenant, permit);
        expect(await store.settle(tenant, aRequest({ lock: aLock() }))).toMatchObject({ kind: "locked" });
        await store.reportExecution(aReport(tenant, permit, { executionId: second }));
        expect(await usedOf(tenant, aLimit())).toBe(0);
        await settled(tenant, { lock: aLock() });
      });

      it("give back nothing where one succeeded", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { limits: [aLimit()], lock: aLock(), permit: { uses: 2 } });
        const ids = [await consumed(tenant, permit), await consumed(tenant, permit)];
        await store.reportExecution(aReport(tenant, permit, { executionId: ids[0]!, status: "succeeded" }));
        await store.reportExecution(aReport(tenant, permit, { executionId: ids[1]! }));
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
        await settled(tenant, { lock: aLock() });
      });

      it("count an expired permit's last report as the last", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, {
          limits: [aLimit()],
          lock: aLock({ ttlMs: 3_600_000 }),
          permit: { uses: 2, expiresAtMs: harness.nowMs() + 60_000 },
        });
        const executionId = await consumed(tenant, permit);
        await harness.passTime(60_000);
        await store.reportExecution(aReport(tenant, permit, { executionId }));
        expect(await usedOf(tenant, aLimit())).toBe(0);
        await settled(tenant, { lock: aLock() });
      });

      it("cannot be cancelled once one is consumed", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { limits: [aLimit()], permit: { uses: 2 } });
        await consumed(tenant, permit);
        expect(await store.cancelPermit(tenant, permit.jti)).toBe(false);
        expect(await store.consumePermit(aUseOf(tenant, permit))).toMatchObject({ kind: "consumed" });
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
      });
    });

    describe("cancelPermit()", () => {
      it("gives back, lets go of the lock, and makes the permit unusable for good", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { limits: [aLimit()], lock: aLock() });
        expect(await other.cancelPermit(tenant, permit.jti)).toBe(true);
        expect(await usedOf(tenant, aLimit())).toBe(0);
        await settled(tenant, { lock: aLock() });
        expect(await store.consumePermit(aUseOf(tenant, permit))).toEqual({ kind: "already_consumed" });
        expect(await store.readPermit(tenant, permit.jti)).toMatchObject({ usesLeft: 0 });
        expect(await store.settle(tenant, permit)).toMatchObject({ kind: "repeated" });
        expect(await store.reportExecution(aReport(tenant, permit))).toEqual({ kind: "not_consumed" });
        expect(await store.cancelPermit(tenant, permit.jti)).toBe(true);
      });

      it("is false where it was consumed, or is unknown, or somebody else's", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { limits: [aLimit()] });
        expect(await store.cancelPermit(freshTenant(), permit.jti)).toBe(false);
        await store.consumePermit(aUseOf(tenant, permit));
        expect(await store.cancelPermit(tenant, permit.jti)).toBe(false);
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
        for (const jti of [...HOSTILE_IDS, jtiOf()]) expect(await store.cancelPermit(tenant, jti)).toBe(false);
        for (const hostile of HOSTILE_TENANTS) expect(await store.cancelPermit(hostile, permit.jti)).toBe(false);
      });

      it("cancels a permit that reserved nothing", async () => {
        const tenant = freshTenant();
        const permit = aPermit(tenant, undefined, { expiresAtMs: harness.nowMs() + 600_000 });
        await store.issuePermit(permit);
        expect(await store.cancelPermit(tenant, permit.jti)).toBe(true);
        expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "already_consumed" });
      });

      it("and consumption: one of the two, never both", async () => {
        const tenant = freshTenant();
        const permits = await Promise.all(
          Array.from({ length: 25 }, () => settled(tenant, { limits: [aLimit({ limitMicros: units(25) })] })),
        );
        const outcomes = await Promise.all(
          permits.map(async (permit, index) => {
            const [isCancelled, use] = await Promise.all([
              both(index).cancelPermit(tenant, permit.jti),
              both(index + 1).consumePermit(aUseOf(tenant, permit)),
            ]);
            return [isCancelled, use.kind];
          }),
        );
        for (const outcome of outcomes)
          expect([
            [true, "already_consumed"],
            [false, "consumed"],
          ]).toContainEqual(outcome);
        const count = outcomes.filter(([isCancelled]) => isCancelled === false).length;
        expect(await usedOf(tenant, aLimit())).toBe(units(count));
      });
    });

    describe("consumePermit() of a permit that rests on the context", () => {
      it("wants the entity at its version, and uses nothing up where it is not", async () => {
        const tenant = freshTenant();
        const approval = await granted(store, anOpening(tenant));
        const unmoved = { ref: { type: "order", id: "none" }, version: 0 };
        const permit = await settled(tenant, { permit: { approvalId: approval.id, uses: 9 } });
        await store.appendEvent(tenant, anEvent(undefined));
        const entity = await store.readEntity(tenant, ORDER);
        for (const version of [0, 2]) {
          const use = aUseOf(tenant, permit, { entity: { ref: ORDER, version } });
          expect(await store.consumePermit(use)).toMatchObject({
            kind: "state_changed",
            entity: { state: "open", version: 1, attributes: entity!.attributes },
          });
        }
        expect(await store.consumePermit(aUseOf(tenant, permit, { entity: { ...unmoved, version: 1 } }))).toEqual({
          kind: "state_changed",
          entity: undefined,
        });
        expect(await store.readApproval(tenant, approval.id)).toMatchObject({ status: "granted", usesLeft: 1 });
        expect(await store.readPermit(tenant, permit.jti)).toMatchObject({ usesLeft: 9 });
        expect(await store.consumePermit(aUseOf(tenant, permit, { entity: { ref: ORDER, version: 1 } }))).toMatchObject(
          { kind: "consumed" },
        );
        const free = await settled(tenant);
        expect(await store.consumePermit(aUseOf(tenant, free, { entity: unmoved }))).toMatchObject({
          kind: "consumed",
        });
      });

      it("says what was there first: used up, expired, revoked, then the context", async () => {
        const tenant = freshTenant();
        const approval = await granted(store, anOpening(tenant, "scope"));
        const entity = { ref: ORDER, version: 3 };
        const permit = await settled(tenant, { permit: { approvalId: approval.id }, lock: aLock({ ttlMs: 60_000 }) });
        await harness.passTime(60_000);
        expect(await store.consumePermit(aUseOf(tenant, permit, { entity }))).toMatchObject({ kind: "state_changed" });
        expect(await store.consumePermit(aUseOf(tenant, permit))).toEqual({ kind: "lock_lost" });
        await store.reviewApproval({
          tenant,
          id: approval.id,
          reviewer: { id: "bob", type: "human", roles: [], isAuthenticated: true },
          verdict: "cancel",
          reason: "",
          expectedVersion: approval.version,
        });
        expect(await store.consumePermit(aUseOf(tenant, permit, { entity }))).toMatchObject({
          kind: "approval_revoked",
        });
        await harness.passTime(600_000);
        expect(await store.consumePermit(aUseOf(tenant, permit, { entity }))).toEqual({ kind: "expired" });
        await store.cancelPermit(tenant, permit.jti);
        expect(await store.consumePermit(aUseOf(tenant, permit, { entity }))).toEqual({ kind: "already_consumed" });
      });

      it("knows no permit of another partition that is bound to an entity, or to what is no entity", async () => {
        const tenant = freshTenant();
        const permit = aPermit(tenant, undefined, { expiresAtMs: harness.nowMs() + 600_000 });
        await store.issuePermit(permit);
        const entity = { ref: ORDER, version: 0 };
        expect(await store.consumePermit({ ...aUse(permit), entity })).toEqual({ kind: "unknown_permit" });
        expect(await store.consumePermit(aUse(permit))).toMatchObject({ kind: "consumed" });
        const settledOne = await settled(tenant);
        for (const ref of HOSTILE_REFS) {
          const use = aUseOf(tenant, settledOne, { entity: { ref, version: 0 } });
          expect(await store.consumePermit(use)).toEqual({ kind: "unknown_permit" });
        }
      });

      it("lets one of fifty consume, and keeps the charge", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { limits: [aLimit()], lock: aLock() });
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) => both(index).consumePermit(aUseOf(tenant, permit))),
        );
        expect(results.filter(({ kind }) => kind === "consumed")).toHaveLength(1);
        await harness.passTime(600_000);
        expect(await usedOf(tenant, aLimit())).toBe(units(1));
      });
    });

    describe("locks", () => {
      const wait = (more: object = {}) => aRequest({ lock: aLock({ waits: true }), ...more });
      const kindOf = async (tenant: string, request: Settle) => (await store.settle(tenant, request)).kind;

      it("have one holder at a time, and fences that only grow", async () => {
        const tenant = freshTenant();
        const first = await settled(tenant, { lock: aLock() });
        const held = { kind: "locked", isWaiting: false, ahead: 0, expiresAtMs: first.result.lock!.expiresAtMs };
        expect(await other.settle(tenant, aRequest({ lock: aLock() }))).toEqual(held);
        const apart = await settled(tenant, { lock: aLock({ name: "apart" }) });
        await store.cancelPermit(tenant, first.jti);
        const second = await settled(tenant, { lock: aLock() });
        await harness.passTime(60_000);
        const third = await settled(tenant, { lock: aLock() });
        const fences = [first, apart, second, third].map(({ result }) => result.lock!.fence);
        expect(fences[0]).toBeGreaterThan(0);
        expect(fences).toEqual([...new Set(fences)].sort((one, next) => one - next));
        await settled(freshTenant(), { lock: aLock() });
      });

      it("go to one of a hundred contenders, again and again", async () => {
        const tenant = freshTenant();
        const fences: number[] = [];
        for (let round = 0; round < 3; round += 1) {
          const requests = Array.from({ length: 100 }, () => aRequest({ lock: aLock() }));
          const results = await Promise.all(requests.map((request, index) => both(index).settle(tenant, request)));
          const winners = requests.filter((_, index) => results[index]!.kind === "settled");
          expect(winners).toHaveLength(1);
          fences.push(...results.flatMap((result) => (result.kind === "settled" ? [result.lock!.fence] : [])));
          await store.cancelPermit(tenant, winners[0]!.jti);
        }
        expect(fences).toEqual([...new Set(fences)].sort((one, next) => one - next));
      });

      it("are let go by the report of what ran under them, well or not", async () => {
        const tenant = freshTenant();
        for (const status of ["succeeded", "failed"] as const) {
          const permit = await settled(tenant, { lock: aLock() });
          expect(await store.consumePermit(aUseOf(tenant, permit))).toMatchObject({ kind: "consumed" });
          expect(await kindOf(tenant, aRequest({ lock: aLock() }))).toBe("locked");
          await store.reportExecution(aReport(tenant, permit, { status }));
        }
        const late = await settled(tenant, { lock: aLock() });
        await store.consumePermit(aUseOf(tenant, late));
        await harness.passTime(60_000);
        const next = await settled(tenant, { lock: aLock() });
        await store.reportExecution(aReport(tenant, late));
        expect(await kindOf(tenant, aRequest({ lock: aLock() }))).toBe("locked");
        expect(await store.consumePermit(aUseOf(tenant, next))).toMatchObject({ kind: "consumed" });
      });

      it("are lost with their time, and stay lost when another had them since", async () => {
        const tenant = freshTenant();
        const permit = await settled(tenant, { lock: aLock(), limits: [aLimit()] });
        await harness.passTime(60_000);
        expect(await store.consumePermit(aUseOf(tenant, permit))).toEqual({ kind: "lock_lost" });
        const next = await settled(tenant, { lock: aLock() });
        expect(await store.consumePermit(aUseOf(tenant, permit))).toEqual({ kind: "lock_lost" });
        await store.cancelPermit(tenant, permit.jti);
        expect(await store.consumePermit(aUseOf(tenant, next))).toMatchObject({ kind: "consumed" });
        expect(await usedOf(tenant, aLimit())).toBe(0);
      });

      it("serve who waits in the order in which they came", async () => {
        const tenant = freshTenant();
        const holder = await settled(tenant, { lock: aLock() });
        const { expiresAtMs } = holder.result.lock!;
        const [first, second] = [wait(), wait()];
        expect(await store.settle(tenant, first)).toEqual({ kind: "locked", isWaiting: true, ahead: 0, expiresAtMs });
        expect(await other.settle(tenant, second)).toEqual({ kind: "locked", isWaiting: true, ahead: 1, expiresAtMs });
        expect(await other.settle(tenant, first)).toMatchObject({ isWaiting: true, ahead: 0 });
        expect(await store.settle(tenant, aRequest({ lock: aLock() }))).toMatchObject({ isWaiting: false, ahead: 2 });
        await store.cancelPermit(tenant, holder.jti);
        expect(await store.settle(tenant, second)).toMatchObject({ kind: "locked", isWaiting: true, ahead: 1 });
        expect(await store.settle(tenant, aRequest({ lock: aLock() }))).toMatchObject({
          kind: "locked",
          isWaiting: false,
          ahead: 2,
        });
        expect(await store.readPermit(tenant, second.jti)).toBeUndefined();
        expect(await kindOf(tenant, first)).toBe("settled");
        expect(await store.settle(tenant, second)).toMatchObject({ kind: "locked", isWaiting: true, ahead: 0 });
        await store.cancelPermit(tenant, first.jti);
        expect(await kindOf(tenant, second)).toBe("settled");
      });

      it("say when the head's place ends while they are kept for it", async () => {
        const tenant = freshTenant();
        const holder = await settled(tenant, { lock: aLock() });
        await store.settle(tenant, wait());
        await store.cancelPermit(tenant, holder.jti);
        const refused = await store.settle(tenant, aRequest({ lock: aLock() }));
        expect(refused).toMatchObject({ kind: "locked", isWaiting: false, ahead: 1 });
        const leftMs = (refused as { expiresAtMs: number }).expiresAtMs - harness.nowMs();
        expect(leftMs).toBeLessThanOrEqual(TICKET_LEASE_MS + 1_000);
      });

      it("pass over who does not ask again", async () => {
        const tenant = freshTenant();
        const holder = await settled(tenant, { lock: aLock() });
        const [first, second] = [wait(), wait()];
        await store.settle(tenant, first);
        await store.settle(tenant, second);
        await harness.passTime(TICKET_LEASE_MS);
        await store.settle(tenant, second);
        await store.cancelPermit(tenant, holder.jti);
        expect(await store.settle(tenant, first)).toMatchObject({ kind: "locked", isWaiting: true, ahead: 1 });
        expect(await kindOf(tenant, second)).toBe("settled");
      });

      it("are free at once when nobody in the queue is left", async () => {
        const tenant = freshTenant();
        const holder = await settled(tenant, { lock: aLock() });
        await store.settle(tenant, wait());
        await store.cancelPermit(tenant, holder.jti);
        expect(await kindOf(tenant, aRequest({ lock: aLock() }))).toBe("locked");
        await harness.passTime(TICKET_LEASE_MS);
        expect(await kindOf(tenant, aRequest({ lock: aLock() }))).toBe("settled");
      });

      it("let a place in the queue be given up", async () => {
        const tenant = freshTenant();
        const holder = await settled(tenant, { lock: aLock() });
        const [first, second] = [wait(), wait()];
        await store.settle(tenant, first);
        await store.settle(tenant, second);
        await other.leaveQueue(freshTenant(), aLock().id, first.jti);
        await other.leaveQueue(tenant, aLock().id, jtiOf());
        expect(await store.settle(tenant, second)).toMatchObject({ ahead: 1 });
        await other.leaveQueue(tenant, aLock().id, first.jti);
        expect(await store.settle(tenant, second)).toMatchObject({ ahead: 0 });
        expect(await kindOf(tenant, aRequest({ lock: aLock() }))).toBe("locked");
        await store.leaveQueue(tenant, aLock().id, holder.jti);
        expect(await kindOf(tenant, second)).toBe("locked");
        for (const hostile of HOSTILE_TENANTS)
          await expect(store.leaveQueue(hostile, aLock().id, first.jti)).rejects.toBeInstanceOf(InvalidRequestError);
        for (const jti of [...HOSTILE_IDS, "perm_00ABC"])
          await expect(store.leaveQueue(tenant, aLock().id, jti)).rejects.toBeInstanceOf(InvalidRequestError);
        await expect(store.leaveQueue(tenant, "sha256:}" as Digest, first.jti)).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
      });

      it(`let ${LOCK_QUEUE_MAX} wait, and no more`, async () => {
        const tenant = freshTenant();
        await settled(tenant, { lock: aLock() });
        const queue = Array.from({ length: LOCK_QUEUE_MAX }, () => wait());
        const places: number[] = [];
        for (const request of queue) places.push(((await store.settle(tenant, request)) as { ahead: number }).ahead);
        expect(places).toEqual(queue.map((_, index) => index));
        expect(await store.settle(tenant, wait())).toEqual({ kind: "queue_full" });
        expect(await store.settle(tenant, queue[7]!)).toMatchObject({ kind: "locked", isWaiting: true, ahead: 7 });
        expect(await store.settle(tenant, aRequest({ lock: aLock() }))).toMatchObject({
          kind: "locked",
          ahead: LOCK_QUEUE_MAX,
        });
        await store.leaveQueue(tenant, aLock().id, queue[0]!.jti);
        expect(await store.settle(tenant, wait())).toMatchObject({ kind: "locked", ahead: LOCK_QUEUE_MAX - 1 });
      });

      it("charge nothing for waiting, and leave no permit", async () => {
        const tenant = freshTenant();
        await settled(tenant, { lock: aLock() });
        const request = wait({ limits: [aLimit()] });
        for (let asked = 0; asked < 3; asked += 1) expect(await kindOf(tenant, request)).toBe("locked");
        expect(await usedOf(tenant, aLimit())).toBe(0);
        expect(await store.readPermit(tenant, request.jti)).toBeUndefined();
      });
    });

    describe("freezes", () => {
      const aFreeze = (more: Partial<Freeze> = {}) => ({
        id: `frz-${unique()}`,
        kind: "actor" as const,
        subject: "agent-7",
        reason: 'said "stop" 🙂\n',
        by: "alice",
        ...more,
      });

      it("are set, read and lifted, each with its fact", async () => {
        const tenant = freshTenant();
        const freeze = aFreeze();
        const set = (await store.putFreeze(tenant, freeze))!;
        expect(set).toEqual({ freeze: { ...freeze, atMs: expect.any(Number) }, factId: expect.any(String) });
        expect(await other.readFreezes(tenant)).toEqual([set.freeze]);
        expect(await other.readFreezes(freshTenant())).toEqual([]);
        const lift = { id: freeze.id, by: "bob", reason: "all clear" };
        expect(await store.liftFreeze(freshTenant(), lift)).toBeUndefined();
        const lifted = (await other.liftFreeze(tenant, lift))!;
        expect(lifted).toEqual({ freeze: set.freeze, factId: expect.any(String) });
        expect(await store.liftFreeze(tenant, lift)).toBeUndefined();
        expect(await store.readFreezes(tenant)).toEqual([]);
        const facts = await store.takeFacts(tenant, 0, 10);
        const about = { tenant, subjectId: freeze.id };
        expect(facts.find(({ factId }) => factId === set.factId)).toEqual({
          ...about,
          factId: set.factId,
          kind: "freeze_set",
          atMs: set.freeze.atMs,
          payload: { freeze: set.freeze },
        });
        expect(facts.find(({ factId }) => factId === lifted.factId)).toEqual({
          ...about,
          factId: lifted.factId,
          kind: "freeze_lifted",
          atMs: expect.any(Number),
          payload: { freeze: set.freeze, by: "bob", reason: "all clear" },
        });
        await store.dropFacts(tenant, [set.factId, lifted.factId]);
        await harness.passTime(100_000);
        expect(await store.takeFacts(tenant, 0, 10)).toEqual([]);
      });

      it("may be set again, and are nobody's to replace", async () => {
        const tenant = freshTenant();
        const freeze = aFreeze();
        const set = await store.putFreeze(tenant, freeze);
        expect(await other.putFreeze(tenant, freeze)).toEqual(set);
        for (const more of [{ kind: "action" as const }, { subject: "other" }, { reason: "" }, { by: "bob" }]) {
          await expect(store.putFreeze(tenant, { ...freeze, ...more })).rejects.toBeInstanceOf(InvalidRequestError);
        }
        expect(await store.readFreezes(tenant)).toEqual([set!.freeze]);
        expect(await store.takeFacts(tenant, 0, 10)).toHaveLength(1);
      });

      it("of every kind come back oldest first", async () => {
        const tenant = freshTenant();
        const put: unknown[] = [];
        for (const [kind, subject] of [
          ["tenant", ""],
          ["actor", "a:b"],
          ["entity", "order/ord_002"],
          ["entity", "a/b/c"],
          ["entity", `${"x".repeat(256)}/${"y".repeat(256)}`],
          ["action", "*"],
        ] as const) {
          put.push((await store.putFreeze(tenant, aFreeze({ kind, subject })))!.freeze);
          await harness.passTime(5);
        }
        const read = (await other.readFreezes(tenant)).map(({ kind, subject }) => ({ kind, subject }));
        expect(read).toEqual(
          put.map((freeze) => ({ kind: (freeze as Freeze).kind, subject: (freeze as Freeze).subject })),
        );
      });

      it(`are at most ${FREEZES_MAX}`, async () => {
        const tenant = freshTenant();
        const freezes = Array.from({ length: FREEZES_MAX + 20 }, () => aFreeze());
        const put = await Promise.all(freezes.map((freeze, index) => both(index).putFreeze(tenant, freeze)));
        const kept = put.flatMap((one) => one?.freeze ?? []);
        expect(kept).toHaveLength(FREEZES_MAX);
        expect(await store.readFreezes(tenant)).toHaveLength(FREEZES_MAX);
        expect(await store.putFreeze(tenant, aFreeze())).toBeUndefined();
        expect(await store.putFreeze(tenant, freezes.find(({ id }) => id === kept[0]!.id)!)).toMatchObject({
          freeze: kept[0]!,
        });
        await store.liftFreeze(tenant, { id: kept[0]!.id, by: "bob", reason: "" });
        expect(await store.putFreeze(tenant, aFreeze())).toBeDefined();
        expect(await store.putFreeze(freshTenant(), aFreeze())).toBeDefined();
      });

      it("refuse what must not be stored", async () => {
        const tenant = freshTenant();
        const bad = [
          aFreeze({ id: "a b" }),
          aFreeze({ id: "a}b" }),
          aFreeze({ id: "" }),
          aFreeze({ kind: "thaw" as never }),
          aFreeze({ kind: "tenant", subject: "x" }),
          aFreeze({ subject: "" }),
          aFreeze({ subject: "a b" }),
          aFreeze({ kind: "entity", subject: "order" }),
          aFreeze({ kind: "entity", subject: "order/" }),
          aFreeze({ kind: "entity", subject: "/x" }),
          aFreeze({ kind: "entity", subject: `x/${"y".repeat(257)}` }),
          aFreeze({ reason: "🙂".repeat(2_001) }),
          aFreeze({ by: "" }),
        ];
        for (const freeze of bad)
          await expect(store.putFreeze(tenant, freeze)).rejects.toBeInstanceOf(InvalidRequestError);
        for (const hostile of HOSTILE_TENANTS) {
          await expect(store.putFreeze(hostile, aFreeze())).rejects.toBeInstanceOf(InvalidRequestError);
          expect(await store.readFreezes(hostile)).toEqual([]);
        }
        for (const id of ["", "a b", "a}b", "\u0000"])
          expect(await store.liftFreeze(tenant, { id, by: "bob", reason: "" })).toBeUndefined();
        const { freeze } = (await store.putFreeze(tenant, aFreeze({ reason: "🙂".repeat(2_000) })))!;
        await expect(store.liftFreeze(tenant, { id: freeze.id, by: "b b", reason: "" })).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
        await expect(
          store.liftFreeze(tenant, { id: freeze.id, by: "bob", reason: "x".repeat(2_001) }),
        ).rejects.toBeInstanceOf(InvalidRequestError);
      });
    });
  });
}
