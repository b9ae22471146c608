/**
 * States of entities in the embedded store: read among few and among many, turn by turn; and one with a very long history,
 * rebuilt from it. BENCH_ENTITIES says how many are many, with ten events each.
 */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { LoadedPolicy, Store } from "../../src/core/ports.ts";
import { createGate, type Gate } from "../../src/gate/gate.ts";
import { loadPolicy } from "../../src/policy/load-policy.ts";
import { ulid } from "../../src/signing/ulid.ts";
import { openStore } from "../../src/store/open-store.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { nowhere } from "./in-process.ts";
import { orderBundle } from "./order-bundle.ts";
import { type Histories, orderEvent, orderRef, TENANT, writeHistories } from "./order-events.ts";
import { type Load, type Running, startHoldpoint, wrk } from "./process.ts";

const FEW = 1_000;
const EVENTS_EACH = 10;
const READS_PER_TURN = 5_000;
const TURNS = 21;
const HTTP_TURNS = 9;
const HTTP_CONNECTIONS = 4;
const SAMPLES = 50;
const PAGE = 500;

interface Size {
  readonly entities: number;
  readonly dataDir: string;
  readonly store: Store;
}

export async function benchEntities(many: number, longHistory: number): Promise<void> {
  // A real disk: /tmp may be memory.
  const parent = mkdtempSync(join(process.cwd(), "entities-bench-"));
  try {
    const bundle = orderBundle();
    const policy = await loadPolicy({ path: bundle, entrypoint: "holdpoint/decision" });
    const sizes: Size[] = [];
    for (const entities of [FEW, many]) {
      const dataDir = mkdtempSync(join(parent, "data-"));
      sizes.push(await fill({ dataDir, entities, eventsEach: EVENTS_EACH, policyDigest: policy.digest }, policy));
    }
    const [few, most] = sizes as [Size, Size];
    await compareReads(few, most);
    await Promise.all(sizes.map(({ store }) => store.close()));
    await compareHttp(bundle, few, most);
    await rebuildLong(mkdtempSync(join(parent, "data-")), longHistory, policy);
  } finally {
    rmSync(parent, { recursive: true });
  }
}

async function fill(histories: Histories, policy: LoadedPolicy): Promise<Size> {
  const { dataDir, entities, eventsEach } = histories;
  const seconds = await writeHistories(histories);
  const store = await openStore({ url: "embedded", dataDir, timeoutMs: 60_000 });
  await sample(gateOn(store, policy), entities, eventsEach);
  const gigabytes = statSync(join(dataDir, "store", "data.mdb")).size / 1e9;
  console.log(
    `${entities} entities, ${entities * eventsEach} events: ${gigabytes.toFixed(2)} GB, written in bulk in ${seconds.toFixed(0)} s, ` +
      `${SAMPLES} of them tried: their events give their states, and are known to the gate as repeated`,
  );
  return { entities, dataDir, store };
}

/** That what was written in bulk is what the gate would have written: else the figures would be of something else. */
async function sample(gate: Gate, entities: number, eventsEach: number): Promise<void> {
  for (let tried = 0; tried < SAMPLES; tried += 1) {
    const order = Math.floor(Math.random() * entities);
    const { matches, events } = await gate.rebuildEntity(TENANT, orderRef(order), true);
    if (matches !== true || events !== eventsEach) throw new Error(`Order ${order} is not what its events give`);
    const event = orderEvent(order, 1 + (tried % eventsEach));
    const request = { tenant: TENANT, event, expectedVersion: undefined, traceId: "", producer: undefined };
    const { isRepeated } = await gate.ingestEvent(request);
    if (!isRepeated) throw new Error(`Event ${event.id} was not on record`);
  }
}

async function compareReads(few: Size, many: Size): Promise<void> {
  const turns = { few: [] as Latency[], many: [] as Latency[] };
  for (let turn = -2; turn < TURNS; turn += 1) {
    const taken = { few: await readMany(few), many: await readMany(many) };
    if (turn < 0) continue;
    turns.few.push(taken.few);
    turns.many.push(taken.many);
  }
  say("read of a state", few.entities, turns.few, undefined);
  say("read of a state", many.entities, turns.many, turns.few);
}

async function readMany({ store, entities }: Size): Promise<Latency> {
  const times = new Float64Array(READS_PER_TURN);
  for (let at = 0; at < READS_PER_TURN; at += 1) {
    const ref = orderRef(Math.floor(Math.random() * entities));
    const startedAt = performance.now();
    const entity = await store.readEntity(TENANT, ref);
    times[at] = performance.now() - startedAt;
    if (entity?.events !== EVENTS_EACH) throw new Error(`${ref.id} is not there`);
  }
  times.sort();
  return { p50Ms: times[READS_PER_TURN / 2]!, p99Ms: times[Math.floor(READS_PER_TURN * 0.99)]! };
}

async function compareHttp(bundle: string, few: Size, many: Size): Promise<void> {
  const start = ({ dataDir }: Size) => startHoldpoint({ HOLDPOINT_BUNDLE: bundle, HOLDPOINT_DATA_DIR: dataDir });
  const [onFew, onMany] = [await start(few), await start(many)];
  const turns = { few: [] as Load[], many: [] as Load[] };
  for (let turn = -2; turn < HTTP_TURNS; turn += 1) {
    const taken = { few: await get(onFew, few), many: await get(onMany, many) };
    if (turn < 0) continue;
    turns.few.push(taken.few);
    turns.many.push(taken.many);
  }
  await Promise.all([onFew.stop(), onMany.stop()]);
  const failures = [...turns.few, ...turns.many].reduce((sum, one) => sum + one.failures, 0);
  if (failures > 0) console.log(`${failures} reads FAILED`);
  say("GET /v1/entities, with history", few.entities, turns.few, undefined);
  say("GET /v1/entities, with history", many.entities, turns.many, turns.few);
}

/** State, ten events and their replay: what the route answers. */
function get({ admin }: Running, { entities }: Size): Promise<Load> {
  const script = `
math.randomseed(os.time())
request = function() return wrk.format("GET", "/v1/entities/order/ord_" .. math.random(0, ${entities - 1})) end`;
  return wrk(admin, script, { connections: HTTP_CONNECTIONS, seconds: 1 });
}

/** Reading is the peer: a rebuild reads the same pages, and parses, folds and hashes what is in them. */
async function rebuildLong(dataDir: string, events: number, policy: LoadedPolicy): Promise<void> {
  await writeHistories({ dataDir, entities: 1, eventsEach: events, policyDigest: policy.digest });
  const store = await openStore({ url: "embedded", dataDir, timeoutMs: 60_000 });
  const gate = gateOn(store, policy);
  const reading: number[] = [];
  const rebuilding: number[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    reading.push(await secondsOf(() => readAll(store, events)));
    rebuilding.push(
      await secondsOf(async () => {
        const { matches, events: count } = await gate.rebuildEntity(TENANT, orderRef(0), true);
        if (matches !== true || count !== events)
          throw new Error(`${count} of ${events} events, and matches ${matches}`);
      }),
    );
  }
  await store.close();
  const seconds = median(rebuilding);
  console.log(
    `rebuild of one entity with ${events} events, its chain verified: ${seconds.toFixed(1)} s, ${(events / seconds).toFixed(0)} events/s; ` +
      `reading them alone ${median(reading).toFixed(1)} s: ${(seconds / median(reading)).toFixed(2)}x`,
  );
}

async function readAll(store: Store, events: number): Promise<void> {
  let read = 0;
  for (let from = 1; from <= events; from += PAGE) {
    read += (await store.readEvents(TENANT, orderRef(0), from, PAGE)).length;
  }
  if (read !== events) throw new Error(`${read} of ${events} events are there`);
}

async function secondsOf(work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  await work();
  return (performance.now() - startedAt) / 1000;
}

function gateOn(store: Store, policy: LoadedPolicy): Gate {
  return createGate({
    policy: { status: () => ({ active: policy, lastError: undefined }) },
    store,
    ledger: nowhere,
    signer: { sign: async () => "" },
    verifier: {
      verify: async () => ({ kind: "refused", code: "bad_signature", message: "" }),
      jwks: () => ({ keys: [] }),
    },
    clock: { now: () => new Date() },
    randomness: { ulid },
    observer: createMetrics(() => {}),
    executors: { has: () => false, execute: async () => ({ kind: "failed", status: undefined, message: "" }) },
  });
}

interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Medians over the turns; a ratio is taken within each. */
function say(what: string, entities: number, turns: readonly Latency[], peer: readonly Latency[] | undefined): void {
  const of = (figure: keyof Latency) => `${median(turns.map((one) => one[figure])).toFixed(3)} ms`;
  const ratio = (figure: keyof Latency) =>
    median(turns.map((one, turn) => one[figure] / peer![turn]![figure])).toFixed(2);
  const ratios = peer === undefined ? "" : `  ${ratio("p50Ms")}x p50, ${ratio("p99Ms")}x p99`;
  const name = `${what}, 1 of ${entities}`;
  console.log(`${name.padEnd(46)} p50 ${of("p50Ms")}  p99 ${of("p99Ms")}${ratios}`);
}

function median(values: readonly number[]): number {
  return values.toSorted((one, next) => one - next)[Math.floor(values.length / 2)]!;
}
