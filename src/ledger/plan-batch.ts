/** One batch: what it will write, worked out on a snapshot, and the writing of it. */
import type { AppendResult } from "../core/ports.ts";
import type { Environment } from "./environment.ts";
import {
  BUNDLE_BYTES,
  encodeHead,
  HEAD_KEY,
  type HeadRecord,
  KEY_VALUE_BYTES,
  readKeyValue,
  TILE_WIDTH,
  tileKey,
  writeKeyValue,
} from "./layout.ts";
import type { TileWrite, TreeState } from "./tree-state.ts";
import { asBuffer } from "./tree-state.ts";

export interface Pending {
  /** encodeEntry(). */
  readonly entry: Buffer;
  readonly leafHash: Buffer;
  readonly keys: readonly string[];
  readonly uniqueKey: string | undefined;
  /** Answered already (durability "relaxed"): must not be dropped. */
  readonly isAcknowledged: boolean;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: Error) => void;
}

interface Bundle {
  readonly first: number;
  readonly bytes: Buffer;
}

export interface PlannedBatch {
  /** Size of the log this plan extends; it holds for no other. */
  readonly baseSize: number;
  readonly answers: readonly AppendResult[];
  readonly bundles: readonly Bundle[];
  readonly keys: ReadonlyMap<string, number>;
  readonly tiles: readonly TileWrite[];
  readonly head: HeadRecord;
}

/** Changes `tree`: unless the plan is committed, the tree has to be loaded again. */
export function planBatch(env: Environment, tree: TreeState, batch: readonly Pending[]): PlannedBatch {
  const baseSize = tree.size;
  const answers: AppendResult[] = [];
  const keys = new Map<string, number>();
  const accepted: Pending[] = [];
  for (const pending of batch) {
    const index = tree.size;
    const taken =
      pending.uniqueKey === undefined ? undefined : (keys.get(pending.uniqueKey) ?? findIndex(env, pending.uniqueKey));
    if (taken !== undefined) {
      answers.push({ kind: "duplicate", index: taken });
      continue;
    }
    for (const key of pending.keys) keys.set(key, index);
    accepted.push(pending);
    tree.append(pending.leafHash);
    answers.push({ kind: "appended", index });
  }
  return { baseSize, answers, bundles: bundle(baseSize, accepted), keys, tiles: tree.takeTiles(), head: tree.head() };
}

/** Newest entry that carries the key, in the current snapshot or write transaction. */
export function findIndex(env: Environment, key: string): number | undefined {
  const value = env.keys.getBinary(key);
  if (value === undefined) return undefined;
  const index = readKeyValue(asBuffer(value), key);
  if (index === undefined) throw new Error(`Ledger key ${JSON.stringify(key)} has a damaged value`);
  return index;
}

function bundle(baseSize: number, accepted: readonly Pending[]): Bundle[] {
  const bundles: Bundle[] = [];
  let start = 0;
  let bytes = 0;
  accepted.forEach((pending, at) => {
    bytes += pending.entry.length;
    const isTileEnd = (baseSize + at + 1) % TILE_WIDTH === 0;
    if (!isTileEnd && bytes < BUNDLE_BYTES && at < accepted.length - 1) return;
    bundles.push({ first: baseSize + start, bytes: joinEntries(accepted.slice(start, at + 1), bytes) });
    start = at + 1;
    bytes = 0;
  });
  return bundles;
}

function joinEntries(entries: readonly Pending[], length: number): Buffer {
  if (entries.length === 1) return entries[0]!.entry;
  const joined = Buffer.allocUnsafeSlow(length);
  let at = 0;
  for (const { entry } of entries) {
    joined.set(entry, at);
    at += entry.length;
  }
  return joined;
}

/**
 * Issues the writes. INVARIANT: nothing here may throw, since lmdb-js commits what a condition block wrote before its
 * callback threw; that is why append() checks every key's size beforehand. LMDB reads the values' memory later, on its
 * own thread: no buffer of the plan may change until the commit ends.
 */
export function writeBatch(env: Environment, plan: PlannedBatch): void {
  for (const { first, bytes } of plan.bundles) env.entries.put(first, bytes);
  const values = Buffer.allocUnsafeSlow(plan.keys.size * KEY_VALUE_BYTES);
  let at = 0;
  for (const [key, index] of plan.keys) {
    const value = values.subarray(at, at + KEY_VALUE_BYTES);
    writeKeyValue(value, index, key);
    env.keys.put(key, value);
    at += KEY_VALUE_BYTES;
  }
  for (const { level, tile, bytes } of plan.tiles) env.tiles.put(tileKey(level, tile), bytes);
  env.state.put(HEAD_KEY, encodeHead(plan.head), plan.head.size);
}
