/**
 * A connection to an executor, to an address that was checked, ready to be written to.
 *
 * INVARIANT: nothing of a request has left while this has not returned. Whatever fails here is therefore certain not to
 * have run anything; that is why the connection is made here and not by node:http, which queues what it is given.
 */
import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect as connectTcp, isIP, type LookupFunction, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { type IpNetwork, isWithin, parseIpAddress, parseIpNetwork } from "../core/ip-address.ts";

export interface ResolvedAddress {
  readonly address: string;
  readonly family: number;
}

/** Every address of a name. */
export type ResolveHost = (hostname: string) => Promise<readonly ResolvedAddress[]>;

export const resolveHost: ResolveHost = (hostname) => lookup(hostname, { all: true, verbatim: true });

/** For a name, a TCP connection and a TLS handshake together. */
export const CONNECT_TIMEOUT_MS = 5_000;

export interface Target {
  readonly isTls: boolean;
  /** A name, or an address without brackets. */
  readonly hostname: string;
  readonly port: number;
  /** PEM of the authorities to believe; undefined: those that Node believes. */
  readonly ca: string | undefined;
  /** Where connections may go. */
  readonly networks: readonly IpNetwork[];
  /** Whether plain text may leave this machine. */
  readonly isHttpAllowed: boolean;
}

export type Connection =
  | { readonly kind: "connected"; readonly socket: Socket }
  | { readonly kind: "unreached"; readonly message: string; readonly mayRetry: boolean };

const LOOPBACK = ["127.0.0.0/8", "::1/128"].map((text) => parseIpNetwork(text)!);

/** Never throws. Ends when `signal` aborts, and after CONNECT_TIMEOUT_MS. */
export async function connect(target: Target, resolve: ResolveHost, signal: AbortSignal): Promise<Connection> {
  const limit = new AbortController();
  const abort = () => limit.abort();
  const timer = setTimeout(abort, CONNECT_TIMEOUT_MS);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  try {
    const addresses = await addressesOf(target, resolve, limit.signal);
    const refused = refusal(target, addresses);
    if (refused !== undefined) return { kind: "unreached", message: refused, mayRetry: false };
    return { kind: "connected", socket: await open(target, addresses, limit.signal) };
  } catch (thrown) {
    const why = limit.signal.aborted ? "no connection in time" : codeOf(thrown);
    return { kind: "unreached", message: `cannot be reached: ${why}`, mayRetry: true };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
  }
}

async function addressesOf(
  { hostname }: Target,
  resolve: ResolveHost,
  signal: AbortSignal,
): Promise<readonly ResolvedAddress[]> {
  const family = isIP(hostname);
  return family === 0 ? unlessAborted(resolve(hostname), signal) : [{ address: hostname, family }];
}

/** INVARIANT: one address outside is enough. Which of them a connection would have taken is not ours to choose. */
function refusal(target: Target, addresses: readonly ResolvedAddress[]): string | undefined {
  if (addresses.length === 0) return "cannot be reached: its name has no address";
  for (const { address } of addresses) {
    if (!isInside(target.networks, address))
      return `is not connected to: its name leads to ${address}, which is outside executor_addresses`;
    if (!target.isTls && !target.isHttpAllowed && !isInside(LOOPBACK, address))
      return `is not connected to: its name leads to ${address}, and http is for loopback unless allow_http says otherwise`;
  }
  return undefined;
}

function isInside(networks: readonly IpNetwork[], text: string): boolean {
  const address = parseIpAddress(text);
  return address !== undefined && networks.some((network) => isWithin(network, address));
}

/** To the addresses that were checked: a name is not looked up again, so it cannot lead elsewhere meanwhile. */
async function open(target: Target, addresses: readonly ResolvedAddress[], signal: AbortSignal): Promise<Socket> {
  const socket = target.isTls ? openTls(target, addresses) : connectTcp(endpoint(target, addresses));
  // What fails later is told by the request that uses it; an "error" without a listener would end the process.
  socket.on("error", () => {});
  try {
    await once(socket, target.isTls ? "secureConnect" : "connect", { signal });
    return socket;
  } catch (thrown) {
    socket.destroy();
    throw thrown;
  }
}

function openTls(target: Target, addresses: readonly ResolvedAddress[]): Socket {
  const { hostname, ca } = target;
  return connectTls({
    ...endpoint(target, addresses),
    // RFC 6066 section 3: a name without its final dot, and never an address.
    servername: isIP(hostname) === 0 ? hostname.replace(/\.$/, "") : "",
    ALPNProtocols: ["http/1.1"],
    ...(ca === undefined ? {} : { ca }),
  });
}

function endpoint({ hostname, port }: Target, addresses: readonly ResolvedAddress[]) {
  const checked = addresses.map(({ address }) => ({ address, family: isIP(address) }));
  const answer: LookupFunction = (_hostname, options, callback) => {
    if (options.all === true) callback(null, checked);
    else callback(null, checked[0]!.address, checked[0]!.family);
  };
  return { host: hostname, port, lookup: answer };
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new Error("aborted"));
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** `ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED`: stable words, and nothing of what another side wrote. */
export function codeOf(thrown: unknown): string {
  const code = (thrown as { readonly code?: unknown } | undefined)?.code;
  return typeof code === "string" && /^[A-Z0-9_]{1,64}$/.test(code) ? code : "it failed without a code";
}
