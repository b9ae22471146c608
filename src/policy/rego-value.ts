/**
 * Rego values with everything JSON loses: sets, keys that are not strings, numbers of any size and precision.
 *
 * null, booleans and strings are themselves, arrays are JavaScript arrays; the rest has a class. Strings are well-formed
 * UTF-16: a value that holds bytes which are not UTF-8 cannot be carried across and faults the evaluation instead.
 */
import { compareDecimals } from "./go/decimal.ts";
import { quoteGo } from "./go/quote.ts";

export type RegoValue = null | boolean | string | RegoNumber | readonly RegoValue[] | RegoObject | RegoSet;
export type RegoType = "null" | "boolean" | "number" | "string" | "array" | "object" | "set";

/** A number as the text that OPA carries: `1e2` and `100` are equal, and are printed differently. */
export class RegoNumber {
  readonly text: string;
  constructor(text: string | number | bigint) {
    this.text = typeof text === "string" ? text : String(text);
  }
}

export type RegoEntry = readonly [RegoValue, RegoValue];

/** Entries in Rego's order of keys, each key once. */
export class RegoObject {
  readonly entries: readonly RegoEntry[];
  constructor(sorted: readonly RegoEntry[]) {
    this.entries = sorted;
  }

  get(key: RegoValue): RegoValue | undefined {
    const at = search(this.entries.length, (i) => compareRego(this.entries[i]![0], key));
    return at < 0 ? undefined : this.entries[at]![1];
  }
}

/** Items in Rego's order, each once. */
export class RegoSet {
  readonly items: readonly RegoValue[];
  constructor(sorted: readonly RegoValue[]) {
    this.items = sorted;
  }

  has(item: RegoValue): boolean {
    return search(this.items.length, (i) => compareRego(this.items[i]!, item)) >= 0;
  }
}

export const EMPTY_OBJECT = new RegoObject([]);
export const EMPTY_SET = new RegoSet([]);

/** Later entries win, as in an OPA object that is inserted into twice. */
export function regoObject(entries: Iterable<RegoEntry>): RegoObject {
  const all = [...entries];
  if (all.length < 2) return new RegoObject(all);
  all.sort((a, b) => compareRego(a[0], b[0]));
  return new RegoObject(all.filter((entry, i) => i + 1 === all.length || compareRego(entry[0], all[i + 1]![0]) !== 0));
}

export function regoSet(items: Iterable<RegoValue>): RegoSet {
  const all = [...items];
  if (all.length < 2) return new RegoSet(all);
  all.sort(compareRego);
  return new RegoSet(all.filter((item, i) => i === 0 || compareRego(item, all[i - 1]!) !== 0));
}

export function regoType(value: RegoValue): RegoType {
  if (value === null) return "null";
  if (typeof value === "string") return "string";
  if (typeof value === "boolean") return "boolean";
  if (value instanceof RegoNumber) return "number";
  if (value instanceof RegoObject) return "object";
  if (value instanceof RegoSet) return "set";
  return "array";
}

const RANK: Record<RegoType, number> = { null: 0, boolean: 1, number: 2, string: 3, array: 4, object: 5, set: 6 };

/** OPA's total order over all values. */
export function compareRego(a: RegoValue, b: RegoValue): number {
  if (typeof a === "string" && typeof b === "string") return compareStrings(a, b);
  const type = regoType(a);
  const rank = RANK[type] - RANK[regoType(b)];
  if (rank !== 0) return rank;
  switch (type) {
    case "null":
      return 0;
    case "boolean":
      return Number(a) - Number(b);
    case "number":
      return compareDecimals((a as RegoNumber).text, (b as RegoNumber).text);
    case "string":
      return compareStrings(a as string, b as string);
    case "array":
      return compareLists(a as readonly RegoValue[], b as readonly RegoValue[]);
    case "set":
      return compareLists((a as RegoSet).items, (b as RegoSet).items);
    case "object":
      return compareObjects(a as RegoObject, b as RegoObject);
  }
}

export function equalRego(a: RegoValue, b: RegoValue): boolean {
  return compareRego(a, b) === 0;
}

/** By UTF-8 bytes, as Go compares: code points above U+FFFF come after U+E000 to U+FFFF, unlike in UTF-16. */
export function compareStrings(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const isAstral = (x & 0xf800) === 0xd800;
    return isAstral === ((y & 0xf800) === 0xd800) ? x - y : isAstral ? 1 : -1;
  }
  return a.length - b.length;
}

function compareLists(a: readonly RegoValue[], b: readonly RegoValue[]): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const c = compareRego(a[i]!, b[i]!);
    if (c !== 0) return c;
  }
  return a.length - b.length;
}

function compareObjects(a: RegoObject, b: RegoObject): number {
  const length = Math.min(a.entries.length, b.entries.length);
  for (let i = 0; i < length; i++) {
    const c = compareRego(a.entries[i]![0], b.entries[i]![0]) || compareRego(a.entries[i]![1], b.entries[i]![1]);
    if (c !== 0) return c;
  }
  return a.entries.length - b.entries.length;
}

function search(length: number, compareAt: (i: number) => number): number {
  let low = 0;
  let high = length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const c = compareAt(middle);
    if (c === 0) return middle;
    if (c < 0) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}

/** As OPA prints a term: `{"a": [1, {2, 3}], "b": set()}`. Strings inside are quoted as Go quotes them. */
export function printRego(value: RegoValue): string {
  switch (regoType(value)) {
    case "null":
      return "null";
    case "boolean":
      return String(value);
    case "number":
      return (value as RegoNumber).text;
    case "string":
      return quoteGo(value as string);
    case "array":
      return `[${(value as readonly RegoValue[]).map(printRego).join(", ")}]`;
    case "set": {
      const { items } = value as RegoSet;
      return items.length === 0 ? "set()" : `{${items.map(printRego).join(", ")}}`;
    }
    case "object":
      return `{${(value as RegoObject).entries.map(([k, v]) => `${printRego(k)}: ${printRego(v)}`).join(", ")}}`;
  }
}

/**
 * The value in the syntax of the module's own reader (JSON, with sets and any keys). Set and object braces are told
 * apart by the colon, strings are JSON strings.
 */
export function writeRego(value: RegoValue): string {
  switch (regoType(value)) {
    case "string":
      return JSON.stringify(value);
    case "array":
      return `[${(value as readonly RegoValue[]).map(writeRego).join(",")}]`;
    case "set": {
      const { items } = value as RegoSet;
      return items.length === 0 ? "set()" : `{${items.map(writeRego).join(",")}}`;
    }
    case "object":
      return `{${(value as RegoObject).entries.map(([k, v]) => `${writeRego(k)}:${writeRego(v)}`).join(",")}}`;
    default:
      return printRego(value);
  }
}

/** Reads what `writeRego` and the module's value dump write. For tests and tools; throws on anything else. */
export function parseRego(text: string): RegoValue {
  const reader = new TermReader(text);
  const value = reader.value();
  reader.end();
  return value;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these may not stand unescaped
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;

class TermReader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  end(): void {
    this.space();
    if (this.at !== this.text.length) this.fail();
  }

  value(): RegoValue {
    this.space();
    const c = this.text[this.at];
    if (c === '"') return JSON.parse(this.match(STRING)) as string;
    if (c === "[") return this.list("[", "]");
    if (c === "{") return this.braces();
    if (this.skip("null")) return null;
    if (this.skip("true")) return true;
    if (this.skip("false")) return false;
    if (this.skip("set(")) {
      this.space();
      if (!this.skip(")")) this.fail();
      return EMPTY_SET;
    }
    return new RegoNumber(this.match(NUMBER));
  }

  private braces(): RegoValue {
    this.at++;
    this.space();
    if (this.skip("}")) return EMPTY_OBJECT;
    const first = this.value();
    this.space();
    if (!this.skip(":")) return regoSet(this.rest([first], () => this.value()));
    return regoObject(this.rest([[first, this.value()] as RegoEntry], () => this.entry()));
  }

  private entry(): RegoEntry {
    const key = this.value();
    this.space();
    if (!this.skip(":")) this.fail();
    return [key, this.value()];
  }

  private rest<T>(items: T[], next: () => T): T[] {
    for (;;) {
      this.space();
      if (this.skip("}")) return items;
      if (!this.skip(",")) this.fail();
      items.push(next());
    }
  }

  private list(open: string, close: string): RegoValue[] {
    this.skip(open);
    const items: RegoValue[] = [];
    this.space();
    if (this.skip(close)) return items;
    for (;;) {
      items.push(this.value());
      this.space();
      if (this.skip(close)) return items;
      if (!this.skip(",")) this.fail();
    }
  }

  private space(): void {
    while (" \t\r\n".includes(this.text[this.at] ?? "x")) this.at++;
  }

  private skip(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (found === null) this.fail();
    this.at += found[0].length;
    return found[0];
  }

  private fail(): never {
    throw new Error(`Not a Rego value at offset ${this.at}`);
  }
}
