/** Locks and who waits for them: one row each, with the holder and the queue in the order in which they came. */
import type { Key } from "lmdb";
import { LOCK_QUEUE_MAX, type LockRequest, type SettleResult, TICKET_LEASE_MS } from "../../core/context.ts";
import { isPermitId } from "../../core/partition.ts";
import type { Digest, Tenant } from "../../core/types.ts";
import { corrupted, fits, isCount, listOf, optional, parsed, type Shape } from "../record-shape.ts";
import type { PurgeRows } from "./purge-rows.ts";
import type { Rows } from "./tables.ts";

interface Holder {
  readonly jti: string;
  /** Grows with every holder of any lock of the tenant. */
  readonly fence: number;
  readonly expiresAtMs: number;
}

/** A place in the queue, given up at `endsAtMs` unless its owner asks again. */
interface Ticket {
  readonly jti: string;
  readonly endsAtMs: number;
}

interface Lock {
  readonly holder?: Holder | undefined;
  readonly tickets: readonly Ticket[];
}

/** What a permit holds of it. */
export interface HeldLock {
  readonly id: Digest;
  readonly fence: number;
  /** How long it is held from the permit's first use on. */
  readonly untilMs: number;
}

type Refusal = Extract<SettleResult, { readonly kind: "locked" | "queue_full" }>;

const isJti = (value: unknown): boolean => typeof value === "string" && isPermitId(value);
const HOLDER: Shape<Holder> = { jti: isJti, fence: isCount, expiresAtMs: isCount };
const TICKET: Shape<Ticket> = { jti: isJti, endsAtMs: isCount };
const LOCK: Shape<Lock> = { holder: optional((value) => fits(value, HOLDER)), tickets: listOf(TICKET) };

export class LockRows {
  readonly #rows: Rows;
  readonly #tenant: Tenant;
  readonly #purge: PurgeRows;

  constructor(rows: Rows, tenant: Tenant, purge: PurgeRows) {
    this.#rows = rows;
    this.#tenant = tenant;
    this.#purge = purge;
  }

  /** Undefined where the lock is this permit's to take; else why not, and its place in the queue is kept. */
  refusal(request: LockRequest, jti: string, nowMs: number): Refusal | undefined {
    const kept = this.#read(request.id);
    const lock = liveAt(kept, nowMs);
    const place = lock.tickets.findIndex((ticket) => ticket.jti === jti);
    const next = lock.tickets[0];
    if (lock.holder === undefined && (next === undefined || place === 0)) return undefined;
    // A free lock is kept for the head of its queue, for as long as the head's place lasts.
    const expiresAtMs = lock.holder?.expiresAtMs ?? next!.endsAtMs;
    const ahead = place === -1 ? lock.tickets.length : place;
    if (!request.waits) return { kind: "locked", isWaiting: false, ahead, expiresAtMs };
    if (place === -1 && ahead >= LOCK_QUEUE_MAX) return { kind: "queue_full" };
    const tickets = lock.tickets.toSpliced(ahead, 1, { jti, endsAtMs: nowMs + TICKET_LEASE_MS });
    this.#write(request.id, kept, { ...lock, tickets });
    return { kind: "locked", isWaiting: true, ahead, expiresAtMs };
  }

  /** Needs `refusal` to have said nothing, in the same step. */
  take(id: Digest, { jti, endsAtMs }: Ticket, nowMs: number): Holder {
    const kept = this.#read(id);
    const holder = { jti, fence: this.#nextFence(), expiresAtMs: endsAtMs };
    this.#write(id, kept, { holder, tickets: without(liveAt(kept, nowMs).tickets, jti) });
    return holder;
  }

  heldBy(id: Digest, jti: string, nowMs: number): { readonly fence: number; readonly expiresAtMs: number } | undefined {
    const { holder } = liveAt(this.#read(id), nowMs);
    return holder?.jti === jti ? { fence: holder.fence, expiresAtMs: holder.expiresAtMs } : undefined;
  }

  /** From its permit's first use on. */
  extend({ id, fence, untilMs }: HeldLock, jti: string): void {
    const kept = this.#read(id);
    const { holder } = kept;
    if (holder?.jti !== jti || holder.fence !== fence || holder.expiresAtMs >= untilMs) return;
    this.#write(id, kept, { ...kept, holder: { ...holder, expiresAtMs: untilMs } });
  }

  isHeld({ id, fence }: HeldLock, jti: string, nowMs: number): boolean {
    const { holder } = liveAt(this.#read(id), nowMs);
    return holder?.jti === jti && holder.fence === fence;
  }

  /** Lets go of it where it is still this permit's. */
  release({ id, fence }: HeldLock, jti: string): void {
    const kept = this.#read(id);
    if (kept.holder?.jti !== jti || kept.holder.fence !== fence) return;
    this.#write(id, kept, { tickets: kept.tickets });
  }

  leave(id: Digest, jti: string): void {
    const kept = this.#read(id);
    this.#write(id, kept, { ...kept, tickets: without(kept.tickets, jti) });
  }

  isQueued(id: Digest, jti: string): boolean {
    return this.#read(id).tickets.some((ticket) => ticket.jti === jti);
  }

  purge(id: Digest, nowMs: number): void {
    const kept = this.#read(id);
    this.#write(id, kept, liveAt(kept, nowMs));
  }

  #read(id: Digest): Lock {
    const text = this.#rows.get(this.#key(id));
    if (text === undefined) return { tickets: [] };
    const lock = parsed<Lock>("lock", text, LOCK);
    if (lock.tickets.length > LOCK_QUEUE_MAX) throw corrupted("lock");
    return lock;
  }

  #write(id: Digest, before: Lock, after: Lock): void {
    const [endedAtMs, endsAtMs] = [endOf(before), endOf(after)];
    if (endedAtMs !== undefined) this.#purge.remove(endedAtMs, "lock", id);
    if (endsAtMs === undefined) {
      this.#rows.remove(this.#key(id));
      return;
    }
    this.#purge.put(endsAtMs, "lock", id);
    this.#rows.put(this.#key(id), JSON.stringify(after));
  }

  /** INVARIANT: never goes back, whatever becomes of locks: what is behind one refuses a smaller fence than it has seen. */
  #nextFence(): number {
    const key: Key = ["fence", this.#tenant];
    const text = this.#rows.get(key) ?? "0";
    const fence = Number(text) + 1;
    if (text === "" || !Number.isSafeInteger(fence) || fence < 1) throw corrupted("fence");
    this.#rows.put(key, String(fence));
    return fence;
  }

  #key(id: Digest): Key {
    return ["lock", this.#tenant, id];
  }
}

function liveAt(lock: Lock, nowMs: number): Lock {
  const tickets = lock.tickets.filter((ticket) => ticket.endsAtMs > nowMs);
  return lock.holder !== undefined && lock.holder.expiresAtMs > nowMs ? { holder: lock.holder, tickets } : { tickets };
}

function without(tickets: readonly Ticket[], jti: string): readonly Ticket[] {
  return tickets.filter((ticket) => ticket.jti !== jti);
}

/** When nothing of it is live any more; undefined where nothing is in it. */
function endOf({ holder, tickets }: Lock): number | undefined {
  const ends = tickets.map((ticket) => ticket.endsAtMs);
  if (holder !== undefined) ends.push(holder.expiresAtMs);
  return ends.length === 0 ? undefined : Math.max(...ends);
}
