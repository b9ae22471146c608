/** Entries of an open ledger in order, a page at a time; ends at the end of the log as it is then. */
import type { Ledger } from "../core/ports.ts";

const PAGE_ENTRIES = 256;

export function* readLedgerEntries(
  ledger: Pick<Ledger, "entries">,
  start = 0,
): Generator<{ readonly index: number; readonly text: string }> {
  for (let next = start; ; ) {
    const page = ledger.entries(next, PAGE_ENTRIES);
    if (page.length === 0) return;
    yield* page;
    next += page.length;
  }
}
