/** Numbers as OPA computes them: integers exactly, fractions in 64-bit-mantissa floats. */
import {
  add,
  type BigFloat,
  divide,
  floatFromInteger,
  floatFromText,
  floatToText,
  isInteger,
  multiply,
  negate,
  truncate,
} from "../go/big-float.ts";
import { toInteger } from "../go/decimal.ts";
import { EMPTY_SET, RegoNumber, RegoSet, type RegoValue } from "../rego-value.ts";
import type { WasmMemory } from "../wasm-memory.ts";
import { asBigInt, asItems, asNumber, define, fail, type HostBuiltin, int } from "./define.ts";

const HALF: BigFloat = { mantissa: 1n, exponent: -1 };
const ONE: BigFloat = { mantissa: 1n, exponent: 0 };

type IntegerRule = (a: bigint, b: bigint) => bigint;
type FloatRule = (a: BigFloat, b: BigFloat) => BigFloat;

function number(value: BigFloat, isNegativeZero = false): RegoNumber {
  return new RegoNumber(isNegativeZero && value.mantissa === 0n ? "-0" : floatToText(value));
}

function combine(a: RegoValue, b: RegoValue, rules: { integers: IntegerRule; floats: FloatRule }): RegoNumber {
  const x = asNumber(a).text;
  const y = asNumber(b).text;
  const i = toInteger(x);
  const j = toInteger(y);
  if (i !== undefined && j !== undefined) return int(rules.integers(i, j));
  return number(rules.floats(floatFromText(x), floatFromText(y)));
}

function plus(a: RegoValue, b: RegoValue): RegoValue {
  return combine(a, b, { integers: (x, y) => x + y, floats: add });
}

function minus(a: RegoValue, b: RegoValue): RegoValue {
  if (a instanceof RegoSet && b instanceof RegoSet) {
    const rest = a.items.filter((item) => !b.has(item));
    return rest.length === 0 ? EMPTY_SET : new RegoSet(rest);
  }
  return combine(a, b, { integers: (x, y) => x - y, floats: (x, y) => add(x, negate(y)) });
}

function times(a: RegoValue, b: RegoValue): RegoValue {
  const product = combine(a, b, { integers: (x, y) => x * y, floats: multiply });
  const isExact = toInteger(asNumber(a).text) !== undefined && toInteger(asNumber(b).text) !== undefined;
  return product.text === "0" && !isExact && isNegative(a) !== isNegative(b) ? new RegoNumber("-0") : product;
}

function isNegative(value: RegoValue): boolean {
  return asNumber(value).text.startsWith("-");
}

function dividedBy(a: RegoValue, b: RegoValue): RegoValue {
  const divisor = floatFromText(asNumber(b).text);
  if (divisor.mantissa === 0n) fail("divide by zero");
  const dividend = floatFromText(asNumber(a).text);
  return number(divide(dividend, divisor), isNegative(a) !== isNegative(b));
}

function remainder(a: RegoValue, b: RegoValue): RegoValue {
  const x = asBigInt(a);
  const y = asBigInt(b);
  return y === 0n ? fail("modulo by zero") : int(x % y);
}

function round(a: RegoValue): RegoValue {
  const x = floatFromText(asNumber(a).text);
  return roundedInteger(truncate(add(x, x.mantissa < 0n ? negate(HALF) : HALF)));
}

/** Through a float of as many bits as the integer needs, 64 at least: the same digits. */
function roundedInteger(value: bigint): RegoNumber {
  return int(value);
}

/** As OPA computes it, which between -1 and 0 is one too many. */
function ceil(a: RegoValue): RegoValue {
  const x = floatFromText(asNumber(a).text);
  const whole = truncate(x);
  return whole < 0n || isInteger(x) ? int(whole) : number(add(floatFromInteger(whole), ONE));
}

/** As OPA computes it, which between -1 and 0 is one too many. */
function floor(a: RegoValue): RegoValue {
  const x = floatFromText(asNumber(a).text);
  const whole = truncate(x);
  return whole >= 0n || isInteger(x) ? int(whole) : number(add(floatFromInteger(whole), negate(ONE)));
}

function abs(a: RegoValue): RegoValue {
  const x = floatFromText(asNumber(a).text);
  return number(x.mantissa < 0n ? negate(x) : x);
}

function accumulate(items: RegoValue, rules: { start: bigint; integers: IntegerRule; floats: FloatRule }): RegoValue {
  const texts = asItems(items).map((item) => asNumber(item).text);
  const integers = texts.map(toInteger);
  if (integers.every((one) => one !== undefined)) return int(integers.reduce(rules.integers, rules.start));
  return number(texts.map(floatFromText).reduce(rules.floats, floatFromInteger(rules.start)));
}

const RANGE_MAX = 1_000_000;

function range(from: bigint, to: bigint, step: bigint): RegoValue {
  const distance = from <= to ? to - from : from - to;
  if (distance / step >= BigInt(RANGE_MAX)) throw new RangeError(`Range has more than ${RANGE_MAX} numbers`);
  const by = from <= to ? step : -step;
  return Array.from({ length: Number(distance / step) + 1 }, (_, i) => int(from + BigInt(i) * by));
}

function rangeStep(a: RegoValue, b: RegoValue, step: RegoValue): RegoValue {
  const by = asBigInt(step);
  const from = asBigInt(a);
  const to = asBigInt(b);
  return by <= 0n ? fail("step must be positive") : range(from, to, by);
}

const SHIFT_MAX = 100_000n;

function shift(a: RegoValue, b: RegoValue, way: (x: bigint, by: bigint) => bigint): RegoValue {
  const x = asBigInt(a);
  const by = asBigInt(b);
  if (by < 0n) fail("negative shift");
  if (by > SHIFT_MAX) throw new RangeError(`Shift by more than ${SHIFT_MAX} bits`);
  return int(way(x, by));
}

function bits(name: string, rule: IntegerRule): HostBuiltin {
  return define(name, 2, (a, b) => int(rule(asBigInt(a!), asBigInt(b!))));
}

/** Both operands small integers, which is nearly always: no text, no objects. */
function onSmall(rule: (x: number, y: number) => number | undefined): HostBuiltin["raw"] {
  return (memory: WasmMemory, a: number, b: number): number => {
    const x = memory.smallInteger(a);
    const y = x === undefined ? undefined : memory.smallInteger(b);
    if (x === undefined || y === undefined) return 0;
    const result = rule(x, y);
    return result === undefined || !Number.isSafeInteger(result) ? 0 : memory.writeInteger(result + 0);
  };
}

const BASES: Readonly<Record<string, number>> = { "2": 2, "8": 8, "10": 10, "16": 16 };

function formatInt(a: RegoValue, b: RegoValue): RegoValue {
  const { text } = asNumber(a);
  const base = BASES[asNumber(b).text] ?? fail("base must be 2, 8, 10 or 16");
  const value = /^[+-]?\d+$/.test(text) ? BigInt(text.replace("+", "")) : truncate(floatFromText(text));
  return value.toString(base);
}

const FLOAT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

function toNumber(value: RegoValue): RegoValue {
  if (value === null) return int(0);
  if (typeof value === "boolean") return int(value ? 1 : 0);
  if (value instanceof RegoNumber) return value;
  const text = asString(value);
  if (FLOAT.test(text)) return Number.isFinite(Number(text)) ? new RegoNumber(text) : fail("out of range");
  // Go also reads hexadecimal floats and underscores, and keeps the text as the number; nothing could carry on with that.
  if (/^[+-]?(?:0[xX]|[\d.]+_)/.test(text))
    throw new RangeError(`to_number of ${JSON.stringify(text.slice(0, 40))} is not supported`);
  return fail("not a number");
}

function asString(value: RegoValue): string {
  return typeof value === "string" ? value : fail();
}

export const ARITHMETIC: readonly HostBuiltin[] = [
  define(
    "plus",
    2,
    (a, b) => plus(a!, b!),
    onSmall((x, y) => x + y),
  ),
  define(
    "minus",
    2,
    (a, b) => minus(a!, b!),
    onSmall((x, y) => x - y),
  ),
  define(
    "mul",
    2,
    (a, b) => times(a!, b!),
    onSmall((x, y) => x * y || 0),
  ),
  define(
    "div",
    2,
    (a, b) => dividedBy(a!, b!),
    onSmall((x, y) => (y !== 0 && x !== 0 && x % y === 0 ? x / y : undefined)),
  ),
  define(
    "rem",
    2,
    (a, b) => remainder(a!, b!),
    onSmall((x, y) => (y === 0 ? undefined : x % y || 0)),
  ),
  define("abs", 1, (a) => abs(a!)),
  define("round", 1, (a) => round(a!)),
  define("ceil", 1, (a) => ceil(a!)),
  define("floor", 1, (a) => floor(a!)),
  define("sum", 1, (a) => accumulate(a!, { start: 0n, integers: (x, y) => x + y, floats: add })),
  define("product", 1, (a) => accumulate(a!, { start: 1n, integers: (x, y) => x * y, floats: multiply })),
  define("numbers.range", 2, (a, b) => range(asBigInt(a), asBigInt(b), 1n)),
  define("numbers.range_step", 3, (a, b, step) => rangeStep(a!, b!, step!)),
  define("bits.negate", 1, (a) => int(~asBigInt(a))),
  bits("bits.and", (a, b) => a & b),
  bits("bits.or", (a, b) => a | b),
  bits("bits.xor", (a, b) => a ^ b),
  define("bits.lsh", 2, (a, b) => shift(a!, b!, (x, by) => x << by)),
  define("bits.rsh", 2, (a, b) => shift(a!, b!, (x, by) => x >> by)),
  define("format_int", 2, (a, b) => formatInt(a!, b!)),
  define("to_number", 1, (a) => toNumber(a!)),
];
