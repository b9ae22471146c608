/** What can be known of a configuration before it serves, without touching anything. */
import { accessSync, constants, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Config, isLocal } from "../config/load-config.ts";
import { openAdapters } from "../config/open-adapters.ts";
import { openExecutors } from "../config/open-executors.ts";
import type { Domain } from "../core/domain.ts";
import { ConfigError, toError } from "../core/errors.ts";
import { fileFault } from "../core/file-fault.ts";
import { suggest } from "../core/suggest.ts";
import { inspectBundle } from "../policy/inspect-bundle.ts";
import { loadPolicy } from "../policy/load-policy.ts";
import { loadSigningKeys } from "../signing/signing-keys.ts";
import type { Environment } from "./command.ts";
import { policyReport, unconsultedWarning } from "./contract-faults.ts";
import { observeWarning } from "./observe-warning.ts";
import { shown } from "./terminal.ts";

export interface ConfigReport {
  readonly faults: readonly string[];
  readonly warnings: readonly string[];
  /** What was looked at and holds, a sentence each. */
  readonly holds: readonly string[];
}

export async function checkConfig(config: Config, environment: Environment): Promise<ConfigReport> {
  const faults: string[] = [];
  const holds: string[] = [];
  const warnings = warningsOf(config);
  warnings.push(...(await checkBundle(config, faults, holds)));
  checkDirectory("data_dir", config.data_dir, faults, holds);
  checkKeys(config.keys_dir, faults, holds);
  checkSocket("listen", config.listen, faults, holds);
  checkSocket("admin_listen", config.admin_listen, faults, holds);
  for (const { name, jwks } of config.jwt_issuers)
    if (!/^https?:/i.test(jwks)) checkReadable(`jwt_issuers: ${name}: jwks`, jwks, faults, holds);
  faults.push(...secretFaults(config, environment));
  return { faults, warnings, holds };
}

/** Secrets that executors and adapters name, and that are not there. */
function secretFaults(config: Config, environment: Environment): string[] {
  const readFile = (path: string) => readFileSync(path, "utf8");
  return [openExecutors, openAdapters].flatMap((open) => {
    try {
      open(config, readFile, environment);
      return [];
    } catch (thrown) {
      if (thrown instanceof ConfigError) return thrown.faults;
      throw thrown;
    }
  });
}

/** @returns what to warn of in a bundle that loads */
async function checkBundle(config: Config, faults: string[], holds: string[]): Promise<string[]> {
  const { bundle: path, entrypoint, actions } = config;
  if (path === undefined) return [];
  try {
    const { digest, revision, domain } = await loadPolicy({ path, entrypoint });
    const report = await policyReport(path, entrypoint);
    faults.push(...report.faults.map((fault) => `bundle: ${fault}`));
    if (report.faults.length === 0)
      holds.push(`bundle: ${path} loads, ${digest}${revision === "" ? "" : `, revision ${revision}`}`);
    holds.push(...missingExecutors(domain, config.executors));
    const { contracts } = await inspectBundle(path);
    const unconsulted = unconsultedWarning(report);
    return [
      ...(unconsulted === undefined ? [] : [`bundle: ${unconsulted}`]),
      ...ungovernedActions(
        Object.keys(actions),
        contracts.map(({ action }) => action),
      ),
    ];
  } catch (thrown) {
    const found = thrown instanceof ConfigError ? thrown.faults : [];
    faults.push(...(found.length === 0 ? [toError(thrown).message] : found).map((fault) => `bundle: ${fault}`));
    return [];
  }
}

/** Actions that this sidecar decides and does not execute: an agent that runs them itself needs no executor here. */
export function missingExecutors({ actions }: Domain, executors: Readonly<Record<string, unknown>>): string[] {
  return [...actions.values()]
    .filter(({ executor }) => executor !== undefined && !Object.hasOwn(executors, executor))
    .map(
      ({ name, executor }) =>
        `executors: ${shown(executor!)} is not configured: ${shown(name)} is decided, not executed`,
    );
}

/**
 * A warning for each name in the setting `actions` that the policy has no contract of: a mode that is meant for an action,
 * and changes nothing. None for a policy without contracts, which governs in a way of its own.
 */
export function ungovernedActions(names: readonly string[], contracts: readonly string[]): string[] {
  if (contracts.length === 0) return [];
  return names
    .filter((name) => !contracts.includes(name))
    .map((name) => {
      const near = suggest(name, contracts);
      const meant = near === undefined ? "" : `; did you mean ${shown(near)}?`;
      return `actions.${shown(name)}: the policy has no contract of this name${meant}`;
    });
}

/** Writable, or creatable: the nearest folder that is there decides. @returns whether it is */
function checkDirectory(setting: string, path: string, faults: string[], holds: string[]): boolean {
  let folder = resolve(path);
  while (!existsSync(folder) && dirname(folder) !== folder) folder = dirname(folder);
  const isThere = folder === resolve(path);
  try {
    if (!statSync(folder).isDirectory()) throw new Error(`${folder} is no directory`);
    accessSync(folder, constants.W_OK | constants.X_OK);
    holds.push(`${setting}: ${path} ${isThere ? "is writable" : "can be created"}`);
    return isThere;
  } catch (thrown) {
    faults.push(`${setting}: ${toError(thrown).message}`);
    return false;
  }
}

/** Keys that are there are read; where there are none a start would make one. */
function checkKeys(directory: string, faults: string[], holds: string[]): void {
  let names: readonly string[] = [];
  try {
    names = readdirSync(directory);
  } catch {
    // Absent, or no directory: whether it can be made is what counts.
  }
  if (!names.some((name) => /^permit-.*\.json$/.test(name))) {
    checkDirectory("keys_dir", directory, faults, holds);
    return;
  }
  try {
    const { active, verifying } = loadSigningKeys(directory, Math.floor(Date.now() / 1000), false);
    holds.push(`keys_dir: ${directory} has the signing key ${active.kid}, ${verifying.length} verify`);
  } catch (thrown) {
    const found = thrown instanceof ConfigError ? thrown.faults : [];
    faults.push(...(found.length === 0 ? [`keys_dir: ${toError(thrown).message}`] : found));
  }
}

function checkSocket(setting: string, address: string, faults: string[], holds: string[]): void {
  if (!address.startsWith("unix:")) return;
  const folder = dirname(address.slice("unix:".length));
  try {
    if (!statSync(folder).isDirectory()) throw new Error("is no directory");
    accessSync(folder, constants.W_OK | constants.X_OK);
    holds.push(`${setting}: ${folder} is there`);
  } catch (thrown) {
    const isAbsent = (thrown as NodeJS.ErrnoException).code === "ENOENT";
    const why = isAbsent ? `the folder ${folder} of the socket does not exist: create it` : fileFault(folder, thrown);
    faults.push(`${setting}: ${why}`);
  }
}

function checkReadable(setting: string, path: string, faults: string[], holds: string[]): void {
  try {
    accessSync(path, constants.R_OK);
    holds.push(`${setting}: ${path} is readable`);
  } catch (thrown) {
    faults.push(`${setting}: ${toError(thrown).message}`);
  }
}

function warningsOf(config: Config): string[] {
  const { auth, admin_auth, api_keys, jwt_issuers, bundle, listen } = config;
  const warnings: string[] = [];
  if (bundle === undefined) warnings.push("bundle: none, so everything is denied in enforce mode");
  if (auth.includes("none"))
    warnings.push("auth: callers are NOT authenticated. For development, or a socket only the agent can reach");
  if (admin_auth.includes("none"))
    warnings.push("admin_auth: reviewers are NOT authenticated. Whoever reaches the admin port can approve");
  else if (![...api_keys, ...jwt_issuers].some(({ scopes }) => scopes.includes("review")))
    warnings.push("api_keys: nobody has the scope review, so nobody can grant an approval");
  if (!auth.includes("none") && ![...api_keys, ...jwt_issuers].some(({ scopes }) => scopes.includes("decide")))
    warnings.push("api_keys: nobody has the scope decide, so nobody can propose");
  const observed = observeWarning(config);
  if (observed !== undefined) warnings.push(`mode: observe, ${observed}`);
  if (!isLocal(listen) && !listen.startsWith("unix:"))
    warnings.push(
      `listen: ${listen} is reached from elsewhere without TLS of its own; keep it inside a network you trust`,
    );
  return warnings;
}
