/** The tree's right edge in memory: what the next batch needs to know, and the tiles it makes. */
import { HASH_BYTES, MerkleFrontier } from "../core/merkle.ts";
import type { Environment } from "./environment.ts";
import { decodeHead, HEAD_KEY, type HeadRecord, TILE_BYTES, TILE_LEVELS, TILE_WIDTH, tileKey } from "./layout.ts";

export interface TileWrite {
  readonly level: number;
  readonly tile: number;
  readonly bytes: Buffer;
}

export class TreeState {
  readonly #frontier: MerkleFrontier;
  /** Right-edge tile of each tile level, filled up to what the size says. */
  readonly #edges: Buffer[];
  #full: TileWrite[] = [];
  readonly #touched = new Set<number>();
  readonly #sink = (level: number, index: number, digest: Uint8Array): void => this.#store(level, index, digest);

  constructor(frontier: MerkleFrontier, edges: Buffer[]) {
    this.#frontier = frontier;
    this.#edges = edges;
  }

  get size(): number {
    return this.#frontier.size;
  }

  append(leafHash: Uint8Array): void {
    this.#frontier.append(leafHash, this.#sink);
  }

  head(): HeadRecord {
    return { size: this.#frontier.size, root: this.#frontier.root(), nodes: this.#frontier.nodes() };
  }

  /** Tiles changed since the last call. The bytes belong to the commit until it ends: append nothing meanwhile. */
  takeTiles(): readonly TileWrite[] {
    const partial = [...this.#touched].flatMap((level) => this.#partial(level));
    const tiles = [...this.#full, ...partial];
    this.#full = [];
    this.#touched.clear();
    return tiles;
  }

  #partial(level: number): TileWrite[] {
    const hashes = hashesAt(this.size, level);
    const width = hashes % TILE_WIDTH;
    if (width === 0) return [];
    return [
      { level, tile: Math.floor(hashes / TILE_WIDTH), bytes: this.#edges[level]!.subarray(0, width * HASH_BYTES) },
    ];
  }

  #store(treeLevel: number, index: number, digest: Uint8Array): void {
    if (treeLevel % TILE_LEVELS !== 0) return;
    const level = treeLevel / TILE_LEVELS;
    const slot = index % TILE_WIDTH;
    const edge = this.#edges[level] ?? Buffer.allocUnsafeSlow(TILE_BYTES);
    this.#edges[level] = edge;
    edge.set(digest, slot * HASH_BYTES);
    if (slot < TILE_WIDTH - 1) {
      this.#touched.add(level);
      return;
    }
    this.#full.push({ level, tile: (index - slot) / TILE_WIDTH, bytes: edge });
    this.#edges[level] = Buffer.allocUnsafeSlow(TILE_BYTES);
    this.#touched.delete(level);
  }
}

/** How many hashes tile level `level` holds for a tree of `size` leaves: its complete subtrees of 256^level leaves. */
export function hashesAt(size: number, level: number): number {
  return Math.floor(size / TILE_WIDTH ** level);
}

export function readHead(env: Environment): HeadRecord {
  const bytes = env.state.getBinary(HEAD_KEY);
  const head = bytes && decodeHead(asBuffer(bytes));
  if (head === undefined) throw new Error("Ledger has no readable head record");
  return head;
}

/** Reads head and right-edge tiles from one snapshot, which the caller has to hold. */
export function loadTree(env: Environment): TreeState {
  const head = readHead(env);
  const edges: Buffer[] = [];
  for (let level = 0; hashesAt(head.size, level) > 0; level += 1) edges.push(loadEdge(env, head.size, level));
  return new TreeState(MerkleFrontier.from(head.size, head.nodes), edges);
}

function loadEdge(env: Environment, size: number, level: number): Buffer {
  const hashes = hashesAt(size, level);
  const width = hashes % TILE_WIDTH;
  const edge = Buffer.allocUnsafeSlow(TILE_BYTES);
  if (width === 0) return edge;
  const tile = Math.floor(hashes / TILE_WIDTH);
  const bytes = env.tiles.getBinary(tileKey(level, tile));
  if (bytes?.length !== width * HASH_BYTES) {
    throw new Error(`Ledger tile ${level}/${tile} has ${bytes?.length ?? 0} bytes, not ${width * HASH_BYTES}`);
  }
  edge.set(bytes);
  return edge;
}

/** lmdb-js answers with plain Uint8Arrays. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
