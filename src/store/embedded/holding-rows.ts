/**
 * What a permit holds of the context, for as long as a report may still come: longer than the permit's own record.
 * Charges are given back once, by whichever comes first: expiry, cancellation, or the last failure.
 */
import type { Key } from "lmdb";
import type { Tenant } from "../../core/types.ts";
import { isDigest } from "../check-request.ts";
import { corrupted, fits, isCount, listOf, oneOf, optional, parsed, type Shape } from "../record-shape.ts";
import { CHARGE, type Charge, type LimitRows, type Reservation } from "./limit-rows.ts";
import type { HeldLock, LockRows } from "./lock-rows.ts";
import type { PurgeRows } from "./purge-rows.ts";
import type { Rows } from "./tables.ts";

export interface Holding {
  readonly jti: string;
  readonly expiresAtMs: number;
  readonly uses: number;
  /** Reserved until the first use, spent from then on, returned for good. */
  readonly state: "reserved" | "spent" | "returned";
  /** Only what may still be given back. */
  readonly charges: readonly Charge[];
  readonly lock?: HeldLock | undefined;
  readonly consumed: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Set from the first use on: end of what a report may still come to. */
  readonly purgeAtMs?: number | undefined;
}

const LOCK: Shape<HeldLock> = {
  id: (value) => typeof value === "string" && isDigest(value),
  fence: isCount,
  untilMs: isCount,
};

const HOLDING: Omit<Shape<Holding>, "jti"> = {
  expiresAtMs: isCount,
  uses: isCount,
  state: oneOf("reserved", "spent", "returned"),
  charges: listOf(CHARGE),
  lock: optional((value) => fits(value, LOCK)),
  consumed: isCount,
  succeeded: isCount,
  failed: isCount,
  purgeAtMs: optional(isCount),
};

export class HoldingRows {
  readonly #rows: Rows;
  readonly #tenant: Tenant;
  readonly #parts: { readonly limits: LimitRows; readonly locks: LockRows; readonly purge: PurgeRows };

  constructor(
    rows: Rows,
    tenant: Tenant,
    parts: { readonly limits: LimitRows; readonly locks: LockRows; readonly purge: PurgeRows },
  ) {
    this.#rows = rows;
    this.#tenant = tenant;
    this.#parts = parts;
  }

  get(jti: string): Holding | undefined {
    const text = this.#rows.get(this.#key(jti));
    if (text === undefined) return undefined;
    const holding = parsed<Holding>("holding", text, { ...HOLDING, jti: (value) => value === jti });
    const { uses, consumed, succeeded, failed } = holding;
    if (consumed > uses || succeeded + failed > consumed) throw corrupted("holding");
    return holding;
  }

  /** A permit that holds nothing has no row. */
  open(reservation: Reservation & { readonly uses: number }, charges: readonly Charge[], lock?: HeldLock): void {
    if (charges.length === 0 && lock === undefined) return;
    const none = { consumed: 0, succeeded: 0, failed: 0 };
    this.#put({ ...reservation, state: "reserved", charges, lock, ...none });
  }

  isLockLost(holding: Holding, nowMs: number): boolean {
    const { lock, jti } = holding;
    return lock !== undefined && !this.#parts.locks.isHeld(lock, jti, nowMs);
  }

  /** From the first use on the charges stay, whatever becomes of the permit. */
  consumed(holding: Holding, purgeAtMs: number): void {
    const { purge, limits, locks } = this.#parts;
    if (holding.state === "reserved") for (const charge of holding.charges) limits.keep(charge, holding);
    if (holding.lock !== undefined) locks.extend(holding.lock, holding.jti);
    if (holding.purgeAtMs !== undefined) purge.remove(holding.purgeAtMs, "holding", holding.jti);
    purge.put(purgeAtMs, "holding", holding.jti);
    this.#put({ ...holding, state: "spent", consumed: holding.consumed + 1, purgeAtMs });
  }

  /** Once per execution. Only a permit none of whose uses succeeded, or still may, gives anything back. */
  reported(jti: string, status: "succeeded" | "failed", nowMs: number): void {
    const before = this.get(jti);
    if (before === undefined) return;
    const after = { ...before, [status]: before[status] + 1 };
    const isOver = after.consumed === after.uses || after.expiresAtMs <= nowMs;
    const isClosed = isOver && after.succeeded + after.failed === after.consumed;
    if (isClosed && after.lock !== undefined) this.#parts.locks.release(after.lock, jti);
    const isReturned = isClosed && after.succeeded === 0 && after.state === "spent";
    if (isReturned) for (const charge of after.charges) this.#parts.limits.giveBack(charge);
    this.#put(isReturned ? { ...after, state: "returned" } : after);
  }

  /** Nobody consumed it, and nobody will. */
  cancelled(jti: string): void {
    const holding = this.get(jti);
    if (holding === undefined || holding.state !== "reserved") return;
    this.#release(holding);
    if (holding.lock !== undefined) this.#parts.locks.release(holding.lock, jti);
    this.#put({ ...holding, state: "returned" });
  }

  /** The permit's own record goes. What was consumed stays until `purge`. */
  forgotten(jti: string): void {
    const holding = this.get(jti);
    if (holding === undefined || holding.consumed > 0) return;
    if (holding.state === "reserved") this.#release(holding);
    this.#rows.remove(this.#key(jti));
  }

  purge(jti: string): void {
    this.#rows.remove(this.#key(jti));
  }

  #release(holding: Holding): void {
    for (const charge of holding.charges) this.#parts.limits.release(charge, holding);
  }

  #put(holding: Holding): void {
    this.#rows.put(this.#key(holding.jti), JSON.stringify(holding));
  }

  #key(jti: string): Key {
    return ["holding", this.#tenant, jti];
  }
}
