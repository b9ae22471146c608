/** A configuration file that changes while the sidecar serves: what may change at once does, the rest is named. */
import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config/load-config.ts";
import { ConfigError, toError } from "../core/errors.ts";
import type { Tenant } from "../core/types.ts";
import { watchPath } from "../policy/watch-path.ts";
import { actionModeChanges, credentialChanges, inWords, tenantModeChanges } from "./configuration-changes.ts";
import type { Sidecar } from "./open-sidecar.ts";

/** Modes, credentials and the log's level. Everything else has built something that would have to be built anew. */
export const LIVE_SETTINGS = [
  "mode",
  "tenants",
  "actions",
  "policy_may_observe",
  "api_keys",
  "jwt_issuers",
  "log_level",
] as const satisfies readonly (keyof Config)[];

export type LiveSettings = Pick<Config, (typeof LIVE_SETTINGS)[number]>;

export function liveSettings(config: Config): LiveSettings {
  return Object.fromEntries(LIVE_SETTINGS.map((key) => [key, config[key]])) as unknown as LiveSettings;
}

export interface ConfigReloader {
  /** Reads the configuration again; one with faults leaves everything as it is. */
  reload(): Promise<void>;
  close(): void;
}

/** @param load reads the same file and variables as at the start */
export function watchConfig(of: {
  readonly path: string | undefined;
  readonly load: () => Config;
  readonly started: Config;
  readonly sidecar: Sidecar;
  /** Told the configuration in force, once it has changed. */
  readonly onApplied?: (config: Config) => void;
}): ConfigReloader {
  const { sidecar, load, path } = of;
  const { logger, metrics } = sidecar;
  let current = of.started;
  let wasRefused = false;
  const reload = async () => {
    let changed: Config;
    try {
      changed = load();
    } catch (thrown) {
      const faults = thrown instanceof ConfigError ? thrown.faults : [toError(thrown).message];
      wasRefused = true;
      metrics.configurationLoaded(false);
      logger.error({ faults }, "The changed configuration has faults: the one before stays");
      // How many, and not which: faults may name what is another tenant's.
      sidecar.recordOnce("configuration_refused", { faults: faults.length });
      const only = onlyTenant(current);
      if (only !== undefined) sidecar.activity.configurationRefused(faults, only);
      return;
    }
    metrics.configurationLoaded(true);
    const keys = (Object.keys(changed) as (keyof Config)[]).filter(
      (key) => !isDeepStrictEqual(changed[key], current[key]),
    );
    const isRestored = wasRefused;
    wasRefused = false;
    if (isRestored && !keys.some(isLive)) {
      logger.info("Configuration on disk is good again, and what it may change while serving is in force");
      sidecar.recordOnce("configuration_restored", {});
    }
    if (keys.length === 0) return;
    const before = current;
    const applied = keys.filter((key) => isLive(key));
    const needRestart = keys.filter((key) => !isLive(key));
    current = { ...current, ...liveSettings(changed) };
    if (applied.length > 0) {
      // It counts at once, and is recorded in the order in which it counts; issuers' keys may take longer.
      const refreshing = sidecar.reconfigure(changed);
      sayChange(sidecar, before, changed, applied);
      recordChange(sidecar, before, changed, applied);
      of.onApplied?.(current);
      await refreshing;
    }
    if (needRestart.length > 0) logger.warn({ settings: needRestart }, "These changed settings need a restart");
  };
  const watching = path === undefined ? undefined : watchPath(path, () => void reload());
  return { reload, close: () => watching?.close() };
}

/** The tenant that is the only one of this configuration, if there is one: what is in a fault is its own then. */
function onlyTenant(config: Config): Tenant | undefined {
  const { api_keys, jwt_issuers, auth, admin_auth } = config;
  const isOpen = [...auth, ...admin_auth].includes("none");
  const named = [...api_keys.map(({ tenant }) => tenant), ...Object.keys(config.tenants)];
  const all = new Set([
    ...(isOpen ? ["default"] : []),
    ...named,
    ...jwt_issuers.flatMap(({ tenants, tenant }) => tenants ?? [tenant]),
  ]);
  return all.size === 1 ? [...all][0] : undefined;
}

function sayChange({ logger }: Sidecar, before: Config, changed: Config, applied: readonly string[]): void {
  const credentials = Object.fromEntries(credentialChanges(before, changed));
  const facts = {
    applied,
    modes: inWords(actionModeChanges(before, changed)),
    tenant_modes: inWords(tenantModeChanges(before, changed)),
    credentials: Object.keys(credentials).length === 0 ? undefined : credentials,
  };
  logger.info(facts, "Configuration changed");
}

/** INVARIANT (isolated): the mode of a tenant is recorded as that tenant's, and so are the names of its keys. */
function recordChange(sidecar: Sidecar, before: Config, changed: Config, applied: readonly string[]): void {
  const { mode, actions, policy_may_observe, tenants } = changed;
  const changes = { modes: actionModeChanges(before, changed) };
  sidecar.recordOnce("configuration_changed", { applied, mode, actions, policy_may_observe, changes });
  for (const [tenant, change] of credentialChanges(before, changed))
    sidecar.recordOnce("credentials_changed", change, tenant);
  for (const tenant of new Set([...Object.keys(before.tenants), ...Object.keys(tenants)])) {
    const now = tenants[tenant]?.mode;
    if (now !== before.tenants[tenant]?.mode) sidecar.recordOnce("tenant_mode_changed", { mode: now ?? mode }, tenant);
  }
}

function isLive(key: keyof Config): boolean {
  return (LIVE_SETTINGS as readonly string[]).includes(key);
}
