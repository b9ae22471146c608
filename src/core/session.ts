/**
 * What one actor did in one session: a bounded window of records, each chained to the one before, and totals over all of
 * them. `seal` covers the chain's head and the totals, so that a record or a total that was changed, dropped or added in the
 * store shows when it is read; heads are in the ledger with every decision, so that a whole rewritten chain shows there.
 *
 *   head_n = digest({previous: head_{n-1}, record: record_n})     seal = digest({classifications, count, head, sums})
 */
import type { SessionDecision, SessionRecord } from "./context.ts";
import { canonicalData, sha256Digest } from "./digest.ts";
import { IntegrityError } from "./errors.ts";
import { AMOUNT_MAX, fromMicros, toMicros } from "./micros.ts";
import type { Digest, JsonObject } from "./types.ts";

export type SessionEntry =
  | (SessionDecision & {
      readonly kind: "decision";
      readonly classifications?: readonly string[];
      readonly sums?: Readonly<Record<string, number>>;
    })
  | {
      readonly kind: "outcome";
      readonly decision_id: string;
      readonly status: "succeeded" | "failed";
      readonly at: string;
    };

export interface Session {
  readonly v: 1;
  /** As the proposer named it. */
  readonly id: string;
  /** Records ever appended. */
  readonly count: number;
  /** The chain's head before the first record that is kept, and after the last. */
  readonly base: Digest | "";
  readonly head: Digest | "";
  readonly seal: Digest | "";
  readonly records: readonly SessionEntry[];
  /** Of everything that was allowed, but for what failed. */
  readonly sums: Readonly<Record<string, number>>;
  /** Sorted. */
  readonly classifications: readonly string[];
}

export function newSession(id: string): Session {
  return { v: 1, id, count: 0, base: "", head: "", seal: "", records: [], sums: {}, classifications: [] };
}

export function sessionText(session: Session): string {
  return canonicalData(session);
}

/** @throws IntegrityError where the record is not one that `appendToSession` leaves behind */
export function readSession(record: SessionRecord): Session {
  const session = parsed(record.text);
  let head = session.base;
  for (const entry of session.records) head = linked(head, entry);
  const isIntact = head === session.head && session.seal === sealOf(session) && session.count === record.version;
  if (!isIntact) throw new IntegrityError("integrity_failure", "A session's record does not hold: its chain is broken");
  return session;
}

function parsed(text: string): Session {
  try {
    const session = JSON.parse(text) as Session;
    if (session.v === 1 && Array.isArray(session.records) && Array.isArray(session.classifications)) return session;
  } catch (cause) {
    throw new IntegrityError("integrity_failure", "A session's record is not JSON", { cause });
  }
  throw new IntegrityError("integrity_failure", "A session's record is not one of this program");
}

/** @param windowMax records that are kept, 2 or more */
export function appendToSession(session: Session, entry: SessionEntry, windowMax: number): Session {
  const head = linked(session.head, entry);
  const records = [...session.records, entry];
  const dropped = records.splice(0, Math.max(0, records.length - windowMax));
  const totals = totalsAfter(session, entry);
  let base = session.base;
  for (const gone of dropped) base = linked(base, gone);
  const next = { ...session, ...totals, count: session.count + 1, base, head, records };
  return { ...next, seal: sealOf(next) };
}

function linked(previous: Digest | "", record: SessionEntry): Digest {
  return sha256Digest(canonicalData({ previous, record }));
}

function sealOf({ classifications, count, head, sums }: Omit<Session, "seal">): Digest {
  return sha256Digest(canonicalData({ classifications, count, head, sums }));
}

function totalsAfter(session: Session, entry: SessionEntry): Pick<Session, "sums" | "classifications"> {
  if (entry.kind === "decision") {
    if (entry.outcome !== "allow" && entry.outcome !== "compute") return session;
    const classes = new Set([...session.classifications, ...(entry.classifications ?? [])]);
    return { sums: added(session.sums, entry.sums ?? {}, 1), classifications: [...classes].sort() };
  }
  // What failed did not spend; what it touched it may have touched.
  const decided = session.records.find((one) => one.kind === "decision" && one.decision_id === entry.decision_id);
  const spent = entry.status === "failed" && decided?.kind === "decision" ? (decided.sums ?? {}) : {};
  return { sums: added(session.sums, spent, -1), classifications: session.classifications };
}

function added(
  sums: Readonly<Record<string, number>>,
  more: Readonly<Record<string, number>>,
  sign: 1 | -1,
): Record<string, number> {
  const result = new Map(Object.entries(sums));
  for (const [name, amount] of Object.entries(more)) {
    const total = (toMicros(result.get(name) ?? 0) ?? 0) + sign * (toMicros(amount) ?? 0);
    result.set(name, Math.min(AMOUNT_MAX, Math.max(0, fromMicros(total))));
  }
  return Object.fromEntries(result);
}

/** Whether the outcome of this decision is on record already, as far as the window goes. */
export function hasOutcome(session: Session, decisionId: string): boolean {
  return session.records.some((entry) => entry.kind === "outcome" && entry.decision_id === decisionId);
}

/** Canonical text of `input.session`. */
export function sessionInput(session: Session): string {
  const outcomes = new Map<string, string>();
  for (const entry of session.records) if (entry.kind === "outcome") outcomes.set(entry.decision_id, entry.status);
  const actions: JsonObject[] = [];
  for (const entry of session.records) {
    if (entry.kind !== "decision") continue;
    const { decision_id, action, entity, outcome, at } = entry;
    const status = outcomes.get(decision_id) ?? "decided";
    actions.push({ decision_id, action, entity: entity === null ? null : { ...entity }, outcome, status, at });
  }
  const { id, count, head, classifications, sums } = session;
  return canonicalData({ actions, classifications, count, head, id, sums });
}
