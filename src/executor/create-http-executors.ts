/** Executors that are HTTP endpoints: one POST with the permit, on a connection of its own, and what became of it. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ExecuteAnswer, ExecuteRequest, Executors } from "../core/executor.ts";
import { type IpNetwork, parseIpNetwork } from "../core/ip-address.ts";
import { connect, type ResolveHost, resolveHost, type Target } from "./connect.ts";
import { type Attempt, type Message, post } from "./post.ts";

export interface HttpExecutorConfig {
  /** https, or http to loopback (with `allow_http`: anywhere inside `addresses`). */
  readonly url: string;
  /** For all attempts and the waits between them. */
  readonly timeout_ms: number;
  /** The endpoint does by one `idempotency-key` at most once what it is asked. */
  readonly idempotent: boolean;
  /** Further attempts; counts only where `idempotent`. */
  readonly retries: number;
  readonly response_bytes_max: number;
  /** Lower-case names, and values as they are sent; never logged. */
  readonly headers: Readonly<Record<string, string>>;
  readonly allow_http: boolean;
  readonly concurrency_max: number;
  /** PEM. */
  readonly ca?: string | undefined;
}

export interface HttpExecutorsConfig {
  /** By name. */
  readonly executors: Readonly<Record<string, HttpExecutorConfig>>;
  /** CIDRs; every address of an executor's name must lie inside. */
  readonly addresses: readonly string[];
}

export interface HttpExecutorsOptions {
  readonly resolve: ResolveHost;
  /** Rejects where the signal aborts first. */
  readonly wait: (ms: number, signal: AbortSignal) => Promise<unknown>;
  /** From 0 to below 1. */
  readonly random: () => number;
}

const DEFAULTS: HttpExecutorsOptions = {
  resolve: resolveHost,
  wait: (ms, signal) => sleep(ms, undefined, { signal }),
  random: Math.random,
};

/** The wait before the second attempt is up to this, and doubles from there. */
const BACKOFF_MS = 200;
const BACKOFF_MS_MAX = 5_000;

/** @throws RangeError for an address list that the configuration would have refused */
export function createHttpExecutors(
  config: HttpExecutorsConfig,
  options: Partial<HttpExecutorsOptions> = {},
): Executors {
  const networks = config.addresses.map(networkOf);
  const complete = { ...DEFAULTS, ...options };
  const byName = new Map(
    Object.entries(config.executors).map(([name, one]) => [name, createExecutor(name, one, networks, complete)]),
  );
  return {
    has: (name) => byName.has(name),
    execute: async (request) => {
      const execute = byName.get(request.executor);
      if (execute !== undefined) return execute(request);
      return failed(`There is no executor ${JSON.stringify(request.executor)}`);
    },
  };
}

type Execute = (request: ExecuteRequest) => Promise<ExecuteAnswer>;

function networkOf(text: string): IpNetwork {
  const network = parseIpNetwork(text);
  if (network === undefined) throw new RangeError(`Expected a network, found ${JSON.stringify(text)}`);
  return network;
}

function createExecutor(
  name: string,
  config: HttpExecutorConfig,
  networks: readonly IpNetwork[],
  options: HttpExecutorsOptions,
): Execute {
  const endpoint = endpointOf(config, networks);
  const said = (answer: ExecuteAnswer): ExecuteAnswer =>
    answer.kind === "succeeded" ? answer : { ...answer, message: `Executor ${JSON.stringify(name)} ${answer.message}` };
  let running = 0;
  return async (request) => {
    if (running >= config.concurrency_max)
      return said(failed(`is overloaded: ${config.concurrency_max} executions are running`));
    running += 1;
    try {
      return said(await attemptAll(endpoint, request, options));
    } catch {
      // Not foreseen, so nothing is known of how far it went.
      return said({ kind: "unknown", status: undefined, message: "met an internal error" });
    } finally {
      running -= 1;
    }
  };
}

/** What the configuration says, taken apart once. */
interface Endpoint {
  readonly config: HttpExecutorConfig;
  readonly target: Target;
  /** Path and query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

function endpointOf(config: HttpExecutorConfig, networks: readonly IpNetwork[]): Endpoint {
  const { protocol, hostname, port, host, pathname, search } = new URL(config.url);
  const isTls = protocol === "https:";
  return {
    config,
    target: {
      isTls,
      hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
      port: port === "" ? (isTls ? 443 : 80) : Number(port),
      ca: config.ca,
      networks,
      isHttpAllowed: config.allow_http,
    },
    path: `${pathname}${search}`,
    headers: {
      ...config.headers,
      host,
      accept: "application/json",
      "accept-encoding": "identity",
      "content-type": "application/json",
    },
  };
}

/**
 * INVARIANT: `failed` says that nothing ran. One attempt of which that is not certain makes the whole `unknown`, whatever
 * a later one was told, unless that one succeeded.
 */
async function attemptAll(
  endpoint: Endpoint,
  request: ExecuteRequest,
  { resolve, wait, random }: HttpExecutorsOptions,
): Promise<ExecuteAnswer> {
  const { config } = endpoint;
  const attempts = 1 + (config.idempotent ? config.retries : 0);
  const endsAt = performance.now() + config.timeout_ms;
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), config.timeout_ms);
  let doubt: string | undefined;
  try {
    for (let count = 1; ; count++) {
      const attempt = await attemptOnce(endpoint, request, resolve, limit.signal);
      const { answer } = attempt;
      if (answer.kind === "succeeded") return answer;
      if (answer.kind === "unknown") doubt = answer.message;
      const waitMs = waitAfter(attempt, count, random);
      const isLast = count >= attempts || !attempt.mayRetry || waitMs >= endsAt - performance.now();
      if (isLast || !(await isWaited(wait(waitMs, limit.signal)))) return withDoubt(answer, doubt);
    }
  } finally {
    clearTimeout(timer);
  }
}

function isWaited(waiting: Promise<unknown>): Promise<boolean> {
  return waiting.then(
    () => true,
    () => false,
  );
}

async function attemptOnce(
  endpoint: Endpoint,
  request: ExecuteRequest,
  resolve: ResolveHost,
  signal: AbortSignal,
): Promise<Attempt> {
  const connection = await connect(endpoint.target, resolve, signal);
  if (connection.kind === "connected") return post(connection.socket, messageOf(endpoint, request), signal);
  return { answer: failed(connection.message), mayRetry: connection.mayRetry };
}

function withDoubt(answer: ExecuteAnswer, doubt: string | undefined): ExecuteAnswer {
  if (answer.kind !== "failed" || doubt === undefined) return answer;
  return { ...answer, kind: "unknown", message: `${answer.message}; before that it ${doubt}` };
}

/** What the executor asked for, or a random share of a time that doubles, so that many do not come back at once. */
function waitAfter({ retryAfterMs }: Attempt, count: number, random: () => number): number {
  return retryAfterMs ?? random() * Math.min(BACKOFF_MS * 2 ** (count - 1), BACKOFF_MS_MAX);
}

function messageOf({ config, path, headers }: Endpoint, request: ExecuteRequest): Message {
  return {
    path,
    headers: {
      ...headers,
      "holdpoint-permit": request.permit,
      "idempotency-key": request.idempotencyKey,
      traceparent: `00-${request.traceId}-${spanId()}-01`,
    },
    body: Buffer.from(request.bodyText),
    responseBytesMax: config.response_bytes_max,
  };
}

/** Of this attempt; all zero is none (W3C Trace Context section 3.2.2.4). */
function spanId(): string {
  const bytes = randomBytes(8);
  bytes[0]! |= 1;
  return bytes.toString("hex");
}

function failed(message: string): ExecuteAnswer {
  return { kind: "failed", status: undefined, message };
}
