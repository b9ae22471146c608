/**
 * Every setting in one table: its key in the YAML file, its schema with the default, and what it is for. The variable of a
 * key is HOLDPOINT_ and the key in capitals with underscores (`ledger.durability` is HOLDPOINT_LEDGER_DURABILITY).
 */
import { z } from "zod";
import { identifier, roles, TENANT, tenantName } from "../core/schema.ts";
import { adaptersSchema } from "./adapter-settings.ts";
import { executorAddressesSchema, executorsSchema } from "./executor-settings.ts";

const mode = z.enum(["enforce", "observe"]);
const seconds = (max: number) => z.int().min(1).max(max);
const permitted = z.union([z.literal("*").transform(() => "any" as const), z.array(identifier).max(1_000)]);

/** `sun_path` of a socket address (unix(7)) without its closing NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

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
  )
  .refine(
    (text) => !text.startsWith("unix:") || Buffer.byteLength(text.slice("unix:".length)) <= SOCKET_PATH_BYTES_MAX,
    `expected a path of at most ${SOCKET_PATH_BYTES_MAX} bytes: the system would cut a longer one`,
  );

const authWords = z
  .string()
  .transform((text) => text.split(",").map((word) => word.trim()))
  .pipe(z.array(z.enum(["none", "api_key", "jwt"])).min(1))
  .refine((words) => !words.includes("none") || words.length === 1, '"none" stands alone')
  .refine((words) => new Set(words).size === words.length, "expected each word once");

const scopes = z.array(z.enum(["decide", "review", "operate", "ingest"])).min(1);

const KEYS_PER_ENTRY_MAX = 5;
const keyHash = z.string().regex(/^[0-9a-f]{64}$/, "expected the SHA-256 of the key, 64 hexadecimal digits");

export const apiKeySchema = z.strictObject({
  id: identifier,
  /** Of the key; or of several that are all good, while an old one is replaced by a new one. */
  sha256: z.union([keyHash, z.array(keyHash).min(1).max(KEYS_PER_ENTRY_MAX)]),
  tenant: tenantName.default("default"),
  /** decide: propose and consume. review: grant and deny. operate: read, freeze, resolve. ingest: send events. */
  scopes,
  type: identifier.default("service"),
  roles: z.union([permitted, roles]).default([]),
  actors: permitted.default([]),
  on_behalf_of: permitted.default([]),
  audiences: z.array(identifier).max(100).optional(),
});

export type ApiKey = z.infer<typeof apiKeySchema>;

/** A claim by its name, or by a JSON Pointer (RFC 6901) to one inside: `/realm_access/roles`. */
const claim = z.string().min(1).max(256);

/** Asymmetric ones alone: a public key can never serve as the secret of an HMAC (RFC 8725 section 3.1). */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"] as const;

function isLoopbackUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.username === "" && url.password === "" && /^(127(\.[0-9]{1,3}){3}|\[::1\]|localhost)$/.test(url.hostname);
}

export const jwtIssuerSchema = z
  .strictObject({
    /** Ours, for records and messages. */
    name: identifier,
    /** `iss`, compared to the letter. */
    issuer: z.string().min(1).max(512),
    /** One of these must be among `aud`. */
    audiences: z.array(z.string().min(1).max(512)).min(1).max(20),
    /** Where its keys are: an https URL (http on loopback only), or the path of a file. */
    jwks: z
      .string()
      .min(1)
      .refine(
        (text) => !/^http:/i.test(text) || isLoopbackUrl(text),
        "expected an https URL, or the path of a file: keys over plain http could be anybody's",
      ),
    algorithms: z.array(z.enum(ALGORITHMS)).min(1).default(["RS256", "ES256", "EdDSA"]),
    /** Who it is: the caller's credential, or the reviewer. */
    id_claim: claim.default("sub"),
    type: identifier.default("service"),
    tenant: tenantName.default("default"),
    /** Instead of `tenant`: the claim that names it, and which ones it may name. */
    tenant_claim: claim.optional(),
    tenants: z.array(tenantName).min(1).max(1_000).optional(),
    scopes,
    /** Narrows `scopes` to those that the claim lists (an array, or words with spaces between). */
    scopes_claim: claim.optional(),
    roles: z.union([permitted, roles]).default([]),
    /** Narrows `roles` to those that the claim lists. */
    roles_claim: claim.optional(),
    /** Ids it may act as; its own where nothing is said. */
    actors: permitted.optional(),
    actors_claim: claim.optional(),
    on_behalf_of: permitted.default([]),
    on_behalf_of_claim: claim.optional(),
    permit_audiences: z.array(identifier).max(100).optional(),
  })
  .refine((issuer) => (issuer.tenant_claim === undefined) === (issuer.tenants === undefined), {
    path: ["tenants"],
    error: "tenant_claim and tenants go together: which tenants the claim may name",
  })
  .refine((issuer) => issuer.roles !== "any" || issuer.roles_claim !== undefined || !issuer.scopes.includes("review"), {
    path: ["roles"],
    error: 'a reviewer has the roles that are listed: "*" needs roles_claim',
  });

export type JwtIssuer = z.infer<typeof jwtIssuerSchema>;

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
  setting(
    "socket_mode",
    "0660",
    z
      .string()
      .regex(/^0?[0-7]{3}$/, 'expected octal digits in quotes, such as "0660"')
      .default("0660"),
    "Permissions of Unix sockets",
  ),
  setting(
    "auth",
    "none",
    authWords.default(["none"]),
    "Callers: `none` (loopback and Unix sockets only), or a comma list of `api_key`, `jwt`",
  ),
  setting(
    "admin_auth",
    "api_key",
    authWords.default(["api_key"]),
    "Reviewers and operators: a comma list of `api_key`, `jwt`; or `none` for development",
  ),
  setting(
    "metrics_auth",
    "none",
    authWords.default(["none"]),
    "Who may read `/metrics`: anybody who reaches the admin port, or credentials with the scope `operate`",
  ),
  setting(
    "api_keys",
    "[]",
    z.array(apiKeySchema).max(10_000).default([]),
    "Bearer keys by their SHA-256: `id`, `sha256`, `tenant`, `scopes`, `actors`, `roles`, `on_behalf_of`, `audiences`",
  ),
  setting(
    "jwt_issuers",
    "[]",
    z.array(jwtIssuerSchema).max(50).default([]),
    "Whose JWTs are taken: `name`, `issuer`, `audiences`, `jwks`, `scopes`, and what their claims say (below)",
  ),
  setting(
    "executors",
    "{}",
    executorsSchema.default({}),
    "HTTP endpoints that run what was allowed, by name: `url`, `timeout_ms`, `idempotent`, `retries`, `headers`, `response_bytes_max`, `concurrency_max`, `allow_http`, `ca_file`",
  ),
  setting(
    "executor_addresses",
    "[127.0.0.0/8, ::1/128]",
    executorAddressesSchema.default(["127.0.0.0/8", "::1/128"]),
    "Networks (CIDR) that executors may be in: every address of an executor's name",
  ),
  setting(
    "adapters",
    "{}",
    adaptersSchema.default({}),
    "Webhooks that become events, by name: `tenant`, `source`, `signature`, `mapping`, `actor`",
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
  setting(
    "ledger.bytes_max",
    "–",
    z.int().min(16_777_216).optional(),
    "Bytes of the ledger's file past which nothing more is recorded, and so nothing allowed: below what its volume holds",
  ),
  setting(
    "freeze_age_max_ms",
    "1000",
    z.int().min(100).max(3_600_000).default(1_000),
    "How old the known list of freezes may be: past it the store is asked before anything is allowed",
  ),
  setting(
    "session_window",
    "32",
    z.int().min(2).max(500).default(32),
    "Records of a session that policy sees one by one; its totals are over all of them",
  ),
  setting(
    "session_ttl_seconds",
    "86400",
    seconds(2_592_000).default(86_400),
    "How long a session is kept after its last record",
  ),
  setting(
    "rebuild_events_max",
    "10000",
    z.int().min(1).max(10_000_000).default(10_000),
    "Events up to which reading an entity replays them all to check its state",
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
