/**
 * What the gate knows around an action, shared by all sidecars: states of entities, sessions, limits, locks, freezes.
 * Types only; how they change is in domain.ts, session.ts and limit-window.ts.
 */
import type { ActorRef, Digest, EntityRef, JsonObject, Outcome } from "./types.ts";

/** Where an entity stands. One that no event ever reached reads as `null` state, version 0 and no attributes. */
export interface EntityState {
  /** Null before the first transition. */
  readonly state: string | null;
  /** Grows by one with every event that counted; a refused one leaves it. */
  readonly version: number;
  readonly attributes: JsonObject;
}

export interface EntityRecord extends EntityState {
  readonly ref: EntityRef;
  /** Events on record, those that were refused among them. */
  readonly events: number;
  /** Digest over every event's text in order: chain_n = sha256(chain_{n-1} + "\n" + text_n), chain_0 = "". */
  readonly chain: Digest | "";
  /** By the store's clock. */
  readonly changedAtMs: number;
}

/** An event as it is kept: what came, and what became of it. */
export interface StoredEvent {
  /** Place in this entity's history, from 1. */
  readonly sequence: number;
  readonly atMs: number;
  /** Canonical JSON of an EventRecord. */
  readonly text: string;
}

export interface EventRecord {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly entity: EntityRef;
  readonly actor: ActorRef;
  /** RFC 3339, as the source says. Recorded, and decides nothing. */
  readonly time: string;
  readonly data: JsonObject;
  readonly trace_id: string;
  /** Whether it counted: its transition was taken, or it has none and its attributes were folded. */
  readonly applied: boolean;
  readonly from: string | null;
  readonly to: string | null;
  /** The entity's version after it. */
  readonly version: number;
  /** Of the policy whose domain judged it. */
  readonly policy_digest: Digest;
}

export interface AppendEvent {
  /** The entity's events on record as the caller read them: another number means "changed". */
  readonly expectedEvents: number;
  /** The record after this event, but for `changedAtMs`, which is the store's to say. */
  readonly after: Omit<EntityRecord, "changedAtMs">;
  readonly source: string;
  readonly eventId: string;
  /** Over what the source sent: the same id with another one is a conflict. */
  readonly contentDigest: Digest;
  readonly eventText: string;
}

export type AppendEventResult =
  | { readonly kind: "appended"; readonly sequence: number; readonly atMs: number; readonly factId: string }
  /** This id of this source is on record with the same content: `event` is what was recorded then. */
  | { readonly kind: "repeated"; readonly event: StoredEvent }
  /** This id of this source is on record with other content, or for another entity. */
  | { readonly kind: "conflict" }
  /** Another event came first: judge again. Undefined where the entity is not on record. */
  | { readonly kind: "changed"; readonly entity: EntityRecord | undefined };

/** The chained record of what one actor did in one session (session.ts). */
export interface SessionRecord {
  /** Records ever appended; what a change expects. */
  readonly version: number;
  /** Canonical JSON; opaque to the store. */
  readonly text: string;
}

export interface SessionChange {
  /** Digest of actor and session id. */
  readonly id: Digest;
  readonly expectedVersion: number;
  readonly after: SessionRecord;
  readonly ttlMs: number;
}

/** One limit as it is charged. Amounts in millionths (micros.ts). */
export interface LimitCharge {
  /** Digest over key, window and kind: another window is another limit. */
  readonly id: Digest;
  readonly limitMicros: number;
  /** What this action adds; a distinct limit counts values, and 1_000_000 for a new one. */
  readonly costMicros: number;
  readonly windowMs: number;
  readonly isSliding: boolean;
  /** Set for a limit on distinct values: digest of this action's value. */
  readonly value: Digest | undefined;
  /** False: charged whatever is used already (a human has granted it, or observe mode only counts). */
  readonly isBinding: boolean;
}

export interface LimitUse {
  readonly id: Digest;
  /** After this charge where it was made, before it where it was not. */
  readonly usedMicros: number;
  /** When the window (fixed) or its oldest used part (sliding) ends; the store's clock. */
  readonly resetsAtMs: number;
  readonly isExceeded: boolean;
}

export interface LockRequest {
  /** Digest of the key that policy built. */
  readonly id: Digest;
  /** From now on; but a permit that is not used takes its lock with it when it expires. */
  readonly ttlMs: number;
  /** True: stay in the queue where it is held. The place is kept for TICKET_LEASE_MS and renewed by asking again. */
  readonly waits: boolean;
}

/** One decision's whole effect on the shared context, in one atomic step. */
export interface Settle {
  /** Names the reservation and its place in a queue; the permit's id. */
  readonly jti: string;
  /** The version that was decided on. */
  readonly entity: { readonly ref: EntityRef; readonly version: number } | undefined;
  readonly session: SessionChange | undefined;
  readonly limits: readonly LimitCharge[];
  readonly lock: LockRequest | undefined;
  /** Registered in the same step; needed for a reservation, a binding limit or a lock. */
  readonly permit: SettledPermit | undefined;
  /** False: limits are charged for good; true: until the permit expires unused or its execution fails. */
  readonly isReservation: boolean;
}

export interface SettledPermit {
  readonly approvalId: string | undefined;
  readonly uses: number;
  readonly expiresAtMs: number;
  readonly subjectText: string;
}

/**
 * `live`: may still be used. `used`: was, at least once, or nobody can tell (the server was started again since). `dead`:
 * cancelled, or expired before anybody used it; nobody ever will.
 */
export type PermitState = "live" | "used" | "dead";

export type SettleResult =
  | {
      readonly kind: "settled";
      readonly limits: readonly LimitUse[];
      readonly lock: { readonly fence: number; readonly expiresAtMs: number } | undefined;
      readonly atMs: number;
    }
  /** A permit of this id is on record: nothing was charged, locked or appended again. `subjectText` is the recorded one. */
  | {
      readonly kind: "repeated";
      readonly subjectText: string;
      readonly state: PermitState;
      /** The requested lock, where that permit holds it now. */
      readonly lock: { readonly fence: number; readonly expiresAtMs: number } | undefined;
    }
  /** What was decided on is not so any more; both as they are now, undefined where not on record or not asked for. */
  | {
      readonly kind: "stale";
      readonly entity: EntityRecord | undefined;
      readonly session: SessionRecord | undefined;
    }
  /** A binding limit is exceeded. Nothing was charged. */
  | { readonly kind: "exceeded"; readonly limits: readonly LimitUse[] }
  /** The lock is held: refused at once, or waiting with `ahead` others before this one. Nothing was charged. */
  | { readonly kind: "locked"; readonly isWaiting: boolean; readonly ahead: number; readonly expiresAtMs: number }
  /** Too many wait for this lock. */
  | { readonly kind: "queue_full" };

/** A place in a lock's queue that nobody asks for again is given up after this. */
export const TICKET_LEASE_MS = 3_000;
/** Those who may wait for one lock. */
export const LOCK_QUEUE_MAX = 100;

export type FreezeKind = "tenant" | "actor" | "entity" | "action";

export interface Freeze {
  readonly id: string;
  readonly kind: FreezeKind;
  /** Actor id, `<type>/<id>` of an entity, action name; "" for the whole tenant. */
  readonly subject: string;
  readonly reason: string;
  readonly by: string;
  readonly atMs: number;
}

/** Freezes of one tenant at a time. */
export const FREEZES_MAX = 1_000;

/** What a decision leaves in its session. */
export interface SessionDecision {
  readonly decision_id: string;
  readonly action: string;
  readonly entity: EntityRef | null;
  readonly outcome: Outcome;
  readonly at: string;
}
