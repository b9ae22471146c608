/** Decimal texts of any size, compared and split exactly. Bounded, because `1e1000000000` is a short text. */

export interface Decimal {
  /** value = digits * 10^exponent */
  readonly digits: bigint;
  readonly exponent: number;
}

/** Longer exponents than this are refused: nothing real needs them, and expanding them would exhaust memory. */
export const EXPONENT_MAX = 20_000;

const DECIMAL = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/;

export function parseDecimal(text: string): Decimal | undefined {
  const found = DECIMAL.exec(text);
  if (found === null) return undefined;
  const fraction = found[3] ?? "";
  const digits = `${found[2]}${fraction}`;
  if (digits === "") return undefined;
  const magnitude = BigInt(digits);
  const exponent = Number(found[4] ?? 0) - fraction.length;
  if (magnitude !== 0n && Math.abs(exponent) > EXPONENT_MAX)
    throw new RangeError(`Number ${text.slice(0, 40)} is out of range`);
  return { digits: found[1] === "-" ? -magnitude : magnitude, exponent: magnitude === 0n ? 0 : exponent };
}

/** The integer that the text stands for, `1.0` and `1e3` included; undefined where there is a fraction. */
export function toInteger(text: string): bigint | undefined {
  const decimal = parseDecimal(text);
  if (decimal === undefined) return undefined;
  if (decimal.exponent >= 0) return decimal.digits * 10n ** BigInt(decimal.exponent);
  const scale = 10n ** BigInt(-decimal.exponent);
  return decimal.digits % scale === 0n ? decimal.digits / scale : undefined;
}

const SMALL = /^-?\d{1,15}$/;

export function compareDecimals(a: string, b: string): number {
  if (a === b) return 0;
  if (SMALL.test(a) && SMALL.test(b)) return Number(a) - Number(b);
  const x = parseDecimal(a);
  const y = parseDecimal(b);
  if (x === undefined || y === undefined) throw new RangeError("Not a number");
  const exponent = Math.min(x.exponent, y.exponent);
  const left = x.digits * 10n ** BigInt(x.exponent - exponent);
  const right = y.digits * 10n ** BigInt(y.exponent - exponent);
  return left < right ? -1 : left > right ? 1 : 0;
}

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const PLAIN = /^[+-]?\d+$/;

const OPA_INTEGER = /^([+-]?)(\d*)(?:\.0*)?$/;

/** What OPA takes for an integer operand: digits, and a fraction of zeros; 19 characters behind the sign. */
export function toOpaInt(text: string): bigint | undefined {
  const found = OPA_INTEGER.exec(text);
  if (found === null || text.length - found[1]!.length > 19) return undefined;
  return toInt64(`${found[1]}${found[2] || "0"}`);
}

/** What Go's ParseInt accepts in base 10 and 64 bits. */
export function toInt64(text: string): bigint | undefined {
  if (!PLAIN.test(text)) return undefined;
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text);
  return value >= INT64_MIN && value <= INT64_MAX ? value : undefined;
}
