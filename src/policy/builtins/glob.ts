/**
 * `glob.match` over the part of gobwas/glob on which its releases agree. OPA 1.20 has 0.2.3, with faults of its own that
 * 1.0.0 mends: a prefix and a suffix may overlap, a single `[!a]` takes the empty text, alternatives lose matches, two
 * delimiters shadow each other, runes are counted as bytes. What comes near one of them is a fault.
 */
import { RE2JS } from "re2js";
import type { RegoValue } from "../rego-value.ts";
import { asString, define, fail, type HostBuiltin, isAscii } from "./define.ts";

interface Glob {
  readonly re: RE2JS;
  /** One `?` or class and nothing else, which differ on the empty text. */
  readonly isSingle: boolean;
  /** Nothing but a star between these two texts, which may then overlap. */
  readonly ends: readonly [string, string] | undefined;
  readonly wantsAscii: boolean;
}

const CACHE_MAX = 500;
const compiled = new Map<string, Glob>();

function globMatch(pattern: RegoValue, delimiters: RegoValue, value: RegoValue): boolean {
  const expression = asString(pattern);
  const separators = separatorsOf(delimiters);
  const text = asString(value);
  const glob = compile(expression, separators);
  if (glob.wantsAscii && !isAscii(text)) unsupported("[, ? or { on non-ASCII text");
  if (glob.isSingle && text === "") unsupported("one character on the empty text");
  const isMatch = glob.re.matcher(text).matches();
  const { ends } = glob;
  if (!isMatch && ends !== undefined && text.startsWith(ends[0]) && text.endsWith(ends[1]))
    unsupported("a beginning and an end that overlap");
  return isMatch;
}

function unsupported(what: string): never {
  throw new RangeError(`glob.match with ${what} is not supported`);
}

/** None for null, a dot for []. */
function separatorsOf(delimiters: RegoValue): readonly string[] {
  if (delimiters === null) return [];
  if (!Array.isArray(delimiters)) fail();
  const characters = delimiters.map((one) => asString(one as RegoValue));
  if (characters.some((one) => [...one].length !== 1)) fail("a delimiter is one character");
  if (!characters.every(isAscii)) unsupported("delimiters that are not ASCII");
  return characters.length === 0 ? ["."] : [...new Set(characters)];
}

function compile(expression: string, separators: readonly string[]): Glob {
  const key = `${separators.join("")} ${separators.length} ${expression}`;
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const fresh = new GlobReader(expression, separators).read();
  if (compiled.size >= CACHE_MAX) compiled.delete(compiled.keys().next().value!);
  compiled.set(key, fresh);
  return fresh;
}

const CLASS = /\[(!?)(?:([\w./:@ ]+)|([a-z])-([a-z])|([A-Z])-([A-Z])|(\d)-(\d))\]/y;
const ALTERNATIVES = /\{([\w./:@ -]+(?:,[\w./:@ -]+)+)\}/y;

class GlobReader {
  private readonly text: string;
  private readonly separators: readonly string[];
  private readonly notSeparator: string;
  private out = "";
  /** What the pattern is made of: `t` for a run of literal text, `s` one character, `a` alternatives, and stars. */
  private shape = "";
  private readonly literals: string[] = [];

  constructor(text: string, separators: readonly string[]) {
    this.text = text;
    this.separators = separators;
    this.notSeparator = separators.length === 0 ? "[\\x00-\\x{10FFFF}]" : `[^${separators.map(quote).join("")}]`;
  }

  read(): Glob {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: gobwas takes NUL for the end of the pattern
    if (/[\u0000\ufffd]/.test(this.text)) unsupported("NUL or U+FFFD in its pattern");
    for (let at = 0; at < this.text.length; ) at += this.element(at);
    const { shape, literals, separators } = this;
    const isOverlapping = shape === "t**t" || (shape === "t*t" && separators.length === 0);
    const wantsAscii = /[sa]/.test(shape);
    if (wantsAscii && separators.length > 1) unsupported("[, ? or { and several delimiters");
    if (wantsAscii && !isAscii(this.text)) unsupported("[, ? or { in a pattern that is not ASCII");
    return {
      re: RE2JS.compile(this.out),
      isSingle: shape === "s",
      ends: isOverlapping ? [literals[0]!, literals[1]!] : undefined,
      wantsAscii,
    };
  }

  /** Reads one element, gives its length. */
  private element(at: number): number {
    const { text } = this;
    switch (text[at]) {
      case "*":
        return this.star(/\*+/y, at);
      case "?":
        return this.add("s", this.notSeparator, 1);
      case "[":
        return this.characterClass(at);
      case "{":
        return this.alternatives(at);
      case "\\":
        if (at + 1 === text.length) unsupported("a backslash at its pattern's end");
        return 1 + this.literal(at + 1);
      default:
        return this.literal(at);
    }
  }

  private literal(at: number): number {
    const character = String.fromCodePoint(this.text.codePointAt(at)!);
    if (this.shape.endsWith("t")) this.literals.push(this.literals.pop()! + character);
    else {
      this.literals.push(character);
      this.shape += "t";
    }
    this.out += quote(character);
    return character.length;
  }

  private star(pattern: RegExp, at: number): number {
    const { length } = match(pattern, this.text, at)![0];
    if (length > 2) unsupported("three stars in a row");
    return this.add("*".repeat(length), length === 1 ? `${this.notSeparator}*` : "[\\x00-\\x{10FFFF}]*", length);
  }

  private characterClass(at: number): number {
    const found = match(CLASS, this.text, at);
    if (found === undefined) unsupported("this kind of [");
    const [whole, not, list, ...ends] = found;
    const [low, high] = ends.filter((end) => end !== undefined);
    if (low !== undefined && low > high!) unsupported("this kind of [");
    const members = list === undefined ? `${low}-${high}` : [...list].map(quote).join("");
    return this.add("s", `[${not === "" ? "" : "^"}${members}]`, whole.length);
  }

  private alternatives(at: number): number {
    const found = match(ALTERNATIVES, this.text, at);
    const texts = (found?.[1] ?? "").split(",");
    if (found === undefined || new Set(texts).size !== texts.length) unsupported("this kind of {");
    return this.add("a", `(?:${texts.map((one) => [...one].map(quote).join("")).join("|")})`, found[0].length);
  }

  private add(shape: string, out: string, length: number): number {
    this.shape += shape;
    this.out += out;
    return length;
  }
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text) ?? undefined;
}

function quote(character: string): string {
  return `\\x{${character.codePointAt(0)!.toString(16)}}`;
}

export const GLOB: readonly HostBuiltin[] = [
  define("glob.match", 3, (pattern, delimiters, text) => globMatch(pattern!, delimiters!, text!)),
];
