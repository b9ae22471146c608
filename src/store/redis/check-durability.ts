/** What a Redis says of itself that would lose what it has acknowledged: for a warning, and never a reason to fail. */
import { Cluster, type Redis } from "ioredis";
import { withinDeadline } from "../within-deadline.ts";
import { connectRedis } from "./connect-redis.ts";
import { parseRedisUrl, type RedisAddress } from "./parse-redis-url.ts";

/**
 * A connection of its own, closed before this resolves. What the server does not let this user ask is not warned of.
 * @returns a sentence for each, once; undefined where the server could not be asked at all
 */
export async function checkDurability(url: string, timeoutMs: number): Promise<readonly string[] | undefined> {
  const address = parseRedisUrl(url);
  const client = connectRedis(address, { timeoutMs, isPatient: true });
  try {
    return await withinDeadline("say how it keeps records", 2 * timeoutMs, async () => {
      await client.call("PING");
      const servers = client instanceof Cluster ? client.nodes("master") : [client];
      const found = await Promise.all(servers.map((server) => warningsOf(server, address)));
      return [...new Set(found.flat())];
    });
  } catch {
    return undefined;
  } finally {
    client.disconnect();
  }
}

async function warningsOf(server: Redis, { kind, waitReplicas }: RedisAddress): Promise<string[]> {
  const ask = (...command: [string, ...string[]]) => server.call(...command).catch(() => undefined);
  const [persistence, memory, fsync] = await Promise.all([
    ask("INFO", "persistence"),
    ask("INFO", "memory"),
    ask("CONFIG", "GET", "appendfsync"),
  ]);
  const evicts = /^maxmemory_policy:(\S+)/m.exec(String(memory))?.[1] ?? "noeviction";
  const isAlone = (kind === "standalone" || kind === "unix") && waitReplicas === 0;
  const isAppending = /^aof_enabled:1/m.test(String(persistence));
  const isSaid = /^aof_enabled:/m.test(String(persistence));
  const period = Array.isArray(fsync) ? String(fsync[1]) : "always";
  return [
    ...(isSaid && !isAppending ? ["appendonly is no: a restart forgets approvals, and which permits were used"] : []),
    ...(isAlone && isAppending && period !== "always"
      ? [`appendfsync is ${period}: a crash forgets the last uses of permits; without replicas it should be always`]
      : []),
    ...(evicts === "noeviction"
      ? []
      : [`maxmemory-policy is ${evicts}: a full server forgets denials; it should be noeviction`]),
  ];
}
