/** Durable appends per second by the number of concurrent appenders. Run by the bench runner; prints nothing itself. */
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { signNote } from "../../src/core/signed-note.ts";
import { createNoteSigner } from "../../src/ledger/ed25519-note.ts";
import { openLedger } from "../../src/ledger/open-ledger.ts";

export interface LedgerFigures {
  readonly appenders: number;
  readonly durability: "durable" | "relaxed";
  readonly entriesPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** All threads, user and system. */
  readonly cpuUsPerEntry: number;
  /** Time that the event loop was not idle. */
  readonly mainThreadUsPerEntry: number;
  readonly bytesPerEntry: number;
}

export async function benchLedger(options: {
  /** A real disk: /tmp may be memory. */
  parent: string;
  appenders: number;
  entries: number;
  durability?: "durable" | "relaxed";
}): Promise<LedgerFigures> {
  const { parent, appenders, entries, durability = "durable" } = options;
  const directory = mkdtempSync(join(parent, "ledger-bench-"));
  const signer = createNoteSigner("bench", generateKeyPairSync("ed25519").privateKey);
  const ledger = await openLedger({
    directory,
    origin: "bench",
    durability,
    signNote: (text) => signNote(text, [signer]),
  });
  const latencies = new Float64Array(entries);
  let next = 0;
  const append = async (): Promise<void> => {
    while (next < entries) {
      const at = next++;
      const started = performance.now();
      await ledger.append(draft(at));
      latencies[at] = performance.now() - started;
    }
  };
  const cpu = process.cpuUsage();
  const loop = performance.eventLoopUtilization();
  const started = performance.now();
  await Promise.all(Array.from({ length: appenders }, append));
  const elapsedMs = performance.now() - started;
  const { active } = performance.eventLoopUtilization(loop);
  const { user, system } = process.cpuUsage(cpu);
  await ledger.close();
  const bytes = statSync(join(directory, "data.mdb")).size;
  rmSync(directory, { recursive: true });
  latencies.sort();
  return {
    appenders,
    durability,
    entriesPerSecond: (entries / elapsedMs) * 1000,
    p50Ms: latencies[Math.floor(entries * 0.5)]!,
    p99Ms: latencies[Math.floor(entries * 0.99)]!,
    cpuUsPerEntry: (user + system) / entries,
    mainThreadUsPerEntry: (active * 1000) / entries,
    bytesPerEntry: bytes / entries,
  };
}

const FILLER = "x".repeat(1380);

/** 1.5 kB, a caller's random proposal id and the sidecar's own time-ordered decision id. */
function draft(at: number): { text: string; keys: string[]; uniqueKey: string } {
  const proposal = `proposal:default:${randomUUID()}`;
  const decision = `decision:dec_${(1e15 + at).toString(32).padStart(26, "0")}`;
  return {
    text: `{"filler":"${FILLER}","id":"${decision}","proposal":"${proposal}"}`,
    keys: [proposal, decision],
    uniqueKey: proposal,
  };
}
