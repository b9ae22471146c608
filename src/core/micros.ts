/**
 * Amounts that are added up: integers of millionths, so that sums are exact and every reader (JavaScript, Lua, LMDB) gets
 * the same one. What has more than six decimals, or is too large, is no amount.
 */

export const MICROS = 1_000_000;

/** Largest amount; its millionths are still exact integers. */
export const AMOUNT_MAX = 9_007_199_254;

/** Millionths of `amount`, or undefined where they are no exact integer. Negative amounts are allowed here. */
export function toMicros(amount: number): number | undefined {
  if (!Number.isFinite(amount) || Math.abs(amount) > AMOUNT_MAX) return undefined;
  // By way of the shortest decimal: 0.07 * 1e6 is 70000.00000000001.
  const match = /^(-?)([0-9]+)(?:\.([0-9]{1,6}))?$/.exec(String(amount));
  if (match !== null) {
    const micros = Number(match[2]) * MICROS + Number((match[3] ?? "").padEnd(6, "0"));
    return match[1] === "-" && micros !== 0 ? -micros : micros;
  }
  // Below 1e-6 JavaScript writes an exponent, and nothing there is a whole millionth.
  return undefined;
}

/** The decimal that is closest: it prints with at most six decimals. */
export function fromMicros(micros: number): number {
  return Number(`${micros}e-6`);
}
