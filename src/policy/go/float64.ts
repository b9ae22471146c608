/** Go's strconv.FormatFloat for 64-bit floats. */
import { type Digits, decimalDigits, roundDigits } from "./big-float.ts";

export type FloatVerb = "e" | "E" | "f" | "g" | "G" | "b" | "x" | "X";

/** @param precision -1 for the shortest text that reads back as the same float */
export function formatFloat64(value: number, verb: FloatVerb, precision: number): string {
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  const magnitude = Math.abs(value);
  if (verb === "b") return sign + binary(magnitude);
  if (verb === "x") return sign + hexadecimal(magnitude, precision);
  if (verb === "X") return sign + hexadecimal(magnitude, precision).toUpperCase();
  const isShortest = precision < 0;
  const digits = isShortest ? shortest(magnitude) : rounded(exact(magnitude), verb, precision);
  return (
    sign + layOut(digits, verb, { precision: isShortest ? shortestPrecision(digits, verb) : precision, isShortest })
  );
}

function shortestPrecision(digits: Digits, verb: FloatVerb): number {
  if (verb === "f") return Math.max(digits.digits.length - digits.point, 0);
  return verb === "g" || verb === "G" ? digits.digits.length : Math.max(digits.digits.length - 1, 0);
}

function rounded(digits: Digits, verb: FloatVerb, precision: number): Digits {
  if (verb === "f") return roundAt(digits, digits.point + precision);
  if (verb === "g" || verb === "G") return roundAt(digits, Math.max(precision, 1));
  return roundAt(digits, precision + 1);
}

function roundAt(digits: Digits, length: number): Digits {
  if (length < 0) return { digits: "", point: 0 };
  if (length === 0) {
    const isUp = digits.digits > "5";
    return isUp ? { digits: "1", point: digits.point + 1 } : { digits: "", point: 0 };
  }
  return roundDigits(digits, length, "nearest");
}

function layOut(digits: Digits, verb: FloatVerb, how: { precision: number; isShortest: boolean }): string {
  if (verb === "f") return fixed(digits, how.precision);
  if (verb === "e" || verb === "E") return exponential(digits, verb, how.precision);
  const precision = how.precision === 0 ? 1 : how.precision;
  const length = digits.digits.length;
  let threshold = precision;
  if (threshold > length && length >= digits.point) threshold = length;
  if (how.isShortest) threshold = 6;
  const exponent = digits.point - 1;
  if (exponent < -4 || exponent >= threshold) {
    return exponential(digits, verb === "g" ? "e" : "E", Math.min(precision, Math.max(length, 1)) - 1);
  }
  return fixed(digits, Math.max((precision > digits.point ? length : precision) - digits.point, 0));
}

function fixed({ digits, point }: Digits, precision: number): string {
  const whole = point > 0 ? digits.slice(0, point).padEnd(point, "0") : "0";
  if (precision === 0) return whole;
  let fraction = "";
  for (let i = 0; i < precision; i++) fraction += point + i < 0 ? "0" : (digits[point + i] ?? "0");
  return `${whole}.${fraction}`;
}

function exponential({ digits, point }: Digits, letter: "e" | "E", precision: number): string {
  const fraction = precision > 0 ? `.${digits.slice(1, precision + 1).padEnd(precision, "0")}` : "";
  const exponent = digits === "" ? 0 : point - 1;
  return `${digits[0] ?? "0"}${fraction}${letter}${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

function shortest(value: number): Digits {
  if (value === 0) return { digits: "", point: 0 };
  const [mantissa, exponent] = value.toExponential().split("e") as [string, string];
  return { digits: mantissa.replace(".", ""), point: Number(exponent) + 1 };
}

function exact(value: number): Digits {
  if (value === 0) return { digits: "", point: 0 };
  const { mantissa, exponent } = split(value);
  return decimalDigits(mantissa, exponent);
}

function binary(value: number): string {
  const { mantissa, exponent } = split(value);
  return `${mantissa}p${exponent < 0 ? "-" : "+"}${Math.abs(exponent)}`;
}

const FRACTION_DIGITS = 13;

/** 0x1.8p+01: one leading bit, the fraction in hexadecimal, the exponent of two in decimal. */
function hexadecimal(value: number, precision: number): string {
  let { mantissa, exponent } = split(value);
  if (mantissa !== 0n) for (; mantissa >> 52n === 0n; exponent--) mantissa <<= 1n;
  if (precision >= 0 && precision < FRACTION_DIGITS) {
    const dropped = BigInt(4 * (FRACTION_DIGITS - precision));
    const rest = mantissa & ((1n << dropped) - 1n);
    const half = 1n << (dropped - 1n);
    mantissa >>= dropped;
    if (rest > half || (rest === half && (mantissa & 1n) === 1n)) mantissa += 1n;
    mantissa <<= dropped;
    if (mantissa >> 53n !== 0n) [mantissa, exponent] = [mantissa >> 1n, exponent + 1];
  }
  const digits = (mantissa & ((1n << 52n) - 1n)).toString(16).padStart(FRACTION_DIGITS, "0");
  const kept = precision < 0 ? digits.replace(/0+$/, "") : digits.slice(0, precision).padEnd(precision, "0");
  const power = mantissa === 0n ? 0 : exponent + 52;
  return `0x${mantissa >> 52n}${kept === "" ? "" : `.${kept}`}p${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

function split(value: number): { mantissa: bigint; exponent: number } {
  const bits = new BigUint64Array(Float64Array.of(value).buffer)[0]!;
  const biased = Number(bits >> 52n);
  const fraction = bits & 0xfffffffffffffn;
  return biased === 0
    ? { mantissa: fraction, exponent: -1074 }
    : { mantissa: fraction | (1n << 52n), exponent: biased - 1075 };
}
