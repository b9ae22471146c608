/** `holdpoint serve`: starts, serves, reloads on SIGHUP, drains on SIGTERM and SIGINT. */
import cluster from "node:cluster";
import { readFileSync } from "node:fs";
import type { Server } from "node:http";
import type { Logger } from "pino";
import type { Config } from "../config/load-config.ts";
import { toError } from "../core/errors.ts";
import { packageVersion } from "../http/package-version.ts";
import type { Environment } from "./command.ts";
import { endAtOnce } from "./end-at-once.ts";
import type { Hangups } from "./hangups.ts";
import { clearSocket, listen } from "./listen.ts";
import { type ConfigReloader, watchConfig } from "./live-settings.ts";
import { observeWarning } from "./observe-warning.ts";
import { createLogger, openSidecar, type Sidecar } from "./open-sidecar.ts";
import { refuseSecond } from "./refuse-second.ts";
import { storeAddress } from "./say-store-state.ts";
import {
  endWithPrimary,
  followPrimary,
  leavePrimary,
  openInTurn,
  startWorkers,
  tellFailure,
  type Workers,
} from "./workers.ts";

export interface ServeOptions {
  /** Reads the same file and variables again. */
  readonly load: () => Config;
  /** The file that is watched for changes. */
  readonly path: string | undefined;
  readonly hangups: Hangups;
  /** Where secrets may lie that the configuration names. */
  readonly environment: Environment;
}

type WorkerOptions = Pick<ServeOptions, "hangups" | "environment">;

/** Resolves when the sidecar has shut down. @throws ConfigError before it listens */
export async function serve(config: Config, options: ServeOptions): Promise<void> {
  prepareProcess();
  await refuseSecond(config.data_dir);
  await serveAlone(config, options);
}

/** The same in a worker; what goes wrong is told to the primary. */
export async function serveAsWorker(options: WorkerOptions): Promise<void> {
  endWithPrimary();
  prepareProcess();
  try {
    await serveAlone(await openInTurn(), options);
  } catch (error) {
    await tellFailure(error);
  }
  leavePrimary();
}

function prepareProcess(): void {
  // What it writes is its own: keys, ledger, state, and sockets until their mode is set.
  process.umask(0o077);
}

interface Running {
  readonly sidecar: Sidecar;
  readonly servers: Server[];
  workers: Workers | undefined;
}

async function serveAlone(config: Config, options: ServeOptions | WorkerOptions): Promise<void> {
  const startedAt = performance.now();
  const logger = createLogger(config.log_level);
  endOnFault(logger);
  // Heard from the first moment: one that comes during the start ends what it started.
  const stopped = stopSignal();
  const running: Running = {
    sidecar: await openSidecar(config, logger, { isWorker: cluster.isWorker, environment: options.environment }),
    servers: [],
    workers: undefined,
  };
  const { sidecar } = running;
  try {
    await start(config, running);
  } catch (error) {
    for (const server of running.servers) server.close();
    running.workers?.stop();
    await running.workers?.stopped;
    await sidecar.close();
    throw error;
  }
  if (!cluster.isWorker) sayWhatIsOpen(config, sidecar);
  const configuration =
    "load" in options
      ? watchConfig({
          ...options,
          started: config,
          sidecar,
          onApplied: (changed) => {
            running.workers?.change(changed);
            void sayWhatIsUngoverned(changed, logger);
          },
        })
      : undefined;
  // What was changed during the start is found now: the watch has begun only after the first look.
  await configuration?.reload();
  options.hangups.handle(() => void reload(sidecar, configuration));
  const facts = {
    version: packageVersion(),
    ready_ms: Math.round(performance.now() - startedAt),
    mode: config.mode,
    store: storeAddress(config.store),
    auth: config.auth.join(","),
    admin_auth: config.admin_auth.join(","),
    config: "load" in options ? options.path : undefined,
  };
  logger.info(facts, cluster.isWorker ? "Worker is up" : "Holdpoint is up");
  if (!cluster.isWorker) void sayWhatIsUngoverned(config, logger);
  await stopped;
  configuration?.close();
  await shutDown(config, running);
}

async function start(config: Config, running: Running): Promise<void> {
  const { sidecar, servers } = running;
  const { logger } = sidecar;
  const isPrimary = config.workers > 1 && cluster.isPrimary;
  if (isPrimary) {
    await clearSocket(config.listen, "listen");
    const workers = startWorkers(config, sidecar);
    running.workers = workers;
    const { contentType } = sidecar.metrics.registry;
    Object.assign(sidecar.operations, {
      metrics: async () => ({ text: await workers.metrics(), contentType }),
      activity: workers.activity,
    });
    await workers.listening;
  } else {
    if (cluster.isWorker) followPrimary(sidecar, (changed) => void sidecar.reconfigure(changed));
    else await clearSocket(config.listen, "listen");
    const server = sidecar.decisionServer();
    servers.push(server);
    logger.info(`Decisions on ${await listen(server, config.listen, "listen", config.socket_mode)}`);
  }
  if (cluster.isWorker) return;
  await clearSocket(config.admin_listen, "admin_listen");
  const server = sidecar.adminServer();
  servers.push(server);
  logger.info(`Admin on ${await listen(server, config.admin_listen, "admin_listen", config.socket_mode)}`);
}

/** What nobody caught leaves a state that nobody knows: say so, and start again from what is on disk. */
function endOnFault(logger: Logger): void {
  process.on("uncaughtException", (error) => {
    logger.fatal({ err: error }, "Unexpected fault: this process ends");
    endAtOnce();
  });
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
  } else if (!canReview(config)) {
    logger.warn("No credential that admin_auth takes has the scope review: nobody can grant an approval");
  }
  const observed = observeWarning(config);
  if (observed !== undefined) logger.warn(`Mode is observe: ${observed}`);
  const filesMax = openFilesMax();
  if (filesMax < config.connections_max + OTHER_FILES) {
    logger.warn(
      `This process may open ${filesMax} files, too few for connections_max ${config.connections_max}: raise the limit (ulimit -n) or lower the setting`,
    );
  }
}

/** A mode for a name that no contract has is most often a misspelt name, and the action has another mode than meant. */
async function sayWhatIsUngoverned({ actions, bundle }: Config, logger: Logger): Promise<void> {
  const names = Object.keys(actions);
  if (names.length === 0 || bundle === undefined) return;
  const { inspectBundle } = await import("../policy/inspect-bundle.ts");
  const { ungovernedActions } = await import("./check-config.ts");
  const inspected = await inspectBundle(bundle).catch(() => undefined); // refused: the policy's own log line says so
  const contracts = inspected?.contracts.map(({ action }) => action) ?? [];
  for (const warning of ungovernedActions(names, contracts)) logger.warn(warning);
}

/** Beside connections: ledger, store, bundle, log. */
const OTHER_FILES = 200;

/** Linux says so; elsewhere nobody is warned. */
function openFilesMax(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    return limit === undefined ? Number.POSITIVE_INFINITY : Number(limit);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

function canReview({ admin_auth, api_keys, jwt_issuers }: Config): boolean {
  const ofKeys = admin_auth.includes("api_key") ? api_keys : [];
  const ofIssuers = admin_auth.includes("jwt") ? jwt_issuers : [];
  return [...ofKeys, ...ofIssuers].some(({ scopes }) => scopes.includes("review"));
}

async function reload(sidecar: Sidecar, configuration: ConfigReloader | undefined): Promise<void> {
  sidecar.logger.info("Reloading configuration, policy and keys (SIGHUP)");
  const results = await Promise.allSettled([
    configuration?.reload(),
    sidecar.policy.reload(),
    sidecar.tokens.reload(),
    sidecar.refreshIdentity(),
  ]);
  for (const result of results) {
    if (result.status === "rejected")
      sidecar.logger.error({ err: toError(result.reason) }, "Cannot reload: the last good one stays");
  }
}

/** The first signal drains; a second one ends at once. A worker hears both from its group and from its primary. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = () => {
      if (isStopping && !cluster.isWorker) endAtOnce();
      isStopping = true;
      resolve();
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
}

/** How often connections are looked for whose last request was answered meanwhile. */
const IDLE_CHECK_MS = 50;

/**
 * The decision port first: whoever acts is told to go elsewhere. The admin port goes on answering until the decisions are
 * done, so that probes hear that this one is draining and the last scrape has the last numbers.
 */
async function shutDown(config: Config, { sidecar, servers, workers }: Running): Promise<void> {
  const { logger } = sidecar;
  logger.info(`Draining for at most ${config.drain_seconds} s`);
  sidecar.startDraining();
  workers?.stop();
  const idle = setInterval(() => {
    for (const server of servers) if (!server.listening) server.closeIdleConnections();
  }, IDLE_CHECK_MS);
  const cut = setTimeout(() => {
    for (const server of servers) server.closeAllConnections();
  }, config.drain_seconds * 1000);
  const admin = cluster.isWorker ? [] : servers.slice(-1);
  await Promise.all(servers.filter((server) => !admin.includes(server)).map(closed));
  await workers?.stopped;
  await Promise.all(admin.map(closed));
  clearInterval(idle);
  clearTimeout(cut);
  await sidecar.close();
  logger.info("Stopped");
  logger.flush();
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
}
