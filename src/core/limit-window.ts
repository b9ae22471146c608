/**
 * Windows of limits, in buckets. A fixed window is one bucket, aligned to the epoch. A sliding one is cut into
 * SLIDING_BUCKETS parts, and a part counts for as long as any of it may still lie in the window: so no window of that
 * length, wherever it begins, ever holds more than the limit, and what is used comes free a sixtieth of the window late
 * at most. The Redis script says the same in Lua; the conformance suite holds both to it.
 */

export const SLIDING_BUCKETS = 60;

export interface LimitWindow {
  readonly windowMs: number;
  readonly isSliding: boolean;
}

export function bucketMs({ windowMs, isSliding }: LimitWindow): number {
  return isSliding ? Math.max(1, Math.ceil(windowMs / SLIDING_BUCKETS)) : windowMs;
}

export function bucketAt(window: LimitWindow, nowMs: number): number {
  return Math.floor(nowMs / bucketMs(window));
}

/** When what was charged to this bucket no longer counts. */
export function bucketEndsAtMs(window: LimitWindow, bucket: number): number {
  const endMs = (bucket + 1) * bucketMs(window);
  return window.isSliding ? endMs + window.windowMs : endMs;
}

export function isBucketLive(window: LimitWindow, bucket: number, nowMs: number): boolean {
  return bucketEndsAtMs(window, bucket) > nowMs;
}
