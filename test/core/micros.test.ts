import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AMOUNT_MAX, fromMicros, MICROS, toMicros } from "../../src/core/micros.ts";

/** Up to here every millionth is a number of its own; beyond, the doubles lie further apart. */
const EXACT_MICROS_MAX = 2 ** 33 * MICROS;

describe("toMicros()", () => {
  test.each([
    [0, 0],
    [1, 1_000_000],
    [49.9, 49_900_000],
    [0.07, 70_000],
    [0.1 + 0.2, undefined],
    [1.1, 1_100_000],
    [0.000_001, 1],
    [-0.000_001, -1],
    [-12.5, -12_500_000],
    [0.000_000_1, undefined],
    [1.000_000_1, undefined],
    [1e-7, undefined],
    [AMOUNT_MAX, AMOUNT_MAX * MICROS],
    [-AMOUNT_MAX, -AMOUNT_MAX * MICROS],
    [AMOUNT_MAX + 1, undefined],
    [AMOUNT_MAX + 0.5, undefined],
    [1e21, undefined],
    [Number.MAX_VALUE, undefined],
    [Number.MIN_VALUE, undefined],
    [Number.POSITIVE_INFINITY, undefined],
    [Number.NaN, undefined],
  ])("of %d is %d", (amount, micros) => {
    expect(toMicros(amount)).toBe(micros);
  });

  test("of minus zero is zero, as JSON has it", () => {
    expect(Object.is(toMicros(-0), 0)).toBe(true);
  });

  test("is an exact integer, or none", () => {
    fc.assert(
      fc.property(fc.double(), (amount) => {
        const micros = toMicros(amount);
        if (micros === undefined) return;
        expect(Number.isSafeInteger(micros)).toBe(true);
        expect(fromMicros(micros)).toBe(amount === 0 ? 0 : amount);
      }),
      { seed: 1, numRuns: 2_000 },
    );
  });
});

describe("fromMicros()", () => {
  test("gives back what toMicros() took, wherever a double can tell them apart", () => {
    fc.assert(
      fc.property(fc.integer({ min: -EXACT_MICROS_MAX, max: EXACT_MICROS_MAX }), (micros) => {
        expect(toMicros(fromMicros(micros))).toBe(micros);
      }),
      { seed: 2, numRuns: 5_000 },
    );
  });

  test("beyond that is the nearest amount, and one that prints with six decimals at most", () => {
    fc.assert(
      fc.property(fc.integer({ min: EXACT_MICROS_MAX, max: AMOUNT_MAX * MICROS }), (micros) => {
        const amount = fromMicros(micros);
        expect(String(amount)).toMatch(/^\d+(\.\d{1,6})?$/);
        expect(Math.abs(toMicros(amount)! - micros)).toBeLessThanOrEqual(1);
      }),
      { seed: 3, numRuns: 5_000 },
    );
  });

  test("sums without the errors of binary fractions, in any order", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1e9, max: 1e9 }), { maxLength: 50 }), (cents) => {
        const amounts = cents.map((cent) => cent / 100);
        const sum = (list: readonly number[]) => list.reduce((total, amount) => total + toMicros(amount)!, 0);
        expect(sum(amounts)).toBe(cents.reduce((total, cent) => total + cent * 10_000, 0));
        expect(sum([...amounts].reverse())).toBe(sum(amounts));
      }),
      { seed: 4, numRuns: 500 },
    );
  });
});
