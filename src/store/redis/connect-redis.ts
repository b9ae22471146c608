/**
 * From an address to a client that fails fast. INVARIANT: a command is sent at most once. Nothing waits in a queue for
 * a connection, nothing is sent again after one was lost: its caller hears "unavailable" and decides what that means.
 */
import { Cluster, Redis, type RedisOptions } from "ioredis";
import { toError } from "../../core/errors.ts";
import type { RedisAddress } from "./parse-redis-url.ts";

export type RedisClient = Redis | Cluster;

export interface ConnectOptions {
  readonly timeoutMs: number;
  /** For the subscriber alone: subscribing waits for a connection instead of failing. */
  readonly isPatient: boolean;
}

const BACKOFF_MS_MAX = 2_000;

export function connectRedis(address: RedisAddress, options: ConnectOptions): RedisClient {
  const client = address.kind === "cluster" ? cluster(address, options) : new Redis(clientOptions(address, options));
  // Without a listener ioredis writes to the console. What a command is then told is only that there is no connection.
  client.on("error", (error: unknown) => void faults.set(client, lastOf(error)));
  client.on("node error", (error: unknown) => void faults.set(client, toError(error)));
  client.on("ready", () => void faults.delete(client));
  return client;
}

/** Cluster and Sentinel say that none answered, and keep beside it why the last one did not. */
function lastOf(thrown: unknown): Error {
  return toError((thrown as { readonly lastNodeError?: unknown } | undefined)?.lastNodeError ?? thrown);
}

const faults = new WeakMap<RedisClient, Error>();

/** Why there is no connection, as far as that is known: of ECONNREFUSED only this knows. */
export function connectionFault(client: RedisClient): Error | undefined {
  return faults.get(client);
}

function clientOptions(address: RedisAddress, options: ConnectOptions): RedisOptions & { replyMapping: "legacy" } {
  return {
    ...commonOptions(address, options),
    ...placeOf(address),
    enableOfflineQueue: options.isPatient,
    retryStrategy: backoffMs,
    replyMapping: "legacy",
  };
}

function placeOf(address: RedisAddress): RedisOptions {
  const [first] = address.hosts;
  switch (address.kind) {
    case "unix":
      return { path: address.name, db: address.db };
    case "sentinel":
      return {
        sentinels: address.hosts.map((host) => ({ ...host })),
        name: address.name,
        db: address.db,
        sentinelRetryStrategy: backoffMs,
        enableTLSForSentinelMode: address.hasTls,
        ...(address.hasTls ? { sentinelTLS: {} } : {}),
        ...(address.sentinelUsername === undefined ? {} : { sentinelUsername: address.sentinelUsername }),
        ...(address.sentinelPassword === undefined ? {} : { sentinelPassword: address.sentinelPassword }),
      };
    default:
      return { host: first!.host, port: first!.port, db: address.db };
  }
}

function commonOptions(address: RedisAddress, options: ConnectOptions): RedisOptions {
  const { timeoutMs, isPatient } = options;
  return {
    // Reply shapes as they were measured: RESP3 would change some of them.
    protocol: 2,
    connectTimeout: timeoutMs,
    connectionName: "holdpoint",
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: isPatient ? null : 0,
    // A demoted master answers READONLY: find the new one. The failed command is not sent again.
    reconnectOnError: (error) => error.message.startsWith("READONLY"),
    // A server that stopped answering keeps its connection and collects commands: drop it and fail fast.
    ...(isPatient ? {} : { commandTimeout: timeoutMs, socketTimeout: 2 * timeoutMs }),
    ...(address.hasTls && address.kind !== "unix" ? { tls: {} } : {}),
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
  };
}

function cluster(address: RedisAddress, options: ConnectOptions): Cluster {
  return new Cluster(
    address.hosts.map((host) => ({ ...host })),
    {
      redisOptions: commonOptions(address, options) as NonNullable<
        NonNullable<ConstructorParameters<typeof Cluster>[1]>["redisOptions"]
      >,
      enableOfflineQueue: options.isPatient,
      clusterRetryStrategy: backoffMs,
      clusterNodeRetryStrategy: backoffMs,
      // 0: a command whose connection was lost is not sent again. MOVED and ASK refuse before they execute: those are.
      retryDelayOnFailover: 0,
      slotsRefreshTimeout: options.timeoutMs,
      // TLS certificates carry names; a look-up would replace them by addresses.
      ...(address.hasTls
        ? { dnsLookup: (name: string, found: (error: null, name: string) => void) => found(null, name) }
        : {}),
    },
  );
}

function backoffMs(attempt: number): number {
  const ceiling = Math.min(50 * 2 ** Math.min(attempt, 10), BACKOFF_MS_MAX);
  return Math.ceil(ceiling * (0.5 + Math.random() / 2));
}
