/** The LMDB environment, opened the one way in which its promises mean what the ledger promises. */
import { type Database, open, type RootDatabase } from "lmdb";
import { indexKeyEncoder, textKeyEncoder } from "./layout.ts";

export interface Environment {
  readonly root: RootDatabase<Buffer, Buffer>;
  readonly entries: Database<Buffer, number>;
  readonly tiles: Database<Buffer, Buffer>;
  readonly keys: Database<Buffer, string>;
  readonly state: Database<Buffer, string>;
}

/**
 * - `overlappingSync: false`: pages are fsynced, then the meta page is written through O_DSYNC, then the promise
 *   resolves and readers see the transaction. With overlapping sync a transaction is visible before it is durable, and a
 *   failed fsync cannot be taken back.
 * - `eventTurnBatching: false`: lmdb-js otherwise opens a batch of its own whose promise nobody holds; a full disk
 *   would end the process as an unhandled rejection.
 * - `mapBytes` is address space, not memory. Past it lmdb-js maps anew, which other threads' readers do not like.
 */
export function openEnvironment(options: { directory: string; mapBytes: number; readOnly?: boolean }): Environment {
  const root = open<Buffer, Buffer>({
    path: options.directory,
    noSubdir: false,
    mapSize: options.mapBytes,
    maxDbs: 8,
    overlappingSync: false,
    eventTurnBatching: false,
    encoding: "binary",
    keyEncoding: "binary",
    readOnly: options.readOnly ?? false,
  });
  // `keyEncoder` is supported for databases but missing from the options' type.
  const indexKeys: object = { keyEncoder: indexKeyEncoder };
  const textKeys: object = { keyEncoder: textKeyEncoder };
  return {
    root,
    entries: root.openDB({ name: "entries", encoding: "binary", ...indexKeys }),
    tiles: root.openDB({ name: "tiles", encoding: "binary", keyEncoding: "binary" }),
    keys: root.openDB({ name: "keys", encoding: "binary", ...textKeys }),
    state: root.openDB({ name: "state", encoding: "binary", useVersions: true, ...textKeys }),
  };
}
