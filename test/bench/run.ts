/** `make bench`: prints figures and ratios, each against a peer measured in the same run. Nothing here passes or fails. */
import { benchContext } from "./context.ts";
import { benchEntities } from "./entities.ts";
import { benchHttp } from "./http.ts";
import { benchInProcess } from "./in-process.ts";
import { benchLedger } from "./ledger.ts";
import { benchMemory } from "./memory.ts";
import { requireWrk } from "./process.ts";
import { benchRedis } from "./redis.ts";
import { benchScrape } from "./scrape.ts";
import { benchTimeline } from "./timeline.ts";

const seconds = Number(process.env.BENCH_SECONDS ?? 5);
const decisions = Number(process.env.BENCH_DECISIONS ?? 1_000_000);
const entities = Number(process.env.BENCH_ENTITIES ?? 100_000);
const only = process.env.BENCH_ONLY?.split(",");

const benches: Readonly<Record<string, () => Promise<void>>> = {
  "in-process": () => benchInProcess(100_000),
  http: () => benchHttp(seconds),
  scrape: () => benchScrape(seconds),
  redis: () => benchRedis(20_000),
  context: () => benchContext(seconds),
  entities: () => benchEntities(entities, 1_000_000),
  ledger: async () => {
    for (const appenders of [1, 16, 64]) {
      const figures = await benchLedger({
        parent: process.cwd(),
        appenders,
        entries: appenders === 1 ? 3_000 : 50_000,
      });
      console.log(
        `ledger, ${appenders} appenders: ${figures.entriesPerSecond.toFixed(0)} entries/s, p99 ${figures.p99Ms.toFixed(2)} ms, ` +
          `${figures.mainThreadUsPerEntry.toFixed(0)} µs of the main thread and ${figures.bytesPerEntry.toFixed(0)} bytes an entry`,
      );
    }
  },
  timeline: () => benchTimeline([10_000, 1_000_000]),
  memory: () => benchMemory(decisions),
};

requireWrk();
for (const [name, bench] of Object.entries(benches)) {
  if (only !== undefined && !only.includes(name)) continue;
  console.log(`\n== ${name}`);
  await bench();
}
