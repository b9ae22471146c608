/** What the operations routes tell: readiness, metrics, the active policy and the modes. */
import type { Config } from "../config/load-config.ts";
import { toError } from "../core/errors.ts";
import type { Ledger, PermitVerifier, PolicySource, Store } from "../core/ports.ts";
import type { Operations, Readiness } from "../http/operation-routes.ts";
import type { Activity } from "../telemetry/activity.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** An answer about readiness is good for this long, so that probes cannot load the store. */
const READINESS_AGE_MS = 1_000;

export interface OperationParts {
  readonly config: () => Config;
  readonly policy: PolicySource;
  readonly tokens: PermitVerifier;
  readonly ledger: Ledger;
  readonly store: Store;
  readonly metrics: Metrics;
  readonly activity: Activity;
  readonly isDraining: () => boolean;
}

export function createOperations(of: OperationParts): Operations {
  const { metrics } = of;
  let known: { readonly atMs: number; readonly readiness: Promise<Readiness> } | undefined;
  return {
    issuer: of.config().issuer,
    now: () => new Date(),
    activity: async (tenant) => of.activity.report(tenant),
    pendingApprovals: async (tenant) => (await of.store.countApprovals(tenant)).pending,
    policy: of.policy,
    verifier: of.tokens,
    modes: () => {
      const { mode, tenants, actions, policy_may_observe } = of.config();
      return { mode, tenants, actions, policy_may_observe };
    },
    authentication: () => {
      const { auth, admin_auth, metrics_auth } = of.config();
      return { callers: auth, admins: admin_auth, metrics: metrics_auth };
    },
    readiness: async () => {
      if (of.isDraining()) return { isReady: false, checks: { shutdown: "draining" } };
      if (known === undefined || performance.now() - known.atMs > READINESS_AGE_MS) {
        known = { atMs: performance.now(), readiness: checkReadiness(of) };
      }
      return known.readiness;
    },
    metrics: async () => ({ text: await metrics.registry.metrics(), contentType: metrics.registry.contentType }),
  };
}

async function checkReadiness(of: OperationParts): Promise<Readiness> {
  const checks = {
    policy: of.policy.status().active === undefined ? "not loaded" : "ok",
    ledger: of.ledger.isWritable() ? "ok" : "not writable",
    store: await of.store.ping().then(
      () => "ok",
      (thrown: unknown) => toError(thrown).message,
    ),
  };
  return { isReady: Object.values(checks).every((check) => check === "ok"), checks };
}
