/**
 * Go's big.Float as OPA uses it: 64 bits of mantissa, round to nearest even. OPA computes fractions with it, so
 * `0.1 + 0.2` prints as 0.3 there, and must here. Decimal input goes through the same two roundings as in Go
 * (mantissa to 64 bits, then a power of five held in 128 bits), because the last digit depends on them.
 */
import { parseDecimal } from "./decimal.ts";

export interface BigFloat {
  /** value = mantissa * 2^exponent */
  readonly mantissa: bigint;
  readonly exponent: number;
}

const PRECISION = 64;
const ZERO: BigFloat = { mantissa: 0n, exponent: 0 };

export function floatFromText(text: string): BigFloat {
  const decimal = parseDecimal(text);
  if (decimal === undefined) throw new RangeError("Not a number");
  if (decimal.digits === 0n) return ZERO;
  const mantissa = round(decimal.digits, 0, PRECISION);
  if (decimal.exponent === 0) return mantissa;
  const power = powerOfFive(Math.abs(decimal.exponent));
  return decimal.exponent > 0 ? multiply(mantissa, power) : divide(mantissa, power);
}

export function floatFromInteger(value: bigint): BigFloat {
  return normalise({ mantissa: value, exponent: 0 });
}

export function add(a: BigFloat, b: BigFloat): BigFloat {
  const exponent = Math.min(a.exponent, b.exponent);
  return round(shift(a, exponent) + shift(b, exponent), exponent, PRECISION);
}

export function negate(a: BigFloat): BigFloat {
  return { mantissa: -a.mantissa, exponent: a.exponent };
}

export function multiply(a: BigFloat, b: BigFloat): BigFloat {
  return round(a.mantissa * b.mantissa, a.exponent + b.exponent, PRECISION);
}

/** Undefined mantissa for a zero divisor is the caller's to exclude. */
export function divide(a: BigFloat, b: BigFloat): BigFloat {
  return divideTo(a, b, PRECISION);
}

/** Towards zero, exact. */
export function truncate(a: BigFloat): bigint {
  if (a.exponent >= 0) return a.mantissa << BigInt(a.exponent);
  return a.mantissa / (1n << BigInt(-a.exponent));
}

export function isInteger(a: BigFloat): boolean {
  return a.exponent >= 0 || a.mantissa === 0n || a.mantissa % (1n << BigInt(-a.exponent)) === 0n;
}

/** big.Float.Text: plain digits for integers, else the shortest text that reads back as the same 64-bit float. */
export function floatToText(a: BigFloat): string {
  const value = normalise(a);
  if (value.mantissa === 0n) return "0";
  const sign = value.mantissa < 0n ? "-" : "";
  const magnitude = { mantissa: abs(value.mantissa), exponent: value.exponent };
  const { digits, point } = shortestDigits(magnitude);
  if (isInteger(magnitude)) return sign + digits.padEnd(point, "0");
  return sign + formatShortest(digits, point);
}

function formatShortest(digits: string, point: number): string {
  const exponent = point - 1;
  if (exponent < -4 || exponent >= 6) return scientific(digits, exponent);
  if (point <= 0) return `0.${"0".repeat(-point)}${digits}`;
  if (digits.length <= point) return digits.padEnd(point, "0");
  return `${digits.slice(0, point)}.${digits.slice(point)}`;
}

function scientific(digits: string, exponent: number): string {
  const fraction = digits.length > 1 ? `.${digits.slice(1)}` : "";
  const sign = exponent < 0 ? "-" : "+";
  return `${digits[0]}${fraction}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** value = 0.digits * 10^point */
export interface Digits {
  readonly digits: string;
  readonly point: number;
}

/** The walk of Go's roundShortest: stop at the first digit where both neighbours' midpoints are told apart. */
function shortestDigits(x: BigFloat): Digits {
  const bits = bitLength(x.mantissa);
  const mantissa = x.mantissa << BigInt(PRECISION + 1 - bits);
  const exponent = x.exponent - (PRECISION + 1 - bits);
  const inclusive = (mantissa & 2n) === 0n;
  const exact = decimalDigits(mantissa, exponent);
  const lower = decimalDigits(mantissa - 1n, exponent);
  const upper = decimalDigits(mantissa + 1n, exponent);
  for (let i = 0; i < exact.digits.length; i++) {
    const m = exact.digits.charCodeAt(i);
    const l = i < lower.digits.length ? lower.digits.charCodeAt(i) : 48;
    const u = i < upper.digits.length ? upper.digits.charCodeAt(i) : 48;
    const okDown = l !== m || (inclusive && i + 1 === lower.digits.length);
    const okUp = m !== u && (inclusive || m + 1 < u || i + 1 < upper.digits.length);
    if (okDown && okUp) return roundDigits(exact, i + 1, "nearest");
    if (okDown) return roundDigits(exact, i + 1, "down");
    if (okUp) return roundDigits(exact, i + 1, "up");
  }
  return exact;
}

export function roundDigits(x: Digits, length: number, way: "nearest" | "down" | "up"): Digits {
  if (length >= x.digits.length) return x;
  const kept = BigInt(x.digits.slice(0, length));
  if (way === "down" || (way === "nearest" && !isRoundedUp(x.digits, length))) return trimmed(kept, length, x.point);
  return trimmed(kept + 1n, length, x.point);
}

function isRoundedUp(digits: string, length: number): boolean {
  if (digits[length] === "5" && length + 1 === digits.length)
    return length > 0 && (digits.charCodeAt(length - 1) & 1) === 1;
  return digits[length]! >= "5";
}

function trimmed(value: bigint, length: number, point: number): Digits {
  const text = value.toString();
  return { digits: text.replace(/0+$/, ""), point: point + text.length - length };
}

export function decimalDigits(mantissa: bigint, exponent: number): Digits {
  if (exponent >= 0) {
    const text = (mantissa << BigInt(exponent)).toString();
    return { digits: text.replace(/0+$/, ""), point: text.length };
  }
  const text = (mantissa * 5n ** BigInt(-exponent)).toString();
  return { digits: text.replace(/0+$/, ""), point: text.length + exponent };
}

const POWER_PRECISION = PRECISION + 64;

function powerOfFive(n: number): BigFloat {
  const table = Math.min(n, 27);
  let result: BigFloat = { mantissa: 5n ** BigInt(table), exponent: 0 };
  let factor: BigFloat = { mantissa: 5n, exponent: 0 };
  for (let rest = n - table; rest > 0; rest >>= 1) {
    if (rest & 1) result = round(result.mantissa * factor.mantissa, result.exponent + factor.exponent, POWER_PRECISION);
    factor = round(factor.mantissa * factor.mantissa, factor.exponent * 2, POWER_PRECISION);
  }
  return { mantissa: result.mantissa, exponent: result.exponent + n };
}

function divideTo(a: BigFloat, b: BigFloat, precision: number): BigFloat {
  if (a.mantissa === 0n) return ZERO;
  const sign = a.mantissa < 0n !== b.mantissa < 0n ? -1n : 1n;
  const divisor = abs(b.mantissa);
  const up = precision + 3 + Math.max(0, bitLength(divisor) - bitLength(abs(a.mantissa)));
  const dividend = abs(a.mantissa) << BigInt(up);
  // A sticky bit stands for the remainder, so that a tie is only seen where there is one.
  const quotient = ((dividend / divisor) << 1n) | (dividend % divisor === 0n ? 0n : 1n);
  return round(sign * quotient, a.exponent - b.exponent - up - 1, precision);
}

function round(mantissa: bigint, exponent: number, precision: number): BigFloat {
  const magnitude = abs(mantissa);
  const excess = bitLength(magnitude) - precision;
  if (excess <= 0) return normalise({ mantissa, exponent });
  const dropped = BigInt(excess);
  const half = 1n << (dropped - 1n);
  const rest = magnitude & ((1n << dropped) - 1n);
  let kept = magnitude >> dropped;
  if (rest > half || (rest === half && (kept & 1n) === 1n)) kept += 1n;
  return normalise({ mantissa: mantissa < 0n ? -kept : kept, exponent: exponent + excess });
}

/** Trailing zero bits go to the exponent, so that equal values look alike and numbers stay short. */
function normalise(x: BigFloat): BigFloat {
  if (x.mantissa === 0n) return ZERO;
  let { mantissa, exponent } = x;
  while ((mantissa & 0xffffffffn) === 0n) {
    mantissa >>= 32n;
    exponent += 32;
  }
  while ((mantissa & 1n) === 0n) {
    mantissa >>= 1n;
    exponent += 1;
  }
  return { mantissa, exponent };
}

function shift(x: BigFloat, exponent: number): bigint {
  return x.mantissa << BigInt(x.exponent - exponent);
}

function abs(x: bigint): bigint {
  return x < 0n ? -x : x;
}

function bitLength(x: bigint): number {
  return x === 0n ? 0 : x.toString(2).length;
}
