/** Resident memory over a million decisions: flat in the second half, or something is kept that should not be. */
import { residentMb, startHoldpoint, wrk } from "./process.ts";

const LOAD = `
local n = 0
local run = tostring({}):sub(8)
request = function()
  n = n + 1
  return wrk.format("POST", "/v1/decisions", {["content-type"]="application/json"}, '{"id":"m' .. run .. '-' .. os.time() .. '-' .. n .. '","action":{"name":"fs.write_file","arguments":{"path":"/tmp/a.txt","content":"hello ' .. n .. '"}},"actor":{"id":"support-agent","roles":["operator"]}}')
end`;

export async function benchMemory(decisions: number): Promise<void> {
  const holdpoint = await startHoldpoint({});
  const idle = residentMb(holdpoint.pid);
  const readings: { readonly decided: number; readonly held: number; readonly mapped: number }[] = [];
  let decided = 0;
  while (decided < decisions) {
    const { perSecond } = await wrk(holdpoint.url, LOAD, { connections: 16, seconds: 10 });
    decided += perSecond * 10;
    readings.push({ decided, ...residentMb(holdpoint.pid) });
  }
  const half = readings.find((reading) => reading.decided >= decisions / 2)!;
  const last = readings.at(-1)!;
  console.log(
    `memory: ${idle.held.toFixed(0)} MB held idle, ${half.held.toFixed(0)} MB after ${half.decided.toFixed(0)} decisions, ` +
      `${last.held.toFixed(0)} MB after ${last.decided.toFixed(0)}: ${(last.held / half.held).toFixed(2)}x over the second half; ` +
      `pages of the ledger in the kernel's cache besides: ${last.mapped.toFixed(0)} MB`,
  );
  await holdpoint.stop();
}
