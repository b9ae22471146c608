/** Values that know where they were written. */
import type { Json } from "../../core/types.ts";
import type { Position } from "./finding.ts";

export interface LocatedMap {
  readonly kind: "map";
  readonly at: Position;
  readonly members: ReadonlyMap<string, LocatedMember>;
}

export interface LocatedMember {
  /** Of its name. */
  readonly at: Position;
  readonly value: Located;
}

export interface LocatedList {
  readonly kind: "list";
  readonly at: Position;
  readonly items: readonly Located[];
}

export interface LocatedScalar {
  readonly kind: "scalar";
  readonly at: Position;
  readonly value: string | number | boolean | null;
}

export type Located = LocatedMap | LocatedList | LocatedScalar;

export function plainOf(located: Located): Json {
  switch (located.kind) {
    case "scalar":
      return located.value;
    case "list":
      return located.items.map(plainOf);
    case "map":
      // From entries, so that a key called `__proto__` is one like any other.
      return Object.fromEntries([...located.members].map(([name, { value }]) => [name, plainOf(value)]));
  }
}

/** A value whose file says nothing of lines. */
export function locatedAt(at: Position, value: Json): Located {
  if (Array.isArray(value)) return { kind: "list", at, items: value.map((item: Json) => locatedAt(at, item)) };
  if (typeof value !== "object" || value === null)
    return { kind: "scalar", at, value: value as LocatedScalar["value"] };
  const members = Object.entries(value).map(([name, inner]): [string, LocatedMember] => [
    name,
    { at, value: locatedAt(at, inner) },
  ]);
  return { kind: "map", at, members: new Map(members) };
}

/**
 * Where the value at `path` is, or what is nearest above it. A number is stepped over where there is no list: one name
 * may stand for a list of one.
 */
export function positionAt(root: Located, path: readonly (string | number)[]): Position {
  let current = root;
  for (const step of path) {
    const next = typeof step === "number" ? itemOf(current, step) : memberOf(current, step);
    if (next === undefined) break;
    current = next;
  }
  return current.at;
}

function itemOf(located: Located, index: number): Located | undefined {
  return located.kind === "list" ? located.items[index] : located;
}

export function memberOf(located: Located, name: string): Located | undefined {
  return located.kind === "map" ? located.members.get(name)?.value : undefined;
}

/** How a kind is called in a sentence. Never the value itself. */
export function kindText(located: Located): string {
  if (located.kind === "map") return "an object";
  if (located.kind === "list") return "a list";
  if (located.value === null) return "nothing";
  return typeof located.value === "string" ? "a text" : `a ${typeof located.value}`;
}
