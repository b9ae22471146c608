/** What every builtin is made of: its name in Rego, its number of operands, and checks that fail as OPA's do. */
import { toInteger, toOpaInt } from "../go/decimal.ts";
import { RegoNumber, RegoObject, RegoSet, type RegoValue } from "../rego-value.ts";
import type { WasmMemory } from "../wasm-memory.ts";

/** An error inside a builtin: the expression is undefined, as in `opa eval` without strict builtin errors. */
export class BuiltinError extends Error {}

export interface HostBuiltin {
  readonly name: string;
  readonly arity: number;
  /** Undefined, or a BuiltinError: the expression is undefined. Anything else thrown faults the evaluation. */
  readonly apply: (...operands: RegoValue[]) => RegoValue | undefined;
  /** A way on addresses, for what policies do often. 0 means: not this case, take `apply`. */
  readonly raw?: (memory: WasmMemory, a: number, b: number) => number;
}

export function define(
  name: string,
  arity: number,
  apply: HostBuiltin["apply"],
  raw?: HostBuiltin["raw"],
): HostBuiltin {
  return raw === undefined ? { name, arity, apply } : { name, arity, apply, raw };
}

export function fail(message = "invalid operand"): never {
  throw new BuiltinError(message);
}

export function asString(value: RegoValue | undefined): string {
  return typeof value === "string" ? value : fail();
}

export function asNumber(value: RegoValue | undefined): RegoNumber {
  return value instanceof RegoNumber ? value : fail();
}

export function asArray(value: RegoValue | undefined): readonly RegoValue[] {
  return Array.isArray(value) ? value : fail();
}

export function asObject(value: RegoValue | undefined): RegoObject {
  return value instanceof RegoObject ? value : fail();
}

export function asSet(value: RegoValue | undefined): RegoSet {
  return value instanceof RegoSet ? value : fail();
}

export function asBoolean(value: RegoValue | undefined): boolean {
  return typeof value === "boolean" ? value : fail();
}

/** Items of an array or a set. */
export function asItems(value: RegoValue | undefined): readonly RegoValue[] {
  return value instanceof RegoSet ? value.items : asArray(value);
}

/** Only digits are integers here, and digits with a fraction of zeros: 1.0 is one, 1e3 is not. */
export function asInt(value: RegoValue | undefined): number {
  const integer = toOpaInt(asNumber(value).text);
  if (integer === undefined) fail();
  return Number(integer);
}

/** Any spelling of an integer of any size: 1.0 and 1e3 are. */
export function asBigInt(value: RegoValue | undefined): bigint {
  return toInteger(asNumber(value).text) ?? fail();
}

export function int(value: number | bigint): RegoNumber {
  return new RegoNumber(value);
}

/**
 * Code points of a string. Rego counts runes; ASCII, which is most, needs no splitting.
 */
export function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** Bytes that need not be UTF-8, as a string; where they are not, no string here can hold them: a fault. */
export function textOfBytes(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}
