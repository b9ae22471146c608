/** JSON Pointers (RFC 6901) into values from outside: own members only, so that no prototype ever answers. */
import type { Json } from "./types.ts";

export const POINTER_CHARS_MAX = 512;

const POINTER = /^(?:\/(?:[^~/]|~[01])*)*$/;

/** Segments of a pointer, or undefined where the text is none. */
export function parsePointer(text: string): readonly string[] | undefined {
  if (text.length > POINTER_CHARS_MAX || !POINTER.test(text)) return undefined;
  if (text === "") return [];
  return text
    .slice(1)
    .split("/")
    .map((segment) => segment.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** What is there, or undefined where nothing is. */
export function resolvePointer(value: Json, segments: readonly string[]): Json | undefined {
  let current: Json | undefined = value;
  for (const segment of segments) {
    if (typeof current !== "object" || current === null) return undefined;
    if (Array.isArray(current) && !/^(0|[1-9][0-9]{0,8})$/.test(segment)) return undefined;
    if (!Object.hasOwn(current, segment)) return undefined;
    current = (current as { readonly [key: string]: Json })[segment];
  }
  return current;
}
