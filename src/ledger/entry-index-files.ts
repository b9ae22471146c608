/** The index's own LMDB environment: made, opened if it can be believed, thrown away if not. */
import { createHash } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Database, open, type RootDatabase } from "lmdb";
import { TAGS_VERSION } from "../core/entry-tags.ts";
import type { Ledger } from "../core/ports.ts";
import { bootId, markClosed, markOpen, uncleanEnds } from "./entry-index-trust.ts";
import { DATA_FILE, readIndex, textKeyEncoder, writeIndex } from "./layout.ts";
import { asBuffer } from "./tree-state.ts";

const FORMAT = `holdpoint-entry-index/1 tags/${TAGS_VERSION}`;
const LOCK_FILE = "lock.mdb";
const ORIGIN = "origin";
const POSITION = "position";

const TAG_BYTES = 16;
const INDEX_BYTES = 8;
const DIGEST_BYTES = 32;
/** A key says it all. */
const NO_VALUE = Buffer.alloc(0);
/** How long closing may take over the checksum: some gigabytes, tens of millions of entries. */
const CHECKSUM_MS = 2_000;
/** Address space, not memory; LMDB maps anew past it. */
const MAP_BYTES = 2 ** 34;

/** How far the ledger is indexed: entries before `next`, of which the last had this digest. */
export interface Position {
  readonly next: number;
  readonly lastDigest: Buffer;
}

export const START: Position = { next: 0, lastDigest: Buffer.alloc(DIGEST_BYTES) };

export interface IndexFiles {
  readonly root: RootDatabase<Buffer, Buffer>;
  /** [first 16 bytes of SHA-256 of a tag][8-byte big-endian index] → nothing. */
  readonly tags: Database<Buffer, Buffer>;
  readonly state: Database<Buffer, string>;
}

export interface OpenIndex {
  readonly files: IndexFiles;
  readonly position: Position;
}

export function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

export function entryKey(tag: string, index: number): Buffer {
  const key = Buffer.allocUnsafe(TAG_BYTES + INDEX_BYTES);
  digestOf(tag).copy(key, 0, 0, TAG_BYTES);
  writeIndex(key, TAG_BYTES, index);
  return key;
}

export function indexOfKey(key: Buffer): number {
  return readIndex(key, TAG_BYTES);
}

/** The index as it was left, if it is this ledger's and is not ahead of it; else a new one. */
export async function openIndexFiles(directory: string, ledger: Ledger): Promise<OpenIndex> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const boot = bootId();
  const ends = await uncleanEnds(directory, DATA_FILE, boot);
  if (ends !== undefined) {
    markOpen(directory, boot, ends);
    const found = await openFound(directory, ledger);
    if (found !== undefined) return found;
  }
  rmSync(join(directory, DATA_FILE), { force: true });
  markOpen(directory, boot, 0);
  const files = openFiles(directory);
  files.root.transactionSync(() => {
    files.state.put(ORIGIN, Buffer.from(`${FORMAT}\n${ledger.origin}`), 0);
    putPosition(files, START);
  });
  return { files, position: START };
}

export async function closeIndexFiles(directory: string, files: IndexFiles): Promise<void> {
  await files.root.close();
  await markClosed(directory, DATA_FILE, CHECKSUM_MS);
}

/** Only inside a write: keys and position change in one transaction, or not at all. */
export function putPosition(files: IndexFiles, { next, lastDigest }: Position): void {
  const bytes = Buffer.allocUnsafe(INDEX_BYTES + DIGEST_BYTES);
  writeIndex(bytes, 0, next);
  lastDigest.copy(bytes, INDEX_BYTES);
  files.state.put(POSITION, bytes, next);
}

/** Puts keys and position if nobody else moved the position meanwhile. */
export function putBatch(
  files: IndexFiles,
  batch: { readonly from: Position; readonly to: Position; readonly keys: readonly Buffer[] },
): Promise<boolean> {
  return files.state.ifVersion(POSITION, batch.from.next, () => {
    for (const key of batch.keys) files.tags.put(key, NO_VALUE);
    putPosition(files, batch.to);
  });
}

async function openFound(directory: string, ledger: Ledger): Promise<OpenIndex | undefined> {
  let files: IndexFiles | undefined;
  try {
    files = openFiles(directory);
    const position = positionIn(files, ledger);
    if (position !== undefined) return { files, position };
  } catch {
    // Damaged, as far as LMDB can say so: a new one is made.
  }
  await files?.root.close();
  return undefined;
}

/** Undefined where this is no index of this ledger as it is now. */
function positionIn({ state }: IndexFiles, ledger: Ledger): Position | undefined {
  const origin = state.getBinary(ORIGIN);
  const found = state.getBinary(POSITION);
  if (origin === undefined || asBuffer(origin).toString("utf8") !== `${FORMAT}\n${ledger.origin}`) return undefined;
  if (found === undefined || found.length !== INDEX_BYTES + DIGEST_BYTES) return undefined;
  const bytes = Buffer.from(found);
  const position = { next: readIndex(bytes, 0), lastDigest: bytes.subarray(INDEX_BYTES) };
  if (position.next === 0) return position;
  // Ahead of the ledger, or beside it: one that was restored may have gone on in another way.
  const last = ledger.read(position.next - 1);
  return last !== undefined && digestOf(last).equals(position.lastDigest) ? position : undefined;
}

/** Not synced: what is lost is built anew, and the decisions' own syncs need the disk. */
function openFiles(directory: string): IndexFiles {
  // Nobody else reads here, so locks that are found are a dead process's.
  rmSync(join(directory, LOCK_FILE), { force: true });
  const root = open<Buffer, Buffer>({
    path: directory,
    noSubdir: false,
    mapSize: MAP_BYTES,
    maxDbs: 4,
    noSync: true,
    overlappingSync: false,
    // As for the ledger: a batch of lmdb-js's own would reject where nobody listens.
    eventTurnBatching: false,
    encoding: "binary",
    keyEncoding: "binary",
  });
  const textKeys: object = { keyEncoder: textKeyEncoder };
  return {
    root,
    tags: root.openDB({ name: "tags", encoding: "binary", keyEncoding: "binary" }),
    state: root.openDB({ name: "state", encoding: "binary", useVersions: true, ...textKeys }),
  };
}
