/**
 * Regular expressions by RE2JS, whose engine and parser follow Go's regexp but are not the same program: what the two
 * read differently, or could, is a fault (`go/regex-pattern.ts`).
 */
import { RE2JS } from "re2js";
import { checkText, isInvalidInGo, readPattern } from "../go/regex-pattern.ts";
import type { RegoValue } from "../rego-value.ts";
import { asInt, asString, BuiltinError, define, fail, type HostBuiltin } from "./define.ts";

interface Compiled {
  readonly re: RE2JS;
  readonly isUnicodeSensitive: boolean;
}

const CACHE_MAX = 500;
const compiled = new Map<string, Compiled>();

/** Patterns are the policy's, but may be built from input: the cache is bounded, oldest out first. */
function compile(pattern: string): Compiled {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  const fresh = tryCompile(pattern);
  if (compiled.size >= CACHE_MAX) compiled.delete(compiled.keys().next().value!);
  compiled.set(pattern, fresh);
  return fresh;
}

/** @throws BuiltinError where Go refuses the pattern too; any other error, a fault, where that is not known */
function tryCompile(pattern: string): Compiled {
  const { isUnicodeSensitive } = readPattern(pattern);
  try {
    return { re: RE2JS.compile(pattern), isUnicodeSensitive };
  } catch (cause) {
    if (isInvalidInGo(cause)) throw new BuiltinError("invalid pattern", { cause });
    throw new RangeError("This regular expression is not supported", { cause });
  }
}

/** The pattern, for this text. */
function compileFor(pattern: string, text: string): RE2JS {
  const { re, isUnicodeSensitive } = compile(pattern);
  if (isUnicodeSensitive) checkText(text);
  return re;
}

function isValid(value: RegoValue): boolean {
  if (typeof value !== "string") return false;
  try {
    compile(value);
    return true;
  } catch (thrown) {
    if (thrown instanceof BuiltinError) return false;
    throw thrown;
  }
}

/** Start and end of each group, -1 where it took no part; UTF-16 offsets. */
type Match = readonly (readonly [number, number])[];

/** Go's FindAll: an empty match right behind a match does not count. */
function findAll(re: RE2JS, text: string, limit: number): Match[] {
  const found: Match[] = [];
  const matcher = re.matcher(text);
  let previousEnd = -1;
  for (let at = 0; at <= text.length && (limit < 0 || found.length < limit) && matcher.find(at); ) {
    const start = matcher.start();
    const end = matcher.end();
    const isAccepted = end !== at || start !== previousEnd;
    at = end === at ? at + runeLength(text, at) : end;
    previousEnd = end;
    if (isAccepted) found.push(groups(matcher));
  }
  return found;
}

function runeLength(text: string, at: number): number {
  const code = text.codePointAt(at);
  return code !== undefined && code > 0xffff ? 2 : 1;
}

type Matcher = ReturnType<RE2JS["matcher"]>;

function groups(matcher: Matcher): Match {
  return Array.from({ length: matcher.groupCount() + 1 }, (_, i) => [matcher.start(i), matcher.end(i)] as const);
}

function group(text: string, match: Match, i: number): string {
  const at = match[i];
  return at === undefined || at[0] < 0 ? "" : text.slice(at[0], at[1]);
}

function findN(pattern: RegoValue, value: RegoValue, count: RegoValue): RegoValue {
  const text = asString(value);
  const n = asInt(count);
  return findAll(compileFor(asString(pattern), text), text, n).map((match) => group(text, match, 0));
}

function findSubmatches(pattern: RegoValue, value: RegoValue, count: RegoValue): RegoValue {
  const text = asString(value);
  const n = asInt(count);
  return findAll(compileFor(asString(pattern), text), text, n).map((match) =>
    match.map((_, i) => group(text, match, i)),
  );
}

function split(pattern: RegoValue, value: RegoValue): RegoValue {
  const expression = asString(pattern);
  const text = asString(value);
  const re = compileFor(expression, text);
  if (expression !== "" && text === "") return [""];
  const parts: string[] = [];
  let begin = 0;
  let end = 0;
  for (const match of findAll(re, text, -1)) {
    end = match[0]![0];
    if (match[0]![1] !== 0) parts.push(text.slice(begin, end));
    begin = match[0]![1];
  }
  if (end !== text.length) parts.push(text.slice(begin));
  return parts;
}

function replace(base: RegoValue, pattern: RegoValue, by: RegoValue): RegoValue {
  const text = asString(base);
  const expression = asString(pattern);
  const template = asString(by);
  const re = compileFor(expression, text);
  let out = "";
  let last = 0;
  for (const match of findAll(re, text, -1)) {
    out += text.slice(last, match[0]![0]) + expand(template, { re, text, match });
    last = match[0]![1];
  }
  return out + text.slice(last);
}

const REFERENCE = /\$(?:\$|\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))/gu;

/** Without leading zeros and below a billion; other digits are a name, which no group has to have. */
const GROUP_NUMBER = /^(?:0|[1-9]\d{0,8})$/;

function namedGroup(re: RE2JS, name: string): number | undefined {
  const groups = re.namedGroups();
  return Object.hasOwn(groups, name) ? groups[name] : undefined;
}

/** $1, $name, ${name}, $$; the longest name counts, so $1x is a group named 1x. */
function expand(template: string, found: { re: RE2JS; text: string; match: Match }): string {
  return template.replace(REFERENCE, (whole, braced?: string, bare?: string) => {
    const name = braced ?? bare;
    if (whole === "$$" || name === undefined) return "$";
    const index = GROUP_NUMBER.test(name) ? Number(name) : namedGroup(found.re, name);
    return index === undefined ? "" : group(found.text, found.match, index);
  });
}

function templateMatch(operands: readonly RegoValue[]): boolean {
  const [template, text, open, close] = operands.map(asString) as [string, string, string, string];
  if (Buffer.byteLength(open) !== 1 || Buffer.byteLength(close) !== 1) fail("delimiters are single characters");
  return compileFor(templatePattern(template, open, close), text)
    .matcher(text)
    .find();
}

/** Text outside the delimiters is literal, text inside is a pattern. */
function templatePattern(template: string, open: string, close: string): string {
  let out = "^";
  let literal = 0;
  let level = 0;
  let from = 0;
  for (let i = 0; i < template.length; i++) {
    if (template[i] === open) {
      if (++level === 1) from = i;
    } else if (template[i] === close) {
      if (--level < 0) fail("unbalanced");
      if (level > 0) continue;
      const pattern = template.slice(from + 1, i);
      compile(`^${pattern}$`);
      out += `${quoteMeta(template.slice(literal, from))}(${pattern})`;
      literal = i + 1;
    }
  }
  if (level !== 0) fail("unbalanced");
  return `${out}${quoteMeta(template.slice(literal))}$`;
}

function quoteMeta(text: string): string {
  return text.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&");
}

const GLOB_SPECIAL = /[*?\\[\]{}]/g;

export const REGEX: readonly HostBuiltin[] = [
  define("regex.is_valid", 1, (a) => isValid(a!)),
  define("regex.match", 2, (a, b) => matches(a!, b!)),
  define("regex.find_n", 3, (a, b, n) => findN(a!, b!, n!)),
  define("regex.find_all_string_submatch_n", 3, (a, b, n) => findSubmatches(a!, b!, n!)),
  define("regex.split", 2, (a, b) => split(a!, b!)),
  define("regex.replace", 3, (a, b, c) => replace(a!, b!, c!)),
  define("regex.template_match", 4, (...operands) => templateMatch(operands)),
  define("glob.quote_meta", 1, (a) => asString(a).replace(GLOB_SPECIAL, "\\$&")),
];

function matches(pattern: RegoValue, value: RegoValue): boolean {
  const expression = asString(pattern);
  const text = asString(value);
  return compileFor(expression, text).matcher(text).find();
}
