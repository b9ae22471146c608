/**
 * Every setting in one table: its key in the YAML file, its schema with the default, and what it is for. The variable of a
 * key is HOLDPOINT_ and the key in capitals with underscores (`ledger.durability` is HOLDPOINT_LEDGER_DURABILITY).
 */
import { z } from "zod";
import { identifier, roles, TENANT, tenantName } from "../core/schema.ts";

const mode = z.enum(["enforce", "observe"]);
const seconds = (max: number) => z.int().min(1).max(max);
const permitted = z.union([z.literal("*").transform(() => "any" as const), z.array(identifier).max(1_000)]);

/** `127.0.0.1:8282`, `[::1]:8282`, `:8282` (every address) or `unix:/path`. */
export const listenAddress = z
  .string()
  .regex(/^(unix:\/.+|(\[[0-9a-fA-F:.]+\]|[^:/\s]*):[0-9]{1,5})$/, {
    error: "expected host:port or unix:/path",
    abort: true,
  })
  .refine(
    (text) => text.startsWith("unix:") || Number(text.slice(text.lastIndexOf(":") + 1)) <= 65_535,
    "expected a port up to 65535",
  );

const authWords = z
  .string()
  .transform((text) => text.split(",").map((word) => word.trim()))
  .pipe(z.array(z.enum(["none", "api_key"])).min(1))
  .refine((words) => !words.includes("none") || words.length === 1, '"none" stands alone');

export const apiKeySchema = z.strictObject({
  id: identifier,
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "expected the SHA-256 of the key, 64 hexadecimal digits"),
  tenant: tenantName.default("default"),
  /** decide: propose and consume. review: grant and deny. operate: read ledger and policy. */
  scopes: z.array(z.enum(["decide", "review", "operate"])).min(1),
  type: identifier.default("service"),
  roles: z.union([permitted, roles]).default([]),
  actors: permitted.default([]),
  on_behalf_of: permitted.default([]),
  audiences: z.array(identifier).max(100).optional(),
});

export type ApiKey = z.infer<typeof apiKeySchema>;

const publicJwk = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  x: z.string().length(43),
  kid: z.string().min(1).max(64),
});

export interface Setting {
  readonly key: string;
  readonly schema: z.ZodType;
  /** As the README shows it. */
  readonly defaultText: string;
  readonly meaning: string;
}

const setting = (key: string, defaultText: string, schema: z.ZodType, meaning: string): Setting => ({
  key,
  schema,
  defaultText,
  meaning,
});

export const SETTINGS: readonly Setting[] = [
  setting("listen", "127.0.0.1:8282", listenAddress.default("127.0.0.1:8282"), "Decision port, or `unix:/path`"),
  setting(
    "admin_listen",
    "127.0.0.1:8283",
    listenAddress.default("127.0.0.1:8283"),
    "Admin port: approvals, ledger, policy, metrics, health",
  ),
  setting(
    "bundle",
    "–",
    z.string().min(1).optional(),
    "Policy: a directory, a `bundle.tar.gz` or a `.wasm` with `data.json` beside it",
  ),
  setting(
    "entrypoint",
    "holdpoint/decision",
    z
      .string()
      .regex(/^[A-Za-z0-9_]+(\/[A-Za-z0-9_]+)*$/)
      .default("holdpoint/decision"),
    "Rule that decides, slash-separated",
  ),
  setting("mode", "enforce", mode.default("enforce"), "`enforce`, or `observe`: evaluate and record, block nothing"),
  setting(
    "tenants",
    "{}",
    z.record(z.string().regex(TENANT), z.strictObject({ mode })).default({}),
    "Per tenant: `mode`",
  ),
  setting("actions", "{}", z.record(identifier, z.strictObject({ mode })).default({}), "Per action: `mode`"),
  setting(
    "policy_may_observe",
    "false",
    z.boolean().default(false),
    "Whether policy may turn an action of an enforcing tenant to observe",
  ),
  setting("data_dir", "./data", z.string().min(1).default("./data"), "Ledger, keys, embedded state"),
  setting(
    "keys_dir",
    "<data dir>/keys",
    z.string().min(1).optional(),
    "Permit signing keys, created if absent; share it to honour one another's permits",
  ),
  setting(
    "trusted_keys",
    "[]",
    z.array(publicJwk).max(100).default([]),
    "Public keys (JWK) of other issuers of permits",
  ),
  setting(
    "store",
    "embedded",
    z
      .string()
      .regex(
        /^(embedded|rediss?:\/\/.+|redis\+(unix|sentinel|cluster):\/\/.+)$/,
        "expected embedded, redis://, rediss://, redis+unix://, redis+sentinel:// or redis+cluster://",
      )
      .default("embedded"),
    "Shared state",
  ),
  setting(
    "store_timeout_ms",
    "1000",
    z.int().min(10).max(60_000).default(1_000),
    "How long the store may take before it counts as away",
  ),
  setting(
    "redis_wait_replicas",
    "by topology",
    z.int().min(0).max(10).optional(),
    "Replicas that must hold a use of a permit before it counts; 0 standalone, 1 with Sentinel or Cluster",
  ),
  setting("auth", "none", authWords.default(["none"]), "Callers: `none` (loopback and Unix sockets only) or `api_key`"),
  setting(
    "admin_auth",
    "api_key",
    authWords.default(["api_key"]),
    "Reviewers and operators: `api_key`, or `none` for development",
  ),
  setting(
    "api_keys",
    "[]",
    z.array(apiKeySchema).max(10_000).default([]),
    "Bearer keys by their SHA-256: `id`, `sha256`, `tenant`, `scopes`, `actors`, `roles`, `on_behalf_of`, `audiences`",
  ),
  setting(
    "issuer",
    "holdpoint",
    z
      .string()
      .min(1)
      .max(200)
      .regex(/^[^\s]+$/, "expected no white space")
      .default("holdpoint"),
    "This sidecar's name: `iss` of its permits, and its ledger's origin",
  ),
  setting(
    "permit_audience",
    "holdpoint",
    identifier.default("holdpoint"),
    "Audience of permits whose policy names none",
  ),
  setting("permit_ttl_seconds", "60", seconds(3_600).default(60), "Life of permits whose policy says nothing"),
  setting(
    "approval_ttl_seconds",
    "3600",
    seconds(2_592_000).default(3_600),
    "How long an approval waits, where policy says nothing",
  ),
  setting(
    "grant_ttl_seconds",
    "900",
    seconds(2_592_000).default(900),
    "How long a grant may be used, where policy says nothing",
  ),
  setting(
    "require_binding_echo",
    "false",
    z.boolean().default(false),
    "Reviewers must repeat the binding digest of what they grant",
  ),
  setting(
    "pending_approvals_max",
    "10000",
    z.int().min(16).max(1_000_000).default(10_000),
    "Pending approvals of one tenant",
  ),
  setting(
    "ledger.durability",
    "durable",
    z.enum(["durable", "relaxed"]).default("durable"),
    "`relaxed` answers before the disk has the entry: a crash may lose the last answers' records",
  ),
  setting(
    "ledger.queue_max",
    "10000",
    z.int().min(16).max(1_000_000).default(10_000),
    "Entries that may wait for the disk",
  ),
  setting("body_bytes_max", "262144", z.int().min(1_024).max(16_777_216).default(262_144), "Bytes of one request body"),
  setting("depth_max", "64", z.int().min(4).max(256).default(64), "Nesting of one request body"),
  setting("batch_max", "100", z.int().min(1).max(1_000).default(100), "Proposals in one batch"),
  setting("wait_seconds_max", "60", seconds(600).default(60), "Longest long-poll"),
  setting("connections_max", "10000", z.int().min(1).max(1_000_000).default(10_000), "Open connections of one port"),
  setting("drain_seconds", "10", seconds(600).default(10), "What running requests are given at shutdown"),
  setting("workers", "1", z.int().min(1).max(64).default(1), "Processes that serve the decision port"),
  setting(
    "log_level",
    "info",
    z.enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"]).default("info"),
    "Least severe log line written",
  ),
];

export function variableOf(key: string): string {
  return `HOLDPOINT_${key.toUpperCase().replaceAll(".", "_")}`;
}
