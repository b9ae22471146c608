import { describe, expect, test } from "vitest";
import { type AttemptLimits, createAttemptLimiter } from "../../src/http/attempt-limiter.ts";

const limits: AttemptLimits = { perSecond: 5, burst: 20, sourcesMax: 100 };

function limiter() {
  let now = 1_000_000;
  const { take } = createAttemptLimiter(() => now, limits);
  return {
    /** How many of `count` attempts found room. */
    room: (count: number, source = "10.0.0.1") =>
      Array.from({ length: count }, () => take(source)).filter(Boolean).length,
    pass: (ms: number) => {
      now += ms;
    },
  };
}

describe("createAttemptLimiter()", () => {
  test("lets a burst through and not one more", () => {
    const { room } = limiter();
    expect(room(20)).toBe(20);
    expect(room(1)).toBe(0);
  });

  test.each([
    [199, 0],
    [200, 1],
    [399, 1],
    [1_000, 5],
    [3_999, 19],
    [4_000, 20],
    [3_600_000, 20],
  ])("after %i ms has room for %i, never for more than the burst", (ms, expected) => {
    const { room, pass } = limiter();
    room(1_000);
    pass(ms);
    expect(room(100)).toBe(expected);
  });

  test("refused attempts cost nothing: whoever goes on trying gets through at the rate, no faster and no slower", () => {
    const { room, pass } = limiter();
    room(20);
    let passed = 0;
    for (let ms = 0; ms < 10_000; ms += 10) {
      pass(10);
      passed += room(7);
    }
    expect(passed).toBeGreaterThanOrEqual(49);
    expect(passed).toBeLessThanOrEqual(50);
  });

  test("tells sources apart: one that is out of room takes none from another", () => {
    const { room } = limiter();
    expect(room(50, "10.0.0.1")).toBe(20);
    expect(room(50, "10.0.0.2")).toBe(20);
    expect(room(50, "unix")).toBe(20);
    expect(room(1, "10.0.0.1")).toBe(0);
  });

  test("remembers as many sources as it may and forgets the one seen longest ago", () => {
    const { room } = limiter();
    for (let index = 0; index < 100; index += 1) expect(room(21, `source-${index}`)).toBe(20);
    expect(room(1, "source-0")).toBe(0);
    // One more makes room for itself at the cost of the one seen longest ago, which is now the second.
    expect(room(20, "source-100")).toBe(20);
    expect(room(1, "source-0")).toBe(0);
    expect(room(1, "source-2")).toBe(0);
    expect(room(20, "source-1")).toBe(20);
  });

  test.each([1, 60_000, 86_400_000])(
    "a clock that steps back by %i ms neither gives room nor takes it away for long",
    (ms) => {
      const { room, pass } = limiter();
      expect(room(10)).toBe(10);
      pass(-ms);
      expect(room(100)).toBe(10);
      pass(1_000);
      expect(room(100)).toBe(5);
    },
  );
});
