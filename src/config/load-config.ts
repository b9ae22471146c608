/** One typed, frozen configuration from one YAML file and the environment; every fault is reported at once. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse, parseDocument } from "yaml";
import { ConfigError } from "../core/errors.ts";
import { fileFault } from "../core/file-fault.ts";
import { schemaFaults } from "../core/schema.ts";
import { suggest } from "../core/suggest.ts";
import type { Mode } from "../core/types.ts";
import type { AdapterSettings } from "./adapter-settings.ts";
import { type ExecutorSettings, unreachableExecutors } from "./executor-settings.ts";
import { type ApiKey, type JwtIssuer, SETTINGS, type Setting, variableOf } from "./settings.ts";

export type AuthWord = "none" | "api_key" | "jwt";

export interface Config {
  readonly listen: string;
  readonly admin_listen: string;
  readonly bundle: string | undefined;
  readonly entrypoint: string;
  readonly mode: Mode;
  readonly tenants: Readonly<Record<string, { readonly mode: Mode }>>;
  readonly actions: Readonly<Record<string, { readonly mode: Mode }>>;
  readonly policy_may_observe: boolean;
  readonly data_dir: string;
  readonly keys_dir: string;
  readonly trusted_keys: readonly { kty: "OKP"; crv: "Ed25519"; x: string; kid: string }[];
  readonly store: string;
  readonly store_timeout_ms: number;
  readonly redis_wait_replicas: number | undefined;
  /** Octal. */
  readonly socket_mode: string;
  readonly auth: readonly AuthWord[];
  readonly admin_auth: readonly AuthWord[];
  readonly metrics_auth: readonly AuthWord[];
  readonly api_keys: readonly ApiKey[];
  readonly jwt_issuers: readonly JwtIssuer[];
  readonly freeze_age_max_ms: number;
  readonly session_window: number;
  readonly session_ttl_seconds: number;
  readonly rebuild_events_max: number;
  readonly executors: Readonly<Record<string, ExecutorSettings>>;
  readonly executor_addresses: readonly string[];
  readonly adapters: Readonly<Record<string, AdapterSettings>>;
  readonly issuer: string;
  readonly permit_audience: string;
  readonly permit_ttl_seconds: number;
  readonly approval_ttl_seconds: number;
  readonly grant_ttl_seconds: number;
  readonly require_binding_echo: boolean;
  readonly pending_approvals_max: number;
  readonly ledger_durability: "durable" | "relaxed";
  readonly ledger_queue_max: number;
  readonly ledger_bytes_max: number | undefined;
  readonly body_bytes_max: number;
  readonly depth_max: number;
  readonly batch_max: number;
  readonly wait_seconds_max: number;
  readonly connections_max: number;
  readonly drain_seconds: number;
  readonly workers: number;
  readonly log_level: string;
}

/** Variables of ours that are no settings. */
const OTHER_VARIABLES = new Set(["HOLDPOINT_ADMIN_URL", "HOLDPOINT_CONFIG", "HOLDPOINT_KEY", "HOLDPOINT_VECTORS"]);

/** Kubernetes sets these in every pod beside a Service whose name begins with holdpoint; none of them is ours. */
const SERVICE_LINK = /^HOLDPOINT_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.+)?)?)$/;

/**
 * @param path of the YAML file; undefined where there is none
 * @param environment the variables; a variable wins over the file
 * @throws ConfigError that lists every fault
 */
export function loadConfig(
  path: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): Config {
  const faults: string[] = [];
  const file = path === undefined ? {} : flattened(readFile(path, faults));
  faults.push(...unknownKeys(file), ...unknownVariables(environment));
  const values: Record<string, unknown> = {};
  for (const setting of SETTINGS)
    values[setting.key.replaceAll(".", "_")] = readSetting(setting, file, environment, faults);
  const config = values as unknown as Config;
  faults.push(...contradictions(config));
  if (faults.length > 0)
    throw new ConfigError("config_invalid", `Cannot start: ${faults.length} fault(s) in the configuration`, faults);
  return Object.freeze({ ...config, keys_dir: config.keys_dir ?? join(config.data_dir, "keys") });
}

function readFile(path: string, faults: string[]): Readonly<Record<string, unknown>> {
  try {
    const text = readFileSync(path, "utf8");
    // A mount that went wrong, more often than a wish for defaults; a file of comments says that somebody meant it.
    if (text.trim() === "") {
      faults.push(`${path}: is empty: expected settings as "key: value", or {} for the defaults alone`);
      return {};
    }
    const document = parseDocument(text, { uniqueKeys: true });
    if (document.errors.length > 0) throw document.errors[0];
    const value: unknown = document.toJS({ maxAliasCount: 0 }) ?? {};
    if (typeof value === "object" && !Array.isArray(value)) return value as Record<string, unknown>;
    faults.push(`${path}: expected a mapping of settings`);
  } catch (thrown) {
    faults.push(fileFault(path, thrown));
  }
  return {};
}

/** `ledger: {durability: …}` is the setting `ledger.durability`. */
function flattened(file: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const groups = new Set(SETTINGS.filter(({ key }) => key.includes(".")).map(({ key }) => key.split(".")[0]!));
  return Object.fromEntries(
    Object.entries(file).flatMap(([key, value]) =>
      groups.has(key) && typeof value === "object" && value !== null
        ? Object.entries(value).map(([inner, innerValue]) => [`${key}.${inner}`, innerValue])
        : [[key, value]],
    ),
  );
}

function unknownKeys(file: Readonly<Record<string, unknown>>): string[] {
  const known = new Set(SETTINGS.map((setting) => setting.key));
  return Object.keys(file)
    .filter((key) => !known.has(key))
    .map((key) => `${key}: unknown setting${suggestion(key, [...known])}`);
}

function unknownVariables(environment: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set(SETTINGS.map((setting) => variableOf(setting.key)));
  return Object.keys(environment)
    .filter((name) => name.startsWith("HOLDPOINT_") && !known.has(name) && !OTHER_VARIABLES.has(name))
    .filter((name) => !SERVICE_LINK.test(name))
    .map((name) => `${name}: unknown variable${suggestion(name, [...known])}`);
}

function suggestion(word: string, known: readonly string[]): string {
  const meant = suggest(word, known);
  return meant === undefined ? "" : `, did you mean ${meant}?`;
}

function readSetting(
  setting: Setting,
  file: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
  faults: string[],
): unknown {
  const variable = variableOf(setting.key);
  const text = environment[variable];
  const isFromVariable = text !== undefined && text !== "";
  const given = isFromVariable ? scalarOf(text, setting) : file[setting.key];
  const parsed = setting.schema.safeParse(given ?? undefined, { reportInput: true });
  if (parsed.success) return parsed.data;
  const name = isFromVariable ? variable : setting.key;
  for (const fault of schemaFaults(parsed.error)) faults.push(`${name}${fault.pointer}: ${fault.message}`);
  return undefined;
}

/** Variables are texts: one that its setting takes as it stands is left alone, any other is read as YAML. */
function scalarOf(text: string, setting: Setting): unknown {
  if (setting.schema.safeParse(text).success) return text;
  try {
    return parse(text);
  } catch {
    return text;
  }
}

/** Between settings that hold by themselves; one that does not is undefined here, and was reported. */
function contradictions(config: Partial<Config>): string[] {
  const { auth, listen, admin_auth, admin_listen, api_keys = [], jwt_issuers = [] } = config;
  const faults: string[] = [];
  if (auth?.includes("none") && listen !== undefined && !isLocal(listen)) {
    faults.push(`auth: "none" is for loopback and Unix sockets, and listen is ${listen}`);
  }
  if (admin_auth?.includes("none") && admin_listen !== undefined && !isLocal(admin_listen)) {
    faults.push(`admin_auth: "none" is for loopback and Unix sockets, and admin_listen is ${admin_listen}`);
  }
  if (listen !== undefined && listen === admin_listen && !listen.endsWith(":0"))
    faults.push("admin_listen: the same address as listen");
  const idOf = api_keys.map((key) => key.id);
  const hashOf = api_keys.flatMap((key) => key.sha256);
  faults.push(
    ...repeated(
      jwt_issuers.map(({ name }) => name),
      "jwt_issuers: name",
    ),
  );
  for (const [setting, words] of Object.entries({ auth, admin_auth, metrics_auth: config.metrics_auth })) {
    if (words?.includes("jwt") === true && jwt_issuers.length === 0)
      faults.push(`${setting}: "jwt" needs an entry in jwt_issuers`);
  }
  faults.push(...repeated(idOf, "api_keys: id"), ...repeated(hashOf, "api_keys: sha256"));
  const { executors = {}, executor_addresses } = config;
  if (executor_addresses !== undefined) faults.push(...unreachableExecutors(executors, executor_addresses));
  return faults;
}

function repeated(values: readonly string[], what: string): string[] {
  const seen = new Set<string>();
  const twice = new Set(values.filter((value) => seen.size === seen.add(value).size));
  return [...twice].map((value) => `${what} ${value} stands twice`);
}

export function isLocal(address: string): boolean {
  if (address.startsWith("unix:")) return true;
  const host = address.slice(0, address.lastIndexOf(":"));
  return host === "localhost" || host === "[::1]" || /^127(\.[0-9]{1,3}){3}$/.test(host);
}
