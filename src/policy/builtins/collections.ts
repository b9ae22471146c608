/** Objects, sets, arrays and graphs. */
import {
  compareRego,
  EMPTY_SET,
  equalRego,
  RegoObject,
  RegoSet,
  type RegoValue,
  regoObject,
  regoSet,
} from "../rego-value.ts";
import { asArray, asBoolean, asItems, asObject, asString, define, fail, type HostBuiltin } from "./define.ts";
import { jsonPath } from "./json.ts";

function isSubset(whole: RegoValue, part: RegoValue): boolean {
  if (whole instanceof RegoObject && part instanceof RegoObject) return isSubObject(whole, part);
  if (whole instanceof RegoSet && part instanceof RegoSet) return part.items.every((item) => whole.has(item));
  if (Array.isArray(whole) && Array.isArray(part)) return isSubArray(whole, part);
  if (Array.isArray(whole) && part instanceof RegoSet) return isItemsOf(whole, part);
  return fail("operands of different types");
}

function isSubObject(whole: RegoObject, part: RegoObject): boolean {
  return part.entries.every(([key, value]) => {
    const found = whole.get(key);
    if (found === undefined) return false;
    if (equalRego(found, value)) return true;
    const isPair =
      (found instanceof RegoObject && value instanceof RegoObject) ||
      (found instanceof RegoSet && value instanceof RegoSet);
    return (isPair || (Array.isArray(found) && Array.isArray(value))) && isSubset(found, value);
  });
}

/** OPA's search: after a mismatch it goes on behind what it had compared, and so misses some overlaps. Kept as it is. */
function isSubArray(whole: readonly RegoValue[], part: readonly RegoValue[]): boolean {
  if (part.length > whole.length) return false;
  let at = 0;
  let matched = 0;
  for (;;) {
    if (matched === part.length) return true;
    if (at + matched === whole.length) return false;
    if (compareRego(whole[at + matched]!, part[matched]!) === 0) matched++;
    else {
      at++;
      matched = 0;
    }
  }
}

/** Counts hits, duplicates included, as OPA does. */
function isItemsOf(whole: readonly RegoValue[], part: RegoSet): boolean {
  let unmatched = part.items.length;
  return whole.some((item) => {
    if (part.has(item)) unmatched--;
    return unmatched === 0;
  });
}

const PATHS_MAX = 100_000;

function reachablePaths(graph: RegoValue, initial: RegoValue): RegoValue {
  const edgesOf = asObject(graph);
  const paths: RegoValue[] = [];
  const walk = (node: RegoValue, path: readonly RegoValue[]): void => {
    if (paths.length > PATHS_MAX) throw new RangeError(`Graph has more than ${PATHS_MAX} paths`);
    const edges = edgesOf.get(node);
    if (edges === undefined) {
      paths.push(path);
      return;
    }
    const longer = [...path, node];
    const neighbours = vertices(edges);
    if (neighbours.length === 0) paths.push(longer);
    for (const next of neighbours) {
      if (longer.some((seen) => equalRego(seen, next))) paths.push(longer);
      else walk(next, longer);
    }
  };
  for (const root of asItems(initial)) startAt(root);
  return regoSet(paths);

  function startAt(root: RegoValue): void {
    const edges = edgesOf.get(root);
    if (edges === undefined) return;
    const neighbours = vertices(edges);
    if (neighbours.length === 0) paths.push([root]);
    for (const next of neighbours) {
      if (equalRego(next, root)) paths.push([root]);
      else walk(next, [root]);
    }
  }
}

function vertices(value: RegoValue): readonly RegoValue[] {
  return value instanceof RegoSet ? value.items : Array.isArray(value) ? (value as readonly RegoValue[]) : [];
}

function unionN(objects: RegoValue): RegoValue {
  return asArray(objects).map(asObject).reduce<RegoObject>(mergeObjects, new RegoObject([]));
}

function mergeObjects(a: RegoObject, b: RegoObject): RegoObject {
  const merged = a.entries.map(([key, value]): readonly [RegoValue, RegoValue] => {
    const other = b.get(key);
    if (other === undefined) return [key, value];
    return [key, value instanceof RegoObject && other instanceof RegoObject ? mergeObjects(value, other) : other];
  });
  return regoObject([...merged, ...b.entries.filter(([key]) => a.get(key) === undefined)]);
}

function patch(target: RegoValue, operations: RegoValue): RegoValue {
  return asArray(operations).reduce<RegoValue>((value, operation) => patchOne(value, asObject(operation)), target);
}

/** null is a value. */
function present(value: RegoValue | undefined): RegoValue {
  return value === undefined ? fail("not there") : value;
}

function member(operation: RegoObject, name: string): RegoValue {
  return present(operation.get(name));
}

function patchOne(target: RegoValue, operation: RegoObject): RegoValue {
  const path = jsonPath(member(operation, "path"));
  switch (asString(member(operation, "op"))) {
    case "add":
      return insertAt(target, path, member(operation, "value"));
    case "remove":
      return removeAt(target, path);
    case "replace": {
      const rest = removeAt(target, path);
      return insertAt(rest, path, member(operation, "value"));
    }
    case "move":
    case "copy":
      return moveOrCopy(target, operation, path);
    case "test":
      return equalRego(valueAt(target, path), member(operation, "value")) ? target : fail("test failed");
    default:
      return fail("unknown op");
  }
}

function moveOrCopy(target: RegoValue, operation: RegoObject, path: readonly RegoValue[]): RegoValue {
  const from = jsonPath(member(operation, "from"));
  const chunk = valueAt(target, from);
  return insertAt(operation.get("op") === "move" ? removeAt(target, from) : target, path, chunk);
}

function valueAt(target: RegoValue, path: readonly RegoValue[]): RegoValue {
  return path.reduce<RegoValue>((value, key) => childOf(value, key), target);
}

function childOf(value: RegoValue, key: RegoValue): RegoValue {
  if (value instanceof RegoObject) return present(value.get(key));
  if (value instanceof RegoSet) return value.has(key) ? key : fail("no such item");
  if (Array.isArray(value)) return present((value as readonly RegoValue[])[indexIn(key, value.length - 1)]);
  return fail("no such path");
}

/** An index as a number or as digits without leading zeros. */
function indexIn(key: RegoValue, max: number): number {
  const text =
    typeof key === "string"
      ? key
      : typeof key === "object" && key !== null && "text" in key
        ? key.text
        : fail("not an index");
  if (!/^(?:0|[1-9]\d*)$/.test(text)) fail("not an index");
  const index = Number(text);
  return index <= max ? index : fail("index out of range");
}

function insertAt(target: RegoValue, path: readonly RegoValue[], value: RegoValue): RegoValue {
  if (path.length === 0) return value;
  return changeAt(target, path, (parent, key) => {
    if (parent instanceof RegoObject)
      return regoObject([...parent.entries.filter(([one]) => !equalRego(one, key)), [key, value]]);
    if (parent instanceof RegoSet)
      return equalRego(key, value) ? regoSet([...parent.items, value]) : fail("set key and value differ");
    const items = asArray(parent);
    const at = key === "-" ? items.length : indexIn(key, items.length);
    return [...items.slice(0, at), value, ...items.slice(at)];
  });
}

function removeAt(target: RegoValue, path: readonly RegoValue[]): RegoValue {
  if (path.length === 0) return null;
  return changeAt(target, path, (parent, key) => {
    childOf(parent, key);
    if (parent instanceof RegoObject) return new RegoObject(parent.entries.filter(([one]) => !equalRego(one, key)));
    if (parent instanceof RegoSet) return new RegoSet(parent.items.filter((one) => !equalRego(one, key)));
    const items = asArray(parent);
    const at = indexIn(key, items.length - 1);
    return [...items.slice(0, at), ...items.slice(at + 1)];
  });
}

type Change = (parent: RegoValue, key: RegoValue) => RegoValue;

function changeAt(target: RegoValue, path: readonly RegoValue[], change: Change): RegoValue {
  const key = path[0]!;
  if (path.length === 1) return change(target, key);
  const child = changeAt(childOf(target, key), path.slice(1), change);
  if (target instanceof RegoObject)
    return regoObject([...target.entries.filter(([one]) => !equalRego(one, key)), [key, child]]);
  if (target instanceof RegoSet) return regoSet([...target.items.filter((one) => !equalRego(one, key)), child]);
  const items = asArray(target);
  return items.with(indexIn(key, items.length - 1), child);
}

/** Deprecated casts: the value where it has the type, an error otherwise. */
const CASTS: readonly HostBuiltin[] = [
  define("cast_array", 1, (a) => [...asItems(a)]),
  define("cast_set", 1, (a) => (a instanceof RegoSet ? a : a === undefined ? EMPTY_SET : regoSet(asArray(a)))),
  define("cast_string", 1, (a) => asString(a)),
  define("cast_boolean", 1, (a) => asBoolean(a)),
  define("cast_null", 1, (a) => (a === null ? null : fail())),
  define("cast_object", 1, (a) => asObject(a)),
];

export const COLLECTIONS: readonly HostBuiltin[] = [
  ...CASTS,
  define("object.keys", 1, (a) => new RegoSet(asObject(a).entries.map(([key]) => key))),
  define("object.subset", 2, (a, b) => isSubset(a!, b!)),
  define("object.union_n", 1, (a) => unionN(a!)),
  define("array.reverse", 1, (a) => asArray(a).toReversed()),
  define("graph.reachable_paths", 2, (a, b) => reachablePaths(a!, b!)),
  define("json.patch", 2, (a, b) => patch(a!, b!)),
];
