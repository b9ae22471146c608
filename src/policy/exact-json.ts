/**
 * JSON compared by what it denotes, with numbers of any size and precision as they are written: neither engine's number
 * may become another one on the way into a comparison.
 */
import { isSameDecimal } from "../core/read-json.ts";
import type { Json, JsonObject } from "../core/types.ts";

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/g;

/** @param a JSON text, as `b` is */
export function isSameJson(a: string, b: string): boolean {
  return a === b || isSame(marked(a), marked(b));
}

/** As `isSameJson`, where of an object only the members that `expected` has are compared, at any depth outside of lists. */
export function hasJson(text: string, expected: string): boolean {
  return has(marked(text), marked(expected));
}

function has(value: Json, expected: Json): boolean {
  if (!isObject(expected) || !isObject(value)) return isSame(value, expected);
  return Object.entries(expected).every(([key, one]) => Object.hasOwn(value, key) && has(value[key]!, one));
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Every text, keys included, begins with "$", and every number is a text that begins with "#". */
function marked(text: string): Json {
  const replaced = text.replace(STRING_OR_NUMBER, (token) =>
    token.startsWith('"') ? `"$${token.slice(1)}` : `"#${token}"`,
  );
  return JSON.parse(replaced) as Json;
}

function isSame(a: Json, b: Json): boolean {
  if (typeof a === "string" && typeof b === "string")
    return a === b || (a.startsWith("#") && b.startsWith("#") && isSameDecimal(a.slice(1), b.slice(1)));
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    return a.every((one: Json, index) => isSame(one, b[index] as Json));
  }
  const [left, right] = [a as JsonObject, b as JsonObject];
  const keys = Object.keys(left);
  return (
    keys.length === Object.keys(right).length &&
    keys.every((key) => Object.hasOwn(right, key) && isSame(left[key]!, right[key]!))
  );
}
