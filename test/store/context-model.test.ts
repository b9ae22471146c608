/**
 * No order of operations charges more than a limit, loses or doubles what was reserved, or gives one lock to two. Both
 * stores against one small model, which keeps every charge for ever and says of each whether it counts now.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type LimitCharge,
  type LockRequest,
  type PermitState,
  type Settle,
  TICKET_LEASE_MS,
} from "../../src/core/context.ts";
import { bucketAt, isBucketLive } from "../../src/core/limit-window.ts";
import type { Store } from "../../src/core/ports.ts";
import type { Harness } from "./conformance.ts";
import { aLimit, aLock, aReport, aSettle, aUseOf, jtiOf, units, windowFarFromItsEnd } from "./context-samples.ts";
import { embeddedHarness, redisHarness } from "./harnesses.ts";
import { digestOf, freshTenant } from "./samples.ts";

const GRACE_MS = 600_000;
/** A place in a queue lapses by real time too: a run that a slow machine stretches past this is not judged to its end. */
const RUN_MS_MAX = TICKET_LEASE_MS / 2;

const settleStep = fc.record({
  do: fc.constant("settle" as const),
  costs: fc.record({
    fixed: fc.option(fc.integer({ min: 0, max: 4 }), { freq: 3 }),
    long: fc.option(fc.integer({ min: 1, max: 4 }), { freq: 2 }),
    sliding: fc.option(fc.integer({ min: 1, max: 4 }), { freq: 3 }),
    values: fc.option(fc.constantFrom("a", "b", "c", "d"), { freq: 2 }),
  }),
  lock: fc.option(fc.record({ name: fc.constantFrom("x", "y"), waits: fc.boolean() }), { freq: 2 }),
  isBinding: fc.integer({ min: 0, max: 9 }).map((number) => number > 0),
  isReservation: fc.integer({ min: 0, max: 4 }).map((number) => number > 0),
  uses: fc.constantFrom(1, 1, 1, 2),
  isLong: fc.boolean(),
  racers: fc.integer({ min: 1, max: 4 }),
});
const which = fc.nat({ max: 11 });
const step = fc.oneof(
  { weight: 8, arbitrary: settleStep },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("ask" as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), which }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("consume" as const), which, racers: fc.integer({ min: 1, max: 3 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("report" as const),
      which,
      status: fc.constantFrom("succeeded" as const, "failed" as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("cancel" as const), which }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("pass" as const),
      buckets: fc.constantFrom<number[]>(1, 1, 1, 1, 2, 2, 30),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sweep" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type SettleStep = Extract<Step, { readonly do: "settle" }>;

interface Permit {
  readonly request: Settle;
  readonly expiresAtMs: number;
  readonly fence: number | undefined;
  left: number;
  isCancelled: boolean;
  isReturned: boolean;
  readonly executions: { readonly id: string; status: "unknown" | "succeeded" | "failed" }[];
}

interface Charge {
  readonly limit: LimitCharge;
  readonly bucket: number;
  readonly permit: Permit;
}

interface Lock {
  holder: { readonly permit: Permit; readonly endsAtMs: number; readonly untilMs: number } | undefined;
  queue: { readonly request: Settle; readonly endsAtMs: number }[];
}

class Model {
  nowMs: number;
  lastFence = 0;
  readonly permits: Permit[] = [];
  readonly charges: Charge[] = [];
  readonly waiting: Settle[] = [];
  readonly #locks = new Map<string, Lock>();
  /** Limits that were charged past themselves on purpose. */
  readonly unbound = new Set<string>();

  constructor(nowMs: number) {
    this.nowMs = nowMs;
  }

  /** What counts of a limit: what lies in a live bucket, and neither came back nor lapsed. */
  used(limit: LimitCharge): number {
    const counted = this.charges.filter(({ limit: one, bucket, permit }) => {
      if (one.id !== limit.id || !isBucketLive(one, bucket, this.nowMs)) return false;
      if (!permit.request.isReservation) return true;
      const isLapsed = permit.executions.length === 0 && permit.expiresAtMs <= this.nowMs;
      return !permit.isCancelled && !permit.isReturned && !isLapsed;
    });
    if (limit.value === undefined) return counted.reduce((sum, { limit: { costMicros } }) => sum + costMicros, 0);
    return units(new Set(counted.map((charge) => charge.limit.value)).size);
  }

  after(limit: LimitCharge): number {
    const used = this.used(limit);
    if (limit.value === undefined) return used + limit.costMicros;
    const values = this.charges.filter(({ limit: { value } }) => value === limit.value);
    const isKnown = values.length > 0 && used === this.usedWith(limit);
    return isKnown ? used : used + units(1);
  }

  /** As `used`, if this value were charged for good just now. */
  private usedWith(limit: LimitCharge): number {
    const permit = { request: { isReservation: false } } as Permit;
    this.charges.push({ limit, bucket: bucketAt(limit, this.nowMs), permit });
    const used = this.used(limit);
    this.charges.pop();
    return used;
  }

  lock(id: string): Lock {
    const lock = this.#locks.get(id) ?? { holder: undefined, queue: [] };
    this.#locks.set(id, lock);
    if (lock.holder !== undefined && lock.holder.endsAtMs <= this.nowMs) lock.holder = undefined;
    lock.queue = lock.queue.filter(({ endsAtMs }) => endsAtMs > this.nowMs);
    return lock;
  }

  letGo(permit: Permit): void {
    if (permit.request.lock === undefined) return;
    const lock = this.lock(permit.request.lock.id);
    if (lock.holder?.permit === permit) lock.holder = undefined;
  }

  isKnown(permit: Permit): boolean {
    return permit.expiresAtMs + GRACE_MS > this.nowMs;
  }
}

interface Run {
  readonly store: Store;
  readonly harness: Harness;
  readonly tenant: string;
  readonly model: Model;
  /** What a step of time is a multiple of: the bucket of the sliding limits, and the short fixed window. */
  readonly partMs: number;
  readonly longMs: number;
}

function requestOf({ harness, partMs, longMs }: Run, one: SettleStep): Settle {
  const { costs, isBinding } = one;
  const sum = (name: string, cost: number | null, windowMs: number, isSliding: boolean): LimitCharge[] =>
    cost === null ? [] : [aLimit({ name, costMicros: units(cost), windowMs, isSliding, isBinding })];
  const values = { name: "values", windowMs: 60 * partMs, limitMicros: units(3), isBinding };
  return aSettle(harness.nowMs(), {
    limits: [
      ...sum("fixed", costs.fixed, partMs, false),
      ...sum("long", costs.long, longMs, false),
      ...sum("sliding", costs.sliding, 60 * partMs, true),
      ...(costs.values === null ? [] : [aLimit({ ...values, value: digestOf(costs.values) })]),
    ],
    lock: one.lock === null ? undefined : aLock({ ...one.lock, ttlMs: Math.min(1.4 * partMs, 3_600_000) }),
    isReservation: one.isReservation,
    permit: { uses: one.uses, expiresAtMs: Math.floor(harness.nowMs() + (one.isLong ? 3.9 : 1.9) * partMs) },
  });
}

type Wanted =
  | { readonly kind: "settled" | "exceeded"; readonly used: readonly number[] }
  | { readonly kind: "locked"; readonly isWaiting: boolean; readonly ahead: number };

function wanted(model: Model, { limits, lock, jti }: Settle): Wanted {
  const isRefused = limits.some((limit) => limit.isBinding && model.after(limit) > limit.limitMicros);
  if (isRefused) return { kind: "exceeded", used: limits.map((limit) => model.used(limit)) };
  const place = lock === undefined ? undefined : placeIn(model.lock(lock.id), jti);
  if (lock !== undefined && place !== undefined) return { kind: "locked", isWaiting: lock.waits, ahead: place };
  return { kind: "settled", used: limits.map((limit) => model.after(limit)) };
}

/** Undefined where the lock is this one's to take. */
function placeIn({ holder, queue }: Lock, jti: string): number | undefined {
  const place = queue.findIndex(({ request }) => request.jti === jti);
  if (holder === undefined && (queue.length === 0 || place === 0)) return undefined;
  return place === -1 ? queue.length : place;
}

async function settleOne(run: Run, requests: readonly Settle[]): Promise<void> {
  const { store, tenant, model } = run;
  const results = await Promise.all(requests.map((request) => store.settle(tenant, request)));
  // The racers ask for the same: which of them wins is open, what the first, the second... of them gets is not.
  const order = requests.map((_, index) => index).sort((one, next) => rank(results[one]!) - rank(results[next]!));
  for (const index of order) {
    const [request, result] = [requests[index]!, results[index]!];
    const want = wanted(model, request);
    if (want.kind === "locked") {
      expect(result).toMatchObject(want);
      if (want.isWaiting) enqueue(model, request, request.lock!);
      continue;
    }
    expect({
      kind: result.kind,
      used: "limits" in result && result.limits.map(({ usedMicros }) => usedMicros),
    }).toEqual(want);
    if (result.kind === "settled") register(run, request, result.lock?.fence);
  }
}

/** Winners first, in the order in which they were charged. */
function rank(result: Awaited<ReturnType<Store["settle"]>>): number {
  if (result.kind !== "settled") return Number.MAX_SAFE_INTEGER;
  return result.limits.reduce((sum, { usedMicros }) => sum + usedMicros, 0);
}

function enqueue(model: Model, request: Settle, lock: LockRequest): void {
  const { queue } = model.lock(lock.id);
  const ticket = { request, endsAtMs: model.nowMs + TICKET_LEASE_MS };
  const place = queue.findIndex((one) => one.request.jti === request.jti);
  queue.splice(place === -1 ? queue.length : place, 1, ticket);
  if (!model.waiting.includes(request)) model.waiting.push(request);
}

function register({ model, harness }: Run, request: Settle, fence: number | undefined): void {
  const uses = request.permit!.uses;
  const permit: Permit = {
    request,
    // The model's clock is ahead of one that only seems to move, because stored times are moved instead.
    expiresAtMs: request.permit!.expiresAtMs + model.nowMs - harness.nowMs(),
    fence,
    left: uses,
    isCancelled: false,
    isReturned: false,
    executions: [],
  };
  model.permits.push(permit);
  for (const limit of request.limits) {
    model.charges.push({ limit, bucket: bucketAt(limit, model.nowMs), permit });
    if (!limit.isBinding) model.unbound.add(limit.id);
    // INVARIANT: what binding limits have charged and not given back never exceeds them.
    if (!model.unbound.has(limit.id)) expect(model.used(limit)).toBeLessThanOrEqual(limit.limitMicros);
  }
  if (request.lock === undefined) return;
  const lock = model.lock(request.lock.id);
  expect(lock.holder).toBeUndefined();
  expect(fence).toBeGreaterThan(model.lastFence);
  model.lastFence = fence!;
  const untilMs = model.nowMs + request.lock.ttlMs;
  // Until the permit is used, its lock ends with it.
  lock.holder = { permit, endsAtMs: Math.min(untilMs, permit.expiresAtMs), untilMs };
  lock.queue = lock.queue.filter((ticket) => ticket.request !== request);
}

function stateOf(model: Model, permit: Permit): PermitState {
  if (permit.isCancelled) return "dead";
  if (permit.left < permit.request.permit!.uses) return "used";
  return permit.expiresAtMs <= model.nowMs ? "dead" : "live";
}

function consumeInModel(model: Model, permit: Permit): string {
  if (!model.isKnown(permit)) return "unknown_permit";
  if (permit.left < 1) return "already_consumed";
  if (permit.expiresAtMs <= model.nowMs) return "expired";
  const { lock } = permit.request;
  if (lock !== undefined) {
    const kept = model.lock(lock.id);
    if (kept.holder?.permit !== permit) return "lock_lost";
    kept.holder = { ...kept.holder, endsAtMs: kept.holder.untilMs };
  }
  permit.left -= 1;
  permit.executions.push({
    id: `exec_${permit.request.jti.slice(5)}_${permit.executions.length + 1}`,
    status: "unknown",
  });
  return "consumed";
}

function reportInModel(model: Model, permit: Permit): void {
  const isOver = permit.executions.length === permit.request.permit!.uses || permit.expiresAtMs <= model.nowMs;
  if (!isOver || permit.executions.some(({ status }) => status === "unknown")) return;
  model.letGo(permit);
  if (permit.executions.every(({ status }) => status === "failed")) permit.isReturned = true;
}

async function report(
  run: Run,
  permit: Permit,
  of: { readonly index: number; readonly status: "succeeded" | "failed" },
): Promise<void> {
  const { store, tenant, model } = run;
  const execution = permit.executions[of.index];
  if (execution === undefined) return;
  const { kind } = await store.reportExecution(
    aReport(tenant, permit.request, { executionId: execution.id, status: of.status }),
  );
  if (execution.status !== "unknown") {
    expect(kind).toBe(execution.status === of.status ? "repeated" : "conflict");
    return;
  }
  expect(kind).toBe("reported");
  execution.status = of.status;
  reportInModel(model, permit);
}

/** The newest first: what is over long since has little left to go wrong. */
function lately<T>(list: readonly T[], which: number): T | undefined {
  return list[list.length - 1 - (which % Math.max(1, Math.min(4, list.length)))];
}

async function take(run: Run, one: Step): Promise<void> {
  const { store, harness, tenant, model, partMs } = run;
  const [permit, asking] = "which" in one ? [lately(model.permits, one.which), lately(model.waiting, one.which)] : [];
  switch (one.do) {
    case "settle": {
      const racers = one.lock?.waits === true ? 1 : one.racers;
      const first = requestOf(run, one);
      return settleOne(
        run,
        Array.from({ length: racers }, () => ({ ...first, jti: jtiOf() })),
      );
    }
    case "ask": {
      const request = one.which % 2 === 0 ? (asking ?? permit?.request) : permit?.request;
      if (request === undefined) return;
      const settled = model.permits.find((known) => known.request === request);
      if (settled === undefined) return settleOne(run, [request]);
      if (!model.isKnown(settled)) return;
      const { permit: asked, lock } = request;
      const isHolder = lock !== undefined && model.lock(lock.id).holder?.permit === settled;
      const held = isHolder ? { fence: settled.fence, expiresAtMs: expect.any(Number) } : undefined;
      const repeated = {
        kind: "repeated",
        subjectText: asked!.subjectText,
        state: stateOf(model, settled),
        lock: held,
      };
      expect(await store.settle(tenant, request)).toEqual(repeated);
      return;
    }
    case "leave": {
      const request = asking;
      if (request === undefined) return;
      await store.leaveQueue(tenant, request.lock!.id, request.jti);
      const lock = model.lock(request.lock!.id);
      lock.queue = lock.queue.filter((ticket) => ticket.request !== request);
      return;
    }
    case "consume": {
      if (permit === undefined) return;
      const use = aUseOf(tenant, permit.request);
      const results = await Promise.all(Array.from({ length: one.racers }, () => store.consumePermit(use)));
      const kinds = Array.from({ length: one.racers }, () => consumeInModel(model, permit));
      expect(results.map(({ kind }) => kind).sort()).toEqual(kinds.sort());
      return;
    }
    case "report":
      if (permit !== undefined) await report(run, permit, { index: permit.executions.length - 1, status: one.status });
      return;
    case "cancel": {
      if (permit === undefined) return;
      const isCancelled = model.isKnown(permit) && permit.executions.length === 0;
      expect(await store.cancelPermit(tenant, permit.request.jti)).toBe(isCancelled);
      if (!isCancelled) return;
      permit.isCancelled = true;
      permit.left = 0;
      model.letGo(permit);
      return;
    }
    case "pass":
      await harness.passTime(one.buckets * partMs);
      model.nowMs += one.buckets * partMs;
      return;
    case "sweep":
      await store.expireApprovals(tenant, 500);
  }
}

/** What each limit holds now is what the model says. */
async function compareUse({ store, harness, tenant, model }: Run): Promise<number> {
  let sum = 0;
  const limits = new Map(model.charges.map(({ limit }) => [limit.id, limit]));
  for (const limit of limits.values()) {
    const value = limit.value === undefined ? undefined : digestOf("probe");
    const probe = { ...limit, value, limitMicros: 0, costMicros: Number.MAX_SAFE_INTEGER, isBinding: true };
    const result = await store.settle(tenant, aSettle(harness.nowMs(), { limits: [probe] }));
    expect(result).toMatchObject({ kind: "exceeded", limits: [{ usedMicros: model.used(limit) }] });
    sum += model.used(limit);
  }
  return sum;
}

async function play(store: Store, harness: Harness, steps: readonly Step[]): Promise<void> {
  const nowMs = harness.nowMs();
  const beganMs = performance.now();
  const [partMs, longMs] = [windowFarFromItsEnd(nowMs, 60_000), windowFarFromItsEnd(nowMs, 250_000_000)];
  const run: Run = { store, harness, tenant: freshTenant(), model: new Model(nowMs), partMs, longMs };
  for (const one of steps) {
    await take(run, one);
    if (performance.now() - beganMs > RUN_MS_MAX) return;
  }
  await compareUse(run);
  // Nothing leaks: with every permit over and every open execution failed, what is left is what was committed.
  await take(run, { do: "pass", buckets: 4 });
  for (const permit of run.model.permits) {
    for (const index of permit.executions.keys()) {
      if (permit.executions[index]!.status === "unknown") await report(run, permit, { index, status: "failed" });
    }
  }
  await compareUse(run);
  await take(run, { do: "sweep" });
  await take(run, { do: "pass", buckets: 30 });
  await take(run, { do: "pass", buckets: 30 });
  await compareUse(run);
}

describe.each([
  ["redis store", redisHarness],
  ["embedded store", embeddedHarness],
] as const)("%s, context", (_, start) => {
  let harness: Harness;
  let store: Store;
  beforeAll(async () => {
    harness = await start();
    store = await harness.open({ timeoutMs: 20_000 });
  });
  afterAll(async () => {
    await store.close();
    await harness.dispose();
  });

  it("agrees with the model in every order of operations", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60, size: "max" }), (steps) =>
        play(store, harness, steps),
      ),
      { seed: 20261121, numRuns: 25, endOnFailure: true },
    );
  });
});
