/** Builds every part from a configuration and wires them: the one place that knows all of them. */
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import pino, { type Logger } from "pino";
import type { Config } from "../config/load-config.ts";
import { toError } from "../core/errors.ts";
import type { Ledger, PolicySource, Store } from "../core/ports.ts";
import { encodeNoteKey, signNote } from "../core/signed-note.ts";
import type { Mode, Tenant } from "../core/types.ts";
import { createGate, type Gate } from "../gate/gate.ts";
import { createAuthenticator } from "../http/authenticate.ts";
import { createAdminServer, createDecisionServer } from "../http/create-servers.ts";
import type { HttpContext } from "../http/exchange.ts";
import type { Operations, Readiness } from "../http/operation-routes.ts";
import { createNoteSigner, rawPublicKey } from "../ledger/ed25519-note.ts";
import { openLedger } from "../ledger/open-ledger.ts";
import { openPolicySource } from "../policy/policy-source.ts";
import { openNoteKey } from "../signing/note-key.ts";
import { openPermitTokens, type PermitTokens } from "../signing/permit-tokens.ts";
import { ulid } from "../signing/ulid.ts";
import { openStore } from "../store/open-store.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { observeStore } from "../telemetry/observe-store.ts";

export interface Sidecar {
  readonly gate: Gate;
  readonly ledger: Ledger;
  readonly store: Store;
  readonly policy: PolicySource & { reload(): Promise<void>; close(): Promise<void> };
  readonly tokens: PermitTokens;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly http: HttpContext;
  readonly operations: Operations;
  decisionServer(): ReturnType<typeof createDecisionServer>;
  adminServer(): ReturnType<typeof createAdminServer>;
  /** From now on not ready: whoever asks is told to go elsewhere. */
  startDraining(): void;
  close(): Promise<void>;
}

/** How often overdue approvals and left facts are looked for, and counted for the metrics. */
const SWEEP_INTERVAL_MS = 1_000;
/** An answer about readiness is good for this long, so that probes cannot load the store. */
const READINESS_AGE_MS = 1_000;

/** @param isWorker a worker serves decisions; sweeping, and recording what concerns them all, is its primary's */
export async function openSidecar(config: Config, logger: Logger, isWorker = false): Promise<Sidecar> {
  const metrics = createMetrics((what, error) => logger.warn({ err: error }, `Cannot ${what}`));
  const tenants = isWorker ? [] : tenantsOf(config);
  const tokens = await openPermitTokens({
    directory: config.keys_dir,
    trusted: config.trusted_keys,
    nowSeconds: () => Math.floor(Date.now() / 1000),
  });
  const ledger = await openOwnLedger(config, metrics, logger);
  const store = observeStore(await openOwnStore(config), (error) => {
    metrics.storeFailed();
    logger.warn({ code: error.code }, error.message);
  });
  const policy = await openOwnPolicy(config, { metrics, logger, record: (kind, data) => recordQuietly(kind, data) });
  const gate = createGate(
    {
      policy,
      store,
      ledger,
      signer: tokens,
      verifier: tokens,
      clock: { now: () => new Date() },
      randomness: { ulid },
      observer: metrics,
    },
    gateOptions(config),
  );
  function recordQuietly(kind: string, data: object): void {
    if (isWorker) return;
    gate.recordEvent(kind, data).catch((error: Error) => logger.error({ err: error }, `Cannot record ${kind}`));
  }
  recordQuietly("sidecar_started", {
    mode: config.mode,
    auth: config.auth,
    admin_auth: config.admin_auth,
    issuer: config.issuer,
  });
  const { active, lastError } = policy.status();
  if (active !== undefined)
    recordQuietly("policy_activated", {
      digest: active.digest,
      revision: active.revision,
      entrypoint: active.entrypoint,
    });
  if (lastError !== undefined) recordQuietly("policy_refused", { code: lastError.code, message: lastError.message });

  const draining = new AbortController();
  const sweeping = startSweeping(gate, { tenants, store, ledger, metrics });
  const operations = createOperations({
    config,
    policy,
    tokens,
    ledger,
    store,
    metrics,
    isDraining: () => draining.signal.aborted,
  });
  const http: HttpContext = {
    gate,
    authenticator: createAuthenticator({
      keys: config.api_keys,
      callers: config.auth.includes("api_key") ? "api_key" : "none",
      admins: config.admin_auth.includes("api_key") ? "api_key" : "none",
    }),
    limits: {
      bytesMax: config.body_bytes_max,
      depthMax: config.depth_max,
      batchMax: config.batch_max,
      waitMsMax: config.wait_seconds_max * 1000,
    },
    draining: draining.signal,
    onInternalError: (error) => logger.error({ err: error }, "Internal error"),
  };
  const serverOptions = { connectionsMax: config.connections_max };
  return {
    gate,
    ledger,
    store,
    policy,
    tokens,
    metrics,
    logger,
    http,
    operations,
    decisionServer: () => createDecisionServer(http, operations, serverOptions),
    adminServer: () => createAdminServer(http, operations, { ...serverOptions, ledger }),
    startDraining: () => draining.abort(),
    close: async () => {
      await sweeping.stop();
      await policy.close();
      await ledger.close().finally(() => store.close());
    },
  };
}

export function createLogger(level: string): Logger {
  // Standard error: standard output belongs to whoever speaks a protocol over it.
  return pino({ level, base: { name: "holdpoint" } }, pino.destination({ dest: 2, sync: false }));
}

function tenantsOf(config: Config): readonly Tenant[] {
  return [...new Set(["default", ...Object.keys(config.tenants), ...config.api_keys.map((key) => key.tenant)])];
}

function gateOptions(config: Config) {
  const modes = (of: Readonly<Record<string, { readonly mode: Mode }>>) =>
    new Map(Object.entries(of).map(([name, { mode }]) => [name, mode]));
  return {
    issuer: config.issuer,
    mode: config.mode,
    tenantModes: modes(config.tenants),
    actionModes: modes(config.actions),
    policyMayObserve: config.policy_may_observe,
    permitAudience: config.permit_audience,
    permitTtlSeconds: config.permit_ttl_seconds,
    approvalTtlSeconds: config.approval_ttl_seconds,
    grantTtlSeconds: config.grant_ttl_seconds,
    requireBindingEcho: config.require_binding_echo,
    pendingApprovalsMax: config.pending_approvals_max,
  };
}

async function openOwnLedger(config: Config, metrics: Metrics, logger: Logger): Promise<Ledger> {
  const directory = join(config.data_dir, "ledger");
  const key = openNoteKey(join(directory, "checkpoint-key.pem"));
  const publicKey = rawPublicKey(key);
  // The key names the log: a copied or restored configuration never continues another sidecar's log under its name.
  const origin = `holdpoint/${createHash("sha256").update(publicKey).digest("hex").slice(0, 16)}`;
  const signer = createNoteSigner(origin, key);
  const ledger = await openLedger({
    directory,
    origin,
    signNote: (text) => signNote(text, [signer]),
    durability: config.ledger_durability,
    queueMax: config.ledger_queue_max,
    onCommit: ({ entries, durationMs, isFailed }) => {
      if (isFailed) logger.error("Cannot commit to the ledger");
      else metrics.ledgerCommitted(durationMs / 1000, entries);
    },
  });
  writeFileSync(join(directory, "checkpoint-key.pub"), `${encodeNoteKey(origin, publicKey)}\n`);
  return ledger;
}

function openOwnStore(config: Config): Promise<Store> {
  return openStore({
    url: config.store,
    dataDir: config.data_dir,
    timeoutMs: config.store_timeout_ms,
    ...(config.redis_wait_replicas === undefined ? {} : { waitReplicas: config.redis_wait_replicas }),
  });
}

interface PolicyWatchers {
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly record: (kind: string, data: object) => void;
}

async function openOwnPolicy(config: Config, { metrics, logger, record }: PolicyWatchers): Promise<Sidecar["policy"]> {
  if (config.bundle === undefined) {
    logger.warn("No policy is configured (bundle): everything is denied in enforce mode");
    return {
      status: () => ({ active: undefined, lastError: undefined }),
      reload: async () => {},
      close: async () => {},
    };
  }
  let isOpen = false;
  const source = await openPolicySource({
    path: config.bundle,
    entrypoint: config.entrypoint,
    watch: true,
    onLoaded: (policy) => {
      metrics.policyLoaded(policy);
      const facts = { digest: policy.digest, revision: policy.revision, entrypoint: policy.entrypoint };
      logger.info(facts, "Policy is active");
      if (isOpen) record("policy_activated", facts);
    },
    onFailed: (error) => {
      metrics.policyFailed();
      logger.error({ code: error.code, faults: error.faults }, `Policy refused: ${error.message}`);
      if (isOpen) record("policy_refused", { code: error.code, message: error.message });
    },
  });
  isOpen = true;
  return source;
}

function startSweeping(
  gate: Gate,
  of: {
    readonly tenants: readonly Tenant[];
    readonly store: Store;
    readonly ledger: Ledger;
    readonly metrics: Metrics;
  },
): { stop(): Promise<void> } {
  let running: Promise<void> | undefined;
  const sweepOnce = async () => {
    await recoverLedger(gate, of.ledger);
    await gate.sweep(of.tenants);
    await countApprovals(of);
    of.metrics.ledgerSize(of.ledger.head().size);
  };
  const start = () => {
    running ??= sweepOnce()
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

/**
 * A sidecar whose ledger failed is not ready, so that nobody sends what would be the next, perhaps successful, write. It
 * tries one of its own: the entry marks the end of a time in which refusals may lack their records.
 */
async function recoverLedger(gate: Gate, ledger: Ledger): Promise<void> {
  if (ledger.isWritable()) return;
  await gate.recordEvent("ledger_recovered", {}).catch(() => {}); // not yet: the next sweep tries again
}

async function countApprovals(of: {
  readonly tenants: readonly Tenant[];
  readonly store: Store;
  readonly metrics: Metrics;
}): Promise<void> {
  let sum = { pending: 0, oldestPendingMs: 0, unknownExecutions: 0 };
  try {
    for (const tenant of of.tenants) {
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

function createOperations(of: {
  readonly config: Config;
  readonly policy: PolicySource;
  readonly tokens: PermitTokens;
  readonly ledger: Ledger;
  readonly store: Store;
  readonly metrics: Metrics;
  readonly isDraining: () => boolean;
}): Operations {
  const { config, metrics } = of;
  let known: { readonly atMs: number; readonly readiness: Promise<Readiness> } | undefined;
  return {
    policy: of.policy,
    verifier: of.tokens,
    mode: config.mode,
    isAuthenticated: { callers: !config.auth.includes("none"), admins: !config.admin_auth.includes("none") },
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

async function checkReadiness(of: {
  readonly policy: PolicySource;
  readonly ledger: Ledger;
  readonly store: Store;
}): Promise<Readiness> {
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
