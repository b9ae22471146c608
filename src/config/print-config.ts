/** The effective configuration, setting by setting, with where each value came from. */
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { parse, stringify } from "yaml";
import type { Json, JsonObject } from "../core/types.ts";
import { type Config, loadConfig } from "./load-config.ts";
import { SETTINGS, variableOf } from "./settings.ts";

export type SettingSource = "default" | "file" | "variable";

export interface PrintedSetting {
  readonly key: string;
  readonly source: SettingSource;
  /** As the file would have it; undefined where nothing is set and nothing is the default. */
  readonly value: Json | undefined;
  readonly isRedacted: boolean;
}

/** @throws ConfigError with every fault */
export function effectiveSettings(
  path: string | undefined,
  environment: Readonly<Record<string, string | undefined>>,
): readonly PrintedSetting[] {
  const config = loadConfig(path, environment);
  const file =
    path === undefined ? {} : ((parse(readFileSync(path, "utf8")) ?? {}) as Readonly<Record<string, unknown>>);
  return SETTINGS.map(({ key }) => {
    const value = asWritten(key, config[key.replaceAll(".", "_") as keyof Config]);
    const shown = redacted(key, value);
    return { key, source: sourceOf(key, file, environment), value: shown, isRedacted: shown !== value };
  });
}

function sourceOf(
  key: string,
  file: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
): SettingSource {
  if ((environment[variableOf(key)] ?? "") !== "") return "variable";
  const [group, inner] = key.split(".");
  const nested =
    inner === undefined ? undefined : (file[group!] as Readonly<Record<string, unknown>> | null | undefined);
  return (file[key] ?? nested?.[inner!] ?? null) === null ? "default" : "file";
}

/** Back from what the schemas made of it: lists of words are texts with commas, "any" is "*". */
function asWritten(key: string, value: unknown): Json | undefined {
  if (value === undefined) return undefined;
  if (["auth", "admin_auth", "metrics_auth"].includes(key)) return (value as readonly string[]).join(",");
  if (key === "api_keys" || key === "jwt_issuers")
    return (value as readonly Readonly<Record<string, unknown>>[]).map(
      (entry) =>
        Object.fromEntries(Object.entries(entry).map(([name, one]) => [name, one === "any" ? "*" : one])) as Json,
    );
  return value as Json;
}

/** What is left of a hash: enough to tell keys apart. */
const HASH_CHARS_SHOWN = 8;

/** The same value where there is nothing to hide. */
function redacted(key: string, value: Json | undefined): Json | undefined {
  if (value === undefined) return undefined;
  if (key === "store") return withoutPassword(String(value));
  const entries = value as readonly Readonly<Record<string, Json>>[];
  if (key === "api_keys" && entries.length > 0)
    return entries.map((entry) => ({ ...entry, sha256: shortened(entry.sha256!) }));
  if (key === "jwt_issuers" && entries.some(({ jwks }) => withoutPassword(String(jwks)) !== jwks))
    return entries.map((entry) => ({ ...entry, jwks: withoutPassword(String(entry.jwks)) }));
  if (key === "executors") return hiddenIn(value, hideExecutor);
  if (key === "adapters") return hiddenIn(value, hideAdapter);
  return value;
}

const REDACTED = "REDACTED";

function hiddenIn(value: Json, hide: (entry: JsonObject) => JsonObject): Json {
  const entries = Object.entries(value as Readonly<Record<string, JsonObject>>);
  const shown = Object.fromEntries(entries.map(([name, entry]) => [name, hide(entry)]));
  return isDeepStrictEqual(value, shown) ? value : shown;
}

/** What a header names stays (a path, a variable). What it says goes, secret or not, and so does a URL's query. */
function hideExecutor(executor: JsonObject): JsonObject {
  const headers = Object.entries(executor.headers as JsonObject);
  const shown = headers.map(([name, value]): [string, Json] => [name, typeof value === "string" ? REDACTED : value]);
  const url = String(executor.url).replace(/\?.*$/s, `?${REDACTED}`);
  return { ...executor, url, headers: Object.fromEntries(shown) };
}

function hideAdapter(adapter: JsonObject): JsonObject {
  const signature = adapter.signature as JsonObject;
  const secrets = signature.secrets as readonly JsonObject[] | undefined;
  if (secrets === undefined) return adapter;
  const shown = secrets.map((secret) => ("value" in secret ? { value: REDACTED } : secret));
  return { ...adapter, signature: { ...signature, secrets: shown } };
}

function shortened(hash: Json): Json {
  return Array.isArray(hash) ? hash.map(shortened) : `${String(hash).slice(0, HASH_CHARS_SHOWN)}…`;
}

/** Parameters of a store's address that say nothing secret. */
const HARMLESS = /^(db|name|master|family|tls|waitReplicas|waitMs|sentinelUsername)$/;

/**
 * The password up to the last @, whatever stands in it: an address is printed most of all when it does not work. And every
 * parameter that is not known to be harmless.
 */
function withoutPassword(url: string): string {
  return url
    .replace(/^([a-z0-9+.-]+:\/\/[^:@]*):.*@/is, "$1:REDACTED@")
    .replace(/([?&])([^=&#]*)=([^&#]*)/g, (whole, mark: string, name: string) =>
      HARMLESS.test(name) ? whole : `${mark}${name}=REDACTED`,
    );
}

/** YAML that `--config` takes again; what was redacted has to be put back first. */
export function settingsYaml(settings: readonly PrintedSetting[]): string {
  return settings.map(settingYaml).join("");
}

function settingYaml({ key, source, value, isRedacted }: PrintedSetting): string {
  const from = source === "variable" ? variableOf(key) : source;
  const note = `# ${from}${isRedacted ? "; redacted: put the value back before this is used" : ""}`;
  if (value === undefined) return `# ${key}:  ${note}\n`;
  const [first, ...rest] = stringify({ [key]: value }, { lineWidth: 0, blockQuote: false })
    .trimEnd()
    .split("\n");
  return [`${first}  ${note}`, ...rest].map((line) => `${line}\n`).join("");
}
