/** How stored JSON text is held to what this program writes: member by member, whatever else wrote it. */
import { IntegrityError } from "../core/errors.ts";

export type Check = (value: unknown) => boolean;
export type Shape<T> = { readonly [Member in keyof Required<T>]: Check };

export const isString: Check = (value) => typeof value === "string";
export const isBoolean: Check = (value) => typeof value === "boolean";
export const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
export const isPositive: Check = (value) => Number.isFinite(value) && (value as number) > 0;
export const isStrings: Check = (value) => Array.isArray(value) && value.every(isString);
export const isObject: Check = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** JSON text of an object. */
export const isObjectText: Check = (value) => {
  try {
    return typeof value === "string" && isObject(JSON.parse(value));
  } catch {
    return false;
  }
};

export const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string);

export const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

export const listOf =
  (shape: object): Check =>
  (value) =>
    Array.isArray(value) && value.every((one) => fits(one, shape));

/** @throws IntegrityError where the text is not JSON of this shape */
export function parsed<T>(name: string, text: string, shape: Shape<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw corrupted(name, cause);
  }
  if (!fits(value, shape)) throw corrupted(name);
  return value as T;
}

export function fits(value: unknown, shape: object): boolean {
  if (!isObject(value)) return false;
  for (const [member, check] of Object.entries(shape)) {
    if (!(check as Check)((value as Record<string, unknown>)[member])) return false;
  }
  return true;
}

export function corrupted(name: string, cause?: unknown): IntegrityError {
  return new IntegrityError("integrity_failure", `Stored ${name} does not hold: not a record of this program`, {
    cause,
  });
}
