/** The admin port of a running sidecar: where it is, who asks, and what its answers mean. */
import { readFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Config } from "../config/load-config.ts";
import { toError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/types.ts";
import { CommandError, type Environment, type Invocation, type OptionSpecs, usageError } from "./command.ts";
import { jsonLine, shown, spoken } from "./terminal.ts";

export const ADMIN_OPTIONS = {
  admin: {
    kind: "text",
    value: "URL",
    meaning: "Admin port: http://…, https://… or unix:/path (or HOLDPOINT_ADMIN_URL)",
  },
  "key-file": { kind: "text", value: "FILE", meaning: "File whose first line is the key (or HOLDPOINT_KEY)" },
  config: { kind: "text", value: "FILE", meaning: "Configuration whose admin_listen to use (or HOLDPOINT_CONFIG)" },
} as const satisfies OptionSpecs;

const TIMEOUT_MS = 30_000;
const ANSWER_BYTES_MAX = 64 << 20;
const DEFAULT_URL = "http://127.0.0.1:8283";

export interface AdminClient {
  readonly address: string;
  get(path: string, query?: Readonly<Record<string, string | number | undefined>>): Promise<JsonObject>;
  post(path: string, body: JsonObject): Promise<JsonObject>;
}

/** What to do about codes of the sidecar's, one sentence each. */
export type Hints = ReadonlyMap<string, string>;

/**
 * @param hints of the command, before those that every command has
 * @throws CommandError, or ConfigError where the address is the configuration's and that has faults
 */
export async function openAdminClient(
  invocation: Invocation<typeof ADMIN_OPTIONS>,
  hints: Hints = new Map(),
): Promise<AdminClient> {
  const target = targetOf(await addressOf(invocation));
  const key = keyOf(invocation.options["key-file"], invocation.environment);
  const send = (method: string, path: string, body?: string) => exchange({ target, key, method, path, body, hints });
  return {
    address: target.address,
    get: (path, query = {}) => {
      const search = new URLSearchParams();
      for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, String(value));
      return send("GET", search.size === 0 ? path : `${path}?${search}`);
    },
    post: (path, body) => send("POST", path, JSON.stringify(body)),
  };
}

async function addressOf({
  options,
  environment,
  configPath,
  config,
}: Invocation<typeof ADMIN_OPTIONS>): Promise<string> {
  const given = options.admin ?? (environment.HOLDPOINT_ADMIN_URL || undefined);
  if (given !== undefined) return given;
  const isConfigured = configPath !== undefined || (environment.HOLDPOINT_ADMIN_LISTEN ?? "") !== "";
  return isConfigured ? urlOfListener(await config()) : DEFAULT_URL;
}

/** Where to reach what listens: every address is also this machine's own. */
function urlOfListener({ admin_listen }: Config): string {
  if (admin_listen.startsWith("unix:")) return admin_listen;
  const colon = admin_listen.lastIndexOf(":");
  const [host, port] = [admin_listen.slice(0, colon), admin_listen.slice(colon + 1)];
  if (Number(port) === 0) throw usageError("admin_listen has port 0, chosen at start: give --admin URL");
  if (host === "" || host === "0.0.0.0") return `http://127.0.0.1:${port}`;
  return `http://${host === "[::]" ? "[::1]" : host}:${port}`;
}

interface Target {
  readonly address: string;
  readonly isTls: boolean;
  readonly connect: RequestOptions;
  /** In front of every path. */
  readonly prefix: string;
}

const EXPECTED = "expected http://HOST:PORT, https://HOST:PORT or unix:/path";

function targetOf(address: string): Target {
  if (address.startsWith("unix:")) {
    const socketPath = address.replace(/^unix:(\/\/(?=\/))?/, "");
    if (!socketPath.startsWith("/")) throw usageError(`Cannot use the admin address ${shown(address)}: ${EXPECTED}`);
    return { address, isTls: false, connect: { socketPath, headers: { host: "localhost" } }, prefix: "" };
  }
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol))
    throw usageError(`Cannot use the admin address ${shown(address)}: ${EXPECTED}`);
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    throw usageError(`The admin address has no user, query or fragment: ${EXPECTED}`);
  return {
    address: url.origin + url.pathname.replace(/\/$/, ""),
    isTls: url.protocol === "https:",
    connect: { hostname: url.hostname.replace(/^\[(.*)\]$/, "$1"), port: url.port },
    prefix: url.pathname.replace(/\/$/, ""),
  };
}

/** What a header may carry; the key itself is in no message. */
const KEY = /^[\x21-\x7e]{1,8000}$/;

function keyOf(file: string | undefined, environment: Environment): string | undefined {
  const fromFile = file === undefined ? undefined : firstLine(file);
  const key = fromFile ?? environment.HOLDPOINT_KEY?.trim();
  if (key === undefined || (key === "" && file === undefined)) return undefined;
  if (!KEY.test(key))
    throw usageError(`${file === undefined ? "HOLDPOINT_KEY" : "--key-file"}: expected a key without white space`);
  return key;
}

function firstLine(path: string): string {
  try {
    return readFileSync(path, "utf8").split("\n", 1)[0]!.trim();
  } catch (thrown) {
    throw usageError(`--key-file: ${toError(thrown).message}`);
  }
}

interface Exchange {
  readonly target: Target;
  readonly key: string | undefined;
  readonly method: string;
  readonly path: string;
  readonly body: string | undefined;
  readonly hints: Hints;
}

async function exchange(of: Exchange): Promise<JsonObject> {
  const { status, type, text } = await send(of).catch((thrown: unknown) => {
    throw thrown instanceof CommandError ? thrown : unreachable(of.target, toError(thrown));
  });
  const body = /json/.test(type) ? parsed(text) : undefined;
  if (body === undefined) throw notHoldpoint(of.target, status);
  if (status >= 200 && status < 300) return body;
  throw refused(of, status, body);
}

interface RawAnswer {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}

function send({ target, key, method, path, body }: Exchange): Promise<RawAnswer> {
  const headers: Record<string, string> = {
    ...(target.connect.headers as Record<string, string> | undefined),
    accept: "application/json",
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    ...(body === undefined ? {} : { "content-type": "application/json" }),
  };
  // One connection for one request: the sidecar's idle ones hold nobody up, and neither does its shutdown.
  const options = { ...target.connect, method, path: target.prefix + path, headers, agent: false };
  return new Promise((resolve, reject) => {
    const outgoing = (target.isTls ? httpsRequest : httpRequest)(options, (response) => {
      collect(response).then(resolve, reject);
    });
    const timer = setTimeout(() => {
      outgoing.destroy(new CommandError("timed_out", `No answer from ${target.address} within ${TIMEOUT_MS / 1000} s`));
    }, TIMEOUT_MS);
    outgoing.once("close", () => clearTimeout(timer));
    outgoing.once("error", reject);
    outgoing.end(body);
  });
}

async function collect(response: IncomingMessage): Promise<RawAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > ANSWER_BYTES_MAX)
      throw new CommandError(
        "answer_too_large",
        `The answer is over ${ANSWER_BYTES_MAX >> 20} MiB: ask for less at once`,
      );
    chunks.push(chunk);
  }
  return {
    status: response.statusCode!,
    type: response.headers["content-type"] ?? "",
    text: Buffer.concat(chunks).toString("utf8"),
  };
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}

const HINTS: Hints = new Map([
  ["unauthenticated", "Set HOLDPOINT_KEY, or give --key-file FILE, with a key that admin_auth knows"],
  ["too_many_attempts", "Keys were refused too often from here: wait a minute, and check HOLDPOINT_KEY"],
  ["role_missing", "Somebody with one of the approval's roles has to do it: see approvals show"],
  ["self_approval", "Who proposes an action, or lets an agent propose it, does not review it"],
  ["binding_mismatch", "The approval has changed since it was read: look again with approvals show"],
  ["approval_changed", "The approval has changed since it was read: look again with approvals show"],
  ["approval_not_found", "holdpoint approvals list shows those of your tenant; --status for others than pending"],
  ["route_not_found", "Is this the admin port, and a sidecar of this version? (the decision port has no reviews)"],
  ["store_unavailable", "Nothing was changed that is known of: look with approvals show before trying again"],
  ["ledger_unavailable", "Nothing was changed that is known of: look with approvals show before trying again"],
]);

function refused({ target, key, path, hints }: Exchange, status: number, body: JsonObject): CommandError {
  const code = typeof body.code === "string" ? body.code : `http_${status}`;
  const detail = typeof body.detail === "string" ? body.detail : jsonLine(body);
  const hint = hintOn(code, body, { key, hints });
  const place = code === "route_not_found" ? [`Asked ${target.address}${path.replace(/\?.*/, "")}`] : [];
  return new CommandError(shown(code), spoken(detail), { hints: [...place, ...(hint === undefined ? [] : [hint])] });
}

function hintOn(code: string, body: JsonObject, { key, hints }: Pick<Exchange, "key" | "hints">): string | undefined {
  if (body.pointer === "/actor" && code === "invalid_request")
    return "This admin port has no authentication: say who you are with --as ID [--role R]";
  if (body.pointer === "/actor" && code === "forbidden") return "Leave --as out: who you are is whom the key names";
  const own = hints.get(code);
  if (own !== undefined) return own;
  if (code === "forbidden") return "The key lacks a scope: review to grant and deny, operate to read the ledger";
  if (code === "unauthenticated" && key !== undefined)
    return isJwt(key)
      ? "A token was given, and the sidecar does not take it: is it over, and are its issuer and audience among jwt_issuers?"
      : "The key was given, and the sidecar does not know it: is it one of its api_keys?";
  return HINTS.get(code);
}

/** By its looks: three parts with dots between, which no key that api-key makes has. */
function isJwt(key: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(key);
}

function unreachable(target: Target, error: Error): CommandError {
  const { code } = error as NodeJS.ErrnoException;
  const { message, hints } = whyUnreachable(target, code, error.message);
  return new CommandError("unreachable", `Cannot reach ${target.address}: ${message}`, { hints, cause: error });
}

function whyUnreachable(target: Target, code: string | undefined, message: string) {
  const elsewhere = "Another address: --admin URL or HOLDPOINT_ADMIN_URL (admin_listen of the sidecar)";
  switch (code) {
    case "ECONNREFUSED":
      return { message: "connection refused", hints: ["Is the sidecar running (holdpoint serve)?", elsewhere] };
    case "ENOENT":
      return { message: "there is no such socket", hints: ["Is the sidecar running (holdpoint serve)?", elsewhere] };
    case "EACCES":
      return { message: "permission denied", hints: ["socket_mode of the sidecar says who may connect"] };
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return { message: "unknown host", hints: [elsewhere] };
    case "EPROTO":
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
      return {
        message: `${message.split("\n")[0]!.slice(0, 120)}`,
        hints: ["It does not speak TLS: try http:// instead of https://"],
      };
    case "ECONNRESET":
    case "HPE_INVALID_CONSTANT":
      return {
        message: "it broke off, or does not speak HTTP",
        hints: [target.isTls ? "Is it http:// there?" : "Is it https:// there?"],
      };
    default:
      return { message, hints: [elsewhere] };
  }
}

function notHoldpoint(target: Target, status: number): CommandError {
  return new CommandError("wrong_protocol", `${target.address} answers HTTP ${status}, and not as a sidecar does`, {
    hints: ["Is this the admin port of Holdpoint, and no proxy in front of it that wants something else?"],
  });
}
