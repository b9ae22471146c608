import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bucketAt, bucketEndsAtMs, bucketMs, isBucketLive, SLIDING_BUCKETS } from "../../src/core/limit-window.ts";

const fixed = { windowMs: 60_000, isSliding: false };
const sliding = { windowMs: 60_000, isSliding: true };

describe("a fixed window", () => {
  test("is one bucket from a multiple of its length to the next", () => {
    expect(bucketMs(fixed)).toBe(60_000);
    expect([0, 59_999, 60_000, 119_999, 120_000].map((now) => bucketAt(fixed, now))).toEqual([0, 0, 1, 1, 2]);
    expect(bucketEndsAtMs(fixed, 1)).toBe(120_000);
  });

  test("counts up to its last millisecond", () => {
    expect(isBucketLive(fixed, 1, 119_999)).toBe(true);
    expect(isBucketLive(fixed, 1, 120_000)).toBe(false);
  });
});

describe("a sliding window", () => {
  test("has parts, the last of which is not longer than they are", () => {
    expect(bucketMs(sliding)).toBe(1_000);
    expect(bucketMs({ windowMs: 1_000, isSliding: true })).toBe(17);
    expect(bucketMs({ windowMs: 1, isSliding: true })).toBe(1);
  });

  test("counts a part for as long as any of it may lie within", () => {
    const bucket = bucketAt(sliding, 5_500);
    expect(bucket).toBe(5);
    expect(bucketEndsAtMs(sliding, bucket)).toBe(66_000);
    expect(isBucketLive(sliding, bucket, 65_999)).toBe(true);
    expect(isBucketLive(sliding, bucket, 66_000)).toBe(false);
  });
});

const windows = fc.record({ windowMs: fc.integer({ min: 1, max: 30 * 24 * 3_600_000 }), isSliding: fc.boolean() });
const times = fc.integer({ min: 0, max: 4_102_444_800_000 });

describe("whatever the window", () => {
  test("what was just used counts, and not for ever", () => {
    fc.assert(
      fc.property(windows, times, (window, now) => {
        const bucket = bucketAt(window, now);
        expect(isBucketLive(window, bucket, now)).toBe(true);
        expect(isBucketLive(window, bucket, bucketEndsAtMs(window, bucket) - 1)).toBe(true);
        expect(isBucketLive(window, bucket, bucketEndsAtMs(window, bucket))).toBe(false);
        expect(bucketEndsAtMs(window, bucket) - now).toBeLessThanOrEqual(window.windowMs + bucketMs(window));
      }),
      { seed: 1, numRuns: 2_000 },
    );
  });

  test("a sliding one counts everything of its length, and a sixtieth more at most", () => {
    fc.assert(
      fc.property(windows, times, fc.double({ min: 0, max: 2, noNaN: true }), (window, usedAt, share) => {
        const later = usedAt + Math.floor(share * window.windowMs);
        const slides = { ...window, isSliding: true };
        const counts = isBucketLive(slides, bucketAt(slides, usedAt), later);
        if (later - usedAt < window.windowMs) expect(counts).toBe(true);
        if (later - usedAt > window.windowMs + bucketMs(slides)) expect(counts).toBe(false);
        expect(bucketMs(slides)).toBeLessThan(window.windowMs / SLIDING_BUCKETS + 1);
      }),
      { seed: 2, numRuns: 2_000 },
    );
  });

  test("no sliding window ever holds more than the limit, wherever it begins", () => {
    const uses = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 4 }), uses, (windowMs, limit, waits) => {
        const window = { windowMs, isSliding: true };
        const admitted: number[] = [];
        let now = 0;
        for (const wait of waits) {
          now += wait;
          const used = admitted.filter((time) => isBucketLive(window, bucketAt(window, time), now)).length;
          if (used < limit) admitted.push(now);
        }
        for (const start of admitted)
          expect(admitted.filter((time) => time >= start && time < start + windowMs).length).toBeLessThanOrEqual(limit);
      }),
      { seed: 3, numRuns: 500 },
    );
  });
});
