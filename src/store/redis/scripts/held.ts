/**
 * What a permit holds of the context, as its record (and from its first use on, its executions' record) names it. Read
 * before a script runs, because a script may only touch keys that it was given; the script then compares.
 */
import { UnavailableError } from "../../../core/errors.ts";
import { isContextPermitId } from "../../check-context.ts";
import { corrupted } from "../../record-text.ts";
import { type ContextKeys, contextKeysOf } from "../keys.ts";

/** Limits that one permit may rest on. */
export const LIMITS_MAX = 32;
/** What a permit holds never changes, so that reading twice is for a record that came or went in between. */
const READINGS_MAX = 4;

const CHARGE = /^([0-9a-f]{64})\|[0-9]{1,16}\|[0-9]{1,16}\|(?:[0-9a-f]{64})?$/;
const LOCK = /^(?:[0-9a-f]{64})?$/;

export interface HeldInContext {
  readonly keys: ContextKeys;
  /** `<limit>|<beginning of bucket>|<millionths>|<value>`, joined by semicolons; "" where nothing can be given back. */
  readonly reserved: string;
  /** Hash of its lock, "" where it has none. */
  readonly lock: string;
}

/** The record says something else than what was read: read it again. */
export interface Reread {
  readonly kind: "reread";
}

export interface FieldReader {
  fields(key: string, ...names: readonly [string, string]): Promise<readonly [string | null, string | null]>;
}

/** Runs a script with what a permit holds; outside of the context's partition it holds nothing, and nothing is read. */
export async function withHeld<T extends { readonly kind: string }>(
  reader: FieldReader,
  permit: { readonly tenant: string; readonly jti: string; readonly key: string },
  run: (held: HeldInContext | undefined) => Promise<T | Reread>,
): Promise<T> {
  const { tenant, jti, key } = permit;
  const isHolder = isContextPermitId(jti);
  for (let reading = 0; reading < READINGS_MAX; reading += 1) {
    const held = isHolder ? await readHeld(reader, contextKeysOf(tenant), key) : undefined;
    const result = await run(held);
    if (!isReread(result)) return result;
  }
  throw new UnavailableError("store_unavailable", `Store cannot tell what permit "${jti}" holds: its record changes`);
}

/** One for each charge, in their order. */
export function limitsOf(reserved: string): readonly string[] {
  if (reserved === "") return [];
  const hashes = reserved.split(";").map((charge) => CHARGE.exec(charge)?.[1]);
  if (hashes.includes(undefined) || hashes.length > LIMITS_MAX) throw corrupted("permit");
  return hashes as string[];
}

async function readHeld(reader: FieldReader, keys: ContextKeys, key: string): Promise<HeldInContext> {
  const [reserved, lock] = await reader.fields(key, "reserved", "lock");
  if (lock !== null && !LOCK.test(lock)) throw corrupted("permit");
  return { keys, reserved: reserved ?? "", lock: lock ?? "" };
}

function isReread(result: { readonly kind: string }): result is Reread {
  return result.kind === "reread";
}
