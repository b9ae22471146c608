/** Entries out of bundles, within one LMDB snapshot. */
import type { Environment } from "./environment.ts";
import { ENTRY_HEADER_BYTES, entryEnd } from "./layout.ts";
import { asBuffer } from "./tree-state.ts";

export interface StoredEntry {
  readonly index: number;
  readonly text: string;
}

/** At most `limit` entries from `start`; fewer only at the end of the log. */
export function readEntries(env: Environment, start: number, limit: number): StoredEntry[] {
  const entries: StoredEntry[] = [];
  const first = bundleHolding(env, start);
  if (first === undefined || limit <= 0) return entries;
  for (const { key, value } of env.entries.getRange({ start: first })) {
    takeFrom({ first: key, bytes: asBuffer(value) }, { start, limit }, entries);
    if (entries.length >= limit) break;
  }
  return entries;
}

function bundleHolding(env: Environment, index: number): number | undefined {
  // lmdb-js ends a reverse range at a default key that lies above ours, unless told otherwise.
  for (const key of env.entries.getKeys({ start: index, end: 0, inclusiveEnd: true, reverse: true, limit: 1 }))
    return key;
  return undefined;
}

function takeFrom(
  bundle: { first: number; bytes: Buffer },
  want: { start: number; limit: number },
  into: StoredEntry[],
): void {
  let index = bundle.first;
  for (let offset = 0; offset < bundle.bytes.length && into.length < want.limit; index += 1) {
    const end = entryEnd(bundle.bytes, offset);
    if (end < 0) throw new Error(`Ledger entry ${index} is damaged`);
    if (index >= want.start)
      into.push({ index, text: bundle.bytes.toString("utf8", offset + ENTRY_HEADER_BYTES, end) });
    offset = end;
  }
}
