/**
 * What limits have charged, by bucket (limit-window.ts). A reservation lies under the time at which its permit expires:
 * whoever charges the limit next first takes back what expired by then, so that nothing stays reserved for want of a
 * sweep, and nothing comes back before a permit can no longer be consumed.
 */
import type { Key } from "lmdb";
import type { LimitCharge, LimitUse } from "../../core/context.ts";
import { bucketAt, bucketEndsAtMs, isBucketLive, type LimitWindow } from "../../core/limit-window.ts";
import { MICROS } from "../../core/micros.ts";
import type { Digest, Tenant } from "../../core/types.ts";
import { DISTINCT_VALUES_MAX } from "../check-context.ts";
import { isDigest } from "../check-request.ts";
import { corrupted, isBoolean, isCount, optional, parsed, type Shape } from "../record-shape.ts";
import type { Budget, PurgeRows } from "./purge-rows.ts";
import type { Rows } from "./tables.ts";

/** One charge as it has to be known to give it back. */
export interface Charge extends LimitWindow {
  readonly id: Digest;
  readonly bucket: number;
  readonly micros: number;
  readonly value?: Digest | undefined;
}

export interface Reservation {
  readonly jti: string;
  readonly expiresAtMs: number;
}

export interface WeighedLimit {
  /** Before the charge. */
  readonly use: LimitUse;
  readonly afterMicros: number;
  readonly isRefused: boolean;
}

type Limit = LimitWindow & { readonly id: Digest };

const isDigestText = (value: unknown): boolean => typeof value === "string" && isDigest(value);

export const CHARGE: Shape<Charge> = {
  id: isDigestText,
  bucket: isCount,
  micros: isCount,
  windowMs: (value) => isCount(value) && value !== 0,
  isSliding: isBoolean,
  value: optional(isDigestText),
};

export class LimitRows {
  readonly #rows: Rows;
  readonly #tenant: Tenant;
  readonly #purge: PurgeRows;

  constructor(rows: Rows, tenant: Tenant, purge: PurgeRows) {
    this.#rows = rows;
    this.#tenant = tenant;
    this.#purge = purge;
  }

  /**
   * Gives back what expired and drops what no longer counts, as far as the budget goes.
   * @returns whether that was all, and the limit may be weighed
   */
  tidy(limit: Limit, nowMs: number, budget: Budget): boolean {
    return this.#takeBackExpired(limit.id, nowMs, budget) && this.#dropDead(limit, nowMs, budget);
  }

  /** What a charge would find and leave. Needs a tidied limit. */
  weigh(charge: LimitCharge, nowMs: number): WeighedLimit {
    const { id, limitMicros, isBinding } = charge;
    const usedMicros = this.#used(charge);
    const afterMicros = usedMicros + this.#addition(charge);
    // Past this nothing can be counted any more, whoever has granted it.
    const isUncountable = afterMicros > (charge.value === undefined ? Number.MAX_SAFE_INTEGER : VALUES_MICROS_MAX);
    const isExceeded = isUncountable || afterMicros > limitMicros;
    return {
      use: { id, usedMicros, resetsAtMs: this.resetsAtMs(charge, nowMs), isExceeded },
      afterMicros,
      isRefused: isUncountable || (isExceeded && isBinding),
    };
  }

  /** Of a fixed window its end; of a sliding one the end of what was used first, or of what would be. */
  resetsAtMs(charge: LimitCharge, nowMs: number): number {
    const now = bucketAt(charge, nowMs);
    if (!charge.isSliding) return bucketEndsAtMs(charge, now);
    return bucketEndsAtMs(charge, this.#oldestBucket(charge) ?? now);
  }

  charge(limit: LimitCharge, nowMs: number, reservation: Reservation | undefined): Charge {
    const { id, windowMs, isSliding, value } = limit;
    const bucket = bucketAt(limit, nowMs);
    const micros = value === undefined ? limit.costMicros : MICROS;
    const charge: Charge = { id, windowMs, isSliding, bucket, micros, value };
    if (micros === 0) return charge;
    this.#add(charge);
    if (reservation !== undefined) this.#rows.put(this.#reservedKey(id, reservation), JSON.stringify(charge));
    return charge;
  }

  /** The permit is being consumed: what it reserved stays charged. */
  keep(charge: Charge, reservation: Reservation): void {
    this.#rows.remove(this.#reservedKey(charge.id, reservation));
  }

  /** Takes back a reservation that nobody has taken back yet. */
  release(charge: Charge, reservation: Reservation): void {
    const key = this.#reservedKey(charge.id, reservation);
    if (this.#rows.get(key) === undefined) return;
    this.#rows.remove(key);
    this.giveBack(charge);
  }

  /** Of a bucket that is gone there is nothing to give back, and never more than it holds. */
  giveBack(charge: Charge): void {
    if (charge.value !== undefined) {
      this.#dropValue(charge.id, charge.bucket, charge.value, 1);
      return;
    }
    const key = this.#usedKey(charge.id, charge.bucket);
    const used = this.#number(key);
    if (used > charge.micros) this.#rows.put(key, String(used - charge.micros));
    else this.#rows.remove(key);
  }

  /** @param name as `purgeName` makes it. @returns false where the budget ended first */
  purgeBucket(name: string, budget: Budget): boolean {
    const [id, bucket] = name.split(" ") as [Digest, string];
    this.#rows.remove(this.#usedKey(id, Number(bucket)));
    return this.#dropValues(id, Number(bucket), budget);
  }

  #takeBackExpired(id: Digest, nowMs: number, budget: Budget): boolean {
    const [start, end] = [this.#prefix("reserved", id), [...this.#prefix("reserved", id), nowMs, LAST]];
    const expired = Array.from(this.#rows.getRange({ start, end, limit: budget.left }));
    for (const { key, value } of expired) {
      this.#rows.remove(key);
      this.giveBack(parsed<Charge>("reservation", value, CHARGE));
    }
    budget.left -= expired.length;
    return budget.left > 0;
  }

  #dropDead(limit: Limit, nowMs: number, budget: Budget): boolean {
    for (const bucket of this.#usedBuckets(limit.id)) {
      if (isBucketLive(limit, bucket, nowMs)) break;
      this.#rows.remove(this.#usedKey(limit.id, bucket));
      this.#purge.remove(bucketEndsAtMs(limit, bucket), "bucket", purgeName(limit.id, bucket));
      budget.left -= 1;
    }
    for (;;) {
      const bucket = this.#oldestValueBucket(limit.id);
      if (bucket === undefined || isBucketLive(limit, bucket, nowMs)) return budget.left > 0;
      if (!this.#dropValues(limit.id, bucket, budget)) return false;
      this.#purge.remove(bucketEndsAtMs(limit, bucket), "bucket", purgeName(limit.id, bucket));
    }
  }

  #used(charge: LimitCharge): number {
    if (charge.value !== undefined) return this.#number(this.#prefix("values", charge.id)) * MICROS;
    let sum = 0;
    for (const { value } of this.#rows.getRange(this.#range("used", charge.id))) sum += countOf(value);
    return sum;
  }

  #addition({ id, value, costMicros }: LimitCharge): number {
    if (value === undefined) return costMicros;
    return this.#number(this.#spreadKey(id, value)) > 0 ? 0 : MICROS;
  }

  #add(charge: Charge): void {
    const { id, bucket, micros, value } = charge;
    const key = value === undefined ? this.#usedKey(id, bucket) : this.#valueKey(id, bucket, value);
    if (this.#rows.get(key) === undefined) {
      this.#purge.put(bucketEndsAtMs(charge, bucket), "bucket", purgeName(id, bucket));
    }
    if (value !== undefined) this.#addValue(id, bucket, value);
    else this.#change(key, micros);
  }

  /** How often a value was charged in a bucket, in how many buckets it is, and how many values there are. */
  #addValue(id: Digest, bucket: number, value: Digest): void {
    if (this.#change(this.#valueKey(id, bucket, value), 1) > 1) return;
    if (this.#change(this.#spreadKey(id, value), 1) > 1) return;
    this.#change(this.#prefix("values", id), 1);
  }

  #dropValue(id: Digest, bucket: number, value: Digest, count: number): void {
    const key = this.#valueKey(id, bucket, value);
    const held = this.#number(key);
    if (held === 0 || this.#change(key, -Math.min(held, count)) > 0) return;
    if (this.#change(this.#spreadKey(id, value), -1) > 0) return;
    this.#change(this.#prefix("values", id), -1);
  }

  #dropValues(id: Digest, bucket: number, budget: Budget): boolean {
    const start = [...this.#prefix("value", id), bucket];
    const keys = Array.from(this.#rows.getKeys({ start, end: [...start, LAST], limit: budget.left }));
    for (const key of keys) this.#dropValue(id, bucket, (key as Key[]).at(-1) as Digest, Number.MAX_SAFE_INTEGER);
    budget.left -= keys.length;
    return budget.left > 0;
  }

  #oldestBucket({ id, value }: LimitCharge): number | undefined {
    return value === undefined ? this.#usedBuckets(id)[0] : this.#oldestValueBucket(id);
  }

  #usedBuckets(id: Digest): number[] {
    return Array.from(this.#rows.getKeys(this.#range("used", id)), (key) => (key as Key[])[3] as number);
  }

  #oldestValueBucket(id: Digest): number | undefined {
    const [first] = this.#rows.getKeys({ ...this.#range("value", id), limit: 1 });
    return first === undefined ? undefined : ((first as Key[])[3] as number);
  }

  /** Rows of nought are not kept. */
  #change(key: Key, by: number): number {
    const after = this.#number(key) + by;
    if (after === 0) this.#rows.remove(key);
    else this.#rows.put(key, String(after));
    return after;
  }

  #number(key: Key): number {
    const text = this.#rows.get(key);
    return text === undefined ? 0 : countOf(text);
  }

  #range(prefix: string, id: Digest): { readonly start: Key; readonly end: Key } {
    const start = this.#prefix(prefix, id);
    return { start, end: [...start, LAST] };
  }

  #prefix(prefix: string, id: Digest): Key[] {
    return [prefix, this.#tenant, id];
  }

  #usedKey(id: Digest, bucket: number): Key {
    return [...this.#prefix("used", id), bucket];
  }

  #valueKey(id: Digest, bucket: number, value: Digest): Key {
    return [...this.#prefix("value", id), bucket, value];
  }

  #spreadKey(id: Digest, value: Digest): Key {
    return [...this.#prefix("spread", id), value];
  }

  #reservedKey(id: Digest, { jti, expiresAtMs }: Reservation): Key {
    return [...this.#prefix("reserved", id), expiresAtMs, jti];
  }
}

const VALUES_MICROS_MAX = DISTINCT_VALUES_MAX * MICROS;
/** Sorts after every text and number that is the next member of a key here. */
const LAST = "\uffff";

function purgeName(id: Digest, bucket: number): string {
  return `${id} ${bucket}`;
}

function countOf(text: string): number {
  const count = Number(text);
  if (text === "" || !Number.isSafeInteger(count) || count < 0) throw corrupted("limit");
  return count;
}
