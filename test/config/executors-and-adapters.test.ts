import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { HEADER_VALUE_CHARS_MAX } from "../../src/config/executor-settings.ts";
import { loadConfig } from "../../src/config/load-config.ts";
import { openAdapters } from "../../src/config/open-adapters.ts";
import { openExecutors } from "../../src/config/open-executors.ts";
import { effectiveSettings, settingsYaml } from "../../src/config/print-config.ts";
import { SECRET_CHARS_MAX } from "../../src/config/secret-source.ts";
import { ConfigError } from "../../src/core/errors.ts";

const fileOf = (text: string): string => {
  const path = join(mkdtempSync(join(tmpdir(), "holdpoint-config-")), "file");
  writeFileSync(path, text);
  return path;
};
const load = (settings: object) => loadConfig(fileOf(JSON.stringify(settings)), {});
const faultsOf = (run: () => unknown): readonly string[] => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).faults;
  }
  return [];
};
const read = (path: string) => readFileSync(path, "utf8");

const executorOf = (one: object, others: object = {}) => ({
  executors: { payments: { url: "https://payments.example/run", ...one } },
  ...others,
});
const many = (count: number, value: unknown, prefix = "n") =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`${prefix}${index}`, value]));

describe("executors", () => {
  test("have defaults", () => {
    expect(load(executorOf({})).executors).toEqual({
      payments: {
        url: "https://payments.example/run",
        timeout_ms: 10_000,
        idempotent: false,
        retries: 0,
        response_bytes_max: 1_048_576,
        headers: {},
        allow_http: false,
        concurrency_max: 64,
      },
    });
  });

  test("and their addresses are read from variables, too", () => {
    const config = loadConfig(undefined, {
      HOLDPOINT_EXECUTORS: "{ payments: { url: 'http://localhost:1/' } }",
      HOLDPOINT_EXECUTOR_ADDRESSES: "[127.0.0.0/8, ::1/128]",
    });
    expect(config.executors.payments!.url).toBe("http://localhost:1/");
    expect(config.executor_addresses).toEqual(["127.0.0.0/8", "::1/128"]);
  });

  test.each([
    ["timeout_ms", 10, 120_000],
    ["response_bytes_max", 1, 16_777_216],
    ["concurrency_max", 1, 1_000],
    ["retries", 0, 5],
  ])("take %s from %i to %i, whole numbers only", (key, min, max) => {
    const faults = (value: unknown) => faultsOf(() => load(executorOf({ idempotent: true, [key]: value })));
    for (const value of [min, max]) expect(faults(value)).toEqual([]);
    for (const value of [min - 1, max + 1, min + 0.5, "1"])
      expect(faults(value)).toEqual([expect.stringMatching(`^executors/payments/${key}: `)]);
  });

  test("try again only where they are idempotent", () => {
    expect(faultsOf(() => load(executorOf({ retries: 1 })))).toEqual([
      "executors/payments/retries: need idempotent: true, which says that a second attempt runs nothing twice",
    ]);
    expect(faultsOf(() => load(executorOf({ retries: 1, idempotent: true })))).toEqual([]);
  });

  test.each([
    ["https://payments.example/run?a=1", true],
    ["HTTPS://payments.example:8443", true],
    ["http://localhost:9/", true],
    ["http://127.0.0.1:9/", true],
    ["http://127.1/", true],
    ["http://[::1]:9/", true],
    ["http://[::ffff:127.0.0.1]/", true],
    ["http://payments.example/", false],
    ["http://localhost.example/", false],
    ["http://127.0.0.1.example/", false],
    ["http://10.0.0.1/", false],
    ["ftp://localhost/", false],
    ["unix:/run/payments.sock", false],
    ["payments.example", false],
    ["", false],
    ["https://user@payments.example/", false],
    ["https://:pass@payments.example/", false],
    ["https://payments.example/#x", false],
    [`https://payments.example/${"x".repeat(2_048)}`, false],
  ])("take the URL %s: %s", (url, isGood) => {
    const faults = faultsOf(() => load(executorOf({ url })));
    expect(faults).toEqual(isGood ? [] : [expect.stringMatching(/^executors\/payments\/url: /)]);
    expect(faults.join()).not.toContain("pass@");
  });

  test("leave plain http to whoever asks for it", () => {
    expect(faultsOf(() => load(executorOf({ url: "http://payments.example/", allow_http: true })))).toEqual([]);
  });

  test("at an address that is not among the allowed ones are a fault", () => {
    const at = (url: string, executor_addresses: string[]) =>
      faultsOf(() => load(executorOf({ url }, { executor_addresses })));
    expect(at("https://10.0.0.1/", ["10.0.0.0/8"])).toEqual([]);
    expect(at("https://10.0.0.1/", ["127.0.0.0/8"])).toEqual([
      "executors/payments/url: 10.0.0.1 is outside executor_addresses",
    ]);
    expect(at("https://[2001:db8::1]/", ["2001:db8::/32"])).toEqual([]);
    expect(at("https://[2001:db8::1]/", [])).toHaveLength(1);
    // Where a name leads is known when it is called.
    expect(at("https://payments.example/", [])).toEqual([]);
  });

  test.each(["10.0.0.1", "10.0.0.1/8", "::1/129", "localhost", ""])("are in no network %j", (network) => {
    expect(faultsOf(() => load({ executor_addresses: [network] }))).toEqual([
      expect.stringMatching(/^executor_addresses\/0: expected a network/),
    ]);
  });

  test.each([
    ["authorization", "Bearer x", true],
    ["x-team", "a", true],
    ["x-team", "x".repeat(HEADER_VALUE_CHARS_MAX), true],
    ["x-team", "x".repeat(HEADER_VALUE_CHARS_MAX + 1), false],
    ["x-team", "", false],
    ["x-team", "a\r\nhost: b", false],
    ["x-team", " a", false],
    ["x-team", "é", false],
    ["x-team", { file: "/run/secrets/a" }, true],
    ["x-team", { env: "PAYMENTS_KEY" }, true],
    ["x-team", { env: "HOLDPOINT_KEY" }, false],
    ["x-team", { env: "A-B" }, false],
    ["x-team", { file: "" }, false],
    ["x-team", { file: "/a", env: "B" }, false],
    ["x-team", 1, false],
    ["Authorization", "x", false],
    ["host", "x", false],
    ["content-length", "1", false],
    ["transfer-encoding", "chunked", false],
    ["idempotency-key", "x", false],
    ["holdpoint-permit", "x", false],
    ["traceparent", "x", false],
    ["a b", "x", false],
  ])("send the header %s: %j, or refuse to", (name, value, isGood) => {
    const faults = faultsOf(() => load(executorOf({ headers: { [name]: value } })));
    expect(faults.length === 0).toBe(isGood);
    for (const fault of faults) expect(fault).toMatch(/^executors\/payments\/headers/);
  });

  test.each([
    ["executors", 200, (count: number) => ({ executors: many(count, { url: "https://a.example/" }) })],
    ["headers", 32, (count: number) => executorOf({ headers: many(count, "x") })],
    ["executor_addresses", 200, (count: number) => ({ executor_addresses: Array(count).fill("10.0.0.0/8") })],
    ["adapters", 100, (count: number) => ({ adapters: many(count, adapter()) })],
  ])("and others are so many at most: %s", (_, max, settings) => {
    expect(faultsOf(() => load(settings(max)))).toEqual([]);
    expect(faultsOf(() => load(settings(max + 1)))).toHaveLength(1);
  });
});

describe("openExecutors()", () => {
  const open = (one: object, environment: Record<string, string> = {}) =>
    openExecutors(load(executorOf(one)), read, environment);
  const headerOf = (value: unknown, environment?: Record<string, string>) =>
    open({ headers: { authorization: value } }, environment).executors.payments!.headers.authorization;

  test("puts into headers what they name", () => {
    expect(headerOf("Bearer plain")).toBe("Bearer plain");
    expect(headerOf({ file: fileOf("Bearer a\n") })).toBe("Bearer a");
    expect(headerOf({ file: fileOf("Bearer a\r\n") })).toBe("Bearer a");
    expect(headerOf({ env: "PAYMENTS_KEY" }, { PAYMENTS_KEY: "Bearer b" })).toBe("Bearer b");
    const { executors, addresses } = open({});
    expect(executors.payments).toMatchObject({ url: "https://payments.example/run", headers: {}, ca: undefined });
    expect(addresses).toEqual(["127.0.0.0/8", "::1/128"]);
  });

  test("names every secret that is missing, and shows none", () => {
    const headers = {
      a: { file: "/nowhere/secret" },
      b: { env: "NOT_SET" },
      c: { file: fileOf("\n") },
      d: { file: fileOf("hunter2\nhunter3") },
      e: { env: "SET" },
      f: { file: fileOf("x".repeat(SECRET_CHARS_MAX + 1)) },
    };
    const faults = faultsOf(() => open({ headers, ca_file: fileOf("hunter2") }, { SET: "hunter2 é" }));
    expect(faults).toHaveLength(7);
    expect(faults.map((fault) => fault.split(": ")[0])).toEqual([
      "executors/payments/ca_file",
      ..."abcdef".split("").map((name) => `executors/payments/headers/${name}`),
    ]);
    expect(faults[1]).toBe("executors/payments/headers/a: /nowhere/secret: does not exist");
    expect(faults[2]).toBe("executors/payments/headers/b: variable NOT_SET: is not set");
    expect(faults.join()).not.toContain("hunter");
  });

  test("reads the authorities of a certificate", () => {
    const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
    expect(open({ ca_file: fileOf(`${pem}\n`) }).executors.payments!.ca).toBe(pem);
  });
});

const STANDARD_SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

function adapter(changes: object = {}) {
  return {
    source: "stripe",
    signature: { kind: "stripe", secrets: [{ value: "whsec_hunter2hunter2" }] },
    mapping: {
      id: { pointer: "/id" },
      type: { pointer: "/type" },
      entity: { type: { value: "order" }, id: { pointer: "/order" } },
      time: { pointer: "/time" },
    },
    ...changes,
  };
}
const adapterFaults = (changes: object) => faultsOf(() => load({ adapters: { stripe: adapter(changes) } }));
const standard = { kind: "standard_webhooks", secrets: [{ value: STANDARD_SECRET }] };

describe("adapters", () => {
  test("have defaults", () => {
    expect(load({ adapters: { stripe: adapter() } }).adapters.stripe).toEqual({
      ...adapter(),
      tenant: "default",
      signature: { ...adapter().signature, tolerance_seconds: 300 },
      mapping: { ...adapter().mapping, data: {} },
    });
  });

  test.each<[string, object, RegExp | undefined]>([
    ["no signature", { signature: undefined }, /stripe\/signature: missing/],
    [
      "a signature without a kind",
      { signature: { secrets: [{ value: "x" }] } },
      /stripe\/signature\/kind: expected stripe/,
    ],
    ["a kind that there is not", { signature: { kind: "github", secrets: [] } }, /stripe\/signature/],
    ["no secret", { signature: { kind: "stripe" } }, /stripe\/signature\/secrets/],
    ["an empty list of secrets", { signature: { kind: "stripe", secrets: [] } }, /stripe\/signature\/secrets/],
    ["none, said so", { signature: { kind: "none" } }, undefined],
    ["none, and a secret", { signature: { kind: "none", secrets: [{ value: "x" }] } }, /unknown member/],
    ["five secrets", { signature: { kind: "stripe", secrets: Array(5).fill({ env: "A" }) } }, undefined],
    ["six secrets", { signature: { kind: "stripe", secrets: Array(6).fill({ env: "A" }) } }, /secrets/],
    ["a secret as a text", { signature: { kind: "stripe", secrets: ["hunter2"] } }, /secrets\/0: expected one of/],
    ["a tolerance of 1 s", { signature: { ...standard, tolerance_seconds: 1 } }, undefined],
    ["a tolerance of an hour", { signature: { ...standard, tolerance_seconds: 3_600 } }, undefined],
    ["a tolerance of none", { signature: { ...standard, tolerance_seconds: 0 } }, /tolerance_seconds/],
    ["a tolerance of more", { signature: { ...standard, tolerance_seconds: 3_601 } }, /tolerance_seconds/],
    ["a tenant nobody could have", { tenant: "A b" }, /stripe\/tenant/],
    ["no source", { source: undefined }, /stripe\/source/],
    ["no mapping", { mapping: undefined }, /stripe\/mapping/],
    ["a member that there is not", { secret: "x" }, /stripe\/secret: unknown member/],
  ])("of %s", (_, changes, expected) => {
    const faults = adapterFaults(changes);
    if (expected === undefined) expect(faults).toEqual([]);
    else expect(faults.join("\n")).toMatch(expected);
    expect(faults.join()).not.toContain("hunter2");
  });

  test.each([
    ["stripe", true],
    ["a-b_1", true],
    ["x".repeat(63), true],
    ["x".repeat(64), false],
    ["Stripe", false],
    ["a/b", false],
    ["..", false],
    ["", false],
  ])("are named %j: %s", (name, isGood) => {
    expect(faultsOf(() => load({ adapters: { [name]: adapter() } })).length === 0).toBe(isGood);
  });

  test.each([
    ["none", "x-event", true],
    ["none", "authorization", false],
    ["none", "cookie", false],
    ["standard_webhooks", "webhook-id", true],
    ["standard_webhooks", "webhook-timestamp", false],
    ["standard_webhooks", "x-event", false],
    ["stripe", "stripe-signature", false],
    ["stripe", "x-event", false],
  ])("with signature %s take no header that it does not cover: %s, %s", (kind, header, isGood) => {
    const signature = { none: { kind: "none" }, standard_webhooks: standard, stripe: adapter().signature }[kind];
    const places = [
      { mapping: { ...adapter().mapping, id: { header } } },
      { mapping: { ...adapter().mapping, type: { header } } },
      { mapping: { ...adapter().mapping, entity: { type: { value: "order" }, id: { header } } } },
      { actor: { id: { header } } },
      { actor: { id: { value: "x" }, type: { header } } },
    ];
    for (const place of places) {
      const faults = adapterFaults({ signature, ...place });
      expect(faults).toEqual(isGood ? [] : [expect.stringContaining(`cannot take the header ${header}: `)]);
    }
  });
});

describe("openAdapters()", () => {
  const open = (adapters: object, environment: Record<string, string> = {}) =>
    openAdapters(load({ adapters, body_bytes_max: 1_024 }), read, environment);
  const body = (text: string) => ({ headers: {}, rawBody: Buffer.from(text), nowMs: 0 });
  const EVENT = '{"id":"e","type":"PAID","order":"o","time":0}';

  test("gives adapters that work, under their names", () => {
    const adapters = open({ open: adapter({ tenant: "acme", signature: { kind: "none" } }), stripe: adapter() });
    expect([...adapters.keys()]).toEqual(["open", "stripe"]);
    expect(adapters.get("open")).toMatchObject({ tenant: "acme", source: "stripe", needsCredential: true });
    expect(adapters.get("stripe")).toMatchObject({ tenant: "default", needsCredential: false });
    expect(adapters.get("open")!.receive(body(EVENT))).toMatchObject({
      kind: "event",
      event: { actor: { id: "stripe", type: "service" }, data: {} },
    });
    expect(adapters.get("open")!.receive(body(`${EVENT}${" ".repeat(1_024)}`))).toMatchObject({
      code: "body_too_large",
    });
    expect(adapters.get("stripe")!.receive(body(EVENT))).toMatchObject({ code: "webhook_signature_invalid" });
    const named = open({ open: adapter({ signature: { kind: "none" }, actor: { id: { pointer: "/order" } } }) });
    expect(named.get("open")!.receive(body(EVENT))).toMatchObject({ event: { actor: { id: "o" } } });
  });

  test("takes secrets from files, variables and the file itself, and knows all of them", async () => {
    const { createHmac } = await import("node:crypto");
    const secrets = [{ file: fileOf("whsec_from-a-file\n") }, { env: "STRIPE" }, { value: "whsec_from-the-settings" }];
    const adapters = open(
      { stripe: adapter({ signature: { kind: "stripe", secrets } }) },
      { STRIPE: "whsec_from-env-1" },
    );
    for (const secret of ["whsec_from-a-file", "whsec_from-env-1", "whsec_from-the-settings"]) {
      const v1 = createHmac("sha256", secret).update(`0.${EVENT}`).digest("hex");
      const delivery = { ...body(EVENT), headers: { "stripe-signature": `t=0,v1=${v1}` } };
      expect(adapters.get("stripe")!.receive(delivery).kind, secret).toBe("event");
      expect(adapters.get("stripe")!.receive({ ...delivery, nowMs: 301_000 })).toMatchObject({
        code: "webhook_signature_expired",
      });
    }
  });

  test("names every secret that is missing or is none, and shows none", () => {
    const of = (kind: string, ...secrets: object[]) => adapter({ signature: { kind, secrets } });
    const faults = faultsOf(() =>
      open({
        a: of("stripe", { file: "/nowhere/secret" }, { env: "NOT_SET" }, { value: "hunter2" }),
        b: of("standard_webhooks", { value: STANDARD_SECRET }, { value: "whsec_hunter2" }),
      }),
    );
    expect(faults).toEqual([
      "adapters/a/signature/secrets/0: /nowhere/secret: does not exist",
      "adapters/a/signature/secrets/1: variable NOT_SET: is not set",
      expect.stringMatching(/^adapters\/a\/signature\/secrets\/2: expected a Stripe secret/),
      expect.stringMatching(/^adapters\/b\/signature\/secrets\/1: expected whsec_ and/),
    ]);
    expect(faults.join()).not.toContain("hunter2");
  });
});

describe("effectiveSettings()", () => {
  const printed = (settings: object) => effectiveSettings(fileOf(JSON.stringify(settings)), {});

  test("says where secrets come from, and never what they are", () => {
    const settings = printed({
      ...executorOf({
        url: "https://payments.example/run?code=hunter2",
        headers: { authorization: "Bearer hunter2", "x-key": { file: "/run/key" }, "x-other": { env: "OTHER" } },
      }),
      adapters: {
        stripe: adapter({
          signature: { kind: "stripe", secrets: [{ value: "whsec_hunter2hunter2" }, { file: "/run/s" }, { env: "S" }] },
        }),
      },
    });
    const text = settingsYaml(settings);
    expect(text).not.toContain("hunter2");
    const executors = settings.find(({ key }) => key === "executors")!;
    expect(executors).toMatchObject({
      isRedacted: true,
      value: {
        payments: {
          url: "https://payments.example/run?REDACTED",
          headers: { authorization: "REDACTED", "x-key": { file: "/run/key" }, "x-other": { env: "OTHER" } },
        },
      },
    });
    const adapters = settings.find(({ key }) => key === "adapters")!;
    expect(adapters).toMatchObject({
      isRedacted: true,
      value: { stripe: { signature: { secrets: [{ value: "REDACTED" }, { file: "/run/s" }, { env: "S" }] } } },
    });
    expect(text).toMatch(/^executors: {2}# file; redacted/m);
  });

  test("prints what has nothing to hide as it can be read again", () => {
    const settings = {
      ...executorOf({ headers: { "x-key": { file: "/run/key" } }, ca_file: "/run/ca.pem" }),
      adapters: {
        stripe: adapter({ signature: { kind: "stripe", secrets: [{ file: "/run/s" }] } }),
        open: adapter({ signature: { kind: "none" } }),
      },
    };
    const shown = printed(settings);
    expect(shown.filter(({ isRedacted }) => isRedacted)).toEqual([]);
    expect(loadConfig(fileOf(settingsYaml(shown)), {})).toEqual(load(settings));
  });
});
