/**
 * Reads an LMDB data file page by page, without LMDB, for verifying: LMDB trusts what it maps, and a flipped bit in a
 * page number makes it read outside the file and end the process. Here every offset is checked, no page is entered
 * twice (so no cycle), and whatever is wrong becomes a PageFault.
 *
 * Layout (lmdb-js's LMDB, 64-bit little-endian): pages start with [pgno 8][txn 8][pad 2][flags 2][lower 2][upper 2]; pages
 * 0 and 1 are meta pages, written in turn; nodes are [size lo 2][size hi 2][flags 2][key size 2][key][data].
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

const HEADER = 24;
const META_MAGIC = 0xbeefc0de;
const META_PAGES = 2;
const META_DBS = 24;
const DB_BYTES = 48;
const META_LAST_PAGE = META_DBS + 2 * DB_BYTES;
const META_TXN = META_LAST_PAGE + 8;
const META_BYTES = META_TXN + 16;

const P_BRANCH = 0x01;
const P_LEAF = 0x02;
const P_OVERFLOW = 0x04;
const P_META = 0x08;
const F_BIGDATA = 0x01;
const F_SUBDATA = 0x02;
const NODE_HEADER = 8;
const OVERFLOW_POINTER_BYTES = 24;

const DEPTH_MAX = 32;
const CHUNK_BYTES = 1 << 18;
const CHUNKS_MAX = 64;
/** The file may end before the last page where that one is free; how far, nothing says. Bounds the page bitmap. */
const MISSING_BYTES_MAX = 2 ** 32;
const NO_PAGE = 2n ** 64n - 1n;

export class PageFault extends Error {}

interface Meta {
  readonly txn: bigint;
  readonly lastPage: number;
  readonly mainDb: Buffer;
  readonly pageSize: number;
}

export interface TreeEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** A tree's root page; `entries` is what its record claims to hold. */
export interface TreeRoot {
  readonly root: number | undefined;
  readonly entries: number;
}

export class PageFile {
  readonly #fd: number;
  readonly #fileBytes: number;
  readonly #chunks = new Map<number, Buffer>();
  readonly #meta: Meta;
  readonly #seen: Uint8Array;

  constructor(path: string) {
    this.#fd = openSync(path, "r");
    try {
      this.#fileBytes = fstatSync(this.#fd).size;
      this.#meta = this.#readMeta();
      this.#seen = new Uint8Array(Math.ceil((this.#meta.lastPage + 1) / 8));
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Grows with every commit; a file whose transaction moved while it was read has to be read again. */
  get transaction(): bigint {
    return this.#meta.txn;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** The named databases of the main one. */
  databases(): Map<string, TreeRoot> {
    const found = new Map<string, TreeRoot>();
    for (const { key, value } of this.#walk(decodeTree(this.#meta.mainDb), F_SUBDATA)) {
      if (value.length !== DB_BYTES) throw new PageFault(`database record has ${value.length} bytes, not ${DB_BYTES}`);
      // lmdb-js stores names with a terminating zero.
      found.set(key.toString("utf8").replace(/\0$/, ""), decodeTree(value));
    }
    return found;
  }

  /** Keys and values in order. The buffers are only valid until the next step. */
  *entries(tree: TreeRoot): Generator<TreeEntry> {
    let count = 0;
    for (const entry of this.#walk(tree, 0)) {
      count += 1;
      yield entry;
    }
    if (count !== tree.entries)
      throw new PageFault(`database holds ${count} records, its own count says ${tree.entries}`);
  }

  #readMeta(): Meta {
    const first = this.#metaAt(0);
    const second = this.#metaAt(first.pageSize);
    if (second.pageSize !== first.pageSize) throw new PageFault("the two meta pages name different page sizes");
    const step = first.txn > second.txn ? first.txn - second.txn : second.txn - first.txn;
    // Commits take the two in turn, so they are one apart: otherwise a damaged one would hide the newest commit.
    if (step > 1n || first.txn % 2n !== 0n)
      throw new PageFault(`meta pages are of transactions ${first.txn} and ${second.txn}`);
    const latest = first.txn >= second.txn ? first : second;
    if ((latest.lastPage + 1) * latest.pageSize > this.#fileBytes + MISSING_BYTES_MAX) {
      throw new PageFault(`last page ${latest.lastPage} lies far outside the file`);
    }
    return latest;
  }

  #metaAt(offset: number): Meta {
    const page = this.#bytes(offset, HEADER + META_BYTES);
    const meta = page.subarray(HEADER);
    if ((page.readUInt16LE(18) & P_META) === 0 || meta.readUInt32LE(0) !== META_MAGIC) {
      throw new PageFault(`no meta page at byte ${offset}`);
    }
    const pageSize = meta.readUInt32LE(META_DBS);
    if (pageSize < 512 || pageSize > 65_536 || (pageSize & (pageSize - 1)) !== 0)
      throw new PageFault(`page size ${pageSize}`);
    const lastPage = toNumber(meta.readBigUInt64LE(META_LAST_PAGE));
    const mainDb = Buffer.from(meta.subarray(META_DBS + DB_BYTES, META_DBS + 2 * DB_BYTES));
    return { txn: meta.readBigUInt64LE(META_TXN), lastPage, mainDb, pageSize };
  }

  *#walk(tree: TreeRoot, leafFlag: number): Generator<TreeEntry> {
    if (tree.root === undefined) return;
    let last: Buffer | undefined;
    for (const entry of this.#walkPage(tree.root, DEPTH_MAX, leafFlag)) {
      if (last !== undefined && Buffer.compare(last, entry.key) >= 0) throw new PageFault("keys are out of order");
      last = Buffer.from(entry.key);
      yield entry;
    }
  }

  *#walkPage(pgno: number, depthLeft: number, leafFlag: number): Generator<TreeEntry> {
    if (depthLeft === 0) throw new PageFault(`tree is deeper than ${DEPTH_MAX} pages`);
    const page = Buffer.from(this.#page(pgno, 1));
    const kind = page.readUInt16LE(18) & (P_BRANCH | P_LEAF | P_OVERFLOW | P_META);
    if (kind !== P_BRANCH && kind !== P_LEAF) throw new PageFault(`page ${pgno} is neither branch nor leaf`);
    const nodes = nodesOf(page, pgno);
    if (kind === P_LEAF) {
      for (const node of nodes) yield this.#leafEntry(page, node, leafFlag);
      return;
    }
    for (const [at, node] of nodes.entries())
      yield* this.#walkBranch({ page, node, next: nodes[at + 1], isFirst: at === 0 }, depthLeft, leafFlag);
  }

  /** A separator steers LMDB's look-ups: everything below it lies in [separator, next separator). */
  *#walkBranch(
    at: { page: Buffer; node: number; next: number | undefined; isFirst: boolean },
    depthLeft: number,
    leafFlag: number,
  ): Generator<TreeEntry> {
    const { page, node, next, isFirst } = at;
    const low = nodeKey(page, node);
    const high = next === undefined ? undefined : nodeKey(page, next);
    const child = page.readUInt32LE(node) + page.readUInt16LE(node + 4) * 2 ** 32;
    for (const entry of this.#walkPage(child, depthLeft - 1, leafFlag)) {
      const isBelow = !isFirst && Buffer.compare(entry.key, low) < 0;
      if (isBelow || (high !== undefined && Buffer.compare(entry.key, high) >= 0))
        throw new PageFault("a key lies under the wrong branch");
      yield entry;
    }
  }

  #leafEntry(page: Buffer, node: number, leafFlag: number): TreeEntry {
    const size = page.readUInt32LE(node);
    const flags = page.readUInt16LE(node + 4);
    const key = nodeKey(page, node);
    const data = node + NODE_HEADER + key.length;
    if (flags === (F_BIGDATA | leafFlag)) return { key, value: this.#overflow(page, data, size) };
    if (flags !== leafFlag) throw new PageFault(`record has flags ${flags}`);
    if (data + size > page.length) throw new PageFault("record reaches past its page");
    return { key, value: page.subarray(data, data + size) };
  }

  #overflow(page: Buffer, data: number, size: number): Buffer {
    if (data + OVERFLOW_POINTER_BYTES > page.length) throw new PageFault("overflow pointer reaches past its page");
    const pgno = toNumber(page.readBigUInt64LE(data));
    const pages = Math.ceil((HEADER + size) / this.#meta.pageSize);
    const run = this.#page(pgno, pages);
    if ((run.readUInt16LE(18) & P_OVERFLOW) === 0 || run.readUInt32LE(20) !== pages) {
      throw new PageFault(`page ${pgno} does not start ${pages} overflow pages`);
    }
    return run.subarray(HEADER, HEADER + size);
  }

  #page(pgno: number, count: number): Buffer {
    const { pageSize, lastPage } = this.#meta;
    if (pgno < META_PAGES || pgno + count - 1 > lastPage)
      throw new PageFault(`page ${pgno} of ${count} lies outside the file`);
    for (let page = pgno; page < pgno + count; page += 1) this.#enter(page);
    const bytes = this.#bytes(pgno * pageSize, count * pageSize);
    if (toNumber(bytes.readBigUInt64LE(0)) !== pgno) throw new PageFault(`page ${pgno} carries another number`);
    return bytes;
  }

  #enter(pgno: number): void {
    const byte = pgno >>> 3;
    const bit = 1 << (pgno & 7);
    if (((this.#seen[byte] ?? 0) & bit) !== 0) throw new PageFault(`page ${pgno} is used twice`);
    this.#seen[byte] = (this.#seen[byte] ?? 0) | bit;
  }

  #bytes(offset: number, length: number): Buffer {
    if (offset + length > this.#fileBytes) throw new PageFault(`file ends before byte ${offset + length}`);
    const chunk = Math.floor(offset / CHUNK_BYTES);
    const within = offset - chunk * CHUNK_BYTES;
    if (within + length <= CHUNK_BYTES) return this.#chunk(chunk).subarray(within, within + length);
    return this.#read(offset, length);
  }

  #chunk(chunk: number): Buffer {
    const cached = this.#chunks.get(chunk);
    if (cached !== undefined) return cached;
    if (this.#chunks.size >= CHUNKS_MAX)
      for (const oldest of this.#chunks.keys()) return this.#replaceChunk(oldest, chunk);
    const start = chunk * CHUNK_BYTES;
    const bytes = this.#read(start, Math.min(CHUNK_BYTES, this.#fileBytes - start));
    this.#chunks.set(chunk, bytes);
    return bytes;
  }

  #replaceChunk(oldest: number, chunk: number): Buffer {
    this.#chunks.delete(oldest);
    return this.#chunk(chunk);
  }

  #read(offset: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let at = 0; at < length; ) {
      const count = readSync(this.#fd, bytes, at, length - at, offset + at);
      if (count === 0) throw new PageFault(`file ends before byte ${offset + length}`);
      at += count;
    }
    return bytes;
  }
}

/** Offsets of a page's nodes, each with its header and key inside the page. */
function nodesOf(page: Buffer, pgno: number): number[] {
  const lower = page.readUInt16LE(20);
  if (lower % 2 !== 0 || HEADER + lower > page.length) throw new PageFault(`page ${pgno} has ${lower / 2} records`);
  const nodes: number[] = [];
  for (let at = 0; at < lower; at += 2) {
    const node = HEADER + page.readUInt16LE(HEADER + at);
    if (node < HEADER + lower || node + NODE_HEADER > page.length)
      throw new PageFault(`page ${pgno} has a record outside itself`);
    if (node + NODE_HEADER + page.readUInt16LE(node + 6) > page.length)
      throw new PageFault(`page ${pgno} has a key outside itself`);
    nodes.push(node);
  }
  return nodes;
}

function nodeKey(page: Buffer, node: number): Buffer {
  return page.subarray(node + NODE_HEADER, node + NODE_HEADER + page.readUInt16LE(node + 6));
}

function decodeTree(record: Buffer): TreeRoot {
  const root = record.readBigUInt64LE(40);
  return { root: root === NO_PAGE ? undefined : toNumber(root), entries: toNumber(record.readBigUInt64LE(32)) };
}

function toNumber(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new PageFault(`number ${value} is out of range`);
  return Number(value);
}
