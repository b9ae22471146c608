import { join } from "node:path";
import { ConfigError } from "../core/errors.ts";
import type { Store } from "../core/ports.ts";
import { openEmbeddedStore } from "./embedded/open-embedded-store.ts";
import { isRedisUrl } from "./redis/parse-redis-url.ts";
import { completeStoreOptions, type StoreOptions } from "./store-options.ts";

export interface OpenStore extends Partial<StoreOptions> {
  /** `embedded`, or an address as in redis/parse-redis-url.ts. */
  readonly url: string;
  /** The embedded store keeps its files in `<dataDir>/store`. */
  readonly dataDir: string;
}

/** Never waits for a Redis that is away: the store opens, and says "unavailable" until it is back. */
export async function openStore({ url, dataDir, ...options }: OpenStore): Promise<Store> {
  const complete = completeStoreOptions(options);
  if (url === "embedded") return openEmbeddedStore(join(dataDir, "store"), complete);
  if (isRedisUrl(url)) {
    // Half a megabyte of client that a sidecar with an embedded store has no use for.
    const { openRedisStore } = await import("./redis/open-redis-store.ts");
    return openRedisStore(url, complete);
  }
  throw new ConfigError("config_invalid", "Cannot open the store: its address is neither embedded nor a Redis URL");
}
