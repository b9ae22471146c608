/** IP networks as Go's net package reads, compares and prints them. */
import { RegoObject, RegoSet, type RegoValue, regoSet } from "../rego-value.ts";
import { asString, define, fail, type HostBuiltin, int } from "./define.ts";

interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

interface Network extends Address {
  readonly prefix: number;
}

/** No leading zeros, no zones; an IPv4 tail is allowed. */
function parseAddress(text: string): Address | undefined {
  if (!text.includes(":")) {
    const value = parseV4(text);
    return value === undefined ? undefined : { bits: 32, value };
  }
  const value = parseV6(text);
  return value === undefined ? undefined : { bits: 128, value };
}

function parseV4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256))
    return undefined;
  return parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function parseV6(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const lastHalf = halves.length - 1;
  const groups = halves.map((half, i) => (half === "" ? [] : v6Groups(half, i === lastHalf)));
  if (groups.some((one) => one === undefined)) return undefined;
  const [head, tail] = [groups[0]!, groups[1] ?? []];
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  return [...head, ...Array<bigint>(Math.max(missing, 0)).fill(0n), ...tail].reduce(
    (sum, one) => (sum << 16n) | one,
    0n,
  );
}

function v6Groups(text: string, mayEndInV4: boolean): bigint[] | undefined {
  const groups: bigint[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(BigInt(`0x${part}`));
    else {
      const v4 = mayEndInV4 && i === parts.length - 1 ? parseV4(part) : undefined;
      if (v4 === undefined) return undefined;
      groups.push(v4 >> 16n, v4 & 0xffffn);
    }
  }
  return groups;
}

const V4_IN_V6 = 0xffffn << 32n;

/** An IPv4 address written as IPv6 is the IPv4 address to every comparison. */
function unmap(address: Address): Address {
  const isMapped = address.bits === 128 && address.value >> 32n === 0xffffn;
  return isMapped ? { bits: 32, value: address.value - V4_IN_V6 } : address;
}

function parseCidr(text: string): { address: Address; network: Network } | undefined {
  const slash = text.indexOf("/");
  const mask = text.slice(slash + 1);
  if (slash < 0 || !/^\d+$/.test(mask)) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const prefix = Number(mask);
  if (address === undefined || prefix > address.bits) return undefined;
  return { address, network: { bits: address.bits, prefix, value: masked(address.value, address.bits, prefix) } };
}

function masked(value: bigint, bits: number, prefix: number): bigint {
  const host = BigInt(bits - prefix);
  return (value >> host) << host;
}

function cidr(value: RegoValue): Network {
  return parseCidr(asString(value))?.network ?? fail("not a CIDR");
}

function holds(network: Network, address: Address): boolean {
  const a = unmap(network);
  const b = unmap(address);
  if (a.bits !== b.bits) return false;
  const prefix = network.bits === a.bits ? network.prefix : Math.max(network.prefix - 96, 0);
  return masked(b.value, b.bits, prefix) === masked(a.value, a.bits, prefix);
}

function last(network: Network): Address {
  const host = BigInt(network.bits - network.prefix);
  return { bits: network.bits, value: network.value | ((1n << host) - 1n) };
}

function contains(outer: RegoValue, inner: RegoValue): boolean {
  const network = cidr(outer);
  const text = asString(inner);
  const address = parseAddress(text);
  if (address !== undefined) return holds(network, address);
  const other = cidr(text);
  return holds(network, other) && holds(network, last(other));
}

function intersects(a: RegoValue, b: RegoValue): boolean {
  const [x, y] = [cidr(a), cidr(b)];
  return holds(x, y) || holds(y, x);
}

/** What stands for an element in the answer, and the CIDR it holds. */
type Candidate = readonly [RegoValue, RegoValue];

function candidates(value: RegoValue): readonly Candidate[] {
  if (typeof value === "string") return [[value, value]];
  if (value instanceof RegoSet) return value.items.map((item) => [item, cidrOf(item)]);
  if (value instanceof RegoObject) return value.entries.map(([key, one]) => [key, cidrOf(one)]);
  if (Array.isArray(value)) return (value as readonly RegoValue[]).map((item, i) => [int(i), cidrOf(item)]);
  return [];
}

function cidrOf(value: RegoValue): RegoValue {
  return Array.isArray(value)
    ? value.length === 0
      ? fail("empty array")
      : (value as readonly RegoValue[])[0]!
    : asString(value);
}

function containsMatches(a: RegoValue, b: RegoValue): RegoValue {
  const others = (): readonly Candidate[] => candidates(b);
  return regoSet(
    candidates(a).flatMap(([x, outer]) =>
      others()
        .filter(([, inner]) => contains(outer, inner))
        .map(([y]) => [x, y]),
    ),
  );
}

/** 2^16 addresses; OPA has no limit but the evaluation's time, which this host does not have. */
const EXPAND_MAX = 65_536n;

function expand(value: RegoValue): RegoValue {
  const network = cidr(value);
  const count = 1n << BigInt(network.bits - network.prefix);
  if (count > EXPAND_MAX) throw new RangeError(`CIDR has more than ${EXPAND_MAX} addresses`);
  return regoSet(
    Array.from({ length: Number(count) }, (_, i) =>
      printAddress({ bits: network.bits, value: network.value + BigInt(i) }),
    ),
  );
}

function printAddress(address: Address): string {
  const plain = unmap(address);
  if (plain.bits === 32) return [24n, 16n, 8n, 0n].map((shift) => (plain.value >> shift) & 255n).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => (plain.value >> BigInt(112 - 16 * i)) & 0xffffn);
  return printGroups(groups.map((group) => group.toString(16)));
}

/** RFC 5952: the first longest run of two zeros or more is left out. */
function printGroups(groups: readonly string[]): string {
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (groups[at + length] === "0") length++;
    if (length > best.length) best = { at, length };
  }
  if (best.at < 0) return groups.join(":");
  return `${groups.slice(0, best.at).join(":")}::${groups.slice(best.at + best.length).join(":")}`;
}

/** `network` is there until the range has been merged with another. */
interface Range {
  readonly bits: 32 | 128;
  readonly first: bigint;
  readonly last: bigint;
  readonly text: string | undefined;
}

function rangeOf(value: RegoValue): Range {
  const text = asString(value);
  const address = parseAddress(text);
  if (address !== undefined) return classfulRange(unmap(address));
  const network = cidr(text);
  const plain = unmap(network);
  const prefix = plain.bits === network.bits ? network.prefix : network.prefix - 96;
  if (prefix < 0) throw new RangeError("Cannot merge a CIDR that is part IPv4, part IPv6");
  const whole: Network = { ...plain, prefix };
  return { bits: plain.bits, first: plain.value, last: last(whole).value, text: `${printAddress(plain)}/${prefix}` };
}

/** A bare IPv4 address stands for its classful network, and is printed with its host part. */
function classfulRange(address: Address): Range {
  if (address.bits !== 32) fail("IPv6 needs a prefix length");
  const top = address.value >> 24n;
  const prefix = top < 0x80n ? 8 : top < 0xc0n ? 16 : 24;
  const network: Network = { bits: 32, prefix, value: masked(address.value, 32, prefix) };
  return { bits: 32, first: network.value, last: last(network).value, text: `${printAddress(address)}/${prefix}` };
}

function merge(value: RegoValue): RegoValue {
  const items =
    value instanceof RegoSet ? value.items : Array.isArray(value) ? (value as readonly RegoValue[]) : fail();
  const ranges = items.map(rangeOf);
  if (new Set(ranges.map((range) => range.bits)).size > 1) throw new RangeError("Cannot merge IPv4 with IPv6");
  ranges.sort((a, b) => order(a.last, b.last) || order(a.first, b.first));
  for (let i = ranges.length - 1; i > 0; i--) {
    const [before, here] = [ranges[i - 1]!, ranges[i]!];
    if (here.first - (here.first > 0n ? 1n : 0n) > before.last) continue;
    ranges.splice(i - 1, 2, {
      bits: here.bits,
      // biome-ignore lint/complexity/useMathMinMax: these are bigints
      first: before.first < here.first ? before.first : here.first,
      last: here.last,
      text: undefined,
    });
  }
  return regoSet(ranges.flatMap((range) => (range.text === undefined ? cover(range) : [range.text])));
}

function order(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The fewest networks that make up the range. */
function cover(range: Range): string[] {
  const networks: string[] = [];
  for (let first = range.first; first <= range.last; ) {
    let host = 0;
    while (host < range.bits && fits(first, host + 1, range.last)) host++;
    networks.push(`${printAddress({ bits: range.bits, value: first })}/${range.bits - host}`);
    first += 1n << BigInt(host);
  }
  return networks;
}

function fits(first: bigint, host: number, end: bigint): boolean {
  const size = 1n << BigInt(host);
  return first % size === 0n && first + size - 1n <= end;
}

export const NET: readonly HostBuiltin[] = [
  define("net.cidr_contains", 2, (a, b) => contains(a!, b!)),
  define("net.cidr_intersects", 2, (a, b) => intersects(a!, b!)),
  define("net.cidr_contains_matches", 2, (a, b) => containsMatches(a!, b!)),
  define("net.cidr_expand", 1, (a) => expand(a!)),
  define("net.cidr_is_valid", 1, (a) => typeof a === "string" && parseCidr(a) !== undefined),
  define("net.cidr_merge", 1, (a) => merge(a!)),
];
