/** JSON in and out as Go's encoding/json has it: numbers keep their text, objects are sorted by key, HTML is escaped. */
import {
  compareStrings,
  type RegoEntry,
  RegoNumber,
  RegoObject,
  RegoSet,
  type RegoValue,
  regoObject,
  regoSet,
} from "../rego-value.ts";
import { asArray, asBoolean, asObject, asString, BuiltinError, define, fail, type HostBuiltin } from "./define.ts";

const DEPTH_MAX = 500;
const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const HTML = /[<>&\u2028\u2029]/g;

function quote(text: string): string {
  return JSON.stringify(text).replace(HTML, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

type Layout = { readonly prefix: string; readonly indent: string } | undefined;

export function marshal(value: RegoValue, layout?: Layout, depth = 0): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return quote(value);
  if (value instanceof RegoNumber) return JSON_NUMBER.test(value.text) ? value.text : fail("not a JSON number");
  if (value instanceof RegoObject) return wrap("{}", members(value, layout, depth), { layout, depth });
  const items = value instanceof RegoSet ? value.items : (value as readonly RegoValue[]);
  const texts = items.map((item) => marshal(item, layout, depth + 1));
  return wrap("[]", texts, { layout, depth });
}

function members(value: RegoObject, layout: Layout, depth: number): string[] {
  const byName = new Map(value.entries.map(([key, one]): [string, RegoValue] => [memberName(key), one]));
  const names = [...byName.keys()].sort(compareStrings);
  const colon = layout === undefined ? ":" : ": ";
  return names.map((name) => `${quote(name)}${colon}${marshal(byName.get(name)!, layout, depth + 1)}`);
}

/** A key that is not a string becomes its own JSON text. */
function memberName(key: RegoValue): string {
  return typeof key === "string" ? key : marshal(key);
}

function wrap(brackets: string, parts: readonly string[], at: { layout: Layout; depth: number }): string {
  if (parts.length === 0) return brackets;
  if (at.layout === undefined) return `${brackets[0]}${parts.join(",")}${brackets[1]}`;
  const line = `\n${at.layout.prefix}${at.layout.indent.repeat(at.depth)}`;
  return `${brackets[0]}${parts.map((part) => line + at.layout!.indent + part).join(",")}${line}${brackets[1]}`;
}

function marshalWithOptions(value: RegoValue, options: RegoValue): RegoValue {
  let isPretty: boolean | undefined;
  const layout = { prefix: "", indent: "\t" };
  const given = asObject(options).entries;
  for (const [key, option] of given) {
    if (key === "prefix") layout.prefix = asString(option);
    else if (key === "indent") layout.indent = asString(option);
    else if (key === "pretty") isPretty = asBoolean(option);
    else fail("unknown option");
  }
  if (!(isPretty ?? given.length > 0)) return marshal(value);
  return layout.prefix + marshal(value, layout);
}

export function unmarshal(text: string): RegoValue {
  checkJson(text);
  return new JsonReader(text).value(0);
}

/** JSON.parse decides what is JSON: its grammar and Go's are both RFC 8259. */
function checkJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new BuiltinError("not JSON");
    throw cause;
  }
}

function isJson(value: RegoValue): boolean {
  if (typeof value !== "string") return false;
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;
const SCALAR = /[^\s,\]}]+/y;

/** Over text already known to be JSON. */
class JsonReader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  value(depth: number): RegoValue {
    if (depth > DEPTH_MAX) throw new RangeError(`JSON is nested deeper than ${DEPTH_MAX}`);
    this.take(SPACE);
    const c = this.text[this.at];
    if (c === "{") return this.object(depth);
    if (c === "[") return this.array(depth);
    if (c === '"') return this.string();
    const word = this.take(SCALAR);
    if (word === "null") return null;
    if (word === "true" || word === "false") return word === "true";
    return new RegoNumber(word);
  }

  private string(): string {
    return (JSON.parse(this.take(STRING)) as string).toWellFormed();
  }

  private array(depth: number): RegoValue[] {
    const items: RegoValue[] = [];
    this.at++;
    for (let isFirst = true; !this.closes("]"); isFirst = false) {
      if (!isFirst) this.at++;
      items.push(this.value(depth + 1));
    }
    return items;
  }

  private object(depth: number): RegoValue {
    const entries: RegoEntry[] = [];
    this.at++;
    for (let isFirst = true; !this.closes("}"); isFirst = false) {
      if (!isFirst) this.at++;
      this.take(SPACE);
      const key = this.string();
      this.take(SPACE);
      this.at++;
      entries.push([key, this.value(depth + 1)]);
    }
    return regoObject(entries);
  }

  private closes(bracket: string): boolean {
    this.take(SPACE);
    if (this.text[this.at] !== bracket) return false;
    this.at++;
    return true;
  }

  private take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? "";
    this.at += found.length;
    return found;
  }
}

type Paths = readonly (readonly RegoValue[])[];

function jsonPaths(value: RegoValue): Paths {
  const items = value instanceof RegoSet ? value.items : asArray(value);
  return items.map(jsonPath);
}

export function jsonPath(path: RegoValue): readonly RegoValue[] {
  if (Array.isArray(path)) return path;
  const text = asString(path);
  if (text === "") return [];
  return text
    .replace(/^\/+/, "")
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** Paths as a tree; null marks the end of one. A path through another's end adds nothing. */
type Tree = Map<string, { readonly key: RegoValue; readonly sub: Tree | null }>;

function pathTree(paths: Paths): Tree {
  const root: Tree = new Map();
  for (const path of paths) addPath(root, path);
  return root;
}

function addPath(root: Tree, path: readonly RegoValue[]): void {
  let node = root;
  for (let i = 0; i < path.length; i++) {
    const name = treeKey(path[i]!);
    if (i === path.length - 1) {
      node.set(name, { key: path[i]!, sub: null });
      return;
    }
    const child = node.get(name);
    if (child?.sub === null) return;
    const sub: Tree = child?.sub ?? new Map();
    if (child === undefined) node.set(name, { key: path[i]!, sub });
    node = sub;
  }
}

function treeKey(key: RegoValue): string {
  return typeof key === "string" ? `"${key}` : marshal(key);
}

function remove(value: RegoValue, tree: Tree): RegoValue {
  const next = (key: RegoValue, one: RegoValue): RegoValue | undefined => {
    const found = tree.get(treeKey(key));
    return found === undefined ? one : found.sub === null ? undefined : remove(one, found.sub);
  };
  if (value instanceof RegoObject) {
    return regoObject(value.entries.map(([key, one]) => [key, next(key, one)] as const).filter(isPresent));
  }
  if (Array.isArray(value)) return value.map((one, i) => next(String(i), one)).filter((one) => one !== undefined);
  if (value instanceof RegoSet) return new RegoSet(value.items.filter((item) => next(item, item) !== undefined));
  return value;
}

/** Keeps what the tree names; items of arrays by index, items of sets by themselves. */
function filter(value: RegoValue, tree: Tree): RegoValue {
  const next = (key: RegoValue, one: RegoValue): RegoValue | undefined => {
    const found = tree.get(treeKey(key));
    return found === undefined ? undefined : found.sub === null ? one : filter(one, found.sub);
  };
  if (value instanceof RegoObject) {
    return regoObject(value.entries.map(([key, one]) => [key, next(key, one)] as const).filter(isPresent));
  }
  if (Array.isArray(value)) return value.map((one, i) => next(String(i), one)).filter((one) => one !== undefined);
  if (value instanceof RegoSet)
    return regoSet(value.items.map((item) => next(item, item)).filter((one) => one !== undefined));
  return value;
}

function isPresent(entry: readonly [RegoValue, RegoValue | undefined]): entry is RegoEntry {
  return entry[1] !== undefined;
}

export const JSON_BUILTINS: readonly HostBuiltin[] = [
  define("json.marshal", 1, (a) => marshal(a!)),
  define("json.marshal_with_options", 2, (a, b) => marshalWithOptions(a!, b!)),
  define("json.unmarshal", 1, (a) => unmarshal(asString(a))),
  define("json.is_valid", 1, (a) => isJson(a!)),
  define("json.filter", 2, (a, b) => filter(asObject(a), pathTree(jsonPaths(b!)))),
  define("json.remove", 2, (a, b) => remove(asObject(a), pathTree(jsonPaths(b!)))),
];
