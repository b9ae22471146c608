/** Small formats: semantic versions, units, UUIDs. */
import { floatFromInteger, floatFromText, multiply, truncate } from "../go/big-float.ts";
import { parseDecimal, toInt64 } from "../go/decimal.ts";
import { compareStrings, type RegoEntry, RegoNumber, type RegoValue, regoObject } from "../rego-value.ts";
import { asString, define, fail, type HostBuiltin, int } from "./define.ts";

interface Version {
  readonly numbers: readonly bigint[];
  readonly preRelease: string;
}

const IDENTIFIERS = /^[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*$/;

function cut(text: string, by: string): [string, string] {
  const at = text.indexOf(by);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function parseVersion(text: string): Version | undefined {
  const [version, metadata] = cut(text.startsWith("v") ? text.slice(1) : text, "+");
  if (metadata !== "" && !IDENTIFIERS.test(metadata)) return undefined;
  const [core, preRelease] = cut(version, "-");
  if (preRelease !== "" && !IDENTIFIERS.test(preRelease)) return undefined;
  const numbers = core.split(".").map(toInt64);
  if (numbers.length !== 3 || numbers.includes(undefined)) return undefined;
  return { numbers: numbers as bigint[], preRelease };
}

function compareVersions(a: Version, b: Version): number {
  for (let i = 0; i < 3; i++) {
    if (a.numbers[i]! !== b.numbers[i]!) return a.numbers[i]! > b.numbers[i]! ? 1 : -1;
  }
  if (a.preRelease === b.preRelease) return 0;
  if (a.preRelease === "") return 1;
  return b.preRelease === "" ? -1 : comparePreReleases(a.preRelease.split("."), b.preRelease.split("."));
}

function comparePreReleases(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; ; i++) {
    const [x, y] = [a[i] ?? "", b[i] ?? ""];
    const c = compareIdentifiers(x, y);
    if (c !== 0) return c;
    const [moreA, moreB] = [i + 1 < a.length, i + 1 < b.length];
    if (moreA !== moreB) return moreA ? 1 : -1;
    if (!moreA) return 0;
  }
}

function compareIdentifiers(x: string, y: string): number {
  const [isIntX, isIntY] = [/^\d+$/.test(x), /^\d+$/.test(y)];
  if (isIntX !== isIntY) return isIntX ? -1 : 1;
  if (isIntX) return Math.sign(Number(clamp(x) - clamp(y)));
  return Math.sign(compareStrings(x, y));
}

/** Past 64 bits all integers are the largest one. */
function clamp(text: string): bigint {
  const max = 2n ** 63n - 1n;
  const value = BigInt(text);
  return value > max ? max : value;
}

function compareSemver(a: RegoValue, b: RegoValue): RegoValue {
  const x = parseVersion(asString(a));
  const y = parseVersion(asString(b));
  return x === undefined || y === undefined ? fail("not a version") : int(compareVersions(x, y));
}

/** An amount with its exponent, and a unit. An "e" is an exponent only in front of a digit or a sign. */
function splitAmount(text: string): { amount: string; unit: string } {
  if (/[eE][+-]?\d{7,}/.test(text)) fail("exponent too large");
  const amount = /^(?:[\d.+-]|[eE](?=[\d+-])[+-]?)*/.exec(text)![0];
  if (amount === "") fail("no amount");
  return { amount, unit: text.slice(amount.length) };
}

const AMOUNT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;

const POWERS = ["k", "m", "g", "t", "p", "e"] as const;

function unitFactor(unit: string): bigint | undefined {
  if (unit === "") return 1n;
  const power = POWERS.indexOf(unit[0] as (typeof POWERS)[number]) + 1;
  if (power === 0) return undefined;
  const rest = unit.slice(1);
  if (rest === "") return 1000n ** BigInt(power);
  return rest === "i" ? 1024n ** BigInt(power) : undefined;
}

/** Both units refuse what is not a plain decimal, which is more than Go's parsers would take: see the record. */
function parseUnits(value: RegoValue): RegoValue {
  const text = asString(value).replaceAll('"', "");
  if (text.includes(" ")) fail("spaces");
  const { amount, unit } = splitAmount(text);
  const isMilli = unit === "m";
  const lower = unit.slice(0, 1).toLowerCase() + unit.slice(1).toLowerCase();
  const factor = isMilli ? 1n : (unitFactor(lower) ?? fail("unknown unit"));
  const decimal = AMOUNT.test(amount) ? parseDecimal(amount) : undefined;
  if (decimal === undefined) fail("not an amount");
  const top = decimal.digits * factor * 10n ** BigInt(Math.max(decimal.exponent, 0));
  const bottom = 10n ** BigInt(Math.max(-decimal.exponent, 0));
  // 0.001 as the float nearest to it, exactly: 1152921504606847 / 2^60.
  return isMilli ? ratio(top * 1152921504606847n, bottom * 2n ** 60n) : ratio(top, bottom);
}

function ratio(top: bigint, bottom: bigint): RegoNumber {
  if (top % bottom === 0n) return int(top / bottom);
  const sign = top < 0n ? "-" : "";
  const magnitude = top < 0n ? -top : top;
  const scaled = magnitude * 10n ** 10n;
  const rounded = scaled / bottom + ((scaled % bottom) * 2n >= bottom ? 1n : 0n);
  const digits = rounded.toString().padStart(11, "0");
  return new RegoNumber(`${sign}${digits.slice(0, -10)}.${digits.slice(-10)}`);
}

function parseBytes(value: RegoValue): RegoValue {
  const text = asString(value).toLowerCase().replaceAll('"', "");
  if (text.includes(" ")) fail("spaces");
  const { amount, unit } = splitAmount(text);
  const factor = unitFactor(unit.replace(/^(.i?)b$/, "$1")) ?? fail("unknown unit");
  if (!AMOUNT.test(amount)) fail("not an amount");
  return int(truncate(multiply(floatFromText(amount), floatFromInteger(factor))));
}

const UUID = /^(?:urn:uuid:)?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/i;

function uuidDigits(text: string): string | undefined {
  if (/^[0-9a-f]{32}$/i.test(text)) return text.toLowerCase();
  // Any one character around it passes for a brace, in the library that OPA uses.
  const inner = text.length === 38 && UUID.test(text.slice(1, -1)) ? text.slice(1, -1) : text;
  const found = UUID.exec(inner);
  return found === null ? undefined : found.slice(1).join("").toLowerCase();
}

function parseUuid(value: RegoValue): RegoValue | undefined {
  const digits = uuidDigits(asString(value));
  if (digits === undefined) return undefined;
  const bytes = Buffer.from(digits, "hex");
  const version = bytes[6]! >> 4;
  const entries: RegoEntry[] = [
    ["version", int(version)],
    ["variant", variant(bytes[8]!)],
  ];
  return regoObject(version === 1 || version === 2 ? [...entries, ...timeBased(bytes, version)] : entries);
}

function variant(byte: number): string {
  if ((byte & 0xc0) === 0x80) return "RFC4122";
  if ((byte & 0xe0) === 0xc0) return "Microsoft";
  return (byte & 0xe0) === 0xe0 ? "Future" : "Reserved";
}

/** 100 ns steps between 1582-10-15 and 1970-01-01. */
const GREGORIAN = 0x01b21dd213814000n;

function timeBased(bytes: Buffer, version: number): RegoEntry[] {
  const low = BigInt(bytes.readUInt32BE(0));
  const high = (BigInt(bytes.readUInt16BE(6) & 0x0fff) << 48n) | (BigInt(bytes.readUInt16BE(4)) << 32n);
  const time = BigInt.asIntN(64, (low | high) - GREGORIAN) * 100n;
  const node = [...bytes.subarray(10)].map((byte) => byte.toString(16).padStart(2, "0")).join("-");
  const entries: RegoEntry[] = [
    ["time", int(BigInt.asIntN(64, time))],
    ["nodeid", node],
    ["macvariables", `${bytes[10]! & 2 ? "local" : "global"}:${bytes[10]! & 1 ? "multicast" : "unicast"}`],
    ["clocksequence", int(bytes.readUInt16BE(8) & 0x3fff)],
  ];
  if (version === 2) entries.push(["id", int(low)], ["domain", domain(bytes[9]!)]);
  return entries;
}

function domain(byte: number): string {
  return ["Person", "Group", "Org"][byte] ?? `Domain${byte}`;
}

export const FORMATS: readonly HostBuiltin[] = [
  define("semver.compare", 2, (a, b) => compareSemver(a!, b!)),
  define("semver.is_valid", 1, (a) => typeof a === "string" && parseVersion(a) !== undefined),
  define("units.parse", 1, (a) => parseUnits(a!)),
  define("units.parse_bytes", 1, (a) => parseBytes(a!)),
  define("uuid.parse", 1, (a) => parseUuid(a!)),
  // Output of a policy must not reach standard output, which may be a protocol; the answer is OPA's.
  define("trace", 1, (a) => asString(a) === a),
];
