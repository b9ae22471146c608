/** Decisions over HTTP against OPA's own server on the same policy and input, turn by turn, so that both see the same noise. */
import { type Load, startHoldpoint, startOpa, wrk } from "./process.ts";

const INPUT = `"action":{"name":"ISSUE_REFUND","arguments":{"amount":49,"currency":"EUR","reason":"customer request"}},"actor":{"id":"support-agent","type":"agent","roles":["operator"]},"entity":{"type":"order","id":"ord_1"},"context":{"session":"s-81"}`;
const PLAIN = INPUT.replace(
  /"name":"ISSUE_REFUND".*?\}/,
  '"name":"fs.write_file","arguments":{"path":"/tmp/a.txt","content":"hello"}',
).replace('"entity":{"type":"order","id":"ord_1"}', '"entity":{"type":"file","id":"f_1"}');

/** Every proposal has an id of its own; the rest is the same for both. */
const HOLDPOINT = `
local n = 0
local run = tostring({}):sub(8)
request = function()
  n = n + 1
  return wrk.format("POST", "/v1/decisions", {["content-type"]="application/json"}, '{"id":"' .. run .. '-' .. os.time() .. '-' .. n .. '",${PLAIN}}')
end`;
const OPA = `
local body = '{"input":{${PLAIN},"tenant":"default","time":"2026-11-20T10:00:00.000Z","session":null,"approval":null}}'
request = function() return wrk.format("POST", "/v1/data/holdpoint/decision", {["content-type"]="application/json"}, body) end`;

export async function benchHttp(seconds: number): Promise<void> {
  const opa = await startOpa();
  const durable = await startHoldpoint({});
  const relaxed = await startHoldpoint({ HOLDPOINT_LEDGER_DURABILITY: "relaxed" });
  const workers = await startHoldpoint({ HOLDPOINT_WORKERS: "2" });
  console.log(`ready after ${durable.readyMs.toFixed(0)} ms (OPA ${opa.readyMs.toFixed(0)} ms)`);
  const peers = { durable, relaxed, workers } as const;
  await Promise.all([
    wrk(opa.url, OPA, { connections: 16, seconds: 2 }),
    ...Object.values(peers).map((peer) => wrk(peer.url, HOLDPOINT, { connections: 4, seconds: 2 })),
  ]);
  for (const connections of [1, 16, 64]) {
    const baseline = await wrk(opa.url, OPA, { connections, seconds });
    show(`opa run --server, ${connections} connections`, baseline, undefined);
    for (const [name, peer] of Object.entries(peers)) {
      show(
        `holdpoint ${name}, ${connections} connections`,
        await wrk(peer.url, HOLDPOINT, { connections, seconds }),
        baseline,
      );
    }
  }
  await Promise.all([opa, durable, relaxed, workers].map((running) => running.stop()));
}

function show(name: string, load: Load, baseline: Load | undefined): void {
  const ratio =
    baseline === undefined
      ? ""
      : `  ${(load.perSecond / baseline.perSecond).toFixed(2)}x throughput, ${(load.p99Ms / baseline.p99Ms).toFixed(2)}x p99`;
  const failures = load.failures === 0 ? "" : `  ${load.failures} FAILED`;
  console.log(
    `${name.padEnd(40)} ${load.perSecond.toFixed(0).padStart(7)}/s  p50 ${load.p50Ms.toFixed(2)} ms  p99 ${load.p99Ms.toFixed(2)} ms${ratio}${failures}`,
  );
}
