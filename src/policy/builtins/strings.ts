/** Strings: runes where OPA counts runes, Go's rules for case, space and replacement. */

import { toOpaInt } from "../go/decimal.ts";
import { type FormatArgument, sprintf } from "../go/sprintf.ts";
import { lowerGo, trimSpaceGo, upperGo } from "../go/unicode.ts";
import { printRego, RegoNumber, RegoSet, type RegoValue } from "../rego-value.ts";
import { asArray, asInt, asItems, asObject, asString, define, fail, type HostBuiltin, int, isAscii } from "./define.ts";

function concat(separator: RegoValue, items: RegoValue): RegoValue {
  const by = asString(separator);
  return asItems(items).map(asString).join(by);
}

function indexOf(base: RegoValue, search: RegoValue): RegoValue {
  const text = asString(base);
  const wanted = asString(search);
  if (wanted === "") fail("empty search character");
  const at = text.indexOf(wanted);
  return int(at < 0 ? -1 : runeCount(text.slice(0, at)));
}

function indexOfN(base: RegoValue, search: RegoValue): RegoValue {
  const text = asString(base);
  const wanted = asString(search);
  if (wanted === "") fail("empty search character");
  const found: RegoNumber[] = [];
  let runes = 0;
  let counted = 0;
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
    runes += runeCount(text.slice(counted, at));
    counted = at;
    found.push(int(runes));
  }
  return found;
}

function runeCount(text: string): number {
  return isAscii(text) ? text.length : [...text].length;
}

function substring(base: RegoValue, offset: RegoValue, length: RegoValue): RegoValue {
  const text = asString(base);
  const from = asInt(offset);
  const count = asInt(length);
  if (from < 0) fail("negative offset");
  const to = count < 0 ? undefined : from + count;
  return isAscii(text) ? text.slice(from, to) : [...text].slice(from, to).join("");
}

/** At every place the first key that fits, in the order of the keys; an empty key fits between all bytes. */
function replaceAll(text: string, pairs: readonly (readonly [string, string])[]): string {
  if (pairs.some(([key]) => key === "") && !isAscii(text)) {
    throw new RangeError("Replacing the empty string would split characters into bytes");
  }
  let out = "";
  let last = 0;
  let wasEmpty = false;
  for (let at = 0; at <= text.length; ) {
    const pair = pairs.find(([key]) => !(wasEmpty && key === "") && text.startsWith(key, at));
    wasEmpty = pair !== undefined && pair[0] === "";
    if (pair === undefined) {
      at++;
      continue;
    }
    out += text.slice(last, at) + pair[1];
    at += pair[0].length;
    last = at;
  }
  return out + text.slice(last);
}

function replace(text: RegoValue, old: RegoValue, by: RegoValue): RegoValue {
  const key = asString(old);
  if (key !== "") return asString(text).split(key).join(asString(by));
  return replaceAll(asString(text), [[key, asString(by)]]);
}

function replaceN(patterns: RegoValue, text: RegoValue): RegoValue {
  const pairs = asObject(patterns).entries.map(([key, value]) => [asString(key), asString(value)] as const);
  return replaceAll(asString(text), pairs);
}

function split(text: RegoValue, by: RegoValue): string[] {
  return splitText(asString(text), asString(by));
}

function splitText(text: string, by: string): string[] {
  return by === "" ? [...text] : text.split(by);
}

function splitN(text: RegoValue, by: RegoValue, count: RegoValue): RegoValue {
  const n = asInt(count);
  const parts = splitText(asString(text), asString(by));
  if (n < 0) return parts.slice(Math.max(parts.length + n, 0));
  return parts.slice(0, n);
}

function trimmer(sides: "both" | "left" | "right"): (text: RegoValue, cutset: RegoValue) => string {
  return (text, cutset) => {
    const runes = [...asString(text)];
    const cut = new Set(asString(cutset));
    let from = 0;
    let to = runes.length;
    if (sides !== "right") while (from < to && cut.has(runes[from]!)) from++;
    if (sides !== "left") while (to > from && cut.has(runes[to - 1]!)) to--;
    return runes.slice(from, to).join("");
  };
}

function trimPrefix(text: RegoValue, prefix: RegoValue): RegoValue {
  const [whole, start] = [asString(text), asString(prefix)];
  return whole.startsWith(start) ? whole.slice(start.length) : whole;
}

function trimSuffix(text: RegoValue, suffix: RegoValue): RegoValue {
  const [whole, end] = [asString(text), asString(suffix)];
  return whole.endsWith(end) ? whole.slice(0, whole.length - end.length) : whole;
}

function strings(value: RegoValue): readonly string[] {
  return typeof value === "string" ? [value] : asItems(value).map(asString);
}

function anyMatch(test: (text: string, part: string) => boolean): (a: RegoValue, b: RegoValue) => boolean {
  return (a, b) => {
    const texts = strings(a);
    const parts = strings(b);
    return texts.some((text) => parts.some((part) => test(text, part)));
  };
}

function count(text: RegoValue, search: RegoValue): RegoValue {
  const [whole, part] = [asString(text), asString(search)];
  return int(part === "" ? runeCount(whole) + 1 : whole.split(part).length - 1);
}

function format(template: RegoValue, values: RegoValue): RegoValue {
  return sprintf(asString(template), asArray(values).map(formatArgument));
}

/** The Go types that OPA gives to fmt: everything composite is already its printed term. */
function formatArgument(value: RegoValue): FormatArgument {
  if (typeof value === "string") return { type: "string", value };
  if (!(value instanceof RegoNumber)) return { type: "string", value: printRego(value) };
  const { text } = value;
  const integer = toOpaInt(text);
  if (integer !== undefined) return { type: "int64", value: integer };
  if (text.includes(".")) {
    const float = Number(text);
    return Number.isFinite(float) ? { type: "float64", value: float } : { type: "string", value: text };
  }
  return /^[+-]?\d+$/.test(text)
    ? { type: "*big.Int", value: BigInt(text.replace("+", "")) }
    : { type: "string", value: text };
}

/** Parts are constants, or sets of at most one value: a part that was undefined says so. */
function template(parts: RegoValue): RegoValue {
  return asArray(parts)
    .map((part) => {
      if (!(part instanceof RegoSet)) return templatePart(part);
      if (part.items.length > 1) throw new Error("Template strings must not produce multiple outputs");
      return part.items.length === 0 ? "<undefined>" : templatePart(part.items[0]!);
    })
    .join("");
}

function templatePart(part: RegoValue): string {
  return typeof part === "string" ? part : printRego(part);
}

export const STRINGS: readonly HostBuiltin[] = [
  define("concat", 2, (a, b) => concat(a!, b!)),
  define("indexof", 2, (a, b) => indexOf(a!, b!)),
  define("indexof_n", 2, (a, b) => indexOfN(a!, b!)),
  define("substring", 3, (a, b, c) => substring(a!, b!, c!)),
  define("lower", 1, (a) => lowerGo(asString(a))),
  define("upper", 1, (a) => upperGo(asString(a))),
  define("contains", 2, (a, b) => asString(a).includes(asString(b))),
  define("startswith", 2, (a, b) => asString(a).startsWith(asString(b))),
  define("endswith", 2, (a, b) => asString(a).endsWith(asString(b))),
  define("split", 2, (a, b) => split(a!, b!)),
  define("strings.split_n", 3, (a, b, c) => splitN(a!, b!, c!)),
  define("replace", 3, (a, b, c) => replace(a!, b!, c!)),
  define("strings.replace_n", 2, (a, b) => replaceN(a!, b!)),
  define("strings.reverse", 1, (a) => [...asString(a)].reverse().join("")),
  define("strings.count", 2, (a, b) => count(a!, b!)),
  define("strings.any_prefix_match", 2, (a, b) => anyMatch((text, part) => text.startsWith(part))(a!, b!)),
  define("strings.any_suffix_match", 2, (a, b) => anyMatch((text, part) => text.endsWith(part))(a!, b!)),
  define("trim", 2, (a, b) => trimmer("both")(a!, b!)),
  define("trim_left", 2, (a, b) => trimmer("left")(a!, b!)),
  define("trim_right", 2, (a, b) => trimmer("right")(a!, b!)),
  define("trim_prefix", 2, (a, b) => trimPrefix(a!, b!)),
  define("trim_suffix", 2, (a, b) => trimSuffix(a!, b!)),
  define("trim_space", 1, (a) => trimSpaceGo(asString(a))),
  define("sprintf", 2, (a, b) => format(a!, b!)),
  define("internal.template_string", 1, (a) => template(a!)),
];
