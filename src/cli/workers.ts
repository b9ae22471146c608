/**
 * Worker processes (node:cluster). The primary serves the admin port and keeps workers on the decision port, all on the
 * same ledger and store. A worker that dies is replaced; a primary that dies takes its workers with it.
 */
import cluster, { type Worker } from "node:cluster";
import type { Logger } from "pino";
import type { Config } from "../config/load-config.ts";
import { ConfigError, toError } from "../core/errors.ts";
import type { RecentActivity } from "../core/ports.ts";
import type { Tenant } from "../core/types.ts";
import { type Activity, sumActivity } from "../telemetry/activity.ts";
import { aggregate, type Metrics } from "../telemetry/metrics.ts";
import { endAtOnce } from "./end-at-once.ts";

export interface Workers {
  /** Resolves when every worker listens. @throws ConfigError when one cannot */
  readonly listening: Promise<void>;
  /** `/metrics` of all processes, summed up. */
  metrics(): Promise<string>;
  /** What all processes did lately. */
  activity(tenant: Tenant): Promise<RecentActivity>;
  /** Drains them; whoever does not end by itself is ended. */
  stop(): void;
  readonly stopped: Promise<void>;
}

/** What the primary asks of every worker. */
type Question = { readonly kind: "metrics" } | { readonly kind: "activity"; readonly tenant: Tenant };

type Message =
  | (Question & { readonly id: number })
  | { readonly kind: "report"; readonly id: number; readonly report: object }
  | { readonly kind: "failed"; readonly message: string; readonly faults: readonly string[] };

/** How long the primary waits for its workers' reports before it answers without the missing ones. */
const REPORT_WAIT_MS = 1_000;
/** A worker that died before it listened is not tried again at once: what stopped it is probably still there. */
const RETRY_MS = 1_000;
/** What a drained worker is given to close its files. */
const CLOSE_MS = 5_000;

/** What a process has to report of itself. */
export interface WorkerParts {
  readonly metrics: Metrics;
  readonly activity: Activity;
}

export function startWorkers(config: Config, of: WorkerParts & { readonly logger: Logger }): Workers {
  const { logger } = of;
  const asked = new Map<number, (report: object) => void>();
  const listening = new Set<number>();
  let running = 0;
  let isStopping = false;
  let lastId = 0;
  let isUp = () => {};
  let cannotStart = (_: ConfigError) => {};
  let haveStopped = () => {};
  const everyoneListens = new Promise<void>((resolve, reject) => {
    isUp = resolve;
    cannotStart = reject;
  });
  everyoneListens.catch(() => {}); // whoever starts us looks at it a moment later
  const stopped = new Promise<void>((resolve) => {
    haveStopped = resolve;
  });
  const fork = () => {
    if (isStopping) return;
    running += 1;
    const worker = cluster.fork();
    worker.on("message", (message: Message) => {
      if (message.kind === "failed") {
        logger.error({ worker: worker.id, faults: message.faults }, `A worker cannot start: ${message.message}`);
        cannotStart(new ConfigError("config_invalid", message.message, message.faults));
      } else if (message.kind === "report") asked.get(message.id)?.(message.report);
    });
    // A message to a worker that has just died is an error of the worker, and would otherwise end the primary.
    worker.on("error", (error) => logger.warn({ err: error, worker: worker.id }, "Cannot reach a worker"));
  };
  cluster.on("listening", (worker) => {
    listening.add(worker.id);
    if (listening.size === config.workers) isUp();
  });
  // Counted here: `cluster.workers` still holds a worker whose channel closes after its process.
  cluster.on("exit", (worker, code, signal) => {
    running -= 1;
    const hadListened = listening.delete(worker.id);
    if (isStopping) {
      if (running === 0) haveStopped();
      return;
    }
    logger.error({ worker: worker.id, code, signal }, "A worker ended and is replaced");
    if (hadListened) fork();
    else setTimeout(fork, RETRY_MS);
  });
  for (let index = 0; index < config.workers; index++) fork();
  process.on("SIGHUP", () => everyWorker((worker) => worker.process.kill("SIGHUP")));
  /** The primary's own answer first. */
  const ask = async (question: Question): Promise<object[]> => {
    const id = ++lastId;
    const reports: object[] = [await reportOf(of, question)];
    const connected = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isConnected() === true);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, REPORT_WAIT_MS);
      const take = () => {
        if (reports.length <= connected.length) return;
        clearTimeout(timer);
        resolve();
      };
      asked.set(id, (report) => {
        reports.push(report);
        take();
      });
      for (const worker of connected) worker!.send({ ...question, id } satisfies Message);
      take();
    });
    asked.delete(id);
    return reports;
  };
  return {
    listening: everyoneListens,
    stopped,
    metrics: async () => aggregate(await ask({ kind: "metrics" })),
    activity: async (tenant) => sumActivity((await ask({ kind: "activity", tenant })) as RecentActivity[]),
    stop: () => {
      if (isStopping) return;
      isStopping = true;
      if (running === 0) haveStopped();
      everyWorker((worker) => worker.process.kill("SIGTERM"));
      const end = () => everyWorker((worker) => worker.process.kill("SIGKILL"));
      const timer = setTimeout(end, config.drain_seconds * 1000 + CLOSE_MS);
      void stopped.then(() => clearTimeout(timer));
    },
  };
}

function everyWorker(act: (worker: Worker) => void): void {
  for (const worker of Object.values(cluster.workers ?? {})) if (worker !== undefined) act(worker);
}

// ------------------------------------------------------------------------------------------------ in the worker

let isLeaving = false;

/** Answers the primary's questions from now on, and does not outlive it. */
export function followPrimary(of: WorkerParts): void {
  process.on("message", (message: Message) => {
    if (message.kind === "metrics" || message.kind === "activity") void answer(of, message);
  });
}

/** From the first moment: Node would exit in an orderly way, which may never end (see `endAtOnce`). */
export function endWithPrimary(): void {
  cluster.worker?.once("disconnect", () => {
    if (!isLeaving) endAtOnce();
  });
}

async function answer(of: WorkerParts, question: Question & { readonly id: number }): Promise<void> {
  await tell({ kind: "report", id: question.id, report: await reportOf(of, question) });
}

async function reportOf(of: WorkerParts, question: Question): Promise<object> {
  switch (question.kind) {
    case "metrics":
      return of.metrics.registry.getMetricsAsJSON();
    case "activity":
      return of.activity.report(question.tenant);
  }
}

/** The primary says it once, for all workers. Resolves when it is on its way. */
export async function tellFailure(thrown: unknown): Promise<void> {
  const { message } = toError(thrown);
  await tell({ kind: "failed", message, faults: thrown instanceof ConfigError ? thrown.faults : [message] });
}

function tell(message: Message): Promise<void> {
  return new Promise((resolve) => {
    // A primary that is gone needs no answer.
    if (process.connected) process.send!(message, undefined, undefined, () => resolve());
    else resolve();
  });
}

/** The worker is done: everything it had is closed. */
export function leavePrimary(): void {
  isLeaving = true;
  if (process.connected) process.disconnect();
}
