/**
 * A process that indexes and is killed: `child.mjs <directory> <reads> <microseconds>` ends itself by SIGKILL so long after so
 * many readings of the ledger, or once everything is indexed.
 */
import { join } from "node:path";
import { openEntryIndex } from "../../src/ledger/entry-index.ts";
import { openLedger } from "../../src/ledger/open-ledger.ts";

const [directory = "", reads = "0", microseconds = "0"] = process.argv.slice(2);
const die = () => process.kill(process.pid, "SIGKILL");

function dieAt(time: number): void {
  if (performance.now() >= time) die();
  setImmediate(dieAt, time);
}

const ledger = await openLedger({
  directory: join(directory, "ledger"),
  origin: "holdpoint.example/test",
  signNote: (text) => `${text}\n— holdpoint.example/test AAAAAAAA\n`,
});
let read = 0;
const counted: typeof ledger = Object.assign(Object.create(ledger), {
  origin: ledger.origin,
  head: () => ledger.head(),
  read: (index: number) => ledger.read(index),
  find: (key: string) => ledger.find(key),
  entries: (start: number, limit: number) => {
    read += 1;
    if (read === Number(reads)) dieAt(performance.now() + Number(microseconds) / 1_000);
    return ledger.entries(start, limit);
  },
});
const index = openEntryIndex({ directory: join(directory, "index"), ledger: counted, waitMs: 60_000 });
await index.find({ tag: "any", from: 0, limit: 1 });
die();
