/**
 * IP addresses and networks as numbers, so that one address has one meaning however it is spelled. An IPv4-mapped IPv6
 * address (RFC 4291 section 2.5.5.2) is the IPv4 address inside it: that is where a connection to it goes.
 */

export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** CIDR: `value` has no bit set past `prefix`. */
export interface IpNetwork extends IpAddress {
  readonly prefix: number;
}

const BITS = { 4: 32, 6: 128 } as const;
const MAPPED = 0xffffn;
const DECIMAL_BYTE = /^(0|[1-9][0-9]{0,2})$/;

/** Undefined for whatever is no address; a zone (`fe80::1%eth0`) makes it none. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const v4 = parseIpv4(text);
  if (v4 !== undefined) return { family: 4, value: v4 };
  const v6 = parseIpv6(text);
  if (v6 === undefined) return undefined;
  return v6 >> 32n === MAPPED ? { family: 4, value: v6 & 0xffff_ffffn } : { family: 6, value: v6 };
}

/** `10.0.0.0/8`, `::1/128`. Undefined where it is none, or has bits past its prefix. */
export function parseIpNetwork(text: string): IpNetwork | undefined {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  const address = parseIpAddress(match?.[1] ?? "");
  if (match === null || address === undefined) return undefined;
  const isMapped = address.family === 4 && text.includes(":");
  const prefix = Number(match[2]) - (isMapped ? 96 : 0);
  if (prefix < 0 || prefix > BITS[address.family]) return undefined;
  const network = { ...address, prefix };
  return network.value === headOf(network, network) << pastPrefix(network) ? network : undefined;
}

export function isWithin(network: IpNetwork, address: IpAddress): boolean {
  return network.family === address.family && headOf(network, network) === headOf(network, address);
}

function pastPrefix(network: IpNetwork): bigint {
  return BigInt(BITS[network.family] - network.prefix);
}

function headOf(network: IpNetwork, address: IpAddress): bigint {
  return address.value >> pastPrefix(network);
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => DECIMAL_BYTE.test(part) && Number(part) <= 255)) return undefined;
  return parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function parseIpv6(text: string): bigint | undefined {
  const dotted = /^(.*:)([^:]*\.[^:]*)$/.exec(text);
  const tail = dotted === null ? undefined : parseIpv4(dotted[2]!);
  if (dotted !== null && tail === undefined) return undefined;
  const plain =
    tail === undefined ? text : `${dotted![1]}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`;
  const halves = plain.split("::").map((half) => (half === "" ? [] : half.split(":")));
  const [head, rest] = halves as [string[], string[] | undefined];
  const missing = 8 - head.length - (rest?.length ?? 0);
  if (halves.length > 2 || (rest === undefined ? missing !== 0 : missing < 1)) return undefined;
  const groups = [...head, ...Array.from({ length: missing }, () => "0"), ...(rest ?? [])];
  if (!groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}
