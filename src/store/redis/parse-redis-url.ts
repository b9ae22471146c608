/**
 * The store's address. Sentinel and Cluster name several hosts, which `URL` cannot read, so the text is taken apart here:
 *
 *   redis://[user[:password]@]host[:port][/db][?…]             rediss:// the same over TLS
 *   redis+unix://[user[:password]@]/path/to/socket[?db=0]
 *   redis+sentinel://[user[:password]@]host:port,host:port/masterName[?db=0&tls=true&sentinelUsername=…&sentinelPassword=…]
 *   redis+cluster://[user[:password]@]host:port,host:port[?tls=true]
 *
 * `waitReplicas` and `waitMs` may follow on each of them.
 */
import { ConfigError } from "../../core/errors.ts";

export interface RedisHost {
  readonly host: string;
  readonly port: number;
}

export interface RedisAddress {
  readonly kind: "standalone" | "unix" | "sentinel" | "cluster";
  readonly hosts: readonly RedisHost[];
  /** Socket path, or Sentinel's name of the master. */
  readonly name: string;
  readonly hasTls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly sentinelUsername: string | undefined;
  readonly sentinelPassword: string | undefined;
  readonly db: number;
  readonly waitReplicas: number;
  readonly waitMs: number | undefined;
}

const KINDS: ReadonlyMap<string, RedisAddress["kind"]> = new Map([
  ["redis", "standalone"],
  ["rediss", "standalone"],
  ["redis+unix", "unix"],
  ["redis+sentinel", "sentinel"],
  ["redis+cluster", "cluster"],
]);
const PARTS = /^([a-z+]+):\/\/(?:([^@/?#]*)@)?([^/?#@]*)(\/[^?#]*)?(?:\?([^#]*))?$/;
const HOST = /^(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?$/;
const PARAMETERS = new Set(["db", "tls", "sentinelUsername", "sentinelPassword", "waitReplicas", "waitMs"]);

export function isRedisUrl(url: string): boolean {
  return KINDS.has(url.slice(0, Math.max(0, url.indexOf("://"))));
}

export function parseRedisUrl(url: string): RedisAddress {
  const [, scheme = "", credentials, hostList = "", path = "", query = ""] = PARTS.exec(url) ?? [];
  const kind = KINDS.get(scheme);
  if (kind === undefined) throw fault("it is not a Redis address");
  const parameters = parametersOf(query);
  const [username, password] = credentialsOf(credentials);
  const dbText = kind === "standalone" && path.length > 1 ? path.slice(1) : (parameters.get("db") ?? "0");
  const address: RedisAddress = {
    kind,
    hosts: kind === "unix" ? [] : hostList.split(",").map((text) => hostOf(text, kind)),
    name: nameOf(kind, path),
    hasTls: scheme === "rediss" || flag("tls", parameters.get("tls")),
    username,
    password,
    sentinelUsername: parameters.get("sentinelUsername"),
    sentinelPassword: parameters.get("sentinelPassword"),
    db: count("database", dbText, 1_000),
    // Behind Sentinel and Cluster a promoted replica takes over: what it did not have never happened, so ask for one.
    waitReplicas: count(
      "waitReplicas",
      parameters.get("waitReplicas") ?? (kind === "sentinel" || kind === "cluster" ? "1" : "0"),
      100,
    ),
    waitMs: parameters.has("waitMs") ? count("waitMs", parameters.get("waitMs")!, 60_000) : undefined,
  };
  if (kind === "cluster" && address.db !== 0) throw fault("Redis Cluster has database 0 only");
  if (kind === "unix" && hostList !== "") throw fault("a socket has no host");
  return address;
}

function parametersOf(query: string): Map<string, string> {
  const parameters = new Map(new URLSearchParams(query));
  for (const name of parameters.keys()) {
    if (!PARAMETERS.has(name)) throw fault(`unknown parameter ${JSON.stringify(name)}`);
  }
  return parameters;
}

function credentialsOf(text: string | undefined): [string | undefined, string | undefined] {
  if (text === undefined) return [undefined, undefined];
  const colon = text.indexOf(":");
  const parts = colon < 0 ? [text, ""] : [text.slice(0, colon), text.slice(colon + 1)];
  try {
    const [username = "", password = ""] = parts.map(decodeURIComponent);
    return [username === "" ? undefined : username, password === "" ? undefined : password];
  } catch {
    throw fault("its credentials are not percent-encoded");
  }
}

function hostOf(text: string, kind: RedisAddress["kind"]): RedisHost {
  const [, host, port] = HOST.exec(text) ?? [];
  if (host === undefined) throw fault("a host is not a name or address with a port");
  const number = port === undefined ? (kind === "sentinel" ? 26_379 : 6379) : Number(port);
  if (number < 1 || number > 65_535) throw fault(`port ${number} does not exist`);
  return { host: host.startsWith("[") ? host.slice(1, -1) : host, port: number };
}

function nameOf(kind: RedisAddress["kind"], path: string): string {
  if (kind === "standalone") return "";
  if (kind === "cluster") {
    if (path.length > 1) throw fault("Redis Cluster has no path");
    return "";
  }
  const name = kind === "unix" ? path : path.slice(1);
  if (name.length < 1 || (kind === "sentinel" && name.includes("/"))) {
    throw fault(kind === "unix" ? "the path of the socket is missing" : "the name of Sentinel's master is missing");
  }
  return decodeURIComponent(name);
}

function flag(name: string, text: string | undefined): boolean {
  if (text === undefined || text === "false") return false;
  if (text === "true") return true;
  throw fault(`${name} is true or false`);
}

function count(name: string, text: string, max: number): number {
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= max)) throw fault(`${name} is a number from 0 to ${max}`);
  return value;
}

/** The URL itself stays out of the message: it may hold a password. */
function fault(sentence: string): ConfigError {
  return new ConfigError("config_invalid", `Cannot read the address of the store: ${sentence}`);
}
