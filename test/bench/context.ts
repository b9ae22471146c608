/**
 * A decision that rests on the shared context (state, a limit, a lock, its permit) against a plain allow: one sidecar, one
 * bundle, a real Redis, turn by turn, so that both see the same noise.
 */
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { orderBundle } from "./order-bundle.ts";
import { type Load, type Running, startHoldpoint, wrk } from "./process.ts";

const CONNECTIONS = 16;
/** Turns are short, so that what else the machine does meets all of them alike; a ratio is taken within each round. */
const TURN_SECONDS = 1;
const TURNS_PER_SECOND_ASKED = 3;
const WARM_UP_SECONDS = 3;
/** Fewer than a sidecar remembers. */
const ORDERS = 4_000;
/** A rendered page of metrics may be this old. */
const METRICS_AGE_MS = 1_100;

/** Same size, same arguments; the last three differ in what policy asks of the context. A lock is each proposal's own. */
const PATHS = {
  plain: { action: "note.look", entity: "note", more: "" },
  permit: { action: "note.look", entity: "note", more: ',"permit":true' },
  state: { action: "order.look", entity: "order", more: "" },
  settled: { action: "order.ship", entity: "order", more: "" },
} as const;
type Path = keyof typeof PATHS;
const NAMES = Object.keys(PATHS) as Path[];

const SAID: Readonly<Record<Path, string>> = {
  plain: "plain allow",
  permit: "plain allow with a permit",
  state: "allow by entity state",
  settled: "state, limit, lock and permit",
};

interface Turn extends Load {
  /** Of the sidecar's one JavaScript thread, in µs: what a busy machine disturbs least. */
  readonly threadUs: number;
}

interface Bench {
  readonly redis: RedisServer;
  readonly holdpoint: Running;
}

export async function benchContext(seconds: number): Promise<void> {
  const redis = await startRedis();
  const holdpoint = await startHoldpoint({ HOLDPOINT_STORE: redis.url, HOLDPOINT_BUNDLE: orderBundle() });
  const bench = { redis, holdpoint };
  try {
    await placeOrders(holdpoint);
    for (const path of NAMES) await checkAnswer(holdpoint, path);
    // The orders are remembered since they came, so that nothing here reads one again.
    for (const path of NAMES) await load(bench, path, WARM_UP_SECONDS);
    await compare(bench, seconds * TURNS_PER_SECOND_ASKED);
    for (const path of NAMES) await countCommands(bench, path);
  } finally {
    await holdpoint.stop();
    await redis.dispose();
  }
}

async function compare(bench: Bench, rounds: number): Promise<void> {
  const turns = new Map<Path, Turn[]>(NAMES.map((path) => [path, []]));
  const before = await decisionsOf(bench.holdpoint);
  for (let round = 0; round < rounds; round += 1) {
    for (const path of NAMES) turns.get(path)!.push(await turn(bench, path));
  }
  sayOthers(before, await decisionsOf(bench.holdpoint));
  for (const path of NAMES) show(path, turns.get(path)!, turns.get("plain")!);
}

async function turn(bench: Bench, path: Path): Promise<Turn> {
  const before = threadMs(bench.holdpoint.pid);
  const taken = await load(bench, path, TURN_SECONDS);
  const busyMs = threadMs(bench.holdpoint.pid) - before;
  return { ...taken, threadUs: (busyMs * 1000) / (taken.perSecond * TURN_SECONDS) };
}

/** User and system time of the thread that JavaScript runs on; a tick is 10 ms. */
function threadMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/task/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function show(path: Path, turns: readonly Turn[], plain: readonly Turn[]): void {
  const of = (figure: keyof Turn) => median(turns.map((one) => one[figure]));
  const ratio = (figure: keyof Turn) => median(turns.map((one, round) => one[figure] / plain[round]![figure]));
  const failed = turns.reduce((sum, { failures }) => sum + failures, 0);
  console.log(
    `${SAID[path].padEnd(31)} ${of("perSecond").toFixed(0).padStart(6)}/s  p50 ${of("p50Ms").toFixed(2)} ms  ` +
      `p99 ${of("p99Ms").toFixed(2)} ms  ${ratio("perSecond").toFixed(2)}x throughput, ${ratio("p99Ms").toFixed(2)}x p99; ` +
      `${of("threadUs").toFixed(0)} µs of the JavaScript thread a decision, ${ratio("threadUs").toFixed(2)}x` +
      `${failed === 0 ? "" : `  ${failed} FAILED`}`,
  );
}

function load({ holdpoint }: Bench, path: Path, seconds: number): Promise<Load> {
  return wrk(holdpoint.url, lua(path), { connections: CONNECTIONS, seconds });
}

/** Every proposal has an id and a lock of its own. */
function lua(path: Path): string {
  const { action, entity, more } = PATHS[path];
  return `
local n = 0
local run = tostring({}):sub(8) .. '-' .. os.time()
local first = os.time() * 997
request = function()
  n = n + 1
  local id = run .. '-' .. n
  return wrk.format("POST", "/v1/decisions", {["content-type"]="application/json"}, '{"id":"' .. id .. '","action":{"name":"${action}","arguments":{"amount":1,"to":"' .. id .. '"}},"actor":{"id":"ops-agent","type":"agent","roles":["operator"]},"entity":{"type":"${entity}","id":"ord_' .. ((first + n) % ${ORDERS}) .. '"}${more}}')
end`;
}

async function placeOrders({ admin }: Running): Promise<void> {
  const events = Array.from({ length: ORDERS }, (_, at) => ({
    id: `paid_${at}`,
    source: "shop",
    type: "ORDER_PAID",
    entity: { type: "order", id: `ord_${at}` },
    actor: { id: "shop" },
    time: "2026-11-20T10:00:00Z",
    data: { total: 100 },
  }));
  for (let at = 0; at < ORDERS; at += 100) {
    const response = await post(`${admin}/v1/events`, { events: events.slice(at, at + 100) });
    const refused = response.events.find((event: { applied?: boolean }) => event.applied !== true);
    if (refused !== undefined) throw new Error(`Not applied: ${JSON.stringify(refused)}`);
  }
}

/** That each path is what its name says: else the ratio would be one of something else. */
async function checkAnswer({ url }: Running, path: Path): Promise<void> {
  const { action, entity, more } = PATHS[path];
  const { outcome, permit, limits, lock } = await post(`${url}/v1/decisions`, {
    id: `check-${path}`,
    action: { name: action, arguments: { amount: 1, to: `check-${path}` } },
    actor: { id: "ops-agent", type: "agent", roles: ["operator"] },
    entity: { type: entity, id: "ord_0" },
    ...(more === "" ? {} : { permit: true }),
  });
  const has = [outcome, permit !== undefined, limits?.length ?? 0, lock !== undefined].join();
  const expected = { plain: "allow,false,0,false", permit: "allow,true,0,false", state: "allow,false,0,false" };
  const wanted = path === "settled" ? "allow,true,1,true" : expected[path];
  if (has !== wanted) throw new Error(`${path}: expected ${wanted}, answered ${has}`);
}

// biome-ignore lint/suspicious/noExplicitAny: looked into member by member
async function post(url: string, body: object): Promise<any> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

type Counts = { readonly allowed: number; readonly others: number };

async function decisionsOf({ admin }: Running): Promise<Counts> {
  await wait(METRICS_AGE_MS);
  const text = await (await fetch(`${admin}/metrics`)).text();
  const counts = { allowed: 0, others: 0 };
  for (const [, labels, value] of text.matchAll(/^holdpoint_decisions_total\{(.*)\} (\d+)$/gm)) {
    counts[labels!.includes('outcome="allow"') ? "allowed" : "others"] += Number(value);
  }
  return counts;
}

function sayOthers(before: Counts, after: Counts): void {
  const others = after.others - before.others;
  if (others > 0) console.log(`${others} of ${after.allowed - before.allowed + others} decisions NOT ALLOWED`);
}

/**
 * What the sidecar sends to Redis for one decision. What scripts call in there is not counted; what sweeps and readings of
 * the freezes send meanwhile is told apart.
 */
async function countCommands(bench: Bench, path: Path): Promise<void> {
  const usPerScript = await scriptUs(bench, path);
  const before = await decisionsOf(bench.holdpoint);
  const sent = await watch(bench.redis, () => load(bench, path, TURN_SECONDS * 2));
  const decisions = (await decisionsOf(bench.holdpoint)).allowed - before.allowed;
  const own = [...sent].filter(([, count]) => count > decisions / 2);
  const rest = [...sent].filter(([, count]) => count <= decisions / 2).reduce((sum, [, count]) => sum + count, 0);
  const each = own.map(([command, count]) => `${command} ${(count / decisions).toFixed(3)}`);
  console.log(
    `${SAID[path].padEnd(31)} round trips a decision: ${each.join(", ") || "none"}; in the background ` +
      `${(rest / decisions).toFixed(3)}; Redis spends ${usPerScript} µs a script`,
  );
}

/** On average over all scripts, nearly all of them the decisions' own where these have any; unwatched, for watching slows it. */
async function scriptUs(bench: Bench, path: Path): Promise<string> {
  await bench.redis.admin.config("RESETSTAT");
  await load(bench, path, TURN_SECONDS * 2);
  const info = await bench.redis.admin.info("commandstats");
  return /^cmdstat_evalsha:.*usec_per_call=([\d.]+)/m.exec(info)?.[1] ?? "0";
}

/** By command, and by digest where it is a script. */
async function watch(redis: RedisServer, work: () => Promise<unknown>): Promise<ReadonlyMap<string, number>> {
  const sent = new Map<string, number>();
  const monitor = await redis.admin.monitor();
  monitor.on("monitor", (_time: string, [command = "", first = ""]: string[], source: string) => {
    if (source === "lua") return;
    const name = command.toLowerCase() === "evalsha" ? `evalsha ${first.slice(0, 8)}` : command.toLowerCase();
    sent.set(name, (sent.get(name) ?? 0) + 1);
  });
  await work();
  // The last commands are told of after they were answered.
  await redis.admin.ping();
  await wait(METRICS_AGE_MS);
  monitor.disconnect();
  return sent;
}

function median(values: readonly number[]): number {
  return values.toSorted((one, next) => one - next)[Math.floor(values.length / 2)]!;
}
