/**
 * Worker processes (node:cluster). The primary serves the admin port and keeps workers on the decision port, all on the
 * same ledger and store. A worker that dies is replaced; a primary that dies takes its workers with it.
 */
import cluster, { type Worker } from "node:cluster";
import type { Logger } from "pino";
import type { Config } from "../config/load-config.ts";
import { ConfigError, toError } from "../core/errors.ts";
import type { Ledger, RecentActivity, Store } from "../core/ports.ts";
import type { Tenant } from "../core/types.ts";
import { type Activity, sumActivity } from "../telemetry/activity.ts";
import { aggregate, type Metrics } from "../telemetry/metrics.ts";
import { endAtOnce } from "./end-at-once.ts";
import { createOpenTurns } from "./open-turns.ts";

export interface Workers {
  /** Resolves when every worker listens. @throws ConfigError when one cannot */
  readonly listening: Promise<void>;
  /** `/metrics` of all processes, summed up. */
  metrics(): Promise<string>;
  /** What all processes did lately. */
  activity(tenant: Tenant): Promise<RecentActivity>;
  /** Tells them of a configuration that changed. */
  change(config: Config): void;
  /** Drains them; whoever does not end by itself is ended. */
  stop(): void;
  readonly stopped: Promise<void>;
}

/** What the primary asks of every worker. */
type Question = { readonly kind: "metrics" } | { readonly kind: "activity"; readonly tenant: Tenant };

type Message =
  | (Question & { readonly id: number })
  | { readonly kind: "report"; readonly id: number; readonly report: object }
  | { readonly kind: "failed"; readonly message: string; readonly faults: readonly string[] }
  /** A worker may open its files, holds its writes for another, or goes on (see `open-turns.ts`). */
  | { readonly kind: "hold" | "open" | "resume"; readonly turn: number }
  | { readonly kind: "held"; readonly turn: number }
  | { readonly kind: "asked" | "opened" }
  /** The configuration in force, for a worker that starts; and what of it changed, for those that run. */
  | { readonly kind: "configuration"; readonly config: Config }
  | { readonly kind: "changed"; readonly config: Config };

/** How long the primary waits for its workers' reports before it answers without the missing ones. */
const REPORT_WAIT_MS = 1_000;
/** A worker that died before it listened is not tried again at once: what stopped it is probably still there. */
const RETRY_MS = 1_000;
/** What a drained worker is given to close its files. */
const CLOSE_MS = 5_000;

/** What a process has to report of itself, and what it writes. */
export interface WorkerParts {
  readonly metrics: Metrics;
  readonly activity: Activity;
  readonly ledger: Pick<Ledger, "hold">;
  readonly store: Pick<Store, "hold">;
}

export function startWorkers(started: Config, of: WorkerParts & { readonly logger: Logger }): Workers {
  const { logger } = of;
  let config = started;
  const turns = createOpenTurns(() => holdWrites(of));
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
      switch (message.kind) {
        case "failed":
          logger.error({ worker: worker.id, faults: message.faults }, `A worker cannot start: ${message.message}`);
          return cannotStart(new ConfigError("config_invalid", message.message, message.faults));
        case "report":
          return asked.get(message.id)?.(message.report);
        case "asked":
          // What is in force, and not what lies on disk: that may have faults, or settings that need a restart.
          sendTo(worker, { kind: "configuration", config });
          return turns.asked({
            id: worker.id,
            send: (kind, turn) => sendTo(worker, { kind, turn }),
            end: () => void worker.process.kill("SIGKILL"),
          });
        case "held":
          return turns.held(worker.id, message.turn);
        case "opened":
          return turns.opened(worker.id);
      }
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
    turns.gone(worker.id);
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
    change: (changed) => {
      config = changed;
      everyWorker((worker) => sendTo(worker, { kind: "changed", config }));
    },
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

/** One that has just died needs no message. */
function sendTo(worker: Worker, message: Message): void {
  if (worker.isConnected()) worker.send(message);
}

function everyWorker(act: (worker: Worker) => void): void {
  for (const worker of Object.values(cluster.workers ?? {})) if (worker !== undefined) act(worker);
}

// ------------------------------------------------------------------------------------------------ in the worker

let isLeaving = false;

/**
 * Before a worker opens anything: resolves with the configuration in force, once nobody else writes. What it opens after that
 * must be followed by `followPrimary`, or everybody else waits until it ends.
 */
export function openInTurn(): Promise<Config> {
  return new Promise((resolve) => {
    let config: Config | undefined;
    const listen = (message: Message) => {
      if (message.kind === "configuration" || message.kind === "changed") config = message.config;
      if (message.kind !== "open" || config === undefined) return;
      process.off("message", listen);
      resolve(config);
    };
    process.on("message", listen);
    void tell({ kind: "asked" });
  });
}

/** Answers the primary's questions from now on, holds its writes when asked to, and takes up what changed. */
export function followPrimary(of: WorkerParts, onChanged: (config: Config) => void): void {
  let release: Promise<() => void> | undefined;
  process.on("message", (message: Message) => {
    switch (message.kind) {
      case "metrics":
      case "activity":
        void answer(of, message);
        return;
      case "hold":
        release = holdWrites(of);
        void release.then(() => tell({ kind: "held", turn: message.turn }));
        return;
      case "resume":
        void release?.then((resume) => resume());
        return;
      case "changed":
        onChanged(message.config);
        return;
    }
  });
  void tell({ kind: "opened" });
}

async function holdWrites({ ledger, store }: WorkerParts): Promise<() => void> {
  const releases = await Promise.all([ledger.hold(), store.hold()]);
  return () => {
    for (const release of releases) release();
  };
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
