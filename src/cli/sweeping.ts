/** What is done every second in the background: facts that were left, overdue approvals, gauges. */
import { toError } from "../core/errors.ts";
import type { Ledger, Store } from "../core/ports.ts";
import type { Tenant } from "../core/types.ts";
import type { Gate } from "../gate/gate.ts";
import type { Metrics } from "../telemetry/metrics.ts";

const SWEEP_INTERVAL_MS = 1_000;

export interface SweepParts {
  readonly gate: Gate;
  readonly tenants: () => readonly Tenant[];
  readonly store: Store;
  readonly ledger: Ledger;
  readonly metrics: Metrics;
}

export function startSweeping(of: SweepParts): { stop(): Promise<void> } {
  let running: Promise<void> | undefined;
  const start = () => {
    running ??= sweepOnce(of)
      .catch((thrown: unknown) => of.metrics.failed({ what: "sweep", error: toError(thrown) }))
      .finally(() => {
        running = undefined;
      });
  };
  start();
  const timer = setInterval(start, SWEEP_INTERVAL_MS);
  return {
    stop: async () => {
      clearInterval(timer);
      await running;
    },
  };
}

async function sweepOnce(of: SweepParts): Promise<void> {
  await recoverLedger(of);
  await of.gate.sweep(of.tenants());
  await countApprovals(of);
  of.metrics.ledgerMeasured({ entries: of.ledger.head().size, waiting: of.ledger.waiting() });
}

/**
 * A sidecar whose ledger failed is not ready, so that nobody sends what would be the next, perhaps successful, write. It
 * tries one of its own: the entry marks the end of a time in which refusals may lack their records.
 */
async function recoverLedger({ gate, ledger }: SweepParts): Promise<void> {
  if (ledger.isWritable()) return;
  await gate.recordEvent("ledger_recovered", {}).catch(() => {}); // not yet: the next sweep tries again
}

async function countApprovals(of: SweepParts): Promise<void> {
  let sum = { pending: 0, oldestPendingMs: 0, unknownExecutions: 0 };
  try {
    for (const tenant of of.tenants()) {
      const counts = await of.store.countApprovals(tenant);
      sum = {
        pending: sum.pending + counts.pending,
        oldestPendingMs: Math.max(sum.oldestPendingMs, counts.oldestPendingMs),
        unknownExecutions: sum.unknownExecutions + counts.unknownExecutions,
      };
    }
    of.metrics.approvalsCounted(sum);
  } catch {
    // A store that is away was told by observeStore; the gauges keep their last values.
  }
}
