/**
 * What lies on disk: one LMDB environment with four databases.
 *
 *   entries  8-byte index of the first entry -> bundle: per entry [4-byte length][0x00][text]
 *   tiles    1-byte level, 8-byte tile number -> up to 256 hashes of 32 bytes (C2SP tlog-tiles hash tiles)
 *   keys     UTF-8 of a look-up key -> [8-byte index][4-byte CRC-32 over index and key]
 *   state    "head", "checkpoint", "origin", each with a version (LMDB stores it as an 8-byte double before the value)
 *
 * Integers are big-endian. The 0x00 before each text is the RFC 6962 leaf prefix: a leaf is hashed where it lies. A
 * bundle never crosses a multiple of 256 and is closed past 16 KiB, so that tiles can be archived whole and a look-up
 * of one entry copies little.
 */
import { crc32 } from "node:zlib";
import { HASH_BYTES } from "../core/merkle.ts";

export const FORMAT = "holdpoint-ledger/1";
export const DATA_FILE = "data.mdb";
export const DATABASES = ["entries", "tiles", "keys", "state"] as const;

export const TILE_LEVELS = 8;
export const TILE_WIDTH = 2 ** TILE_LEVELS;
export const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

export const BUNDLE_BYTES = 16 * 1024;
export const ENTRY_HEADER_BYTES = 5;
export const LEAF_PREFIX_OFFSET = 4;

export const KEYS_MAX = 8;
export const KEY_BYTES_MAX = 500;
export const KEY_VALUE_BYTES = 12;
export const ENTRY_BYTES_MAX = 4 * 1024 * 1024;

export const HEAD_KEY = "head";
export const CHECKPOINT_KEY = "checkpoint";
export const ORIGIN_KEY = "origin";

const TWO_32 = 2 ** 32;

export function writeIndex(target: Buffer, offset: number, index: number): void {
  target.writeUInt32BE(Math.floor(index / TWO_32), offset);
  target.writeUInt32BE(index % TWO_32, offset + 4);
}

export function readIndex(source: Buffer, offset: number): number {
  return source.readUInt32BE(offset) * TWO_32 + source.readUInt32BE(offset + 4);
}

/** [length][0x00][text], one buffer per entry. */
export function encodeEntry(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(ENTRY_HEADER_BYTES + length);
  bytes.writeUInt32BE(length, 0);
  bytes[LEAF_PREFIX_OFFSET] = 0;
  bytes.write(text, ENTRY_HEADER_BYTES, "utf8");
  return bytes;
}

/** End of the entry that starts at `offset`, or -1 where the bundle does not hold a whole one. */
export function entryEnd(bundle: Buffer, offset: number): number {
  if (offset + ENTRY_HEADER_BYTES > bundle.length || bundle[offset + LEAF_PREFIX_OFFSET] !== 0) return -1;
  const end = offset + ENTRY_HEADER_BYTES + bundle.readUInt32BE(offset);
  return end <= bundle.length ? end : -1;
}

export function writeKeyValue(target: Buffer, index: number, key: string): void {
  writeIndex(target, 0, index);
  target.writeUInt32BE(crc32(key, crc32(target.subarray(0, 8))), 8);
}

/** The index, or undefined where value and key do not belong together: bit rot, not tampering, is what this finds. */
export function readKeyValue(value: Buffer, key: string | Buffer): number | undefined {
  if (value.length !== KEY_VALUE_BYTES) return undefined;
  if (value.readUInt32BE(8) !== crc32(key, crc32(value.subarray(0, 8)))) return undefined;
  return readIndex(value, 0);
}

export interface HeadRecord {
  readonly size: number;
  readonly root: Buffer;
  /** Subtree roots, largest first, MerkleFrontier.nodes(). */
  readonly nodes: Buffer;
}

/** [8-byte size][root][frontier]. */
export function encodeHead(head: HeadRecord): Buffer {
  const bytes = Buffer.allocUnsafeSlow(8 + HASH_BYTES + head.nodes.length);
  writeIndex(bytes, 0, head.size);
  bytes.set(head.root, 8);
  bytes.set(head.nodes, 8 + HASH_BYTES);
  return bytes;
}

export function decodeHead(bytes: Buffer): HeadRecord | undefined {
  if (bytes.length < 8 + HASH_BYTES) return undefined;
  const size = readIndex(bytes, 0);
  return { size, root: bytes.subarray(8, 8 + HASH_BYTES), nodes: bytes.subarray(8 + HASH_BYTES) };
}

export function tileKey(level: number, tile: number): Buffer {
  const key = Buffer.allocUnsafe(9);
  key[0] = level;
  writeIndex(key, 1, tile);
  return key;
}

/** lmdb-js copies a key into its own buffer while encoding, so these write in place and allocate nothing. */
export const indexKeyEncoder = {
  writeKey(index: number, target: Buffer, start: number): number {
    writeIndex(target, start, index);
    return start + 8;
  },
  readKey(source: Buffer, start: number): number {
    return readIndex(source, start);
  },
};

export const textKeyEncoder = {
  writeKey(key: string, target: Buffer, start: number): number {
    return start + target.write(key, start, "utf8");
  },
  readKey(source: Buffer, start: number, end: number): string {
    return source.toString("utf8", start, end);
  },
};
