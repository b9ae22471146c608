/**
 * Where a page ended, as an opaque text: the sort key of its last row. A cursor is therefore stable under whatever is
 * added or removed meanwhile, and carries nothing that its holder does not know.
 */
import { InvalidRequestError } from "../core/errors.ts";

const SORT_KEY = /^[0-9]{15}:[a-z]{4}_[0-9A-Za-z_]{1,90}$/;

/** Sorts by time, then by id; the same text is the member in Redis' lexicographic indexes. */
export function sortKey(atMs: number, id: string): string {
  return `${String(atMs).padStart(15, "0")}:${id}`;
}

export function idOfSortKey(key: string): string {
  return key.slice(16);
}

export function cursorOf(key: string): string {
  return Buffer.from(key, "latin1").toString("base64url");
}

export function sortKeyOf(cursor: string | undefined): string | undefined {
  if (cursor === undefined) return undefined;
  const key = Buffer.from(cursor, "base64url").toString("latin1");
  if (!SORT_KEY.test(key) || cursorOf(key) !== cursor) {
    throw new InvalidRequestError("invalid_request", "Invalid cursor: use the one from the page before");
  }
  return key;
}
