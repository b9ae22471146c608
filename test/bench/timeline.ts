/** One entity's timeline among few and among many entries of others. Prints milliseconds a page, and their ratio. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Ledger } from "../../src/core/ports.ts";
import { createTimelineReader, type TimelineRequest } from "../../src/gate/timeline.ts";
import { openEntryIndex } from "../../src/ledger/entry-index.ts";
import { openLedger } from "../../src/ledger/open-ledger.ts";

/** Entries of the entity that is asked for, spread evenly over the ledger. */
const OWN = 100;
const OTHERS = 5_000;
const READS = 500;
/** Appends that wait for one another's commit. */
const AT_ONCE = 4_096;

export async function benchTimeline(sizes: readonly number[]): Promise<void> {
  const medians: number[] = [];
  for (const entries of sizes) {
    const figures = await measure(process.cwd(), entries);
    medians.push(figures.medianMs);
    console.log(
      `timeline, 1 entity (${OWN} entries) among ${entries} entries: p50 ${figures.medianMs.toFixed(2)} ms, ` +
        `p99 ${figures.p99Ms.toFixed(2)} ms a page; index built at ${figures.indexedPerSecond.toFixed(0)} entries/s, ` +
        `${figures.bytesPerEntry.toFixed(0)} bytes an entry`,
    );
  }
  console.log(
    `timeline, ratio of p50 at ${sizes.at(-1)} to ${sizes[0]} entries: ${(medians.at(-1)! / medians[0]!).toFixed(2)}`,
  );
}

interface Figures {
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly indexedPerSecond: number;
  readonly bytesPerEntry: number;
}

async function measure(parent: string, entries: number): Promise<Figures> {
  const directory = mkdtempSync(join(parent, "timeline-bench-"));
  try {
    const ledger = await openLedger({
      directory: join(directory, "ledger"),
      origin: "bench",
      signNote: (text) => text,
    });
    await fill(ledger, entries);
    const figures = await readMany(join(directory, "index"), ledger, entries);
    await ledger.close();
    return figures;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function readMany(directory: string, ledger: Ledger, entries: number): Promise<Figures> {
  const index = openEntryIndex({ directory, ledger, waitMs: 600_000 });
  const started = performance.now();
  await index.find({ tag: "any", from: 0, limit: 1 });
  const indexedMs = performance.now() - started;
  const read = createTimelineReader({ ledger, index, rebuild: async () => ({ matches: true }) });
  const times = new Float64Array(READS);
  for (let at = -50; at < READS; at += 1) {
    const from = performance.now();
    const { rows } = await read(REQUEST);
    if (at >= 0) times[at] = performance.now() - from;
    if (rows.length !== OWN) throw new Error(`Expected ${OWN} rows, found ${rows.length}`);
  }
  await index.close();
  times.sort();
  return {
    medianMs: times[READS / 2]!,
    p99Ms: times[Math.floor(READS * 0.99)]!,
    indexedPerSecond: (entries / indexedMs) * 1_000,
    bytesPerEntry: statSync(join(directory, "data.mdb")).size / entries,
  };
}

const REQUEST: TimelineRequest = {
  tenant: "default",
  about: { kind: "entity", ref: { type: "order", id: "asked-for" } },
  detail: "summary",
  kinds: undefined,
  sinceMs: undefined,
  untilMs: undefined,
  limit: OWN,
  cursor: undefined,
};

async function fill(ledger: Ledger, entries: number): Promise<void> {
  const every = entries / OWN;
  for (let at = 0; at < entries; at += AT_ONCE) {
    const count = Math.min(AT_ONCE, entries - at);
    await Promise.all(
      Array.from({ length: count }, (_, more) => {
        const one = at + more;
        return ledger.append({ text: entryText(one, one % every === 0 ? "asked-for" : `o${one % OTHERS}`), keys: [] });
      }),
    );
  }
}

/** Small, so that filling takes no longer than it must; its trace is its own. */
function entryText(at: number, id: string): string {
  const trace = at.toString(16).padStart(32, "a");
  return (
    `{"data":{"actor":{"id":"a"},"entity":{"id":"${id}","type":"order"},"from":"A","to":"B","version":${at}},` +
    `"kind":"state_changed","tenant":"default","time":"2026-11-20T10:00:00.000Z","trace_id":"${trace}","v":1}`
  );
}
