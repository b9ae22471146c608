/** Builds every part from a configuration and wires them: the one place that knows all of them. */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import pino, { type Logger } from "pino";
import { proposalGateRoutes } from "../compat/proposal-gate.ts";
import { type Config, isLocal } from "../config/load-config.ts";
import { openAdapters } from "../config/open-adapters.ts";
import { openExecutors } from "../config/open-executors.ts";
import { UnavailableError } from "../core/errors.ts";
import { fileFault } from "../core/file-fault.ts";
import type { Ledger, PolicySource, Store } from "../core/ports.ts";
import { encodeNoteKey, signNote } from "../core/signed-note.ts";
import type { Tenant } from "../core/types.ts";
import { createHttpExecutors } from "../executor/create-http-executors.ts";
import { createGate, type Gate } from "../gate/gate.ts";
import type { RefusedCredential } from "../http/authenticate.ts";
import { createAdminServer, createDecisionServer } from "../http/create-servers.ts";
import type { HttpContext } from "../http/exchange.ts";
import type { Operations } from "../http/operation-routes.ts";
import { createNoteSigner, rawPublicKey } from "../ledger/ed25519-note.ts";
import { openEntryIndex } from "../ledger/entry-index.ts";
import { openLedger } from "../ledger/open-ledger.ts";
import { openPolicySource } from "../policy/policy-source.ts";
import { openNoteKey } from "../signing/note-key.ts";
import { openPermitTokens, type PermitTokens } from "../signing/permit-tokens.ts";
import { ulid } from "../signing/ulid.ts";
import { openStore } from "../store/open-store.ts";
import { isRedisUrl } from "../store/redis/parse-redis-url.ts";
import { type Activity, createActivity } from "../telemetry/activity.ts";
import { combineObservers } from "../telemetry/combine-observers.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { observeStore } from "../telemetry/observe-store.ts";
import { createRefusalLog } from "../telemetry/refusal-log.ts";
import type { Environment } from "./command.ts";
import { gateOptions, modeOptions } from "./gate-options.ts";
import { liveSettings } from "./live-settings.ts";
import { logConsole } from "./log-console.ts";
import { isOpenToLocals, openCredentials } from "./open-credentials.ts";
import { createOperations } from "./operations.ts";
import { prepareDirectories } from "./prepare-directories.ts";
import { sayStoreState, storeAddress } from "./say-store-state.ts";
import { startSweeping } from "./sweeping.ts";

export interface Sidecar {
  readonly gate: Gate;
  readonly ledger: Ledger;
  readonly store: Store;
  readonly policy: PolicySource & { reload(): Promise<void>; close(): Promise<void> };
  readonly tokens: PermitTokens;
  readonly metrics: Metrics;
  /** What this process did lately. */
  readonly activity: Activity;
  readonly logger: Logger;
  readonly operations: Operations;
  decisionServer(): ReturnType<typeof createDecisionServer>;
  adminServer(): ReturnType<typeof createAdminServer>;
  /** Takes up those settings of a changed configuration that may change while serving. */
  reconfigure(config: Config): Promise<void>;
  /** A fact about the whole sidecar, recorded by one of its processes. */
  recordOnce(kind: string, data: object, tenant?: Tenant): void;
  /** Looks for the keys of JWT issuers anew. */
  refreshIdentity(): Promise<void>;
  /** From now on not ready: whoever asks is told to go elsewhere. */
  startDraining(): void;
  close(): Promise<void>;
}

export interface OpenSidecar {
  /** A worker serves decisions; sweeping, and recording what concerns them all, is its primary's. */
  readonly isWorker?: boolean;
  /** Where secrets may lie that the configuration names. */
  readonly environment: Environment;
}

/** @throws ConfigError */
export async function openSidecar(config: Config, logger: Logger, of: OpenSidecar): Promise<Sidecar> {
  const { isWorker = false, environment } = of;
  let live = config;
  // One that leaves the configuration leaves approvals that wait and facts to be recorded.
  const tenants = new Set(tenantsOf(config));
  prepareDirectories(config);
  const readFile = (path: string) => readFileSync(path, "utf8");
  const executors = createHttpExecutors(openExecutors(config, readFile, environment));
  const adapters = openAdapters(config, readFile, environment);
  const metrics = createMetrics((what, error) => {
    // That the store is away is told once, and not again for each thing that needed it.
    if (error instanceof UnavailableError && error.code === "store_unavailable") return;
    logger.warn({ err: error }, `Cannot ${what}`);
  });
  const activity = createActivity(() => Date.now());
  const observer = combineObservers(metrics, activity);
  const tokens = await openPermitTokens({
    directory: config.keys_dir,
    trusted: config.trusted_keys,
    nowSeconds: () => Math.floor(Date.now() / 1000),
  });
  const ledger = await openOwnLedger(config, { metrics, activity, logger });
  const warnOfLoss = isWorker ? () => {} : durabilityWarnings(config, logger);
  const sayState = sayStoreState({ logger, address: storeAddress(config.store), onBack: warnOfLoss });
  const store = observeStore(await openOwnStore(config), (call) => {
    const { operation, seconds, error } = call;
    metrics.storeCalled(operation, seconds, error !== undefined);
    sayState(call);
    if (error !== undefined) activity.storeFailed(error);
  });
  warnOfLoss();
  const policy = await openOwnPolicy(config, { metrics, logger, record: (kind, data) => recordOnce(kind, data) });
  const clock = { now: () => new Date() };
  // Whoever serves the admin port answers timelines.
  const index = isWorker
    ? undefined
    : openEntryIndex({
        directory: join(config.data_dir, "index"),
        ledger,
        onFailed: (error) => logger.warn({ err: error }, "Cannot index the ledger"),
      });
  const gate = createGate(
    {
      policy,
      store,
      ledger,
      signer: tokens,
      verifier: tokens,
      clock,
      randomness: { ulid },
      observer,
      executors,
      index,
    },
    gateOptions(config),
  );
  const recordQuietly = (kind: string, data: object, tenant?: Tenant) => {
    activity.recorded(kind, data, tenant);
    gate.recordEvent(kind, data, tenant).catch((error: Error) => logger.error({ err: error }, `Cannot record ${kind}`));
  };
  const recordOnce = (kind: string, data: object, tenant?: Tenant) => {
    if (!isWorker) recordQuietly(kind, data, tenant);
  };
  recordStart(config, policy, recordOnce);

  const refusals = createRefusalLog(clock.now, (summary, tenant) =>
    recordQuietly("credentials_refused", summary, tenant),
  );
  const onRefused = (refused: RefusedCredential) => {
    metrics.credentialRefused(refused);
    refusals.add(refused);
  };
  const credentials = openCredentials(config, { logger, onRefused });
  if (config.jwt_issuers.length > 0) void credentials.refresh();
  const draining = new AbortController();
  const sweeping = startSweeping({
    gate,
    tenants: () => (isWorker ? [] : [...tenants]),
    store,
    ledger,
    metrics: { ...metrics, failed: observer.failed },
  });
  const operations = createOperations({
    config: () => live,
    policy,
    tokens,
    ledger,
    store,
    metrics,
    activity,
    isDraining: () => draining.signal.aborted,
  });
  const httpOf = (port: "decision" | "admin"): HttpContext => ({
    gate,
    authenticator: credentials.authenticator(port),
    limits: httpLimits(config),
    adapters,
    now: clock.now,
    draining: draining.signal,
    onInternalError: (error) => logger.error({ err: error }, "Internal error"),
    onOverreach: ({ caller: { tenant, credentialId }, source }) =>
      onRefused({ port, reason: "claims_too_much", source, tenant, credentialId }),
    onProblem: (code) => {
      metrics.answered({ port, code });
      activity.answered(code);
    },
  });
  const serverOptions = (port: "decision" | "admin", address: string, words: Config["auth"]) => ({
    routers: [proposalGateRoutes(httpOf(port))],
    connectionsMax: config.connections_max,
    isLocalOnly: isOpenToLocals(address, words),
    isForOthers: !isLocal(address),
  });
  const { listen, auth, admin_listen, admin_auth } = config;
  return {
    gate,
    ledger,
    store,
    policy,
    tokens,
    metrics,
    activity,
    logger,
    operations,
    decisionServer: () => createDecisionServer(httpOf("decision"), operations, serverOptions("decision", listen, auth)),
    adminServer: () =>
      createAdminServer(httpOf("admin"), operations, { ...serverOptions("admin", admin_listen, admin_auth), ledger }),
    reconfigure: (changed) => {
      live = { ...live, ...liveSettings(changed) };
      for (const tenant of tenantsOf(live)) tenants.add(tenant);
      logger.level = live.log_level;
      gate.setModes(modeOptions(live));
      credentials.replace(live);
      return credentials.refresh();
    },
    recordOnce,
    refreshIdentity: () => credentials.refresh(),
    startDraining: () => draining.abort(),
    close: async () => {
      await sweeping.stop();
      await policy.close();
      refusals.flush();
      await index?.close();
      await ledger.close().finally(() => store.close());
    },
  };
}

function recordStart(config: Config, policy: PolicySource, record: (kind: string, data: object) => void): void {
  const { mode, auth, admin_auth, issuer } = config;
  record("sidecar_started", { mode, auth, admin_auth, issuer });
  const { active, lastError } = policy.status();
  if (active !== undefined) {
    const { digest, revision, entrypoint } = active;
    record("policy_activated", { digest, revision, entrypoint });
  }
  if (lastError !== undefined) record("policy_refused", { code: lastError.code, message: lastError.message });
}

function httpLimits(config: Config): HttpContext["limits"] {
  return {
    bytesMax: config.body_bytes_max,
    depthMax: config.depth_max,
    batchMax: config.batch_max,
    waitMsMax: config.wait_seconds_max * 1000,
  };
}

export function createLogger(level: string): Logger {
  // Standard error: standard output belongs to whoever speaks a protocol over it.
  const logger = pino({ level, base: { name: "holdpoint" } }, pino.destination({ dest: 2, sync: false }));
  logConsole(logger);
  return logger;
}

function tenantsOf({ tenants, api_keys, jwt_issuers }: Config): readonly Tenant[] {
  const ofKeys = api_keys.map((key) => key.tenant);
  const ofIssuers = jwt_issuers.flatMap((issuer) => issuer.tenants ?? [issuer.tenant]);
  return [...new Set(["default", ...Object.keys(tenants), ...ofKeys, ...ofIssuers])];
}

interface LedgerWatchers {
  readonly metrics: Metrics;
  readonly activity: Activity;
  readonly logger: Logger;
}

async function openOwnLedger(config: Config, { metrics, activity, logger }: LedgerWatchers): Promise<Ledger> {
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
    ...(config.ledger_bytes_max === undefined ? {} : { bytesMax: config.ledger_bytes_max }),
    onCommit: (commit) => {
      if (commit.error === undefined) metrics.ledgerCommitted(commit);
      else {
        activity.ledgerFailed();
        sayLedgerFailed(logger, directory, commit.error);
      }
    },
  });
  writeFileSync(join(directory, "checkpoint-key.pub"), `${encodeNoteKey(origin, publicKey)}\n`);
  return ledger;
}

/** Refused decisions follow until it can be written again, and then by themselves no longer. */
function sayLedgerFailed(logger: Logger, directory: string, error: Error): void {
  logger.error({ err: error }, `Cannot write the ledger (${fileFault(directory, error)}): trying again every second`);
}

function openOwnStore(config: Config): Promise<Store> {
  return openStore({
    url: config.store,
    dataDir: config.data_dir,
    timeoutMs: config.store_timeout_ms,
    ...(config.redis_wait_replicas === undefined ? {} : { waitReplicas: config.redis_wait_replicas }),
  });
}

/** Asks a Redis how it keeps what it acknowledges, until it has said so once. */
function durabilityWarnings({ store, store_timeout_ms }: Config, logger: Logger): () => void {
  let isAsked = !isRedisUrl(store);
  return () => {
    if (isAsked) return;
    isAsked = true;
    void (async () => {
      const { checkDurability } = await import("../store/redis/check-durability.ts");
      const warnings = await checkDurability(store, store_timeout_ms);
      if (warnings === undefined) isAsked = false;
      for (const warning of warnings ?? []) logger.warn(`Store ${storeAddress(store)} may lose records: ${warning}`);
    })().catch((error: Error) => logger.debug({ err: error }, "Cannot ask the store how it keeps records"));
  };
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
    onRestored: ({ digest, revision }) => {
      metrics.policyRestored();
      logger.info({ digest, revision }, "Policy on disk is the one in force again");
      record("policy_restored", { digest, revision });
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
