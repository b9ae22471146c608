/** What a rewrite changed, place by place. */
import { escapePointer } from "../core/read-json.ts";
import type { Json, JsonObject } from "../core/types.ts";

export interface ArgumentChange {
  /** RFC 6901. */
  readonly pointer: string;
  /** Absent where it was added. */
  readonly from?: Json;
  /** Absent where it was removed. */
  readonly to?: Json;
}

/** Objects are compared member by member; anything else that differs is replaced as a whole. */
export function argumentChanges(from: Json, to: Json, pointer = ""): ArgumentChange[] {
  if (JSON.stringify(from) === JSON.stringify(to)) return [];
  if (!isObject(from) || !isObject(to)) return [{ pointer, from, to }];
  return [...new Set([...Object.keys(from), ...Object.keys(to)])].flatMap((key) => {
    const at = `${pointer}/${escapePointer(key)}`;
    if (!Object.hasOwn(to, key)) return [{ pointer: at, from: from[key]! }];
    if (!Object.hasOwn(from, key)) return [{ pointer: at, to: to[key]! }];
    return argumentChanges(from[key]!, to[key]!, at);
  });
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
