/** Go's fmt.Sprintf over the four types that OPA hands to it. */
import { type FloatVerb, formatFloat64 } from "./float64.ts";
import { isPrintable, quoteGo } from "./quote.ts";

export type FormatArgument =
  | { readonly type: "int64"; readonly value: bigint }
  | { readonly type: "*big.Int"; readonly value: bigint }
  | { readonly type: "float64"; readonly value: number }
  | { readonly type: "string"; readonly value: string };

/** Widths and precisions past this are not numbers to Go. */
const NUMBER_MAX = 1_000_000;

interface Flags {
  width: number | undefined;
  precision: number | undefined;
  minus: boolean;
  plus: boolean;
  sharp: boolean;
  space: boolean;
  zero: boolean;
  plusV: boolean;
  sharpV: boolean;
}

function noFlags(): Flags {
  return {
    width: undefined,
    precision: undefined,
    minus: false,
    plus: false,
    sharp: false,
    space: false,
    zero: false,
    plusV: false,
    sharpV: false,
  };
}

export function sprintf(format: string, args: readonly FormatArgument[]): string {
  return new Printer(format, args).print();
}

class Printer {
  private readonly format: string;
  private readonly args: readonly FormatArgument[];
  private at = 0;
  private argument = 0;
  private isReordered = false;
  private isGoodIndex = true;
  private isAfterIndex = false;
  private flags = noFlags();

  constructor(format: string, args: readonly FormatArgument[]) {
    this.format = format;
    this.args = args;
  }

  print(): string {
    let out = "";
    while (this.at < this.format.length) {
      const percent = this.format.indexOf("%", this.at);
      if (percent < 0) {
        out += this.format.slice(this.at);
        break;
      }
      out += this.format.slice(this.at, percent);
      this.at = percent + 1;
      out += this.directive();
    }
    return out + this.extra();
  }

  private directive(): string {
    this.isGoodIndex = true;
    this.isAfterIndex = false;
    this.flags = noFlags();
    this.readFlags();
    this.readIndex();
    const complaints = this.readWidth() + this.readPrecision();
    if (!this.isAfterIndex) this.readIndex();
    if (this.at >= this.format.length) return `${complaints}%!(NOVERB)`;
    const verb = String.fromCodePoint(this.format.codePointAt(this.at)!);
    this.at += verb.length;
    return complaints + this.verb(verb);
  }

  private verb(verb: string): string {
    if (verb === "%") return "%";
    if (!this.isGoodIndex) return `%!${verb}(BADINDEX)`;
    const argument = this.args[this.argument];
    if (argument === undefined) return `%!${verb}(MISSING)`;
    this.argument++;
    if (verb === "v") {
      this.flags.sharpV = this.flags.sharp;
      this.flags.sharp = false;
      this.flags.plusV = this.flags.plus;
      this.flags.plus = false;
    }
    return formatArgument(argument, verb, this.flags);
  }

  private readFlags(): void {
    for (; ; this.at++) {
      switch (this.format[this.at]) {
        case "#":
          this.flags.sharp = true;
          break;
        case "0":
          this.flags.zero = true;
          break;
        case "+":
          this.flags.plus = true;
          break;
        case "-":
          this.flags.minus = true;
          break;
        case " ":
          this.flags.space = true;
          break;
        default:
          return;
      }
    }
  }

  private readIndex(): void {
    this.isAfterIndex = false;
    if (this.format[this.at] !== "[") return;
    this.isReordered = true;
    const rest = this.format.length - this.at;
    const close = this.format.indexOf("]", this.at + 1);
    if (rest < 3 || close < 0) {
      this.isGoodIndex = false;
      this.at += 1;
      return;
    }
    const text = this.format.slice(this.at + 1, close);
    this.at = close + 1;
    const index = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    const isNumber = index <= NUMBER_MAX;
    this.isAfterIndex = isNumber;
    if (isNumber && index >= 1 && index <= this.args.length) this.argument = index - 1;
    else this.isGoodIndex = false;
  }

  private readWidth(): string {
    if (this.format[this.at] === "*") {
      this.at++;
      const width = this.integerArgument();
      this.isAfterIndex = false;
      if (width === undefined) return "%!(BADWIDTH)";
      if (width < 0) {
        this.flags.minus = true;
        this.flags.zero = false;
      }
      this.flags.width = Math.abs(width);
      return "";
    }
    this.flags.width = this.readNumber();
    if (this.isAfterIndex && this.flags.width !== undefined) this.isGoodIndex = false;
    return "";
  }

  private readPrecision(): string {
    if (this.format[this.at] !== ".") return "";
    this.at++;
    if (this.isAfterIndex) this.isGoodIndex = false;
    this.readIndex();
    if (this.format[this.at] !== "*") {
      this.flags.precision = this.readNumber() ?? 0;
      return "";
    }
    this.at++;
    const precision = this.integerArgument();
    this.isAfterIndex = false;
    this.flags.precision = precision !== undefined && precision >= 0 ? precision : undefined;
    return this.flags.precision === undefined ? "%!(BADPREC)" : "";
  }

  private readNumber(): number | undefined {
    const start = this.at;
    while (/\d/.test(this.format[this.at] ?? "")) this.at++;
    if (start === this.at) return undefined;
    const value = Number(this.format.slice(start, this.at));
    if (value <= NUMBER_MAX) return value;
    this.at = this.format.length;
    return undefined;
  }

  private integerArgument(): number | undefined {
    const argument = this.args[this.argument];
    if (argument === undefined) return undefined;
    this.argument++;
    if (argument.type !== "int64") return undefined;
    const value = Number(argument.value);
    return Math.abs(value) <= NUMBER_MAX ? value : undefined;
  }

  private extra(): string {
    if (this.isReordered || this.argument >= this.args.length) return "";
    const rest = this.args.slice(this.argument);
    return `%!(EXTRA ${rest.map((one) => `${one.type}=${formatArgument(one, "v", noFlags())}`).join(", ")})`;
  }
}

function formatArgument(argument: FormatArgument, verb: string, flags: Flags): string {
  if (verb === "T") return padString(argument.type, flags);
  switch (argument.type) {
    case "int64":
      return formatInt64(argument, verb, flags);
    case "*big.Int":
      return formatBigInt(argument.value, verb, flags);
    case "float64":
      return formatFloat(argument, verb, flags);
    case "string":
      return formatString(argument, verb, flags);
  }
}

function badVerb(argument: FormatArgument, verb: string, flags: Flags): string {
  return `%!${verb}(${argument.type}=${formatArgument(argument, "v", flags)})`;
}

const BASES: Readonly<Record<string, number>> = { v: 10, d: 10, b: 2, o: 8, O: 8, x: 16, X: 16 };

function formatInt64(argument: { type: "int64"; value: bigint }, verb: string, flags: Flags): string {
  const base = BASES[verb];
  if (base !== undefined) return formatInteger(argument.value, { base, verb }, flags);
  switch (verb) {
    case "c":
      return padString(character(argument.value), flags);
    case "q":
      return padString(quoteGo(character(argument.value), "'", flags.plus), flags);
    case "U":
      return formatUnicode(argument.value, flags);
    default:
      return badVerb(argument, verb, flags);
  }
}

function formatInteger(value: bigint, how: { base: number; verb: string }, flags: Flags): string {
  const isNegative = value < 0n;
  let digits = (isNegative ? -value : value).toString(how.base);
  if (how.verb === "X") digits = digits.toUpperCase();
  if (flags.precision !== undefined) {
    if (flags.precision === 0 && value === 0n) return " ".repeat(flags.width ?? 0);
    digits = digits.padStart(flags.precision, "0");
  } else if (flags.zero && !flags.minus && flags.width !== undefined) {
    digits = digits.padStart(flags.width - (isNegative || flags.plus || flags.space ? 1 : 0), "0");
  }
  if (flags.sharp) digits = basePrefix(how, digits) + digits;
  if (how.verb === "O") digits = `0o${digits}`;
  const sign = isNegative ? "-" : flags.plus ? "+" : flags.space ? " " : "";
  return padString(sign + digits, { ...flags, zero: false });
}

function basePrefix(how: { base: number; verb: string }, digits: string): string {
  if (how.base === 2) return "0b";
  if (how.base === 8) return digits.startsWith("0") ? "" : "0";
  if (how.base === 16) return how.verb === "X" ? "0X" : "0x";
  return "";
}

/** big.Int formats itself, with rules that are nearly those of int64. */
function formatBigInt(value: bigint, verb: string, flags: Flags): string {
  const base = verb === "s" ? 10 : BASES[verb];
  // Go prints the address, or the inside, of its pointer.
  if (verb === "p" || verb === "w") throw new RangeError(`sprintf of a large integer with %${verb} is not supported`);
  if (base === undefined) return `%!${verb}(big.Int=${value})`;
  let digits = (value < 0n ? -value : value).toString(base);
  if (verb === "X") digits = digits.toUpperCase();
  // %#v is handed on as v with the sharp flag taken away; other verbs keep it.
  const prefix = verb === "O" ? "0o" : flags.sharp ? bigPrefix(verb) : "";
  const sign = value < 0n ? "-" : flags.plus || (verb === "v" && flags.plusV) ? "+" : flags.space ? " " : "";
  let zeros = 0;
  if (flags.precision !== undefined) zeros = Math.max(flags.precision - digits.length, 0);
  const missing = (flags.width ?? 0) - (sign.length + prefix.length + zeros + digits.length);
  if (missing > 0 && !flags.minus && flags.zero && flags.precision === undefined) zeros = missing;
  const text = sign + prefix + "0".repeat(zeros) + digits;
  return flags.minus ? text.padEnd(flags.width ?? 0) : text.padStart(flags.width ?? 0);
}

function bigPrefix(verb: string): string {
  return ({ b: "0b", o: "0", x: "0x", X: "0X" } as Readonly<Record<string, string>>)[verb] ?? "";
}

function formatUnicode(value: bigint, flags: Flags): string {
  const unsigned = BigInt.asUintN(64, value);
  let text = `U+${unsigned
    .toString(16)
    .toUpperCase()
    .padStart(Math.max(flags.precision ?? 0, 4), "0")}`;
  if (flags.sharp && unsigned <= 0x10ffffn && isPrintable(character(unsigned))) text += ` '${character(unsigned)}'`;
  return padString(text, { ...flags, zero: false });
}

function character(value: bigint): string {
  const code = BigInt.asUintN(64, value);
  return code > 0x10ffffn || (code >= 0xd800n && code <= 0xdfffn) ? "\ufffd" : String.fromCodePoint(Number(code));
}

function formatFloat(argument: { type: "float64"; value: number }, verb: string, flags: Flags): string {
  const { value } = argument;
  if (verb === "v") return padFloat(formatFloat64(value, "g", flags.precision ?? -1), flags, "g");
  if (flags.sharp && /[xX]/.test(verb)) throw new RangeError(`sprintf of a fraction with %#${verb} is not supported`);
  if ("bgGxX".includes(verb))
    return padFloat(formatFloat64(value, verb as FloatVerb, flags.precision ?? -1), flags, verb);
  if ("eEfF".includes(verb)) {
    const letter = (verb === "F" ? "f" : verb) as FloatVerb;
    return padFloat(formatFloat64(value, letter, flags.precision ?? 6), flags, letter);
  }
  return badVerb(argument, verb, flags);
}

function padFloat(text: string, flags: Flags, verb: string): string {
  const isNegative = text.startsWith("-");
  let digits = isNegative ? text.slice(1) : text;
  if (flags.sharp && verb !== "b") digits = sharpFloat(digits, verb, flags.precision);
  const sign = isNegative ? "-" : flags.plus ? "+" : flags.space ? " " : "";
  if (sign !== "" && flags.zero && !flags.minus && flags.width !== undefined) {
    return sign + digits.padStart(flags.width - 1, "0");
  }
  return padString(sign + digits, flags);
}

/** The # flag keeps the point and, for g, the zeros behind it. */
function sharpFloat(text: string, verb: string, precision: number | undefined): string {
  const [, mantissa, tail] = /^([^eE]*)(.*)$/.exec(text) as unknown as [string, string, string];
  const significant = mantissa.replace(".", "").replace(/^0+/, "").length;
  const hasPoint = mantissa.includes(".");
  let missing = 0;
  if (verb === "g" || verb === "G") {
    const wanted = precision ?? 6;
    missing = Math.max(wanted - (significant === 0 ? 1 : significant), 0);
  }
  return `${mantissa}${hasPoint ? "" : "."}${"0".repeat(missing)}${tail}`;
}

function formatString(argument: { type: "string"; value: string }, verb: string, flags: Flags): string {
  switch (verb) {
    case "v":
      return flags.sharpV ? quoted(argument.value, flags) : padString(truncate(argument.value, flags), flags);
    case "s":
      return padString(truncate(argument.value, flags), flags);
    case "q":
      return quoted(argument.value, flags);
    case "x":
    case "X":
      return hexString(argument.value, verb, flags);
    default:
      return badVerb(argument, verb, flags);
  }
}

function quoted(value: string, flags: Flags): string {
  const text = truncate(value, flags);
  if (flags.sharp && canBackquote(text)) return padString(`\`${text}\``, flags);
  return padString(quoteGo(text, '"', flags.plus), flags);
}

function canBackquote(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: as Go has it, tab alone is allowed
  return !/[\u0000-\u0008\u000a-\u001f`\u007f\ufeff]/.test(text);
}

function hexString(value: string, verb: "x" | "X", flags: Flags): string {
  const all = Buffer.from(value);
  const bytes = all.subarray(0, Math.min(all.length, flags.precision ?? all.length));
  if (bytes.length === 0) return pad("", flags.width ?? 0, flags);
  const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
  const prefix = flags.sharp ? "0x" : "";
  let text = flags.space ? digits.map((pair) => prefix + pair).join(" ") : prefix + digits.join("");
  if (verb === "X") text = text.toUpperCase();
  return pad(text, (flags.width ?? 0) - text.length, flags);
}

function truncate(value: string, flags: Flags): string {
  if (flags.precision === undefined || value.length <= flags.precision) return value;
  return [...value].slice(0, flags.precision).join("");
}

function padString(text: string, flags: Flags): string {
  if (flags.width === undefined || flags.width === 0) return text;
  return pad(text, flags.width - [...text].length, flags);
}

/** Zeros go to the left only. */
function pad(text: string, missing: number, flags: Flags): string {
  if (missing <= 0) return text;
  if (flags.minus) return text + " ".repeat(missing);
  return (flags.zero ? "0" : " ").repeat(missing) + text;
}
