import type { Store } from "../../core/ports.ts";
import type { StoreOptions } from "../store-options.ts";
import { connectRedis, type RedisClient } from "./connect-redis.ts";
import { parseRedisUrl } from "./parse-redis-url.ts";
import { RedisLink } from "./redis-link.ts";
import { RedisStore } from "./redis-store.ts";

/** Resolves once connected, or after the timeout where the server is away: then every operation says so. */
export async function openRedisStore(url: string, options: StoreOptions): Promise<Store> {
  const address = parseRedisUrl(url);
  const { timeoutMs } = options;
  const connect = (isPatient: boolean): RedisClient => connectRedis(address, { timeoutMs, isPatient });
  const client = connect(false);
  const settler = address.waitReplicas > 0 ? connect(false) : undefined;
  await Promise.all([isReady(client, timeoutMs), settler === undefined ? undefined : isReady(settler, timeoutMs)]);
  const waitMs = address.waitMs ?? Math.ceil(timeoutMs / 4);
  const link = new RedisLink(client, settler, { waitReplicas: address.waitReplicas, waitMs });
  return new RedisStore(link, () => connect(true), options);
}

function isReady(client: RedisClient, timeoutMs: number): Promise<void> {
  if (client.status === "ready") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, timeoutMs);
    client.once("ready", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
