/** A process that appends: `child.mjs <directory> <name> <appenders> <entries or 0 for endless>`; prints "index name at". */
import { writeSync } from "node:fs";
import { openLedger } from "../../src/ledger/open-ledger.ts";

const [directory = "", name = "", appenders = "1", entries = "0"] = process.argv.slice(2);
const limit = Number(entries) || Number.POSITIVE_INFINITY;

// Unsigned in the sense that matters not here: the child never asks for a checkpoint but at close.
const ledger = await openLedger({
  directory,
  origin: "holdpoint.example/test",
  signNote: (text) => `${text}\n— holdpoint.example/test AAAAAAAA\n`,
});
writeSync(1, "ready\n");
let next = 0;

async function append(): Promise<void> {
  while (next < limit) {
    const at = next++;
    const text = JSON.stringify({ name, at, filler: "x".repeat((at * 37) % 2500) });
    const answer = await ledger.append({ text, keys: [`${name}:${at}`], uniqueKey: `${name}:${at}` });
    // Synchronous: what is printed was acknowledged before the process could be killed.
    writeSync(1, `${answer.index} ${name} ${at}\n`);
  }
}

await Promise.all(Array.from({ length: Number(appenders) }, append));
await ledger.close();
