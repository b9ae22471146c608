/** What being scraped ten times a second costs: the same load with and without it, turn by turn, each against the other. */
import { readFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { residentMb, startHoldpoint, wrk } from "./process.ts";

const ROUNDS = 3;
const SCRAPES_PER_SECOND = 10;
/** As many series as a busy sidecar has. */
const ACTIONS = 100;

const LOAD = `
local n = 0
local run = tostring({}):sub(8)
request = function()
  n = n + 1
  return wrk.format("POST", "/v1/decisions", {["content-type"]="application/json"}, '{"id":"s' .. run .. '-' .. os.time() .. '-' .. n .. '","action":{"name":"fs.write_file","arguments":{"path":"/tmp/a.txt","content":"x"}},"actor":{"id":"agent-' .. (n % ${ACTIONS}) .. '","roles":["operator"]}}')
end`;

export async function benchScrape(seconds: number): Promise<void> {
  const holdpoint = await startHoldpoint({});
  await wait(20_000);
  const { held, mapped } = residentMb(holdpoint.pid);
  console.log(
    `ready after ${holdpoint.readyMs.toFixed(0)} ms; idle for 20 s: ${(held + mapped).toFixed(0)} MB resident, ${held.toFixed(0)} MB of it its own`,
  );
  const alone = await cpuShare(holdpoint.pid);
  const idleScraping = startScraping(holdpoint.admin);
  const scrapedShare = await cpuShare(holdpoint.pid);
  await idleScraping.stop();
  console.log(
    `idle: ${(alone * 100).toFixed(2)} % of a core; scraped at ${SCRAPES_PER_SECOND} Hz: ${(scrapedShare * 100).toFixed(2)} %, ` +
      `so scrapes take ${((scrapedShare - alone) * 100).toFixed(2)} %`,
  );
  const load = { connections: 16, seconds };
  await wrk(holdpoint.url, LOAD, load);
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const alone = await wrk(holdpoint.url, LOAD, load);
    const scraping = startScraping(holdpoint.admin);
    const scraped = await wrk(holdpoint.url, LOAD, load);
    const scrapes = await scraping.stop();
    ratios.push(scraped.perSecond / alone.perSecond);
    console.log(
      `round ${round + 1}: ${alone.perSecond.toFixed(0)}/s alone, ${scraped.perSecond.toFixed(0)}/s scraped ${scrapes} times: ${ratios.at(-1)!.toFixed(3)}x`,
    );
  }
  const median = [...ratios].sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!;
  console.log(`scraped at ${SCRAPES_PER_SECOND} Hz: ${median.toFixed(3)}x of the throughput alone (median)`);
  await holdpoint.stop();
}

/** Of one core, over ten seconds: what throughput ratios on a shared machine are too coarse for. */
async function cpuShare(pid: number): Promise<number> {
  const ticks = () => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return Number(fields[11]) + Number(fields[12]);
  };
  const [before, startedAt] = [ticks(), performance.now()];
  await wait(10_000);
  return ((ticks() - before) * 10) / (performance.now() - startedAt);
}

function startScraping(admin: string): { stop(): Promise<number> } {
  const end = new AbortController();
  let scrapes = 0;
  const running = (async () => {
    while (!end.signal.aborted) {
      await (await fetch(`${admin}/metrics`)).text();
      scrapes += 1;
      await wait(1000 / SCRAPES_PER_SECOND);
    }
  })();
  return {
    stop: async () => {
      end.abort();
      await running;
      return scrapes;
    },
  };
}
