/** The one place that talks to Redis: runs scripts, waits for replicas, translates errors. */

import { toError, UnavailableError } from "../../core/errors.ts";
import { corrupted } from "../record-text.ts";
import { connectionFault, type RedisClient } from "./connect-redis.ts";
import { tagOf } from "./keys.ts";
import type { Script, ScriptRunner } from "./scripts/script.ts";

type Command = (...args: (string | number)[]) => Promise<unknown>;

export interface RedisLinkOptions {
  readonly waitReplicas: number;
  readonly waitMs: number;
}

export class RedisLink implements ScriptRunner {
  readonly client: RedisClient;
  /** A connection of its own: WAIT blocks the one it is sent on, and with it everything behind it. */
  readonly #settler: RedisClient | undefined;
  readonly #options: RedisLinkOptions;

  constructor(client: RedisClient, settler: RedisClient | undefined, options: RedisLinkOptions) {
    this.client = client;
    this.#settler = settler;
    this.#options = options;
  }

  /**
   * INVARIANT: all keys of a call carry one hash tag. Checked on every server, so that a slip shows on a laptop and not
   * as CROSSSLOT in somebody's Cluster.
   */
  async run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<readonly [string, ...string[]]> {
    const tag = tagOf(keys[0] ?? "");
    const isCountRight = keys.length >= script.keys && keys.length <= script.keysMax;
    if (!isCountRight || tag === "" || keys.some((key) => tagOf(key) !== tag)) {
      throw new RangeError(`Cannot run ${script.name}: its keys are not ${script.keys} of one slot`);
    }
    const reply = await this.#command(script)(keys.length, ...keys, ...args).catch((thrown) => this.#rethrow(thrown));
    if (!Array.isArray(reply) || !reply.every((part) => typeof part === "string") || reply.length === 0) {
      throw corrupted("reply", new Error(`${script.name}.lua replied something else than words`));
    }
    return reply as unknown as readonly [string, ...string[]];
  }

  /**
   * Holds an answer back until enough replicas have what it says. The field is read again on the same connection: its
   * value shows that no failover lost the write in between, and WAIT then covers everything up to that reading.
   * Fewer acknowledgements: unavailable. The change may stand; nobody was told yes.
   */
  async settle(key: string, field: string, holds: (value: string) => boolean): Promise<void> {
    if (this.#settler === undefined) return;
    const { waitReplicas, waitMs } = this.#options;
    const replies = await this.#settler
      .pipeline()
      .hget(key, field)
      .call("WAIT", waitReplicas, waitMs)
      .exec()
      .catch((thrown) => this.#rethrow(thrown));
    const [[readError, value] = [], [waitError, acknowledged] = []] = (replies ?? []) as [Error | null, unknown][];
    if (readError || waitError) rethrow(readError ?? waitError);
    const isKept = typeof value === "string" && holds(value);
    if (isKept && Number(acknowledged) >= waitReplicas) return;
    throw new UnavailableError(
      "store_unavailable",
      `Store cannot promise what it did: ${isKept ? `${Number(acknowledged)} of ${waitReplicas} replicas have it` : "a failover lost it"}`,
    );
  }

  async get(key: string): Promise<string | null> {
    return this.client.get(key).catch((thrown) => this.#rethrow(thrown));
  }

  async fields<Names extends readonly string[]>(
    key: string,
    ...names: Names
  ): Promise<{ readonly [Name in keyof Names]: string | null }> {
    const values = await this.client.hmget(key, ...names).catch((thrown) => this.#rethrow(thrown));
    return values as { readonly [Name in keyof Names]: string | null };
  }

  /** All of a hash's values, in no order. */
  async values(key: string): Promise<readonly string[]> {
    return this.client.hvals(key).catch((thrown) => this.#rethrow(thrown));
  }

  /** Up to `limit` items of a list, from the one of this index. */
  async items(key: string, index: number, limit: number): Promise<readonly string[]> {
    return this.client.lrange(key, index, index + limit - 1).catch((thrown) => this.#rethrow(thrown));
  }

  /** Up to `limit` + 1 members of a lexicographic index, past `after`: one more says that there is another page. */
  async rows(
    key: string,
    after: string | undefined,
    of: { readonly limit: number; readonly isNewestFirst: boolean },
  ): Promise<string[]> {
    const limit = of.limit + 1;
    const from = after === undefined ? undefined : `(${after}`;
    const range = of.isNewestFirst
      ? this.client.zrange(key, from ?? "+", "-", "BYLEX", "REV", "LIMIT", 0, limit)
      : this.client.zrange(key, from ?? "-", "+", "BYLEX", "LIMIT", 0, limit);
    return range.catch((thrown) => this.#rethrow(thrown));
  }

  /** Also refuses a server that may evict: a denial thrown out under pressure would be asked again. */
  async ping(): Promise<void> {
    // ioredis lets INFO through before it lets scripts: that would be a "ready" nobody could use.
    if (this.client.status !== "ready") this.#rethrow(new Error(`Connection is "${this.client.status}"`));
    const info = String(await this.client.call("INFO", "memory"));
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1] ?? "noeviction";
    if (policy === "noeviction" || /^maxmemory:0\s*$/m.test(info)) return;
    throw new UnavailableError(
      "store_unavailable",
      `Store may lose records: maxmemory-policy is "${policy}", needs "noeviction"`,
    );
  }

  /** Adds why there is no connection, where that is what failed. */
  #rethrow(thrown: unknown): never {
    const fault = connectionFault(this.client);
    if (fault === undefined || this.client.status === "ready") rethrow(thrown);
    rethrow(new Error(toError(thrown).message, { cause: fault }));
  }

  close(): void {
    this.client.disconnect();
    this.#settler?.disconnect();
  }

  /** EVALSHA; ioredis sends the text again on a connection that is new, or whose server has forgotten the script. */
  #command(script: Script): Command {
    const commands = this.client as unknown as Record<string, Command | undefined>;
    const name = `holdpoint:${script.name}`;
    // Without a number of keys of its own, the command's first argument is that number.
    if (commands[name] === undefined) this.client.defineCommand(name, { lua: script.lua });
    return (...args) => (this.client as unknown as Record<string, Command>)[name]!(...args);
  }
}

/** A key of ours that holds another type was written by somebody else. Everything else is the backend being out. */
function rethrow(thrown: unknown): never {
  const error = toError(thrown);
  throw error.message.includes("WRONGTYPE") ? corrupted("record", error) : error;
}
