/**
 * How many refused credentials a source may send before it is told to slow down. Only refused ones count, and a good
 * credential is always looked at: nobody can lock anybody else out.
 */
export interface AttemptLimiter {
  /** Whether there was room for one more. */
  take(source: string): boolean;
}

export interface AttemptLimits {
  readonly perSecond: number;
  readonly burst: number;
  /** Sources that are told apart; the one seen longest ago is forgotten. */
  readonly sourcesMax: number;
}

export const ATTEMPT_LIMITS: AttemptLimits = { perSecond: 5, burst: 20, sourcesMax: 1_000 };

/** @param nowMs monotonic milliseconds */
export function createAttemptLimiter(nowMs: () => number, limits: AttemptLimits = ATTEMPT_LIMITS): AttemptLimiter {
  const buckets = new Map<string, { left: number; atMs: number }>();
  return {
    take: (source) => {
      const now = nowMs();
      const bucket = buckets.get(source) ?? { left: limits.burst, atMs: now };
      bucket.left = Math.min(limits.burst, bucket.left + (Math.max(0, now - bucket.atMs) / 1000) * limits.perSecond);
      bucket.atMs = now;
      buckets.delete(source);
      buckets.set(source, bucket);
      if (buckets.size > limits.sourcesMax) buckets.delete(buckets.keys().next().value!);
      if (bucket.left < 1) return false;
      bucket.left -= 1;
      return true;
    },
  };
}
