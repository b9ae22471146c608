import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { UnavailableError } from "../../src/core/errors.ts";
import { createJwksSource, type JwksOptions } from "../../src/signing/jwks-source.ts";
import { type Issuer, type Manner, makeKey, type SigningKey, startIssuer } from "../support/issuer.ts";
import { until } from "../support/redis.ts";
import type { Body } from "../support/sidecar.ts";

const FRESH_MS = 300_000;
const STALE_MS = 3_600_000;
const COOL_DOWN_MS = 10_000;

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function start(options: Partial<JwksOptions> = {}) {
  const issuer = await startIssuer();
  closing.push(() => issuer.close());
  let now = 0;
  const source = createJwksSource(issuer.jwksUrl, { nowMs: () => now, ...options });
  return {
    issuer,
    source,
    pass: (ms: number) => {
      now += ms;
    },
    find: async (key: SigningKey) => (await source.keyFor({ alg: key.alg, kid: key.kid })) !== undefined,
  };
}

const isUnavailable = (thrown: unknown) => thrown instanceof UnavailableError && thrown.code === "identity_unavailable";

describe("createJwksSource()", () => {
  test("fetches once for many who ask at once, and not again while the keys are fresh", async () => {
    const { issuer, find, pass } = await start();
    const found = await Promise.all(Array.from({ length: 100 }, () => find(issuer.key())));
    expect(new Set(found)).toEqual(new Set([true]));
    pass(FRESH_MS);
    expect(await find(issuer.key())).toBe(true);
    expect(issuer.fetches()).toBe(1);
  });

  test("looks anew for a key that it does not know, once the cool-down is over", async () => {
    const { issuer, find, pass } = await start();
    const old = issuer.key();
    await find(old);
    const next = issuer.rotate();
    pass(COOL_DOWN_MS - 1);
    expect(await find(next)).toBe(false);
    expect(await find(old)).toBe(true);
    expect(issuer.fetches()).toBe(1);
    pass(1);
    expect(await find(next)).toBe(true);
    expect(await find(old)).toBe(false);
    expect(issuer.fetches()).toBe(2);
  });

  test("a flood of unknown keys costs the issuer one look per cool-down, and known keys no wait", async () => {
    const { issuer, find, pass } = await start();
    await find(issuer.key());
    const flood = (from: number) =>
      Promise.all(Array.from({ length: 500 }, (_, index) => find({ ...issuer.key(), kid: `unknown-${from + index}` })));
    for (let round = 1; round <= 4; round += 1) {
      pass(COOL_DOWN_MS);
      expect(new Set(await flood(round * 1_000))).toEqual(new Set([false]));
      expect(new Set(await flood(round * 1_000))).toEqual(new Set([false]));
      expect(issuer.fetches()).toBe(1 + round);
    }
    pass(COOL_DOWN_MS);
    issuer.behave("hang");
    const unknown = find({ ...issuer.key(), kid: "unknown" });
    for (let index = 0; index < 10; index += 1) expect(await find(issuer.key())).toBe(true);
    await issuer.close();
    expect(await unknown).toBe(false);
  });

  test("keys past their freshness serve at once while new ones are fetched behind them", async () => {
    const { issuer, source, find, pass } = await start();
    const old = issuer.key();
    await find(old);
    const next = issuer.rotate();
    pass(FRESH_MS + 1);
    expect(await find(old)).toBe(true);
    await until(() => issuer.fetches() === 2, "keys are fetched");
    await until(async () => (await source.keyFor({ alg: next.alg, kid: next.kid })) !== undefined, "they are taken up");
    expect(await find(old)).toBe(false);
  });

  test.each<[string, Manner]>([
    ["hangs", { kind: "hang" }],
    ["answers 500", { kind: "status", status: 500 }],
    ["answers 201 with keys", { kind: "status", status: 201 }],
    ["answers 404 with keys", { kind: "status", status: 404 }],
    ["redirects", { kind: "redirect" }],
    ["answers a gigabyte", { kind: "huge" }],
    ["hangs up half way", { kind: "cut" }],
    ["answers HTML", { kind: "text", text: "<html>" }],
    ["answers nothing", { kind: "text", text: "" }],
    ["answers half a set", { kind: "text", text: '{"keys":[' }],
    ["answers null", { kind: "text", text: "null" }],
    ["answers a list", { kind: "text", text: "[]" }],
    ["answers an empty set", { kind: "text", text: '{"keys":[]}' }],
    ["answers a set of texts", { kind: "text", text: '{"keys":["x"]}' }],
    ["answers a set of one nameless", { kind: "text", text: '{"keys":[{}]}' }],
    ["answers a single key", { kind: "text", text: JSON.stringify(makeKey().jwk) }],
  ])(
    "an issuer that %s leaves the old keys until they are stale, and is asked once per cool-down",
    async (_, manner) => {
      const { issuer, source, find, pass } = await start({ timeoutMs: 200 });
      const key = issuer.key();
      await find(key);
      issuer.behave(manner);
      pass(FRESH_MS + 1);
      await expect(source.refresh()).rejects.toSatisfy(isUnavailable);
      expect(await find(key)).toBe(true);
      pass(STALE_MS - FRESH_MS - 1);
      expect(await find(key)).toBe(true);
      await source.refresh().catch(() => {});
      const before = issuer.fetches();
      pass(1);
      // Within the cool-down of the last look nobody waits for the issuer to be refused.
      await expect(find(key)).rejects.toSatisfy(isUnavailable);
      await expect(find(key)).rejects.toSatisfy(isUnavailable);
      expect(issuer.fetches()).toBe(before);
      pass(COOL_DOWN_MS);
      const asked = await Promise.allSettled(Array.from({ length: 50 }, () => find(key)));
      expect(asked.every((one) => one.status === "rejected" && isUnavailable(one.reason))).toBe(true);
      expect(issuer.fetches()).toBe(before + 1);
      issuer.behave("keys");
      pass(COOL_DOWN_MS);
      expect(await find(key)).toBe(true);
      expect(issuer.paths()).not.toContain("/elsewhere");
      expect(issuer.hugeBytes()).toBeLessThan(64 * 1024 ** 2);
    },
  );

  test("an issuer that is down at first is found when it comes up", async () => {
    const gone = await startIssuer();
    await gone.close();
    let now = 0;
    const source = createJwksSource(gone.jwksUrl, { nowMs: () => now });
    const ask = () => source.keyFor({ alg: gone.key().alg, kid: gone.key().kid });
    await expect(ask()).rejects.toSatisfy(isUnavailable);
    const back = await startIssuer({ port: gone.port, key: gone.key() });
    closing.push(() => back.close());
    await expect(ask()).rejects.toSatisfy(isUnavailable);
    now += COOL_DOWN_MS;
    expect(await ask()).toBeDefined();
  });

  test("what it says of an issuer that is away is why, to the log, and not where, to whoever sent a token", async () => {
    const { issuer, source } = await start();
    issuer.behave({ kind: "status", status: 503 });
    const error = (await source.keyFor({ alg: "EdDSA" }).catch((thrown) => thrown)) as UnavailableError;
    expect(error.message).not.toContain("127.0.0.1");
    expect(String((error.cause as Error).message)).toBe(`${issuer.jwksUrl}: the answer was 503`);
  });

  test("refresh() looks whatever the age, and tells a failure though the old keys go on serving", async () => {
    const { issuer, source, find } = await start();
    const old = issuer.key();
    await source.refresh();
    const next = issuer.rotate();
    await source.refresh();
    expect(await find(next)).toBe(true);
    expect(await find(old)).toBe(false);
    issuer.behave("redirect");
    await expect(source.refresh()).rejects.toSatisfy(isUnavailable);
    expect(await find(next)).toBe(true);
    issuer.behave("keys");
    await source.refresh();
  });
});

describe("keys in a file", () => {
  const write = (path: string, value: unknown) => {
    writeFileSync(`${path}.aside`, typeof value === "string" ? value : JSON.stringify(value));
    renameSync(`${path}.aside`, path);
  };

  test("are taken up when the file is replaced; one that is broken or gone leaves those there are", async () => {
    const directory = mkdtempSync(join(tmpdir(), "holdpoint-jwks-"));
    closing.push(() => rmSync(directory, { recursive: true, force: true }));
    const path = join(directory, "jwks.json");
    const [first, second] = [makeKey(), makeKey("ES256")];
    let now = 0;
    const source = createJwksSource(path, { nowMs: () => now });
    const find = async ({ alg, kid }: SigningKey) => (await source.keyFor({ alg, kid })) !== undefined;
    await expect(find(first)).rejects.toSatisfy(isUnavailable);
    write(path, { keys: [first.jwk] });
    now += COOL_DOWN_MS;
    expect(await find(first)).toBe(true);
    write(path, { keys: [second.jwk] });
    now += COOL_DOWN_MS;
    expect(await find(second)).toBe(true);
    expect(await find(first)).toBe(false);
    for (const broken of ['{"keys":', "", JSON.stringify({ keys: [{ kty: "oct", k: "AAAA" }] })]) {
      write(path, broken);
      await expect(source.refresh()).rejects.toSatisfy(isUnavailable);
      expect(await find(second)).toBe(true);
    }
    rmSync(path);
    await expect(source.refresh()).rejects.toSatisfy(isUnavailable);
    expect(await find(second)).toBe(true);
    now += STALE_MS + 1;
    await expect(find(second)).rejects.toSatisfy(isUnavailable);
  });
});

describe("a set of keys", () => {
  const good = makeKey();
  const ec = makeKey("ES256");
  const rsa = makeKey("RS256");
  const edPoint = (hex: string) => ({ kty: "OKP", crv: "Ed25519", x: Buffer.from(hex, "hex").toString("base64url") });

  async function publishing(
    keys: readonly unknown[],
  ): Promise<Issuer & { source: ReturnType<typeof createJwksSource> }> {
    const { issuer, source } = await start();
    issuer.behave({ kind: "text", text: JSON.stringify({ keys }) });
    return { ...issuer, source };
  }

  test.each<[string, Body]>([
    ["a symmetric key", { kty: "oct", k: "c2VjcmV0" }],
    ["a symmetric key that names an algorithm of ours", { kty: "oct", k: "c2VjcmV0", kid: "x", alg: "RS256" }],
    ["a private Ed25519 key", good.privateKey.export({ format: "jwk" })],
    ["a private EC key", ec.privateKey.export({ format: "jwk" })],
    ["a private RSA key", rsa.privateKey.export({ format: "jwk" })],
    ["a private key whose secret is null", { ...good.jwk, d: null }],
    ["an RSA key with the exponent 1", { ...rsa.jwk, e: "AQ" }],
    ["an RSA key with the exponent 1 in four bytes", { ...rsa.jwk, e: "AAAAAQ" }],
    ["an RSA key with the exponent 0", { ...rsa.jwk, e: "AA" }],
    ["an RSA key without exponent", { ...rsa.jwk, e: undefined }],
    ...[
      `${"00".repeat(32)}`,
      `01${"00".repeat(31)}`,
      `01${"00".repeat(30)}80`,
      `ec${"ff".repeat(30)}7f`,
      `ec${"ff".repeat(31)}`,
      `ee${"ff".repeat(30)}7f`,
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ].map((hex): [string, Body] => [
      `the Ed25519 point of small order ${hex.slice(0, 4)}…${hex.slice(-2)}`,
      edPoint(hex),
    ]),
  ])("with %s is refused as a whole", async (_, bad) => {
    const { source } = await publishing([good.jwk, bad]);
    await expect(source.keyFor({ alg: good.alg, kid: good.kid })).rejects.toSatisfy(isUnavailable);
  });

  test.each<[string, Body, string]>([
    ["for encryption", { ...ec.jwk, use: "enc" }, "ES256"],
    ["whose operations are others", { ...ec.jwk, key_ops: ["sign"] }, "ES256"],
    ["of another algorithm", { ...rsa.jwk, alg: "PS256" }, "RS256"],
    ["of another curve", { ...ec.jwk, alg: undefined }, "ES384"],
    ["of another type", { ...ec.jwk, alg: undefined }, "EdDSA"],
    ["of an unknown type", { ...ec.jwk, kty: "LATTICE" }, "ES256"],
    ["without a type that anybody knows", { ...ec.jwk, kty: "ec" }, "ES256"],
  ])("offers no key %s", async (_, jwk, alg) => {
    const { source } = await publishing([good.jwk, jwk]);
    expect(await source.keyFor({ alg, kid: jwk.kid })).toBeUndefined();
    expect(await source.keyFor({ alg: good.alg, kid: good.kid })).toBeDefined();
  });

  test.each<[string, Body, string]>([
    ["a point off its curve", { ...ec.jwk, x: ec.jwk.y, y: ec.jwk.x }, "ES256"],
    ["half a point", { ...ec.jwk, y: undefined }, "ES256"],
    ["a short point", { ...good.jwk, kid: "short", x: "AAAA" }, "EdDSA"],
  ])("that holds %s offers the others", async (_, jwk, alg) => {
    const { source } = await publishing([{ ...good.jwk, kid: "good" }, jwk]);
    const broken = await source.keyFor({ alg, kid: jwk.kid }).catch(() => undefined);
    expect(broken).toBeUndefined();
    expect(await source.keyFor({ alg: good.alg, kid: "good" })).toBeDefined();
  });

  test("with two keys of one name offers neither, and with one name for two algorithms each to its own", async () => {
    const [one, two] = [makeKey("EdDSA", "same"), makeKey("EdDSA", "same")];
    const doubled = await publishing([one.jwk, two.jwk, good.jwk]);
    expect(await doubled.source.keyFor({ alg: "EdDSA", kid: "same" })).toBeUndefined();
    expect(await doubled.source.keyFor({ alg: "EdDSA", kid: good.kid })).toBeDefined();
    const mixed = await publishing([one.jwk, makeKey("ES256", "same").jwk]);
    expect(await mixed.source.keyFor({ alg: "EdDSA", kid: "same" })).toBeDefined();
    expect(await mixed.source.keyFor({ alg: "ES256", kid: "same" })).toBeDefined();
  });

  test("without a name asked for offers the only one that fits, and none where two do", async () => {
    const single = await publishing([good.jwk, ec.jwk]);
    expect(await single.source.keyFor({ alg: "EdDSA" })).toBeDefined();
    const several = await publishing([good.jwk, makeKey().jwk]);
    expect(await several.source.keyFor({ alg: "EdDSA" })).toBeUndefined();
  });

  test("holds at most a hundred keys", async () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => ({ ...good.jwk, kid: `k${index}` }));
    expect(await (await publishing(many(100))).source.keyFor({ alg: "EdDSA", kid: "k99" })).toBeDefined();
    const { source } = await publishing(many(101));
    await expect(source.keyFor({ alg: "EdDSA", kid: "k99" })).rejects.toSatisfy(isUnavailable);
  });

  test("is at most 512 KiB long", async () => {
    const text = (length: number) => {
      const empty = JSON.stringify({ keys: [good.jwk], pad: "" });
      return empty.replace('"pad":""', `"pad":"${"x".repeat(length - empty.length)}"`);
    };
    const { issuer, source, find } = await start();
    issuer.publish(good);
    issuer.behave({ kind: "text", text: text(512 * 1024) });
    expect(await find(good)).toBe(true);
    issuer.behave({ kind: "text", text: text(512 * 1024 + 1) });
    await expect(source.refresh()).rejects.toSatisfy(isUnavailable);
  });
});

test("createJwksSource() tells of each look that failed in the background, once", async () => {
  const failures: string[] = [];
  let now = 0;
  const source = createJwksSource("/nowhere/jwks.json", {
    nowMs: () => now,
    coolDownMs: 10,
    onFailure: (error) => failures.push(String(error.cause)),
  });
  for (const at of [100, 105, 110]) {
    now = at;
    await expect(source.keyFor({ alg: "EdDSA", kid: "k" })).rejects.toMatchObject({ code: "identity_unavailable" });
  }
  expect(failures).toHaveLength(2);
  expect(failures[0]).toContain("/nowhere/jwks.json");
});
