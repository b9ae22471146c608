/**
 * Re-derives the whole ledger from its file, without LMDB and without believing any hash that is stored: entries give
 * leaf hashes, those give tiles, upper tiles and the root, and each must equal what is there. Names the first fault.
 *
 * A log that was cut consistently (entries, tiles, keys, head and stored checkpoint) has no fault of its own. Only a
 * checkpoint kept elsewhere shows that, which is what `checkpoint` is for.
 */
import { join } from "node:path";
import { type Checkpoint, parseCheckpoint } from "../core/checkpoint.ts";
import { toError } from "../core/errors.ts";
import { HASH_BYTES, hashPrefixedLeafInto, MerkleFrontier } from "../core/merkle.ts";
import { parseNote, verifyNote } from "../core/signed-note.ts";
import { createNoteVerifier } from "./ed25519-note.ts";
import {
  CHECKPOINT_KEY,
  DATA_FILE,
  decodeHead,
  ENTRY_HEADER_BYTES,
  entryEnd,
  FORMAT,
  HEAD_KEY,
  type HeadRecord,
  LEAF_PREFIX_OFFSET,
  ORIGIN_KEY,
  readIndex,
  readKeyValue,
  TILE_BYTES,
  TILE_LEVELS,
  TILE_WIDTH,
} from "./layout.ts";
import { PageFault, PageFile, type TreeRoot } from "./page-file.ts";

export interface VerifyOptions {
  readonly directory: string;
  /** A saved checkpoint: the log must still contain it. */
  readonly checkpoint?: string;
  /** Key that signed it, `<name>+<id>+<key>`. With it the ledger's own stored checkpoint is verified as well. */
  readonly vkey?: string;
  /** Sees every entry in order, after its own checks; for replay. A throw becomes a fault. */
  readonly onEntry?: (entry: { readonly index: number; readonly text: string }) => void;
}

export type LedgerFaultKind = "file" | "entry" | "tile" | "head" | "key" | "checkpoint";

export interface LedgerFault {
  readonly kind: LedgerFaultKind;
  /** Entry index, where there is one. */
  readonly index?: number;
  /** "<level>/<number>", where it is about a tile. */
  readonly tile?: string;
  readonly expected: string;
  readonly found: string;
}

export interface LedgerReport {
  /** Checkpoints that were found signed and contained: the stored one, the saved one. 0: nothing vouches for this log. */
  readonly signedCheckpoints: number;
  /** Entries that were read and hashed. */
  readonly entries: number;
  /** Root over those entries, base64. */
  readonly root: string;
  readonly origin: string | undefined;
  readonly fault: LedgerFault | undefined;
}

const LIVE_RETRIES_MAX = 5;
const STATE_KEYS: ReadonlySet<string> = new Set([HEAD_KEY, CHECKPOINT_KEY, ORIGIN_KEY]);

/**
 * Safe beside a running writer, but not pinned: pages read may be reused meanwhile. A fault is believed only when no
 * commit happened during the pass; else the pass is repeated, and then reported as it is.
 */
export function verifyLedger(options: VerifyOptions): LedgerReport {
  for (let attempt = 0; ; attempt += 1) {
    const { report, isDisturbed } = verifyOnce(options);
    if (report.fault === undefined || !isDisturbed || attempt === LIVE_RETRIES_MAX) return report;
  }
}

function verifyOnce(options: VerifyOptions): { report: LedgerReport; isDisturbed: boolean } {
  const path = join(options.directory, DATA_FILE);
  let file: PageFile;
  try {
    file = new PageFile(path);
  } catch (error) {
    return { report: emptyReport(fileFault(error)), isDisturbed: false };
  }
  try {
    const report = new Verification(file, options).run();
    return { report, isDisturbed: report.fault !== undefined && transactionOf(path) !== file.transaction };
  } finally {
    file.close();
  }
}

function transactionOf(path: string): bigint | undefined {
  try {
    const file = new PageFile(path);
    file.close();
    return file.transaction;
  } catch {
    return undefined;
  }
}

function emptyReport(fault: LedgerFault): LedgerReport {
  return {
    entries: 0,
    root: new MerkleFrontier().root().toString("base64"),
    signedCheckpoints: 0,
    origin: undefined,
    fault,
  };
}

function fileFault(error: unknown): LedgerFault {
  return { kind: "file", expected: "a readable LMDB file", found: toError(error).message };
}

class Found extends Error {
  readonly fault: LedgerFault;
  constructor(fault: LedgerFault) {
    super(fault.kind);
    this.fault = fault;
  }
}

interface Claim {
  readonly what: string;
  readonly checkpoint: Checkpoint;
}

class Verification {
  readonly #file: PageFile;
  readonly #options: VerifyOptions;
  readonly #frontier = new MerkleFrontier();
  /** Tile being rebuilt, per tile level. */
  readonly #edges: Buffer[] = [];
  /** Rebuilt tiles above level 0, compared once the tiles of level 0 are through. */
  readonly #upper = new Map<string, Buffer>();
  readonly #leafHash = Buffer.alloc(HASH_BYTES);
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #tiles: Iterator<{ key: Buffer; value: Buffer }> = [][Symbol.iterator]();
  /** Level-0 tile as stored, for the entries being read. */
  #storedTile: Buffer = Buffer.alloc(0);
  #claims: Claim[] = [];
  #origin: string | undefined;

  constructor(file: PageFile, options: VerifyOptions) {
    this.#file = file;
    this.#options = options;
  }

  run(): LedgerReport {
    let fault: LedgerFault | undefined;
    try {
      this.#verify();
    } catch (error) {
      fault = error instanceof Found ? error.fault : fileFault(error);
    }
    return {
      entries: this.#frontier.size,
      root: this.#frontier.root().toString("base64"),
      signedCheckpoints: this.#options.vkey === undefined ? 0 : this.#claims.length,
      origin: this.#origin,
      fault,
    };
  }

  #verify(): void {
    const databases = this.#file.databases();
    const state = this.#readState(database(databases, "state"));
    const head = this.#readHead(state);
    this.#collectClaims(state, head);
    this.#tiles = this.#file.entries(database(databases, "tiles"));
    this.#checkClaims();
    for (const { key, value } of this.#file.entries(database(databases, "entries"))) this.#bundle(key, value, head);
    this.#checkHead(head);
    this.#checkUpperTiles();
    this.#checkKeys(this.#file.entries(database(databases, "keys")));
  }

  #readState(tree: TreeRoot): Map<string, Buffer> {
    const state = new Map<string, Buffer>();
    // Each value starts with LMDB's version, a little-endian double.
    for (const { key, value } of this.#file.entries(tree)) {
      const name = key.toString("utf8");
      // A record under another name would be a record that is not looked at.
      if (!STATE_KEYS.has(name))
        throw new Found({ kind: "head", expected: [...STATE_KEYS].join(", "), found: JSON.stringify(name) });
      state.set(name, Buffer.from(value));
    }
    return state;
  }

  #readHead(state: Map<string, Buffer>): HeadRecord {
    const stored = state.get(HEAD_KEY);
    const head = stored && stored.length >= 8 ? decodeHead(stored.subarray(8)) : undefined;
    if (stored === undefined || head === undefined)
      throw new Found({ kind: "head", expected: "a head record", found: "none" });
    const version = stored.readDoubleLE(0);
    if (version !== head.size)
      throw new Found({ kind: "head", expected: `version ${head.size}`, found: `version ${version}` });
    const [format, ...origin] = (state.get(ORIGIN_KEY)?.subarray(8).toString("utf8") ?? "").split("\n");
    if (format !== FORMAT) throw new Found({ kind: "head", expected: FORMAT, found: JSON.stringify(format) });
    this.#origin = origin.join("\n");
    return head;
  }

  #collectClaims(state: Map<string, Buffer>, head: HeadRecord): void {
    const stored = state.get(CHECKPOINT_KEY);
    if (stored !== undefined) {
      const claim = this.#claim("stored checkpoint", stored.subarray(8));
      const version = stored.length >= 8 ? stored.readDoubleLE(0) : -1;
      if (version !== claim.checkpoint.size)
        throw checkpointFault(`version ${claim.checkpoint.size}`, `version ${version}`);
      this.#claims.push(claim);
    }
    if (this.#options.vkey !== undefined && createNoteVerifier(this.#options.vkey) === undefined)
      throw checkpointFault("a verifier key, <name>+<id>+<key>", JSON.stringify(this.#options.vkey.slice(0, 120)));
    if (this.#options.checkpoint !== undefined)
      this.#claims.push(this.#claim("saved checkpoint", this.#options.checkpoint));
    for (const { what, checkpoint } of this.#claims) {
      if (checkpoint.size > head.size)
        throw checkpointFault(`at least ${checkpoint.size} entries (${what})`, `${head.size} entries`);
    }
  }

  #claim(what: string, note: string | Uint8Array): Claim {
    const text = this.#noteText(what, note);
    const checkpoint = parseCheckpoint(text);
    if (checkpoint === undefined) throw checkpointFault(`a ${what}`, JSON.stringify(text.slice(0, 120)));
    if (checkpoint.origin !== this.#origin) {
      throw checkpointFault(
        `${what} of ${JSON.stringify(this.#origin)}`,
        `one of ${JSON.stringify(checkpoint.origin)}`,
      );
    }
    return { what, checkpoint };
  }

  #noteText(what: string, note: string | Uint8Array): string {
    if (this.#options.vkey === undefined) {
      const parsed = parseNote(note);
      if ("fault" in parsed) throw checkpointFault(`a ${what}`, parsed.fault);
      return parsed.text;
    }
    const verifier = createNoteVerifier(this.#options.vkey);
    if (verifier === undefined)
      throw checkpointFault("a verifier key", JSON.stringify(this.#options.vkey.slice(0, 120)));
    const verification = verifyNote(note, [verifier]);
    if (verification.kind === "refused")
      throw checkpointFault(`a ${what} signed by ${verifier.name}`, verification.reason);
    return verification.text;
  }

  #checkClaims(): void {
    for (const { what, checkpoint } of this.#claims) {
      if (checkpoint.size !== this.#frontier.size) continue;
      const root = this.#frontier.root();
      if (!root.equals(checkpoint.root)) {
        throw checkpointFault(
          `root ${base64(checkpoint.root)} at size ${checkpoint.size} (${what})`,
          `root ${base64(root)}`,
        );
      }
    }
  }

  #bundle(key: Buffer, value: Buffer, head: HeadRecord): void {
    const index = this.#frontier.size;
    const first = key.length === 8 ? readIndex(key, 0) : Number.NaN;
    if (first !== index)
      throw entryFault(index, `entry ${index}`, key.length === 8 ? `entry ${first}` : `key of ${key.length} bytes`);
    if (value.length === 0) throw entryFault(index, "an entry", "an empty bundle");
    for (let offset = 0; offset < value.length; ) offset = this.#entry(value, offset, head);
  }

  #entry(bundle: Buffer, offset: number, head: HeadRecord): number {
    const index = this.#frontier.size;
    if (index >= head.size) throw new Found({ kind: "head", index, expected: `${head.size} entries`, found: "more" });
    const end = entryEnd(bundle, offset);
    if (end < 0) throw entryFault(index, "a whole entry", "a damaged bundle");
    hashPrefixedLeafInto(this.#leafHash, 0, bundle.subarray(offset + LEAF_PREFIX_OFFSET, end));
    this.#checkLeaf(index, head);
    const text = this.#text(index, bundle.subarray(offset + ENTRY_HEADER_BYTES, end));
    this.#frontier.append(this.#leafHash, this.#sink);
    this.#checkClaims();
    this.#options.onEntry?.({ index, text });
    return end;
  }

  /** Against the stored tile, so that the fault is at the entry and not only at the root. */
  #checkLeaf(index: number, head: HeadRecord): void {
    const slot = index % TILE_WIDTH;
    if (slot === 0) this.#storedTile = this.#nextTile(0, index / TILE_WIDTH, Math.min(TILE_WIDTH, head.size - index));
    const stored = this.#storedTile.subarray(slot * HASH_BYTES, (slot + 1) * HASH_BYTES);
    if (!stored.equals(this.#leafHash))
      throw entryFault(index, `leaf hash ${base64(stored)}`, `leaf hash ${base64(this.#leafHash)}`);
  }

  #nextTile(level: number, tile: number, width: number): Buffer {
    const name = `${level}/${tile}`;
    const next = this.#tiles.next();
    if (next.done) throw tileFault(name, `tile ${name}`, "no more tiles");
    const { key, value } = next.value;
    const found = key.length === 9 ? `${key[0]}/${readIndex(key, 1)}` : `key of ${key.length} bytes`;
    if (found !== name) throw tileFault(name, `tile ${name}`, `tile ${found}`);
    if (value.length !== width * HASH_BYTES) throw tileFault(name, `${width} hashes`, `${value.length} bytes`);
    return Buffer.from(value);
  }

  #text(index: number, bytes: Buffer): string {
    try {
      const text = this.#decoder.decode(bytes);
      JSON.parse(text);
      return text;
    } catch (error) {
      throw entryFault(index, "JSON text", toError(error).message);
    }
  }

  #sink = (treeLevel: number, index: number, digest: Uint8Array): void => {
    if (treeLevel === 0 || treeLevel % TILE_LEVELS !== 0) return;
    const level = treeLevel / TILE_LEVELS;
    const slot = index % TILE_WIDTH;
    const edge = slot === 0 ? Buffer.alloc(TILE_BYTES) : this.#edges[level]!;
    this.#edges[level] = edge;
    edge.set(digest, slot * HASH_BYTES);
    this.#upper.set(`${level}/${(index - slot) / TILE_WIDTH}`, edge.subarray(0, (slot + 1) * HASH_BYTES));
  };

  #checkHead(head: HeadRecord): void {
    const size = this.#frontier.size;
    if (size !== head.size) throw entryFault(size, `${head.size} entries`, `${size} entries`);
    const root = this.#frontier.root();
    if (!root.equals(head.root))
      throw new Found({ kind: "head", expected: `root ${base64(head.root)}`, found: `root ${base64(root)}` });
    if (!this.#frontier.nodes().equals(head.nodes))
      throw new Found({ kind: "head", expected: "the frontier of these entries", found: "another" });
  }

  #checkUpperTiles(): void {
    const inOrder = [...this.#upper.keys()].map((name) => name.split("/").map(Number) as [number, number]);
    inOrder.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
    for (const [level, tile] of inOrder) {
      const name = `${level}/${tile}`;
      const rebuilt = this.#upper.get(name)!;
      const stored = this.#nextTile(level, tile, rebuilt.length / HASH_BYTES);
      if (!stored.equals(rebuilt)) throw tileFault(name, "the hashes of the tiles below", "others");
    }
    if (!this.#tiles.next().done) throw tileFault("", "no more tiles", "another one");
  }

  #checkKeys(keys: Iterable<{ key: Buffer; value: Buffer }>): void {
    for (const { key, value } of keys) {
      const index = readKeyValue(value, key);
      const name = JSON.stringify(key.toString("utf8").slice(0, 120));
      if (index === undefined)
        throw new Found({ kind: "key", expected: `an index for key ${name}`, found: "a damaged value" });
      if (index >= this.#frontier.size) {
        throw new Found({
          kind: "key",
          index,
          expected: `key ${name} to point below ${this.#frontier.size}`,
          found: `entry ${index}`,
        });
      }
    }
  }
}

function database(databases: Map<string, TreeRoot>, name: string): TreeRoot {
  const tree = databases.get(name);
  if (tree === undefined) throw new PageFault(`no database ${JSON.stringify(name)}`);
  return tree;
}

function entryFault(index: number, expected: string, found: string): Found {
  return new Found({ kind: "entry", index, expected, found });
}

function tileFault(tile: string, expected: string, found: string): Found {
  return new Found({ kind: "tile", tile, expected, found });
}

function checkpointFault(expected: string, found: string): Found {
  return new Found({ kind: "checkpoint", expected, found });
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
