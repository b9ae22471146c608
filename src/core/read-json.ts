/**
 * The strict reader that stands at every door: text from outside becomes a value and its canonical form (RFC 8785) in one
 * pass, or is refused with the exact place.
 *
 * Refused: anything RFC 8259 does not allow, duplicate keys however they are spelled, ill-formed UTF-8 and lone surrogates
 * (RFC 7493), nesting over the limit, and numbers whose canonical form is not exactly the decimal value that was written.
 * What is accepted means the same to every reader, and two texts have one canonical form only when they mean the same.
 */
import { isUtf8 } from "node:buffer";
import { InvalidRequestError } from "./errors.ts";
import type { Json } from "./types.ts";

export interface ReadLimits {
  /** Bytes of the whole text. */
  readonly bytesMax: number;
  /** Nested arrays and objects; a scalar has depth 0, `[]` depth 1. */
  readonly depthMax: number;
}

export const READ_LIMITS: ReadLimits = { bytesMax: 256 * 1024, depthMax: 64 };

/** A value, its canonical text, and for the two outermost levels of objects the same of every member. */
export interface Reading {
  readonly value: Json;
  readonly canonical: string;
  readonly members: Members | undefined;
}

/** The members of one object. Few are ever looked up, so a list that costs nothing to make beats a map. */
export class Members {
  readonly #keys: readonly string[];
  readonly #readings: readonly Reading[];

  constructor(keys: readonly string[], readings: readonly Reading[]) {
    this.#keys = keys;
    this.#readings = readings;
  }

  get(key: string): Reading | undefined {
    return this.#readings[this.#keys.indexOf(key)];
  }

  has(key: string): boolean {
    return this.#keys.includes(key);
  }
}

/** Members are kept for objects at depth 1 and 2: enough for `action.arguments`, cheap enough for every request. */
const MEMBERS_DEPTH_MAX = 2;

/** Integers of this many characters, sign included, are below 2^53 and print as they are written. */
const SAFE_INTEGER_CHARS_MAX = 15;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** RFC 8259 number; sticky, so that it reads from a position without copying. */
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/**
 * @param source UTF-8 bytes as they arrived, or text that is already known to be decoded faithfully
 * @throws InvalidRequestError with `pointer` (RFC 6901) and the byte-independent character offset in the message
 */
export function readJson(source: Uint8Array | string, limits: Partial<ReadLimits> = {}): Reading {
  const bytesMax = limits.bytesMax ?? READ_LIMITS.bytesMax;
  return new Reader(decode(source, bytesMax), limits.depthMax ?? READ_LIMITS.depthMax).read();
}

function decode(source: Uint8Array | string, bytesMax: number): string {
  const length = typeof source === "string" ? Buffer.byteLength(source) : source.byteLength;
  if (length > bytesMax) {
    throw new InvalidRequestError("body_too_large", `Text of ${length} bytes, expected at most ${bytesMax}`, {
      pointer: "",
      facts: { limit: bytesMax },
    });
  }
  if (typeof source === "string") {
    if (!source.isWellFormed()) throw illFormed("", "lone surrogate");
    return source;
  }
  if (!isUtf8(source)) throw illFormed("", "not UTF-8");
  return Buffer.from(source.buffer, source.byteOffset, source.byteLength).toString("utf8");
}

function illFormed(pointer: string, what: string): InvalidRequestError {
  return new InvalidRequestError("ill_formed_unicode", `Text is not well-formed Unicode: ${what}`, { pointer });
}

class Reader {
  readonly #text: string;
  readonly #depthMax: number;
  #at = 0;
  #depth = 0;
  /** The canonical text of the value read last; members likewise. */
  #canonical = "";
  #members: Members | undefined;
  /** Key or index being read, by depth; only looked at when something is wrong. */
  readonly #path: (string | number)[] = [];

  constructor(text: string, depthMax: number) {
    this.#text = text;
    this.#depthMax = depthMax;
  }

  read(): Reading {
    const value = this.#value();
    this.#space();
    if (this.#at < this.#text.length) throw this.#malformed("expected the end of the text");
    return { value, canonical: this.#canonical, members: this.#members };
  }

  #value(): Json {
    const code = this.#space();
    this.#members = undefined;
    if (code === QUOTE) return this.#string();
    if (code === OPEN_BRACE) return this.#object();
    if (code === OPEN_BRACKET) return this.#array();
    if (code === MINUS || (code >= ZERO && code <= NINE)) return this.#number();
    if (code === 0x74) return this.#literal("true", true);
    if (code === 0x66) return this.#literal("false", false);
    if (code === 0x6e) return this.#literal("null", null);
    throw this.#malformed("expected a value");
  }

  /** Skips white space; returns the code of the character it stops at, NaN at the end. */
  #space(): number {
    const text = this.#text;
    let at = this.#at;
    let code = text.charCodeAt(at);
    while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) code = text.charCodeAt(++at);
    this.#at = at;
    return code;
  }

  #literal<T extends boolean | null>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#malformed(`expected ${word}`);
    this.#at += word.length;
    this.#canonical = word;
    return value;
  }

  #number(): number {
    const small = this.#smallInteger();
    if (small !== undefined) return small;
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) throw this.#malformed("expected a digit");
    const written = match[0];
    this.#at += written.length;
    const value = Number(written);
    // Minus zero has the decimal value 0 and the canonical form "0" (RFC 8785 section 3.2.2.3): it is read as 0.
    const canonical = Number.isFinite(value) ? String(value === 0 ? 0 : value) : "";
    if (canonical === "" || !isSameDecimal(written, canonical)) throw this.#inexact(written, canonical);
    this.#canonical = canonical;
    return value === 0 ? 0 : value;
  }

  /** Most numbers are plain non-negative integers below 10^15, which print as they are written. */
  #smallInteger(): number | undefined {
    const text = this.#text;
    const start = this.#at;
    let at = start;
    let code = text.charCodeAt(at);
    if (code === ZERO) return undefined;
    let value = 0;
    while (code >= ZERO && code <= NINE) {
      value = value * 10 + (code - ZERO);
      code = text.charCodeAt(++at);
    }
    const isPlain =
      at > start && at - start <= SAFE_INTEGER_CHARS_MAX && code !== 0x2e && code !== 0x65 && code !== 0x45;
    if (!isPlain) return undefined;
    this.#at = at;
    this.#canonical = text.slice(start, at);
    return value;
  }

  #string(): string {
    const text = this.#text;
    const start = this.#at + 1;
    let at = start;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) break;
      if (code === BACKSLASH) return this.#escapedString(start, at);
      // NaN (the end of the text) fails this comparison too.
      if (!(code >= 0x20)) throw this.#badCharacter(at);
      at++;
    }
    this.#at = at + 1;
    this.#canonical = text.slice(start - 1, at + 1);
    return text.slice(start, at);
  }

  #escapedString(start: number, firstEscape: number): string {
    const text = this.#text;
    let value = text.slice(start, firstEscape);
    let at = firstEscape;
    let run = at;
    for (;;) {
      const code = text.charCodeAt(at);
      if (code === QUOTE || code === BACKSLASH) {
        value += text.slice(run, at);
        if (code === QUOTE) break;
        const [unescaped, length] = this.#escape(at);
        value += unescaped;
        at += length;
        run = at;
      } else {
        if (!(code >= 0x20)) throw this.#badCharacter(at);
        at++;
      }
    }
    this.#at = at + 1;
    if (!value.isWellFormed()) throw illFormed(this.#pointer(), "lone surrogate");
    this.#canonical = JSON.stringify(value);
    return value;
  }

  #escape(at: number): readonly [string, number] {
    const letter = this.#text[at + 1] ?? "";
    if (letter === "u") {
      const hex = this.#text.slice(at + 2, at + 6);
      if (/^[0-9a-fA-F]{4}$/.test(hex)) return [String.fromCharCode(Number.parseInt(hex, 16)), 6];
    } else {
      const unescaped = ESCAPES[letter];
      if (unescaped !== undefined) return [unescaped, 2];
    }
    this.#at = at;
    throw this.#malformed("expected an escape of RFC 8259");
  }

  #array(): Json {
    this.#enter();
    const depth = this.#depth;
    const values: Json[] = [];
    let canonical = "[";
    if (this.#space() === CLOSE_BRACKET) this.#at++;
    else {
      for (;;) {
        this.#path[depth] = values.length;
        values.push(this.#value());
        canonical += values.length === 1 ? this.#canonical : `,${this.#canonical}`;
        const code = this.#space();
        this.#at++;
        if (code === CLOSE_BRACKET) break;
        if (code !== COMMA) throw this.#malformedBefore("expected , or ]");
      }
    }
    this.#depth--;
    this.#members = undefined;
    this.#canonical = `${canonical}]`;
    return values;
  }

  #object(): Json {
    this.#enter();
    const depth = this.#depth;
    const readings: Reading[] | undefined = depth <= MEMBERS_DEPTH_MAX ? [] : undefined;
    const object: Record<string, Json> = {};
    const keys: string[] = [];
    const texts: string[] = [];
    let isSorted = true;
    let last = "";
    if (this.#space() === CLOSE_BRACE) this.#at++;
    else {
      for (;;) {
        if (this.#space() !== QUOTE) throw this.#malformed("expected a key in double quotes");
        this.#path[depth] = "";
        const key = this.#string();
        const keyText = this.#canonical;
        this.#path[depth] = key;
        if (Object.hasOwn(object, key)) throw this.#duplicate(key);
        if (this.#space() !== COLON) throw this.#malformed("expected :");
        this.#at++;
        const value = this.#value();
        readings?.push({ value, canonical: this.#canonical, members: this.#members });
        define(object, key, value);
        // RFC 8785 section 3.2.3 sorts by UTF-16 code units, which is how JavaScript compares strings.
        if (key < last) isSorted = false;
        last = key;
        keys.push(key);
        texts.push(`${keyText}:${this.#canonical}`);
        const code = this.#space();
        this.#at++;
        if (code === CLOSE_BRACE) break;
        if (code !== COMMA) throw this.#malformedBefore("expected , or }");
      }
    }
    this.#depth--;
    this.#members = readings === undefined ? undefined : new Members(keys.slice(), readings);
    this.#canonical = `{${joinText(isSorted ? texts : sortByKey(keys, texts))}}`;
    return object;
  }

  #enter(): void {
    this.#at++;
    if (++this.#depth > this.#depthMax) {
      throw new InvalidRequestError("depth_exceeded", `Nesting deeper than ${this.#depthMax}`, {
        pointer: this.#pointer(this.#depthMax),
        facts: { limit: this.#depthMax },
      });
    }
  }

  #pointer(depth = this.#depth): string {
    let pointer = "";
    for (let level = 1; level <= depth; level++) pointer += `/${escapePointer(String(this.#path[level] ?? ""))}`;
    return pointer;
  }

  #malformed(expectation: string): InvalidRequestError {
    const found = this.#at < this.#text.length ? JSON.stringify(this.#text[this.#at]) : "the end";
    return new InvalidRequestError(
      "malformed_json",
      `Malformed JSON at character ${this.#at}: ${expectation}, found ${found}`,
      {
        pointer: this.#pointer(),
        facts: { offset: this.#at },
      },
    );
  }

  #malformedBefore(expectation: string): InvalidRequestError {
    this.#at--;
    return this.#malformed(expectation);
  }

  #badCharacter(at: number): InvalidRequestError {
    this.#at = at;
    return this.#malformed("expected a closing quote, or control characters escaped");
  }

  #duplicate(key: string): InvalidRequestError {
    return new InvalidRequestError("duplicate_key", `Key ${JSON.stringify(excerpt(key))} stands twice in one object`, {
      pointer: this.#pointer(),
    });
  }

  #inexact(written: string, canonical: string): InvalidRequestError {
    const reading = canonical === "" ? "no finite number" : canonical;
    return new InvalidRequestError(
      "inexact_number",
      `Number ${excerpt(written)} is not exactly representable: it would be read as ${reading}`,
      { pointer: this.#pointer() },
    );
  }
}

/** Assignment would call the setter of `__proto__`, and the key is data like any other. */
function define(object: Record<string, Json>, key: string, value: Json): void {
  if (key === "__proto__")
    Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
  else object[key] = value;
}

/** Concatenation: cheaper than Array.join, and flattened once, by whoever hashes the text. */
function joinText(texts: readonly string[]): string {
  let text = texts.length === 0 ? "" : texts[0]!;
  for (let index = 1; index < texts.length; index++) text += `,${texts[index]}`;
  return text;
}

/** Objects are mostly small: up to this many members insertion is the fastest way to sort them. */
const INSERTION_MAX = 16;

function sortByKey(keys: string[], texts: string[]): readonly string[] {
  if (keys.length > INSERTION_MAX) {
    const order = keys.map((_, index) => index);
    order.sort((a, b) => (keys[a]! < keys[b]! ? -1 : 1));
    return order.map((index) => texts[index]!);
  }
  for (let index = 1; index < keys.length; index++) {
    const key = keys[index]!;
    const text = texts[index]!;
    let place = index;
    for (; place > 0 && key < keys[place - 1]!; place--) {
      keys[place] = keys[place - 1]!;
      texts[place] = texts[place - 1]!;
    }
    keys[place] = key;
    texts[place] = text;
  }
  return texts;
}

/** Whether two RFC 8259 numbers denote the same decimal value: equal signs, significant digits and exponents. */
export function isSameDecimal(a: string, b: string): boolean {
  const left = decimalOf(a);
  const right = decimalOf(b);
  if (left.digits !== right.digits) return false;
  return left.digits === "" || (left.isNegative === right.isNegative && left.exponent === right.exponent);
}

/** 0.digits × 10^exponent with no zeros at either end of the digits; no digits at all for zero. */
function decimalOf(text: string): { readonly isNegative: boolean; readonly digits: string; readonly exponent: number } {
  const isNegative = text.charCodeAt(0) === MINUS;
  const mark = text.search(/[eE]/);
  const mantissa = text.slice(isNegative ? 1 : 0, mark === -1 ? text.length : mark);
  const power = mark === -1 ? 0 : Number(text.slice(mark + 1));
  const point = mantissa.indexOf(".");
  const digits = point === -1 ? mantissa : mantissa.slice(0, point) + mantissa.slice(point + 1);
  const whole = point === -1 ? mantissa.length : point;
  let first = 0;
  while (first < digits.length && digits.charCodeAt(first) === ZERO) first++;
  let last = digits.length;
  while (last > first && digits.charCodeAt(last - 1) === ZERO) last--;
  return { isNegative, digits: digits.slice(first, last), exponent: power + whole - first };
}

/** RFC 6901 section 3. */
export function escapePointer(segment: string): string {
  return excerpt(segment).replaceAll("~", "~0").replaceAll("/", "~1");
}

function excerpt(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 80).toWellFormed()}…`;
}
