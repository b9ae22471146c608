import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { isLocal, loadConfig } from "../../src/config/load-config.ts";
import { SETTINGS, variableOf } from "../../src/config/settings.ts";
import { ConfigError } from "../../src/core/errors.ts";

const fileOf = (text: string): string => {
  const path = join(mkdtempSync(join(tmpdir(), "holdpoint-config-")), "holdpoint.yaml");
  writeFileSync(path, text);
  return path;
};
const fromFile = (text: string, environment: Record<string, string> = {}) => loadConfig(fileOf(text), environment);
const fromEnvironment = (environment: Record<string, string>) => loadConfig(undefined, environment);

function faultsOf(load: () => unknown): readonly string[] {
  try {
    load();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).faults;
  }
  throw new Error("It loaded");
}

const SHA = "a".repeat(64);

describe("loadConfig()", () => {
  test.each(SETTINGS.map(({ key }) => key))(
    "names %s where its value is of a wrong type, in file and variable",
    (key) => {
      const wrong = { definitely: ["wrong", { deep: null }] };
      const variable = variableOf(key);
      const [group, inner] = key.split(".");
      const text = JSON.stringify(inner === undefined ? { [group!]: wrong } : { [group!]: { [inner]: wrong } });
      const inFile = faultsOf(() => fromFile(text));
      expect(inFile.length).toBeGreaterThan(0);
      expect(inFile.every((fault) => fault.startsWith(`${key}:`) || fault.startsWith(`${key}/`))).toBe(true);
      // A text takes anything that is one.
      if (["bundle", "data_dir", "keys_dir", "issuer"].includes(key)) return;
      const inVariable = faultsOf(() => fromEnvironment({ [variable]: JSON.stringify(wrong) }));
      expect(inVariable.every((fault) => fault.startsWith(variable))).toBe(true);
    },
  );

  test("leaves the variables alone that Kubernetes sets for a Service of a like name", () => {
    const port = "tcp://10.0.0.1:8283";
    const links = {
      HOLDPOINT_PORT: port,
      HOLDPOINT_CONTROL_PORT: port,
      HOLDPOINT_CONTROL_PORT_8283_TCP: port,
      HOLDPOINT_CONTROL_PORT_8283_TCP_ADDR: "10.0.0.1",
      HOLDPOINT_CONTROL_SERVICE_HOST: "10.0.0.1",
      HOLDPOINT_CONTROL_SERVICE_PORT: "8283",
      HOLDPOINT_CONTROL_SERVICE_PORT_ADMIN: "8283",
    };
    expect(fromEnvironment(links)).toEqual(fromEnvironment({}));
    expect(faultsOf(() => fromEnvironment({ HOLDPOINT_LISTEN_PORT_X: "1" }))).toHaveLength(1);
  });

  test("has a default for every setting", () => {
    expect(fromEnvironment({})).toEqual({
      listen: "127.0.0.1:8282",
      admin_listen: "127.0.0.1:8283",
      bundle: undefined,
      entrypoint: "holdpoint/decision",
      mode: "enforce",
      tenants: {},
      actions: {},
      policy_may_observe: false,
      data_dir: "./data",
      keys_dir: "data/keys",
      trusted_keys: [],
      store: "embedded",
      store_timeout_ms: 1_000,
      redis_wait_replicas: undefined,
      socket_mode: "0660",
      auth: ["none"],
      admin_auth: ["api_key"],
      metrics_auth: ["none"],
      api_keys: [],
      jwt_issuers: [],
      executors: {},
      executor_addresses: ["127.0.0.0/8", "::1/128"],
      adapters: {},
      issuer: "holdpoint",
      permit_audience: "holdpoint",
      permit_ttl_seconds: 60,
      approval_ttl_seconds: 3_600,
      grant_ttl_seconds: 900,
      require_binding_echo: false,
      pending_approvals_max: 10_000,
      ledger_durability: "durable",
      ledger_queue_max: 10_000,
      ledger_bytes_max: undefined,
      freeze_age_max_ms: 1_000,
      session_window: 32,
      session_ttl_seconds: 86_400,
      rebuild_events_max: 10_000,
      body_bytes_max: 262_144,
      depth_max: 64,
      batch_max: 100,
      wait_seconds_max: 60,
      connections_max: 10_000,
      drain_seconds: 10,
      workers: 1,
      log_level: "info",
    });
  });

  test("is frozen, and says of every setting what it is for", () => {
    expect(Object.isFrozen(fromEnvironment({}))).toBe(true);
    for (const { key, defaultText, meaning } of SETTINGS) {
      expect(meaning, key).not.toBe("");
      expect(defaultText, key).not.toBe("");
    }
    const variables = SETTINGS.map(({ key }) => variableOf(key));
    expect(new Set(variables).size).toBe(variables.length);
    expect(variableOf("ledger.durability")).toBe("HOLDPOINT_LEDGER_DURABILITY");
  });

  test.each([
    ["store_timeout_ms", 10, 60_000],
    ["redis_wait_replicas", 0, 10],
    ["permit_ttl_seconds", 1, 3_600],
    ["approval_ttl_seconds", 1, 2_592_000],
    ["grant_ttl_seconds", 1, 2_592_000],
    ["pending_approvals_max", 16, 1_000_000],
    ["ledger.queue_max", 16, 1_000_000],
    ["body_bytes_max", 1_024, 16_777_216],
    ["depth_max", 4, 256],
    ["batch_max", 1, 1_000],
    ["freeze_age_max_ms", 100, 3_600_000],
    ["session_window", 2, 500],
    ["session_ttl_seconds", 1, 2_592_000],
    ["rebuild_events_max", 1, 10_000_000],
    ["wait_seconds_max", 1, 600],
    ["connections_max", 1, 1_000_000],
    ["drain_seconds", 1, 600],
    ["workers", 1, 64],
  ] as const)("takes %s from %i to %i, whole numbers only", (key, min, max) => {
    const name = key.replace(".", "_") as "workers";
    const load = (value: number | string) => fromEnvironment({ [variableOf(key)]: String(value) });
    for (const value of [min, max]) {
      expect(load(value)[name]).toBe(value);
      expect(fromFile(`${key}: ${value}`)[name]).toBe(value);
    }
    for (const value of [min - 1, max + 1, min + 0.5, -1.5, "many", "1,5", "true", "NaN", ".inf", "[1]", "{}"]) {
      expect(
        faultsOf(() => load(value)),
        String(value),
      ).toEqual([expect.stringMatching(`^${variableOf(key)}: `)]);
    }
    expect(faultsOf(() => fromFile(`${key}: "${min}"`))).toEqual([expect.stringMatching(`^${key}: `)]);
  });

  test("bounds every number that there is a setting for", () => {
    const numeric = SETTINGS.filter(({ schema }) =>
      [1, 16, 1_024].some((value) => schema.safeParse(value).success),
    ).map(({ key }) => key);
    for (const key of numeric) {
      const tooMuch = faultsOf(() => fromEnvironment({ [variableOf(key)]: "99999999999" }));
      expect(tooMuch, key).toHaveLength(1);
    }
    expect(numeric).toHaveLength(18);
  });

  test.each([
    ["mode", ["enforce", "observe"], ["Enforce", "off", "true", "", "enforce "]],
    ["log_level", ["fatal", "error", "warn", "info", "debug", "trace", "silent"], ["loud", "INFO"]],
    ["ledger.durability", ["durable", "relaxed"], ["none", "fast"]],
    ["require_binding_echo", [true, false], ["yes", 1, "'true'"]],
    ["policy_may_observe", [true, false], ["on", 0]],
    ["issuer", ["x", "https://a.example/b"], ["a b", "x".repeat(201), 5]],
    ["entrypoint", ["a", "a/b_1"], ["a.b", "/a", "a/", "a b"]],
  ] as const)("takes %s only as one of its words", (key, good, bad) => {
    for (const value of good) {
      expect(fromFile(`${key}: ${value}`)[key.replace(".", "_") as "mode"]).toBe(value);
    }
    for (const value of bad) {
      const text =
        value === "" || String(value).startsWith("'") ? `${key}: ${value || "''"}` : `${key}: ${JSON.stringify(value)}`;
      expect(
        faultsOf(() => fromFile(text)),
        text,
      ).toEqual([expect.stringMatching(`^${key}: `)]);
    }
  });

  test.each([
    ["127.0.0.1:0", true],
    ["localhost:65535", true],
    ["[::1]:8282", true],
    ["unix:/run/h.sock", true],
    ["127.0.0.1:65536", false],
    ["127.0.0.1", false],
    ["8282", false],
    ["unix:relative", false],
    ["unix:", false],
    ["::1:8282", false],
    ["http://127.0.0.1:1", false],
    ["a b:1", false],
  ])("takes the address %s: %s", (address, isGood) => {
    if (isGood) expect(fromEnvironment({ HOLDPOINT_LISTEN: address }).listen).toBe(address);
    else expect(faultsOf(() => fromEnvironment({ HOLDPOINT_LISTEN: address }))).toHaveLength(1);
  });

  test.each([
    ["127.0.0.1:1", true],
    ["127.9.9.9:1", true],
    ["localhost:1", true],
    ["[::1]:1", true],
    ["unix:/a", true],
    ["0.0.0.0:1", false],
    [":1", false],
    ["[::]:1", false],
    ["127.0.0.1.example:1", false],
    ["localhost.example:1", false],
    ["10.0.0.1:1", false],
    ["1270.0.0.1:1", false],
  ])("isLocal(%s) is %s", (address, expected) => {
    expect(isLocal(address)).toBe(expected);
  });

  test.each([
    "embedded",
    "redis://h",
    "rediss://u:p@h:1/2",
    "redis+unix:///run/redis.sock",
    "redis+sentinel://a:1,b:2/main",
    "redis+cluster://a:1,b:2",
  ])("takes the store %s", (store) => {
    expect(fromEnvironment({ HOLDPOINT_STORE: store }).store).toBe(store);
  });

  test.each(["memory", "redis", "redis:/h", "http://h", "rediss+what://h", "EMBEDDED"])(
    "refuses the store %s",
    (store) => {
      expect(faultsOf(() => fromEnvironment({ HOLDPOINT_STORE: store }))).toHaveLength(1);
    },
  );

  test("lets a variable win over the file, and an empty one stand aside", () => {
    const environment = { HOLDPOINT_MODE: "observe", HOLDPOINT_ISSUER: "", HOLDPOINT_WORKERS: "3" };
    expect(fromFile("mode: enforce\nissuer: file\nworkers: 2\nbatch_max: 7", environment)).toMatchObject({
      mode: "observe",
      issuer: "file",
      workers: 3,
      batch_max: 7,
    });
    expect(fromFile("workers:\nmode: ~")).toMatchObject({ workers: 1, mode: "enforce" });
  });

  test("reads groups nested or with a dot, and keeps the kin of one group apart", () => {
    expect(fromFile("ledger: { durability: relaxed }")).toMatchObject({
      ledger_durability: "relaxed",
      ledger_queue_max: 10_000,
    });
    expect(fromFile("ledger.durability: relaxed\nledger.queue_max: 16")).toMatchObject({ ledger_queue_max: 16 });
    expect(fromFile("ledger:\n  durability: relaxed", { HOLDPOINT_LEDGER_DURABILITY: "durable" })).toMatchObject({
      ledger_durability: "durable",
    });
    expect(faultsOf(() => fromFile("ledger: relaxed"))).toEqual([expect.stringMatching(/^ledger: unknown setting/)]);
  });

  test("reads structured settings from file and variable alike", () => {
    const keys = [{ id: "a", sha256: SHA, scopes: ["decide"], actors: "*" }];
    const expected = [
      {
        id: "a",
        sha256: SHA,
        tenant: "default",
        scopes: ["decide"],
        type: "service",
        roles: [],
        actors: "any",
        on_behalf_of: [],
      },
    ];
    expect(fromFile(`api_keys: ${JSON.stringify(keys)}`).api_keys).toEqual(expected);
    expect(fromEnvironment({ HOLDPOINT_API_KEYS: JSON.stringify(keys) }).api_keys).toEqual(expected);
    expect(fromEnvironment({ HOLDPOINT_TENANTS: "{ acme: { mode: observe } }" }).tenants).toEqual({
      acme: { mode: "observe" },
    });
    expect(fromEnvironment({ HOLDPOINT_AUTH: " api_key " }).auth).toEqual(["api_key"]);
  });

  test.each([
    [
      "two keys of one id",
      {
        HOLDPOINT_API_KEYS: JSON.stringify(
          [1, 2].map((n) => ({ id: "a", sha256: String(n).repeat(64), scopes: ["decide"] })),
        ),
      },
      /^api_keys: id a stands twice/,
    ],
    [
      "one hash for two keys",
      { HOLDPOINT_API_KEYS: JSON.stringify(["a", "b"].map((id) => ({ id, sha256: SHA, scopes: ["decide"] }))) },
      /^api_keys: sha256 a+ stands twice/,
    ],
    ["a tenant nobody could have", { HOLDPOINT_TENANTS: "{ 'A b': { mode: observe } }" }, /^HOLDPOINT_TENANTS/],
    [
      "a member of a key that there is not",
      { HOLDPOINT_API_KEYS: JSON.stringify([{ id: "a", sha256: SHA, scopes: ["decide"], role: [] }]) },
      /role/,
    ],
    ["none beside another word", { HOLDPOINT_AUTH: "none,api_key" }, /^HOLDPOINT_AUTH: "none" stands alone/],
    ["a word that is no authentication", { HOLDPOINT_AUTH: "password" }, /^HOLDPOINT_AUTH/],
    [
      "one address for both ports",
      { HOLDPOINT_LISTEN: "127.0.0.1:9", HOLDPOINT_ADMIN_LISTEN: "127.0.0.1:9" },
      /^admin_listen: the same address/,
    ],
    [
      "a public key that is not Ed25519",
      { HOLDPOINT_TRUSTED_KEYS: '[{ kty: "RSA", kid: "a" }]' },
      /^HOLDPOINT_TRUSTED_KEYS/,
    ],
    ["a mode for an action that is none", { HOLDPOINT_ACTIONS: "{ a: { mode: off } }" }, /^HOLDPOINT_ACTIONS/],
  ])("refuses %s", (_, environment, expected) => {
    const faults = faultsOf(() => fromEnvironment(environment as unknown as Record<string, string>));
    expect(faults.join("\n")).toMatch(expected);
  });

  test.each([
    ["mdoe", "mode"],
    ["data-dir", "data_dir"],
    ["ledger.durablity", "ledger.durability"],
    ["admin_lisen", "admin_listen"],
    ["api_key", "api_keys"],
  ])("asks whether %s was meant as %s", (written, meant) => {
    expect(faultsOf(() => fromFile(`${written}: 1`))).toEqual([`${written}: unknown setting, did you mean ${meant}?`]);
    const variable = variableOf(written.replaceAll("-", "_"));
    if (variable === variableOf(meant)) return;
    expect(faultsOf(() => fromEnvironment({ [variable]: "1" }))).toEqual([
      `${variable}: unknown variable, did you mean ${variableOf(meant)}?`,
    ]);
  });

  test("asks nothing where no setting is near, and leaves other programs' variables alone", () => {
    expect(faultsOf(() => fromFile("database_password: x"))).toEqual(["database_password: unknown setting"]);
    expect(fromEnvironment({ PATH: "/bin", HOLDPOINT: "x", HOLDPOINT_CONFIG: "elsewhere" }).mode).toBe("enforce");
  });

  test.each(["__proto__", "constructor", "toString", "hasOwnProperty"])(
    "treats the key %s as any other that is unknown",
    (key) => {
      expect(faultsOf(() => fromFile(`${key}: { mode: observe }`))).toHaveLength(1);
      expect(fromFile("mode: enforce")).not.toHaveProperty("polluted");
    },
  );
});
