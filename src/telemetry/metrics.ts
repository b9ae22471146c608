/**
 * Prometheus metrics (prom-client). Label sets are bounded: what callers name (actions, reason codes) gets a label of its
 * own up to a number, and is counted under "other" past it. Children are made once; a request only increments them.
 */
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { GateObserver, LoadedPolicy } from "../core/ports.ts";

export const LABEL_VALUES_MAX = 200;
/** Combinations of labels under which decisions are counted apart; names of further ones are "other". */
export const DECISION_SERIES_MAX = 2_000;
const OTHER = "other";

/** Gauges of the library that end in _total, which belongs to counters; each has a sum over labels of a name beside it. */
const MISNAMED = ["nodejs_active_resources_total", "nodejs_active_handles_total", "nodejs_active_requests_total"];

const LATENCY_BUCKETS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const COMMIT_BUCKETS = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const EVALUATION_BUCKETS = [0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.005, 0.025, 0.1];

export interface Metrics extends GateObserver {
  readonly registry: Registry;
  storeCalled(operation: string, seconds: number, isFailed: boolean): void;
  ledgerCommitted(commit: { readonly entries: number; readonly durationMs: number; readonly lagMs: number }): void;
  credentialRefused(refused: { readonly port: string; readonly reason: string }): void;
  answered(problem: { readonly port: string; readonly code: string }): void;
  configurationLoaded(isGood: boolean): void;
  ledgerMeasured(of: { readonly entries: number; readonly waiting: number }): void;
  policyLoaded(policy: LoadedPolicy): void;
  policyFailed(): void;
  /** After a refused bundle the one in force lies there again. */
  policyRestored(): void;
  approvalsCounted(of: {
    readonly pending: number;
    readonly oldestPendingMs: number;
    readonly unknownExecutions: number;
  }): void;
}

export function createMetrics(onFailure: (what: string, error: Error) => void): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  const registers = [registry];
  const decisions = cached(
    new Counter({
      name: "holdpoint_decisions_total",
      help: "Decisions by what policy and approvals said, the mode, the action and the first reason",
      labelNames: ["outcome", "mode", "action", "reason"],
      registers,
    }),
  );
  const latency = new Histogram({
    name: "holdpoint_decision_duration_seconds",
    help: "From a read proposal to a recorded decision",
    buckets: LATENCY_BUCKETS,
    registers,
  });
  const evaluation = new Histogram({
    name: "holdpoint_evaluation_duration_seconds",
    help: "Evaluation of policy, all rounds",
    buckets: EVALUATION_BUCKETS,
    registers,
  });
  const permitChecks = cached(
    new Counter({
      name: "holdpoint_permit_checks_total",
      help: "Permit checks by result",
      labelNames: ["result", "use"],
      registers,
    }),
  );
  const approvals = cached(
    new Counter({
      name: "holdpoint_approvals_total",
      help: "Approvals by the state they came to",
      labelNames: ["status"],
      registers,
    }),
  );
  const executions = cached(
    new Counter({ name: "holdpoint_executions_total", help: "Reported executions", labelNames: ["status"], registers }),
  );
  const events = cached(
    new Counter({
      name: "holdpoint_events_total",
      help: "Events by what became of them: applied, refused (no transition), repeated",
      labelNames: ["result"],
      registers,
    }),
  );
  const executorCalls = new Histogram({
    name: "holdpoint_executor_duration_seconds",
    help: "Calls of executors, all attempts of each, by executor and result",
    labelNames: ["executor", "result"],
    buckets: LATENCY_BUCKETS,
    registers,
  });
  // Every process measures the same shared thing: of several processes' values the largest is it, and not their sum.
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers, aggregator: "max" });
  // Answers are given again for a moment: this says of when the figures are.
  new Gauge({
    name: "holdpoint_scrape_timestamp_seconds",
    help: "When these figures were taken",
    registers,
    aggregator: "min",
    collect() {
      this.set(Date.now() / 1000);
    },
  });
  const pending = gauge("holdpoint_approvals_pending", "Approvals that wait for a reviewer");
  const oldest = gauge("holdpoint_approvals_oldest_pending_seconds", "Age of the oldest of them");
  const unknown = gauge("holdpoint_executions_unknown", "Consumed permits whose outcome nobody reported");
  // Of several processes' values the smallest: one that is behind is enough to look.
  const current = (name: string, help: string) => new Gauge({ name, help, registers, aggregator: "min" });
  const configurationCurrent = current(
    "holdpoint_configuration_current",
    "1 while the configuration on disk was taken when it was last read, 0 while it was refused",
  );
  configurationCurrent.set(1);
  const policyCurrent = current(
    "holdpoint_policy_current",
    "1 while the bundle on disk is the policy in force, 0 while it was refused or there is none",
  );
  const ledgerSize = gauge("holdpoint_ledger_entries", "Entries in this sidecar's ledger");
  const ledgerWaiting = gauge("holdpoint_ledger_waiting_entries", "Entries that are not durable yet");
  const lastLoad = gauge("holdpoint_policy_last_load_timestamp_seconds", "When the active policy was loaded");
  const commit = new Histogram({
    name: "holdpoint_ledger_commit_duration_seconds",
    help: "One durable commit of the ledger",
    buckets: COMMIT_BUCKETS,
    registers,
  });
  const committed = new Counter({
    name: "holdpoint_ledger_committed_entries_total",
    help: "Entries committed",
    registers,
  });
  const lag = new Histogram({
    name: "holdpoint_ledger_lag_seconds",
    help: "From the append of a commit's oldest entry until it was durable",
    buckets: COMMIT_BUCKETS,
    registers,
  });
  const storeCalls = new Histogram({
    name: "holdpoint_store_duration_seconds",
    help: "Calls of the store by operation",
    labelNames: ["operation"],
    buckets: COMMIT_BUCKETS,
    registers,
  });
  const storeErrors = new Counter({
    name: "holdpoint_store_errors_total",
    help: "Calls of the store that failed, by operation",
    labelNames: ["operation"],
    registers,
  });
  const refusals = new Counter({
    name: "holdpoint_credentials_refused_total",
    help: "Requests whose credential was refused, by port and reason",
    labelNames: ["port", "reason"],
    registers,
  });
  const problems = new Counter({
    name: "holdpoint_problems_total",
    help: "Requests answered with a problem, by port and its code",
    labelNames: ["port", "code"],
    registers,
  });
  const configurationErrors = new Counter({
    name: "holdpoint_configuration_load_errors_total",
    help: "Changed configurations that were refused while serving",
    registers,
  });
  const loadErrors = new Counter({
    name: "holdpoint_policy_load_errors_total",
    help: "Bundles that were refused",
    registers,
  });
  const failures = new Counter({
    name: "holdpoint_background_failures_total",
    help: "Failures that were nobody's answer",
    registers,
  });
  const policyInfo = new Gauge({
    name: "holdpoint_policy_info",
    help: "The active policy; always 1",
    labelNames: ["digest", "revision", "entrypoint"],
    registers,
    aggregator: "max",
  });
  const actionLabel = boundedLabel(LABEL_VALUES_MAX);
  const reasonLabel = boundedLabel(LABEL_VALUES_MAX);
  const seriesLabel = boundedLabel(DECISION_SERIES_MAX);
  return {
    registry,
    decided(event) {
      const { outcome, mode } = event;
      const reason = event.reasonCodes[0];
      // Anybody is denied under any name: only an action that policy let pass once earns a label, so that no caller can
      // use up those of the others (INVARIANT: isolated).
      const action = actionLabel(event.action, outcome !== "deny");
      const labels = { action, reason: reason === undefined ? "none" : reasonLabel(reason, true) };
      const isApart = seriesLabel(`${outcome} ${mode} ${labels.action} ${labels.reason}`, true) !== OTHER;
      decisions(outcome, mode, isApart ? labels.action : OTHER, isApart ? labels.reason : OTHER).inc();
      latency.observe(event.seconds);
      evaluation.observe(event.evaluationSeconds);
    },
    permitChecked: ({ result, isConsumption }) => permitChecks(result, isConsumption ? "consume" : "verify").inc(),
    approvalChanged: ({ status }) => approvals(status).inc(),
    executionReported: ({ status }) => executions(status).inc(),
    eventIngested: ({ result }) => events(result).inc(),
    actionExecuted: ({ executor, result, seconds }) => executorCalls.observe({ executor, result }, seconds),
    failed({ what, error }) {
      failures.inc();
      onFailure(what, error);
    },
    storeCalled(operation, seconds, isFailed) {
      storeCalls.observe({ operation }, seconds);
      if (isFailed) storeErrors.inc({ operation });
    },
    ledgerCommitted({ entries, durationMs, lagMs }) {
      commit.observe(durationMs / 1000);
      lag.observe(lagMs / 1000);
      committed.inc(entries);
    },
    credentialRefused: ({ port, reason }) => refusals.inc({ port, reason }),
    answered: ({ port, code }) => problems.inc({ port, code }),
    configurationLoaded(isGood) {
      configurationCurrent.set(isGood ? 1 : 0);
      if (!isGood) configurationErrors.inc();
    },
    ledgerMeasured({ entries, waiting }) {
      ledgerSize.set(entries);
      ledgerWaiting.set(waiting);
    },
    policyLoaded(policy) {
      policyInfo.reset();
      policyInfo.set({ digest: policy.digest, revision: policy.revision, entrypoint: policy.entrypoint }, 1);
      lastLoad.set(policy.loadedAt.getTime() / 1000);
      policyCurrent.set(1);
    },
    policyFailed() {
      policyCurrent.set(0);
      loadErrors.inc();
    },
    policyRestored: () => policyCurrent.set(1),
    approvalsCounted(of) {
      pending.set(of.pending);
      oldest.set(of.oldestPendingMs / 1000);
      unknown.set(of.unknownExecutions);
    },
  };
}

/** Children by their label values, in the order of the counter's names. */
function cached(counter: Counter): (...values: string[]) => Counter.Internal {
  const children = new Map<string, Counter.Internal>();
  return (...values) => {
    const key = values.join("\u0000");
    let child = children.get(key);
    if (child === undefined) {
      child = counter.labels(...values);
      children.set(key, child);
    }
    return child;
  };
}

/** The first names are themselves, later ones are "other". */
function boundedLabel(max: number): (value: string, mayEnter: boolean) => string {
  const known = new Set<string>();
  return (value, mayEnter) => {
    if (known.has(value)) return value;
    if (!mayEnter || known.size >= max) return OTHER;
    known.add(value);
    return value;
  };
}

/** One answer from the metrics of several processes. */
export function aggregate(reports: readonly object[]): Promise<string> {
  return AggregatorRegistry.aggregate(reports as object[]).metrics();
}
