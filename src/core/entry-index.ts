/** Finds a ledger's entries by what they are about. Follows from the ledger, and is built anew where it is lost. */

export interface FindEntries {
  readonly tag: string;
  /** Entries with this index or a higher one. */
  readonly from: number;
  /** 1 to 1,000. */
  readonly limit: number;
}

export interface EntryIndex {
  /** Indexes in ascending order. Sees every entry that was committed before the call. @throws UnavailableError */
  find(request: FindEntries): Promise<readonly number[]>;
  close(): Promise<void>;
}

export const traceTag = (tenant: string, traceId: string): string => `trace:${tenant}:${traceId}`;
export const entityTag = (tenant: string, type: string, id: string): string =>
  `entity:${tenant}:${JSON.stringify([type, id])}`;
