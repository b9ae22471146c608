/** Real Redis servers for tests: on Unix sockets (or loopback ports for Cluster and Sentinel), in directories of their own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { redisServerPath } from "./tools.ts";

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** A plain client for the test's own looks and tricks. */
  readonly admin: Redis;
  /** SIGTERM, and waits until it is gone. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** SIGSTOP and SIGCONT: alive, and silent. */
  freeze(): void;
  thaw(): void;
  /** Starts it again where it was, with whatever it had written. */
  start(): Promise<void>;
  /** Ends it for good and removes its files. */
  dispose(): Promise<void>;
}

/** Polls; the only way in which a test here waits. */
export async function until(condition: () => boolean | Promise<boolean>, what = "condition"): Promise<void> {
  for (let round = 0; round < 1_500; round += 1) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`Never came true: ${what}`);
}

export async function startRedis(
  options: { readonly args?: readonly string[]; readonly port?: number; readonly configuration?: string } = {},
): Promise<RedisServer> {
  const directory = mkdtempSync(join(tmpdir(), "hp-redis-"));
  const socket = join(directory, "s");
  const port = options.port ?? 0;
  const config = join(directory, "redis.conf");
  writeFileSync(
    config,
    options.configuration ??
      ["save ''", `port ${port}`, "bind 127.0.0.1", ...(port === 0 ? [`unixsocket ${socket}`] : []), ""].join("\n"),
  );
  const args = [config, "--dir", directory, ...(options.args ?? [])];
  const admin = new Redis({
    ...(port === 0 ? { path: socket } : { host: "127.0.0.1", port }),
    lazyConnect: true,
    protocol: 2,
    retryStrategy: () => 20,
    maxRetriesPerRequest: null,
  });
  admin.on("error", () => {});
  let child: ChildProcess | undefined;
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  };
  const start = async (): Promise<void> => {
    child = spawn(redisServerPath(), args, { stdio: "ignore" });
    await until(async () => (await admin.ping().catch(() => "")) === "PONG", "redis answers");
  };
  await start();
  return {
    url: port === 0 ? `redis+unix://${socket}` : `redis://127.0.0.1:${port}`,
    port,
    admin,
    start,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    freeze: () => void child?.kill("SIGSTOP"),
    thaw: () => void child?.kill("SIGCONT"),
    dispose: async () => {
      child?.kill("SIGCONT");
      await end("SIGKILL");
      admin.disconnect();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Free at this moment; two at a time are asked for together, so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Three masters without replicas, all slots served. */
export async function startCluster(): Promise<{ readonly url: string; dispose(): Promise<void> }> {
  const ports = await freePorts(6);
  const nodes = await Promise.all(
    [0, 1, 2].map((index) =>
      startRedis({
        port: ports[index]!,
        args: [
          "--cluster-enabled",
          "yes",
          "--cluster-port",
          String(ports[index + 3]),
          "--cluster-node-timeout",
          "5000",
        ],
      }),
    ),
  );
  const ranges = [
    [0, 5460],
    [5461, 10_922],
    [10_923, 16_383],
  ] as const;
  for (const [index, node] of nodes.entries()) {
    await node.admin.call("CLUSTER", "ADDSLOTSRANGE", ...ranges[index]!.map(String));
    await node.admin.call("CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
  }
  for (const [index, node] of nodes.slice(1).entries()) {
    await nodes[0]!.admin.call("CLUSTER", "MEET", "127.0.0.1", String(node.port), String(ports[index + 4]));
  }
  await until(async () => {
    const states = await Promise.all(nodes.map((node) => node.admin.call("CLUSTER", "INFO")));
    return states.every(
      (state) => String(state).includes("cluster_state:ok") && String(state).includes("known_nodes:3"),
    );
  }, "cluster is ok");
  return {
    url: `redis+cluster://${nodes.map((node) => `127.0.0.1:${node.port}`).join(",")}`,
    dispose: async () => void (await Promise.all(nodes.map((node) => node.dispose()))),
  };
}

/** Whether a write on this master is acknowledged by a replica: "online" alone comes before the stream does. */
export async function isReplicated(master: RedisServer): Promise<boolean> {
  await master.admin.set("probe", "1");
  return Number(await master.admin.call("WAIT", "1", "100")) === 1;
}

/** One master, one replica, one Sentinel that watches them as `main`. */
export async function startSentinel(): Promise<{
  readonly url: string;
  readonly sentinel: RedisServer;
  readonly nodes: readonly [RedisServer, RedisServer];
  dispose(): Promise<void>;
}> {
  const [first = 0, second = 0, third = 0] = await freePorts(3);
  const master = await startRedis({ port: first, args: ["--repl-diskless-sync-delay", "0"] });
  const replica = await startRedis({ port: second, args: ["--replicaof", "127.0.0.1", String(first)] });
  await until(() => isReplicated(master), "replica follows");
  const sentinel = await startRedis({
    port: third,
    args: ["--sentinel"],
    configuration: [
      `port ${third}`,
      "bind 127.0.0.1",
      `sentinel monitor main 127.0.0.1 ${first} 1`,
      "sentinel down-after-milliseconds main 500",
      "sentinel failover-timeout main 5000",
      "",
    ].join("\n"),
  });
  // By default it looks at its servers every ten seconds; a test has none of those.
  const periods = ["info-period", "publish-period", "ping-period"].flatMap((period) => [period, "100"]);
  await sentinel.admin.call("SENTINEL", "DEBUG", ...periods);
  await until(
    async () => String(await sentinel.admin.call("INFO", "sentinel")).includes("slaves=1"),
    "replica is known",
  );
  return {
    url: `redis+sentinel://127.0.0.1:${third}/main`,
    sentinel,
    nodes: [master, replica],
    dispose: async () => void (await Promise.all([master, replica, sentinel].map((server) => server.dispose()))),
  };
}
