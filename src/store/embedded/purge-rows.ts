/** When what is kept for a time may go: rows in order of that time, for the sweep. */
import type { Key } from "lmdb";
import type { Tenant } from "../../core/types.ts";
import type { Rows } from "./tables.ts";

export type PurgeKind = "approval" | "permit" | "execution" | "session" | "bucket" | "lock" | "holding";

/** Rows that one step may still touch for tidying up; what is left waits for the next one. */
export interface Budget {
  left: number;
}

export class PurgeRows {
  readonly #rows: Rows;
  readonly #tenant: Tenant;

  constructor(rows: Rows, tenant: Tenant) {
    this.#rows = rows;
    this.#tenant = tenant;
  }

  put(atMs: number, kind: PurgeKind, id: string): void {
    this.#rows.put(this.#key(atMs, kind, id), "");
  }

  remove(atMs: number, kind: PurgeKind, id: string): void {
    this.#rows.remove(this.#key(atMs, kind, id));
  }

  #key(atMs: number, kind: PurgeKind, id: string): Key {
    return ["purge", this.#tenant, atMs, kind, id];
  }
}
