/** `holdpoint serve`: starts, serves, reloads on SIGHUP, drains on SIGTERM and SIGINT. */
import cluster, { type Worker } from "node:cluster";
import type { Server } from "node:http";
import type { Config } from "../config/load-config.ts";
import { toError } from "../core/errors.ts";
import { aggregate } from "../telemetry/metrics.ts";
import { listen } from "./listen.ts";
import { createLogger, openSidecar, type Sidecar } from "./open-sidecar.ts";

/** Resolves when the sidecar has shut down. @throws ConfigError before it listens */
export async function serve(config: Config): Promise<void> {
  const logger = createLogger(config.log_level);
  const isSingle = config.workers === 1;
  const startedAt = performance.now();
  const sidecar = await openSidecar(config, logger);
  const servers: Server[] = [];
  try {
    if (isSingle || cluster.isWorker) {
      const server = sidecar.decisionServer();
      servers.push(server);
      logger.info(`Decisions on ${await listen(server, config.listen, "listen")}`);
    }
    if (isSingle || cluster.isPrimary) {
      const server = sidecar.adminServer();
      servers.push(server);
      logger.info(`Admin on ${await listen(server, config.admin_listen, "admin_listen")}`);
    }
  } catch (error) {
    for (const server of servers) server.close();
    await sidecar.close();
    throw error;
  }
  sayWhatIsOpen(config, sidecar);
  const workers = !isSingle && cluster.isPrimary ? startWorkers(config, sidecar) : undefined;
  if (cluster.isWorker) answerPrimary(sidecar);
  process.on("SIGHUP", () => void reload(sidecar));
  logger.info({ ready_ms: Math.round(performance.now() - startedAt), mode: config.mode }, "Holdpoint is up");
  await stopSignal();
  await shutDown(config, sidecar, servers, workers);
}

function sayWhatIsOpen(config: Config, sidecar: Sidecar): void {
  const { logger } = sidecar;
  if (config.auth.includes("none")) {
    logger.warn(
      "Callers are NOT authenticated (auth: none): every record says so. For development, or behind a socket only the agent can reach",
    );
  }
  if (config.admin_auth.includes("none")) {
    logger.warn(
      "Reviewers are NOT authenticated (admin_auth: none): whoever reaches the admin port can approve. For development only",
    );
  } else if (!config.api_keys.some((key) => key.scopes.includes("review"))) {
    logger.warn("No api_keys entry has the scope review: nobody can grant an approval");
  }
  if (config.mode === "observe") logger.warn("Mode is observe: nothing is blocked");
}

async function reload(sidecar: Sidecar): Promise<void> {
  sidecar.logger.info("Reloading policy and keys (SIGHUP)");
  const results = await Promise.allSettled([sidecar.policy.reload(), sidecar.tokens.reload()]);
  for (const result of results) {
    if (result.status === "rejected")
      sidecar.logger.error({ err: toError(result.reason) }, "Cannot reload: the last good one stays");
  }
}

/** The first signal drains; a second one ends at once. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = () => {
      if (isStopping) process.exit(130);
      isStopping = true;
      resolve();
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
}

async function shutDown(
  config: Config,
  sidecar: Sidecar,
  servers: readonly Server[],
  workers: Workers | undefined,
): Promise<void> {
  const { logger } = sidecar;
  logger.info(`Draining for at most ${config.drain_seconds} s`);
  sidecar.startDraining();
  workers?.stop();
  const cut = setTimeout(() => {
    for (const server of servers) server.closeAllConnections();
  }, config.drain_seconds * 1000);
  await Promise.all(servers.map(closed));
  await workers?.stopped;
  clearTimeout(cut);
  await sidecar.close();
  logger.info("Stopped");
  logger.flush();
  process.disconnect?.();
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}

// ------------------------------------------------------------------------------------------------------- workers

interface Workers {
  stop(): void;
  readonly stopped: Promise<void>;
}

interface MetricsMessage {
  readonly kind: "metrics";
  readonly id: number;
  readonly report?: object;
}

/** How long the primary waits for its workers' metrics before it answers without the missing ones. */
const METRICS_WAIT_MS = 1_000;

/**
 * The primary serves the admin port and keeps workers on the decision port, all on the same ledger and store. A worker
 * that dies is replaced.
 */
function startWorkers(config: Config, sidecar: Sidecar): Workers {
  let isStopping = false;
  const asked = new Map<number, (report: object) => void>();
  const fork = () => {
    const worker = cluster.fork();
    worker.on("message", (message: MetricsMessage) => {
      if (message.kind === "metrics" && message.report !== undefined) asked.get(message.id)?.(message.report);
    });
  };
  const stopped = new Promise<void>((resolve) => {
    cluster.on("exit", (worker, code, signal) => {
      if (!isStopping) {
        sidecar.logger.error({ worker: worker.id, code, signal }, "A worker ended and is replaced");
        fork();
      } else if (Object.keys(cluster.workers ?? {}).length === 0) resolve();
    });
  });
  for (let index = 0; index < config.workers; index++) fork();
  process.on("SIGHUP", () => everyWorker((worker) => worker.process.kill("SIGHUP")));
  replaceMetrics(sidecar, asked);
  return {
    stopped,
    stop: () => {
      isStopping = true;
      everyWorker((worker) => worker.process.kill("SIGTERM"));
    },
  };
}

function everyWorker(act: (worker: Worker) => void): void {
  for (const worker of Object.values(cluster.workers ?? {})) if (worker !== undefined) act(worker);
}

/** `/metrics` of the primary sums up every process. */
function replaceMetrics(sidecar: Sidecar, asked: Map<number, (report: object) => void>): void {
  let lastId = 0;
  const { registry } = sidecar.metrics;
  Object.assign(sidecar.operations, {
    metrics: async () => {
      const id = ++lastId;
      const reports: object[] = [await registry.getMetricsAsJSON()];
      const expected = Object.keys(cluster.workers ?? {}).length + 1;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, METRICS_WAIT_MS);
        asked.set(id, (report) => {
          reports.push(report);
          if (reports.length === expected) {
            clearTimeout(timer);
            resolve();
          }
        });
        everyWorker((worker) => worker.send({ kind: "metrics", id } satisfies MetricsMessage));
      });
      asked.delete(id);
      return { text: await aggregate(reports), contentType: registry.contentType };
    },
  });
}

function answerPrimary(sidecar: Sidecar): void {
  process.on("message", async (message: MetricsMessage) => {
    if (message.kind !== "metrics") return;
    const report = await sidecar.metrics.registry.getMetricsAsJSON();
    process.send?.({ kind: "metrics", id: message.id, report } satisfies MetricsMessage);
  });
}
