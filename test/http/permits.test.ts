import { createHash, createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalize } from "json-canonicalize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PERMIT_CODES } from "../../src/core/errors.ts";
import { openPermitTokens } from "../../src/signing/permit-tokens.ts";
import { addSigningKey, loadSigningKeys } from "../../src/signing/signing-keys.ts";
import { freshId, useOf } from "../support/proposals.ts";
import { freePorts, type RedisServer, startRedis, until } from "../support/redis.ts";
import {
  ALLOW,
  again,
  DENY,
  escalate,
  PERMIT,
  rewrite,
  type ScriptedSidecar,
  scripted,
  startScripted,
} from "../support/scripted.ts";
import { type Answer, API_KEYS, type Body, KEYS, startSidecar, type TestSidecar } from "../support/sidecar.ts";

let holdpoint: ScriptedSidecar;
beforeAll(async () => {
  holdpoint = await startScripted();
});
afterAll(() => holdpoint.close());

const digest = (value: unknown) => `sha256:${createHash("sha256").update(canonicalize(value)).digest("hex")}`;
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

const use = (path: "verify" | "consume", body: unknown, at: TestSidecar = holdpoint, key?: string): Promise<Answer> =>
  at.send({ path: `/v1/permits/${path}`, body, ...(key === undefined ? {} : { key }) });
const consume = (body: unknown, at: TestSidecar = holdpoint, key?: string) => use("consume", body, at, key);
const verify = (body: unknown, at: TestSidecar = holdpoint, key?: string) => use("verify", body, at, key);

/** A proposal that policy allows with a permit, and its decision. */
async function allowed(changes: Body = {}, now: Body = PERMIT, at: TestSidecar = holdpoint) {
  const proposal = scripted(now, changes);
  const { body: decision } = await at.decide(proposal);
  expect(decision.permit).toEqual(expect.any(String));
  return { proposal, decision, use: useOf(proposal, decision) };
}

const SCHEMA = {
  type: "object",
  properties: { amount: { type: "number", maximum: 10 } },
  required: ["amount"],
  additionalProperties: false,
};
const envelope = (uses: number, schema: Body = SCHEMA, more: Body = {}) =>
  escalate({ binding: "envelope", envelope: { schema, uses }, ...more });

async function enveloped(uses: number, changes: Body = {}, at: ScriptedSidecar = holdpoint) {
  const proposal = scripted(envelope(uses), changes);
  const decision = await at.grant(proposal);
  expect(decision.permit).toEqual(expect.any(String));
  return { proposal, decision, use: useOf(proposal, decision) };
}

// ------------------------------------------------------------------------------------------------- making tokens

const part = (value: string | Uint8Array | object): string =>
  Buffer.from(typeof value === "string" || value instanceof Uint8Array ? value : canonicalize(value)).toString(
    "base64url",
  );
const decoded = (token: string, index: number): Body =>
  JSON.parse(Buffer.from(token.split(".")[index]!, "base64url").toString());

function signingKey(at: TestSidecar = holdpoint): Body {
  const { keys_dir } = at.config;
  const keys = readdirSync(keys_dir)
    .filter((name) => name.startsWith("permit-"))
    .map((name) => JSON.parse(readFileSync(join(keys_dir, name), "utf8")));
  return keys.sort((a, b) => b.iat - a.iat)[0];
}

/** Signs whatever it is given with the sidecar's own key. */
function signed(header: string | object, payload: string | object, jwk: Body = signingKey()): string {
  const text = `${part(header)}.${part(payload)}`;
  return `${text}.${part(sign(null, Buffer.from(text), createPrivateKey({ key: jwk, format: "jwk" })))}`;
}

const withClaims = (token: string, changes: Body): string =>
  signed(decoded(token, 0), { ...decoded(token, 1), ...changes });

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** Another last character that decodes to the same bytes, where the length leaves spare bits. */
const spareBits = (text: string): string => text.slice(0, -1) + DIGITS[DIGITS.indexOf(text.at(-1)!) ^ 1];

function withBrokenSignature(token: string): string {
  const [header, payload, signature] = token.split(".");
  const bytes = Buffer.from(signature!, "base64url");
  bytes[10] = bytes[10]! ^ 1;
  return `${header}.${payload}.${part(bytes)}`;
}

// -------------------------------------------------------------------------------------------------- the happy path

describe("POST /v1/permits/consume", () => {
  test("answers once what it authorised, and records the use", async () => {
    const { proposal, decision, use: body } = await allowed();
    const { status, body: answer } = await consume(body);
    expect(status).toBe(200);
    expect(answer).toMatchObject({
      valid: true,
      enforced: true,
      mode: "enforce",
      permit_id: decision.permit_id,
      uses_left: 0,
      decision_id: decision.decision_id,
      approval_id: null,
      policy_digest: decision.policy.digest,
      trace_id: decision.trace_id,
      binding_digest: decision.binding_digest,
      argument_digest: digest(proposal.action.arguments),
    });
    const entry = holdpoint
      .entries()
      .find((one) => one.kind === "permit_consumed" && one.data.permit_id === decision.permit_id);
    expect(entry.data).toMatchObject({
      execution_id: answer.execution_id,
      binding_digest: decision.binding_digest,
      argument_digest: digest(proposal.action.arguments),
      actor: "support-agent",
      entity: proposal.entity,
      authenticated: false,
    });
    const replay = await consume(body);
    expect(replay.status).toBe(409);
    expect(replay.body).toMatchObject({ code: "already_consumed", valid: false, outcome: "deny", enforced: true });
  });

  test("takes the arguments in any spelling of the same value", async () => {
    const { proposal, decision } = await allowed({ action: { name: "PAY", arguments: { a: 1, b: "é" } } });
    const text = `{"entity":${JSON.stringify(proposal.entity)},"actor":{"id":"support-agent"},"permit":"${decision.permit}",
      "action":{"arguments":{ "b":"\\u00e9", "a":1.0 },"name":"PAY"}}`;
    expect((await consume(text)).body).toMatchObject({ valid: true });
  });

  test("lets exactly one of fifty contenders run", async () => {
    const { decision, use: body } = await allowed();
    const answers = await Promise.all(Array.from({ length: 50 }, () => consume(body)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const refused = answers.filter(({ status }) => status !== 200).map(({ body: { code } }) => code);
    expect(new Set(refused)).toEqual(new Set(["already_consumed"]));
    const uses = holdpoint
      .entries()
      .filter((one) => one.kind === "permit_consumed" && one.data.permit_id === decision.permit_id);
    expect(uses).toHaveLength(1);
  });
});

describe("POST /v1/permits/verify", () => {
  test("uses nothing up, and records nothing", async () => {
    const { decision, use: body } = await allowed();
    const size = holdpoint.sidecar.ledger.head().size;
    for (let round = 0; round < 3; round++) {
      const { status, body: answer } = await verify(body);
      expect(status).toBe(200);
      expect(answer).toMatchObject({ valid: true, uses_left: 1, permit_id: decision.permit_id });
      expect(answer.execution_id).toBeUndefined();
    }
    expect(holdpoint.sidecar.ledger.head().size).toBe(size);
    expect((await consume(body)).status).toBe(200);
    expect(await verify(body)).toMatchObject({ status: 409, body: { code: "already_consumed", valid: false } });
  });
});

// --------------------------------------------------------------------------------------------- each check, in order

type Attempt = {
  token: string;
  body: Body;
  isLater: boolean;
  isFrozen: boolean;
  isSpent: boolean;
  isCancelled: boolean;
};

type Fault = { readonly status: number; readonly make: (attempt: Attempt) => Partial<Attempt> };

const reheaded = ({ token }: Attempt, header: Body) => ({
  token: signed({ ...decoded(token, 0), ...header }, decoded(token, 1)),
});
const reclaimed = ({ token }: Attempt, claims: Body) => ({ token: withClaims(token, claims) });
const doing = ({ body }: Attempt, changes: Body) => ({ body: { ...body, ...changes } });

/** A lost lock needs a lock that was held: test/gate/context.test.ts. */
type Code = Exclude<(typeof PERMIT_CODES)[number], "lock_lost">;
const CODES = PERMIT_CODES.filter((code): code is Code => code !== "lock_lost");

const FAULTS: Readonly<Record<Code, Fault>> = {
  bad_signature: { status: 403, make: ({ token }) => ({ token: withBrokenSignature(token) }) },
  unknown_key: { status: 403, make: (attempt) => reheaded(attempt, { kid: "nobody" }) },
  wrong_type: { status: 403, make: (attempt) => reheaded(attempt, { typ: "JWT" }) },
  not_yet_valid: { status: 403, make: (attempt) => reclaimed(attempt, { nbf: inSeconds(3_600) }) },
  expired: { status: 403, make: (attempt) => reclaimed(attempt, { exp: inSeconds(-60) }) },
  wrong_audience: { status: 403, make: (attempt) => doing(attempt, { audience: "somewhere-else" }) },
  wrong_tenant: { status: 403, make: (attempt) => reclaimed(attempt, { tenant: "other" }) },
  wrong_scope: {
    status: 403,
    make: (attempt) => doing(attempt, { action: { ...attempt.body.action, name: "PAY_ALL" } }),
  },
  digest_mismatch: {
    status: 403,
    make: (attempt) => doing(attempt, { actor: { id: "support-agent", on_behalf_of: { id: "alice" } } }),
  },
  arguments_rejected: {
    status: 403,
    make: (attempt) => doing(attempt, { action: { ...attempt.body.action, arguments: { amount: 11 } } }),
  },
  approval_revoked: { status: 403, make: () => ({ isCancelled: true }) },
  policy_changed: { status: 403, make: () => ({ isLater: true }) },
  frozen: { status: 403, make: () => ({ isFrozen: true }) },
  unknown_permit: { status: 404, make: (attempt) => reclaimed(attempt, { jti: "perm_00nosuch" }) },
  already_consumed: { status: 409, make: () => ({ isSpent: true }) },
  state_changed: { status: 409, make: (attempt) => reclaimed(attempt, { entity_version: 7 }) },
};

const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

async function attempted(codes: readonly Code[], path: "verify" | "consume" = "consume") {
  const { decision, use: body } = await enveloped(1, { context: { later: DENY } });
  const attempt: Attempt = {
    token: decision.permit,
    body: structuredClone(body),
    isLater: false,
    isFrozen: false,
    isSpent: false,
    isCancelled: false,
  };
  // The signature is broken last, after everything that signs anew.
  const inMakingOrder = [...codes].sort((a, b) => Number(a === "bad_signature") - Number(b === "bad_signature"));
  for (const code of inMakingOrder) Object.assign(attempt, FAULTS[code].make(attempt));
  if (attempt.isSpent) expect((await consume(body)).status).toBe(200);
  if (attempt.isCancelled) expect((await holdpoint.review(decision.approval.id, "cancel")).status).toBe(200);
  if (attempt.isLater) await holdpoint.turnTo("later");
  const freeze = attempt.isFrozen ? await freezeAction(body.action.name) : undefined;
  try {
    return { decision, original: body, answer: await use(path, { ...attempt.body, permit: attempt.token }) };
  } finally {
    if (attempt.isLater) await holdpoint.turnTo("now");
    if (freeze !== undefined) await holdpoint.sidecar.gate.liftFreeze({ ...BY, id: freeze.id });
  }
}

const BY = { tenant: "default", reason: "to see it refused", by: "olivia", traceId: "0".repeat(32) };
const freezeAction = (subject: string) => holdpoint.sidecar.gate.freeze({ ...BY, kind: "action", subject });

/** Pairs that no permit can have at once, or where the later check needs what the earlier one misses. */
const IMPOSSIBLE = new Set([
  "bad_signature unknown_key", // without the key nobody can tell
  "approval_revoked unknown_permit", // the store looks for the permit first
  "approval_revoked already_consumed", // a used-up approval cannot be cancelled
  "policy_changed unknown_permit", // deciding again takes the store's record
  "unknown_permit already_consumed",
]);
const PAIRS = CODES.flatMap((first, index) => CODES.slice(index + 1).map((second) => [first, second] as const)).filter(
  (pair) => !IMPOSSIBLE.has(pair.join(" ")),
);

describe("the checks of a permit", () => {
  test.each(CODES)("refuse with %s, verify like consume, and record the attempt", async (code) => {
    for (const path of ["verify", "consume"] as const) {
      const before = holdpoint.sidecar.ledger.head().size;
      const { answer, decision, original } = await attempted([code], path);
      expect(answer.status).toBe(FAULTS[code].status);
      expect(answer.headers["content-type"]).toBe("application/problem+json");
      expect(answer.body).toMatchObject({ code, valid: false, outcome: "deny", enforced: true, mode: "enforce" });
      const refusals = holdpoint
        .entries()
        .slice(before)
        .filter((entry) => entry.kind === "permit_refused");
      expect(refusals.map((entry) => entry.data.code)).toEqual(path === "consume" ? [code] : []);
      if (code === "approval_revoked" || code === "already_consumed") continue;
      expect((await consume(original)).body).toMatchObject({ valid: true, permit_id: decision.permit_id });
    }
  });

  test.each(PAIRS)("say %s before %s", async (first, second) => {
    expect((await attempted([first, second])).answer.body.code).toBe(first);
  });
});

// ---------------------------------------------------------------------------------------------- the real action

describe("what is really about to run", () => {
  const delegated = { id: "support-agent", on_behalf_of: { id: "alice", type: "human", roles: ["customer"] } };

  test.each([
    ["another amount", { action: { name: "PAY", arguments: { amount: 6 } } }, "digest_mismatch"],
    ["an amount that is a text", { action: { name: "PAY", arguments: { amount: "5" } } }, "digest_mismatch"],
    ["one more argument", { action: { name: "PAY", arguments: { amount: 5, x: null } } }, "digest_mismatch"],
    ["no arguments", { action: { name: "PAY", arguments: {} } }, "digest_mismatch"],
    [
      "arguments that look like an envelope",
      { action: { name: "PAY", arguments: { envelope: {}, arguments: null } } },
      "digest_mismatch",
    ],
    ["another action", { action: { name: "pay", arguments: { amount: 5 } } }, "wrong_scope"],
    ["another entity", { entity: { type: "order", id: "ord-x" } }, "wrong_scope"],
    ["another type of entity", { entity: { type: "Order", id: "" } }, "wrong_scope"],
    ["no entity", { entity: null }, "wrong_scope"],
    ["another actor", { actor: { id: "Support-Agent" } }, "wrong_scope"],
    ["another principal", { actor: { id: "support-agent", on_behalf_of: { id: "bob" } } }, "digest_mismatch"],
    ["less of the principal", { actor: { id: "support-agent", on_behalf_of: { id: "alice" } } }, "digest_mismatch"],
    [
      "one principal more",
      { actor: { ...delegated, on_behalf_of: { ...delegated.on_behalf_of, on_behalf_of: { id: "carol" } } } },
      "digest_mismatch",
    ],
  ])("with %s is refused, and the permit works after it", async (_, changes: Body, code) => {
    const { proposal, use: body } = await allowed({ actor: delegated });
    const entity = changes.entity?.id === "" ? { ...changes.entity, id: proposal.entity.id } : changes.entity;
    const { status, body: answer } = await consume({
      ...body,
      ...changes,
      ...(entity === undefined ? {} : { entity }),
    });
    expect(status).toBe(403);
    expect(answer).toMatchObject({ code, valid: false });
    expect((await consume({ ...body, actor: delegated })).status).toBe(200);
  });

  test("without entity is refused to have one", async () => {
    const { use: body } = await allowed({ entity: undefined });
    expect((await consume({ ...body, entity: { type: "order", id: "x" } })).body.code).toBe("wrong_scope");
    expect((await consume({ ...body, entity: null })).status).toBe(200);
  });

  test("on behalf of nobody is refused to have a principal", async () => {
    const { use: body } = await allowed();
    const actor = { id: "support-agent", on_behalf_of: { id: "alice" } };
    expect((await consume({ ...body, actor })).body.code).toBe("digest_mismatch");
    expect((await consume(body)).status).toBe(200);
  });

  test.each([
    ["no permit", { permit: undefined }, "/permit"],
    ["a permit that is no text", { permit: 1 }, "/permit"],
    ["an empty permit", { permit: "" }, "/permit"],
    ["no arguments", { action: { name: "PAY" } }, "/action/arguments"],
    ["arguments that are a list", { action: { name: "PAY", arguments: [] } }, "/action/arguments"],
    ["no actor", { actor: undefined }, "/actor"],
    ["a digest of its own", { binding_digest: `sha256:${"0".repeat(64)}` }, "/binding_digest"],
    ["an audience with a space", { audience: "a b" }, "/audience"],
  ])("is refused as a request with %s", async (_, changes: Body, pointer) => {
    const { use: body } = await allowed();
    const { status, body: problem } = await consume({ ...body, ...changes });
    expect(status).toBe(400);
    expect(problem).toMatchObject({ code: "invalid_request", pointer, outcome: "deny" });
    expect((await consume(body)).status).toBe(200);
  });
});

// ---------------------------------------------------------------------------------------------------- spellings

describe("one permit has one spelling", () => {
  const thief = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" }) as Body;
  const publicOf = (jwk: Body) => ({ kty: "OKP", crv: "Ed25519", x: jwk.x });
  const publicPem = () =>
    createPublicKey({ key: publicOf(signingKey()), format: "jwk" }).export({ format: "pem", type: "spki" }) as string;
  const hmac = (header: Body, payload: string, secret: string | Buffer): string => {
    const text = `${part(header)}.${payload}`;
    return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  };
  const headed = (changes: Body, jwk?: Body) => (token: string) =>
    signed({ ...decoded(token, 0), ...changes }, decoded(token, 1), jwk);
  const reversed = (value: Body): string => JSON.stringify(Object.fromEntries(Object.entries(value).reverse()));
  const unencoded = (token: string): string => {
    const header = part({ ...decoded(token, 0), b64: false, crit: ["b64"] });
    const payload = Buffer.from(token.split(".")[1]!, "base64url").toString();
    const key = createPrivateKey({ key: signingKey(), format: "jwk" });
    const signature = sign(null, Buffer.from(`${header}.${payload}`), key).toString("base64url");
    return `${header}.${part(payload)}.${signature}`;
  };

  test.each<[string, string, (token: string) => string]>([
    ["spare bits in the signature", "bad_signature", spareBits],
    ["padding", "bad_signature", (token) => `${token}==`],
    ["a space before it", "bad_signature", (token) => ` ${token}`],
    ["a line break after it", "bad_signature", (token) => `${token}\n`],
    ["a line break within", "bad_signature", (token) => token.replace(".", "\n.")],
    ["a fourth part", "bad_signature", (token) => `${token}.`],
    ["a fourth part with text", "bad_signature", (token) => `${token}.e30`],
    ["no signature", "bad_signature", (token) => token.slice(0, token.lastIndexOf("."))],
    ["an empty signature", "bad_signature", (token) => token.slice(0, token.lastIndexOf(".") + 1)],
    [
      "a signature of zeros",
      "bad_signature",
      (token) => token.slice(0, token.lastIndexOf(".") + 1) + part(new Uint8Array(64)),
    ],
    ["a shorter signature", "bad_signature", (token) => token.slice(0, -3)],
    ["a NUL after it", "bad_signature", (token) => `${token}\0`],
    ["full-width letters", "bad_signature", (token) => token.replace("e", "ｅ")],
    ["Bearer before it", "bad_signature", (token) => `Bearer ${token}`],
    ["more than any permit of ours", "bad_signature", (token) => token + "A".repeat(32 * 1024)],
    [
      "the flattened JSON form",
      "bad_signature",
      (token) => {
        const [protectedHeader, payload, signature] = token.split(".");
        return JSON.stringify({ protected: protectedHeader, payload, signature });
      },
    ],
    [
      "the payload of another permit",
      "bad_signature",
      (token) => {
        const [header, , signature] = token.split(".");
        return `${header}.${part({ ...decoded(token, 1), uses: 2 })}.${signature}`;
      },
    ],
    ["alg none", "bad_signature", (token) => `${part({ ...decoded(token, 0), alg: "none" })}.${token.split(".")[1]}.`],
    [
      "alg none under the old signature",
      "bad_signature",
      (token) => `${part({ ...decoded(token, 0), alg: "none" })}.${token.split(".").slice(1).join(".")}`,
    ],
    [
      "HS256 with the public key's bytes",
      "bad_signature",
      (token) =>
        hmac({ ...decoded(token, 0), alg: "HS256" }, token.split(".")[1]!, Buffer.from(signingKey().x, "base64url")),
    ],
    [
      "HS256 with the public key's PEM",
      "bad_signature",
      (token) => hmac({ ...decoded(token, 0), alg: "HS256" }, token.split(".")[1]!, publicPem()),
    ],
    ["alg ES256", "bad_signature", headed({ alg: "ES256" })],
    ["alg Ed25519", "bad_signature", headed({ alg: "Ed25519" })],
    ["no alg", "bad_signature", headed({ alg: undefined })],
    ["crit", "bad_signature", headed({ crit: ["exp"], exp: 1 })],
    ["an empty crit", "bad_signature", headed({ crit: [] })],
    [
      "a header that says its key twice",
      "unknown_key",
      (token) => {
        const { kid, typ } = decoded(token, 0);
        return signed(`{"alg":"EdDSA","kid":"${kid}","kid":"${kid}","typ":"${typ}"}`, decoded(token, 1));
      },
    ],
    ["no kid", "unknown_key", headed({ kid: undefined })],
    ["a kid that is a list", "unknown_key", (token) => headed({ kid: [decoded(token, 0).kid] })(token)],
    ["a kid that is a path", "unknown_key", headed({ kid: "../../etc/passwd" })],
    ["a kid that is a prototype's", "unknown_key", headed({ kid: "__proto__" })],
    ["the thief's key in jwk", "bad_signature", headed({ jwk: publicOf(thief) }, thief)],
    [
      "the thief's key in jwk and its name in kid",
      "unknown_key",
      headed({ jwk: publicOf(thief), kid: "thief" }, thief),
    ],
    ["the thief's key", "bad_signature", headed({}, thief)],
    ["jwk under the real key", "wrong_type", (token) => headed({ jwk: publicOf(signingKey()) })(token)],
    ["x5c under the real key", "wrong_type", headed({ x5c: ["MIIB"] })],
    ["jku under the real key", "wrong_type", headed({ jku: "https://example.org/keys" })],
    ["cty under the real key", "wrong_type", headed({ cty: "JWT" })],
    ["b64 true under the real key", "wrong_type", headed({ b64: true })],
    ["typ JWT", "wrong_type", headed({ typ: "JWT" })],
    ["typ in other case", "wrong_type", headed({ typ: "Holdpoint-Permit+JWT" })],
    ["typ with application/", "wrong_type", headed({ typ: "application/holdpoint-permit+jwt" })],
    ["no typ", "wrong_type", headed({ typ: undefined })],
    ["the header in another order", "wrong_type", (token) => signed(reversed(decoded(token, 0)), decoded(token, 1))],
    [
      "a space in the header",
      "wrong_type",
      (token) => signed(canonicalize(decoded(token, 0)).replace(",", ", "), decoded(token, 1)),
    ],
    [
      "an escape in the header",
      "wrong_type",
      (token) => signed(canonicalize(decoded(token, 0)).replace("EdDSA", "Ed\\u0044SA"), decoded(token, 1)),
    ],
    ["the payload in another order", "wrong_type", (token) => signed(decoded(token, 0), reversed(decoded(token, 1)))],
    [
      "a space in the payload",
      "wrong_type",
      (token) => signed(decoded(token, 0), `${canonicalize(decoded(token, 1))} `),
    ],
    [
      "a claim twice in the payload",
      "wrong_type",
      (token) => signed(decoded(token, 0), canonicalize(decoded(token, 1)).replace("{", '{"action":"PAY",')),
    ],
    ["a claim more", "wrong_type", (token) => withClaims(token, { admin: true })],
    ["a claim less", "wrong_type", (token) => withClaims(token, { sub: undefined })],
    ["uses of nought", "wrong_type", (token) => withClaims(token, { uses: 0 })],
    ["an expiry that is a text", "wrong_type", (token) => withClaims(token, { exp: "9999999999" })],
    ["a payload that is a list", "wrong_type", (token) => signed(decoded(token, 0), "[]")],
    ["a payload that is no JSON", "wrong_type", (token) => signed(decoded(token, 0), "x")],
    ["an empty payload", "wrong_type", (token) => signed(decoded(token, 0), "")],
    [
      "a payload that is no UTF-8",
      "wrong_type",
      (token) => signed(decoded(token, 0), Buffer.from([0x7b, 0xff, 0x7d]) as never),
    ],
  ])("and with %s it is refused", async (_, code, respell) => {
    const { decision, use: body } = await allowed();
    const permit = respell(decision.permit);
    expect(permit).not.toBe(decision.permit);
    for (const path of ["verify", "consume"] as const) {
      const { status, body: answer } = await use(path, { ...body, permit });
      expect(answer).toMatchObject({ code, valid: false, outcome: "deny" });
      expect(status).toBe(403);
    }
    expect((await consume(body)).status).toBe(200);
  });

  test("and with the payload unencoded (b64 false) it is refused", async () => {
    const { decision, use: body } = await allowed();
    const { status, body: answer } = await consume({ ...body, permit: unencoded(decision.permit) });
    expect(status).toBe(403);
    expect(["bad_signature", "wrong_type"]).toContain(answer.code);
    expect((await consume(body)).status).toBe(200);
  });

  test("and any one changed character makes another, refused one", async () => {
    const { decision, use: body } = await allowed();
    const { permit } = decision;
    for (let index = 0; index < permit.length; index += 7) {
      const other = permit[index] === "A" ? "B" : "A";
      const { status } = await verify({ ...body, permit: permit.slice(0, index) + other + permit.slice(index + 1) });
      expect(status, `character ${index}`).toBe(403);
    }
    expect((await consume(body)).status).toBe(200);
  });
});

// --------------------------------------------------------------------------------------------------- envelopes

describe("an envelope", () => {
  test("accepts what its schema accepts, as often as it says", async () => {
    const { proposal, decision, use: body } = await enveloped(3);
    const claims = decoded(decision.permit, 1);
    expect(claims).toMatchObject({ uses: 3, envelope: SCHEMA, argument_digest: null });
    expect(claims.binding_digest).toBe(
      digest({
        action: "PAY",
        actor: "support-agent",
        arguments: null,
        entity: proposal.entity,
        envelope: SCHEMA,
        on_behalf_of: null,
        tenant: "default",
      }),
    );
    const withArguments = (args: Body) => ({ ...body, action: { name: "PAY", arguments: args } });
    for (const refused of [
      { amount: 11 },
      { amount: "5" },
      {},
      { amount: 5, x: 1 },
      { envelope: SCHEMA, arguments: null },
    ]) {
      expect((await consume(withArguments(refused))).body.code).toBe("arguments_rejected");
    }
    const ids = new Set<string>();
    for (const [index, amount] of [1, 10, -3].entries()) {
      const { status, body: answer } = await consume(withArguments({ amount }));
      expect(status).toBe(200);
      expect(answer).toMatchObject({ uses_left: 2 - index });
      ids.add(answer.execution_id);
    }
    expect(ids.size).toBe(3);
    expect((await consume(withArguments({ amount: 1 }))).body.code).toBe("already_consumed");
    const uses = holdpoint
      .entries()
      .filter((one) => one.kind === "permit_consumed" && one.data.permit_id === decision.permit_id);
    expect(uses.map(({ data }) => data.argument_digest)).toEqual([1, 10, -3].map((amount) => digest({ amount })));
    expect((await holdpoint.send({ path: `/v1/approvals/${decision.approval.id}` })).body.status).toBe("exhausted");
  });

  test("is used exactly as often as it says under fifty contenders", async () => {
    const { use: body } = await enveloped(7);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        consume({ ...body, action: { name: "PAY", arguments: { amount: index % 10 } } }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(7);
    expect(new Set(answers.filter(({ status }) => status !== 200).map(({ body: { code } }) => code))).toEqual(
      new Set(["already_consumed"]),
    );
    expect(new Set(answers.flatMap(({ body: answer }) => answer.execution_id ?? [])).size).toBe(7);
  });

  test("is shared by proposals with other arguments that it accepts, use by use", async () => {
    const { proposal, use: body } = await enveloped(2);
    expect((await consume(body)).status).toBe(200);
    const other = again(proposal, { action: { name: "PAY", arguments: { amount: 9 } } });
    const { body: decision } = await holdpoint.decide(other);
    expect(decision).toMatchObject({ outcome: "allow" });
    expect(decoded(decision.permit, 1).uses).toBe(1);
    expect((await consume(useOf(other, decision))).status).toBe(200);
    expect((await consume(body)).body.code).toBe("already_consumed");
  });

  test("gives nothing to a proposal whose arguments it does not accept", async () => {
    const { proposal } = await enveloped(2);
    const other = again(proposal, { action: { name: "PAY", arguments: { amount: 900 } } });
    expect((await holdpoint.decide(other)).body).toMatchObject({
      outcome: "deny",
      reasons: [{ code: "approval_insufficient" }, {}],
    });
  });

  test("ends with its permit", async () => {
    const proposal = scripted({ ...envelope(5), permit: { required: true, ttl_seconds: 1 } });
    const body = useOf(proposal, await holdpoint.grant(proposal));
    await until(async () => (await verify(body)).status !== 200, "the permit expires");
    expect((await consume(body)).body.code).toBe("expired");
  });

  test("has no arguments to edit", async () => {
    const { body } = await holdpoint.decide(scripted(envelope(2)));
    const refused = await holdpoint.review(body.approval.id, "grant", { arguments: { amount: 1 } });
    expect(refused).toMatchObject({ status: 409, body: { code: "edit_refused" } });
  });

  test("is no exact permit, and an exact permit no envelope", async () => {
    const args = { envelope: SCHEMA, arguments: null };
    const { decision, use: body } = await allowed({ action: { name: "PAY", arguments: args } });
    expect(decoded(decision.permit, 1).binding_digest).not.toBe(
      (await holdpoint.decide(scripted(envelope(2)))).body.binding_digest,
    );
    expect((await consume({ ...body, action: { name: "PAY", arguments: { amount: 5 } } })).body.code).toBe(
      "digest_mismatch",
    );
    const signedEnvelope = withClaims(decision.permit, { envelope: {} });
    expect((await consume({ ...body, permit: signedEnvelope })).body.code).toBe("digest_mismatch");
    expect((await consume(body)).status).toBe(200);
  });

  test.each<[string, Body]>([
    ["an unknown type", { type: "nope" }],
    ["an unknown keyword", { type: "object", maximumAmount: 5 }],
    ["a format, which nobody checks", { type: "object", properties: { a: { type: "string", format: "email" } } }],
    ["a reference elsewhere", { $ref: "https://example.org/schema.json" }],
    ["a reference to nothing", { $ref: "#/$defs/none" }],
    ["a broken pattern", { type: "object", properties: { a: { type: "string", pattern: "(" } } }],
    ["a promise for an answer", { $async: true, type: "object" }],
    ["a promise for an answer, refusing", { $async: true, type: "object", required: ["never"] }],
    ["another dialect", { $schema: "http://json-schema.org/draft-04/schema#", type: "object" }],
    ["a rule for __proto__, which would be skipped", JSON.parse('{"type":"object","properties":{"__proto__":false}}')],
    ["nothing that it accepts", { not: {} }],
  ])("with %s accepts nothing", async (_, schema) => {
    const proposal = scripted(envelope(2, schema));
    const { body } = await holdpoint.decide(proposal);
    expect((await holdpoint.review(body.approval.id, "grant")).status).toBe(200);
    const granted = (await holdpoint.decide(proposal)).body;
    expect(granted).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_insufficient" }, {}] });
    expect(granted.permit).toBeUndefined();
  });

  test("with keys named like an object's own means what it says", async () => {
    const schema = JSON.parse(
      '{"type":"object","required":["constructor"],"properties":{"constructor":{"const":1}},"additionalProperties":false}',
    );
    const proposal = scripted(envelope(9, schema), { action: { name: "PAY", arguments: { constructor: 1 } } });
    const body = useOf(proposal, await holdpoint.grant(proposal));
    const send = (args: string) =>
      consume(
        `{"permit":"${body.permit}","entity":${JSON.stringify(body.entity)},"actor":{"id":"support-agent"},"action":{"name":"PAY","arguments":${args}}}`,
      );
    expect((await send('{"constructor":1,"__proto__":{}}')).body.code).toBe("arguments_rejected");
    expect((await send("{}")).body.code).toBe("arguments_rejected");
    expect((await send('{"constructor":1}')).status).toBe(200);
  });

  test("is compiled anew beyond the number that is kept, and still means the same", async () => {
    const { use: body } = await enveloped(2);
    for (let index = 0; index < 300; index++) {
      const schema = { ...SCHEMA, properties: { amount: { type: "number", maximum: 10 + index } } };
      const { body: answer } = await verify({ ...body, permit: withClaims(body.permit, { envelope: schema }) });
      expect(answer.code).toBe(index === 0 ? undefined : "digest_mismatch");
    }
    expect((await consume(body)).status).toBe(200);
  });
});

// ---------------------------------------------------------------------------------- policy, store and mode between

describe("policy that changed between permit and use", () => {
  const under = async (body: Body): Promise<Answer> => {
    await holdpoint.turnTo("later");
    try {
      return await consume(body);
    } finally {
      await holdpoint.turnTo("now");
    }
  };

  test.each([
    ["denies", DENY],
    ["escalates", escalate()],
    ["rewrites", rewrite({ amount: 1, answer: PERMIT })],
    ["answers nonsense", { outcome: "sure" }],
  ])("and now %s refuses a permit without approval", async (_, later) => {
    const { use: body } = await allowed({ context: { later } });
    expect(await under(body)).toMatchObject({ status: 403, body: { code: "policy_changed", valid: false } });
    expect((await consume(body)).status).toBe(200);
  });

  test.each([
    ["allows still", PERMIT],
    ["allows without asking for a permit", ALLOW],
  ])("and %s lets it through", async (_, later) => {
    const { use: body } = await allowed({ context: { later } });
    expect((await under(body)).status).toBe(200);
    expect((await consume(body)).body.code).toBe("already_consumed");
  });

  test.each<[string, Body, number]>([
    ["denies", DENY, 403],
    ["asks for two reviewers", escalate({ quorum: 2 }), 403],
    ["asks for others", escalate({ roles: ["director"] }), 403],
    ["rewrites", rewrite({ amount: 1, answer: escalate() }), 403],
    ["asks for the same", escalate(), 200],
    ["asks for anybody", escalate({ roles: [] }), 200],
    ["allows", ALLOW, 200],
  ])("and now %s, under a grant", async (_, later, status) => {
    const proposal = scripted(escalate(), { context: { later } });
    const body = useOf(proposal, await holdpoint.grant(proposal));
    const answer = await under(body);
    expect(answer.status).toBe(status);
    if (status === 403) expect(answer.body.code).toBe("policy_changed");
  });

  test.each<[string, Body, number]>([
    ["draws the same envelope", envelope(3), 200],
    ["draws a narrower one", envelope(3, { ...SCHEMA, properties: { amount: { type: "number", maximum: 6 } } }), 403],
    ["asks for each action by itself", escalate(), 403],
    ["denies", DENY, 403],
    ["allows", ALLOW, 200],
  ])("and now %s, under a granted envelope", async (_, later, status) => {
    const { use: body } = await enveloped(3, { context: { later } });
    const answer = await under(body);
    expect(answer.status).toBe(status);
    if (status === 403) expect(answer.body.code).toBe("policy_changed");
  });

  test("tells a revoked approval from a changed policy, and a used permit from both", async () => {
    const revoked = scripted(escalate(), { context: { later: escalate() } });
    const decision = await holdpoint.grant(revoked);
    await holdpoint.review(decision.approval.id, "cancel");
    expect((await under(useOf(revoked, decision))).body.code).toBe("approval_revoked");
    const used = scripted(escalate(), { context: { later: escalate() } });
    const body = useOf(used, await holdpoint.grant(used));
    expect((await consume(body)).status).toBe(200);
    expect((await under(body)).body.code).toBe("already_consumed");
  });
});

describe("audience", () => {
  const PAYMENTS = { outcome: "allow", permit: { required: true, audience: "payments" } };

  test("of policy is in the permit, and what the executor says of itself must be it", async () => {
    const { decision, use: body } = await allowed({}, PAYMENTS);
    expect(decoded(decision.permit, 1).aud).toBe("payments");
    expect((await consume({ ...body, audience: "Payments" })).body.code).toBe("wrong_audience");
    expect((await consume({ ...body, audience: "shipping" })).body.code).toBe("wrong_audience");
    expect((await consume({ ...body, audience: "payments" })).status).toBe(200);
  });

  test("of the credential binds, also where the body says another", async () => {
    const key = (id: string, more: Body) => ({
      id,
      sha256: sha256(id),
      scopes: ["decide"],
      actors: "*",
      roles: "*",
      on_behalf_of: "*",
      ...more,
    });
    const guarded = await startScripted({
      auth: "api_key",
      api_keys: [
        ...API_KEYS,
        key("payer", { audiences: ["payments", "refunds"] }),
        key("shipper", { audiences: ["shipping"] }),
        key("nobody", { audiences: [] }),
        key("any", {}),
      ],
    });
    const proposal = scripted(PAYMENTS);
    const { body: decision } = await guarded.decide(proposal, "any");
    const body = useOf(proposal, decision);
    const attempts: [string, string | undefined, number][] = [
      ["shipper", undefined, 403],
      ["shipper", "payments", 403],
      ["nobody", undefined, 403],
      ["nobody", "payments", 403],
      ["payer", "refunds", 403],
      ["payer", "shipping", 403],
      ["any", "shipping", 403],
    ];
    for (const [credential, audience, status] of attempts) {
      const answer = await consume({ ...body, audience }, guarded, credential);
      expect(answer.status).toBe(status);
      expect(answer.body.code).toBe("wrong_audience");
    }
    expect((await verify({ ...body, audience: "payments" }, guarded, "any")).status).toBe(200);
    expect((await consume({ ...body, audience: "payments" }, guarded, "payer")).status).toBe(200);
    await guarded.close();
  });
});

describe("a refused attempt in the ledger", () => {
  test("has its code and the digests of what was tried, and neither arguments nor token", async () => {
    const { decision, use: body } = await allowed();
    const args = { amount: 5, note: "MARKER-of-the-arguments" };
    const before = holdpoint.sidecar.ledger.head().size;
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    await holdpoint.send({
      path: "/v1/permits/consume",
      body: { ...body, action: { name: "PAY", arguments: args } },
      headers: { traceparent: `00-${traceId}-00f067aa0ba902b7-01` },
    });
    const [text, ...rest] = holdpoint.sidecar.ledger.entries(before, 100).map((entry) => entry.text);
    expect(rest).toEqual([]);
    expect(JSON.parse(text!)).toMatchObject({
      kind: "permit_refused",
      tenant: "default",
      trace_id: traceId,
      data: {
        code: "digest_mismatch",
        mode: "enforce",
        action: "PAY",
        actor: "support-agent",
        entity: body.entity,
        argument_digest: digest(args),
        token_digest: `sha256:${sha256(decision.permit)}`,
        authenticated: false,
        caller: null,
      },
    });
    expect(text).not.toContain("MARKER");
    for (const piece of decision.permit.split(".")) expect(text).not.toContain(piece);
  });

  test("and no signature of any permit anywhere", async () => {
    const { decision, use: body } = await allowed();
    await consume(body);
    await consume(body);
    const everything = holdpoint.sidecar.ledger
      .entries(0, 100_000)
      .map((entry) => entry.text)
      .join("\n");
    expect(everything).toContain(decision.permit_id);
    expect(everything).not.toContain(decision.permit.split(".")[2]);
  });
});

describe("observe mode", () => {
  let observing: ScriptedSidecar;
  beforeAll(async () => {
    observing = await startScripted({ mode: "observe" });
  });
  afterAll(() => observing.close());

  /** Observing waits for neither ledger nor store, so whoever looks at what they hold does. */
  const settled = (decision: Body, at: ScriptedSidecar = observing) =>
    until(
      async () =>
        at.entries().some((entry) => entry.decision?.decision_id === decision.decision_id) &&
        (await at.sidecar.store.readPermit("default", decision.permit_id)) !== undefined,
      "decision and permit are on record",
    );

  test("never blocks a use, says what would have happened, and records it", async () => {
    const { decision, use: body } = await allowed({}, PERMIT, observing);
    await settled(decision);
    const first = await consume(body, observing);
    expect(first).toMatchObject({ status: 200, body: { valid: true, enforced: false, mode: "observe", uses_left: 0 } });
    const attempts: [Body, string][] = [
      [body, "already_consumed"],
      [{ ...body, action: { name: "PAY", arguments: { amount: 6 } } }, "digest_mismatch"],
      [{ ...body, permit: "x" }, "bad_signature"],
      [{ ...body, actor: { id: "other" } }, "wrong_scope"],
    ];
    for (const [attempt, code] of attempts) {
      const { status, body: answer } = await consume(attempt, observing);
      expect(status).toBe(200);
      expect(answer).toMatchObject({ valid: true, enforced: false, mode: "observe", observed: { valid: false, code } });
      expect(answer.trace_id).toMatch(/^[0-9a-f]{32}$/);
    }
    const recorded = () => observing.entries().filter((entry) => entry.kind === "permit_refused");
    await until(() => recorded().length === attempts.length, "the refusals are recorded");
    expect(recorded().map(({ data }) => [data.code, data.mode])).toEqual(attempts.map(([, code]) => [code, "observe"]));
    expect(decision).toMatchObject({ outcome: "allow", enforced: false, observed_outcome: "allow" });
  });

  test("gives a denied action its permit, and says at its use that it would not run", async () => {
    const { decision, use: body } = await allowed({ permit: true }, DENY, observing);
    expect(decision).toMatchObject({ outcome: "allow", observed_outcome: "deny" });
    await settled(decision);
    expect((await consume(body, observing)).body).toMatchObject({
      valid: true,
      enforced: false,
      observed: { valid: false, code: "policy_changed" },
    });
  });

  test("lets nothing through once it is over, neither its answers nor its permits", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "holdpoint-data-"));
    const [denied, fine] = [scripted(DENY, { permit: true }), scripted(PERMIT)];
    let sidecar = await startScripted({ data_dir: dataDir, mode: "observe" });
    const observed = (await sidecar.decide(denied)).body;
    const good = (await sidecar.decide(fine)).body;
    expect([observed.outcome, good.outcome]).toEqual(["allow", "allow"]);
    for (const decision of [observed, good]) await settled(decision, sidecar);
    expect((await sidecar.decide(denied)).body).toEqual(observed);
    await sidecar.close();

    sidecar = await startScripted({ data_dir: dataDir });
    const size = sidecar.sidecar.ledger.head().size;
    const enforced = (await sidecar.decide(denied)).body;
    expect(enforced).toMatchObject({ outcome: "deny", enforced: true, mode: "enforce" });
    expect((await sidecar.decide(denied)).body).toEqual(enforced);
    expect(
      sidecar
        .entries()
        .slice(size)
        .filter((entry) => entry.kind === "decision"),
    ).toHaveLength(1);
    const refused = await consume(useOf(denied, observed), sidecar);
    expect(refused).toMatchObject({ status: 403, body: { code: "policy_changed", outcome: "deny" } });
    expect((await consume(useOf(fine, good), sidecar)).status).toBe(200);
    await sidecar.close();

    sidecar = await startScripted({ data_dir: dataDir, mode: "observe" });
    expect((await sidecar.decide(denied)).body).toMatchObject({ outcome: "allow", observed_outcome: "deny" });
    await sidecar.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  test("binds what was proposed and not what policy would have made of it", async () => {
    const {
      proposal,
      decision,
      use: body,
    } = await allowed({ permit: true }, rewrite({ amount: 1, answer: ALLOW }), observing);
    const claims = decoded(decision.permit, 1);
    expect(decision).toMatchObject({ outcome: "allow", observed_outcome: "compute", action: proposal.action });
    expect(claims.argument_digest).toBe(digest(proposal.action.arguments));
    expect(claims.binding_digest).toBe(decision.binding_digest);
    await settled(decision);
    const { body: answer } = await consume(body, observing);
    expect(answer).toMatchObject({ valid: true, observed: { code: "policy_changed" } });
  });
});

// ------------------------------------------------------------------------------------------------------ the keys

describe("keys", () => {
  let directory: string;
  const claims = { hello: 1 };
  let nowSeconds = 1_700_000_000;
  const openTokens = (trusted: readonly Body[] = []) =>
    openPermitTokens({ directory, trusted, nowSeconds: () => nowSeconds });
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "holdpoint-keys-"));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test("are kept across a rotation until the last permit under the old one is over", async () => {
    const tokens = await openTokens();
    const old = await tokens.sign(claims);
    const rotatedAt = nowSeconds + 100;
    nowSeconds = rotatedAt;
    const kid = addSigningKey(directory, nowSeconds);
    await tokens.reload();
    const fresh = await tokens.sign(claims);
    expect(decoded(fresh, 0).kid).toBe(kid);
    expect(decoded(old, 0).kid).not.toBe(kid);
    expect((await tokens.verify(old)).kind).toBe("verified");
    expect(tokens.jwks().keys).toHaveLength(2);
    expect(JSON.stringify(tokens.jwks())).not.toContain('"d"');
    nowSeconds = rotatedAt + 3_600 + 9;
    await tokens.reload();
    expect((await tokens.verify(old)).kind).toBe("verified");
    nowSeconds = rotatedAt + 3_600 + 10;
    await tokens.reload();
    expect(await tokens.verify(old)).toMatchObject({ kind: "refused", code: "unknown_key" });
    expect((await tokens.verify(fresh)).kind).toBe("verified");
    expect(tokens.jwks().keys).toHaveLength(1);
    expect(loadSigningKeys(directory, nowSeconds).active.kid).toBe(kid);
  });

  test("that two rotations in one second made are both told apart, the later one signs", () => {
    const first = addSigningKey(directory, nowSeconds);
    const second = addSigningKey(directory, nowSeconds);
    const { active, verifying } = loadSigningKeys(directory, nowSeconds);
    expect(active.kid).toBe(second);
    expect(verifying.map((jwk) => jwk.kid)).toContain(first);
  });

  test("that another sidecar added are found at the first permit under them", async () => {
    const reader = await openTokens();
    addSigningKey(directory, nowSeconds);
    nowSeconds += 10;
    const writer = await openTokens();
    const token = await writer.sign(claims);
    expect((await reader.verify(token)).kind).toBe("verified");
  });

  test("of others are trusted by configuration, and never under the name of an own one", async () => {
    const other = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" }) as Body;
    const trusted = { kty: "OKP", crv: "Ed25519", x: other.x, kid: "theirs" };
    const header = { alg: "EdDSA", typ: "holdpoint-permit+jwt", kid: "theirs" };
    const tokens = await openTokens([trusted]);
    expect((await tokens.verify(signed(header, claims, other))).kind).toBe("verified");
    expect(tokens.jwks().keys).toContainEqual(expect.objectContaining({ kid: "theirs", alg: "EdDSA" }));
    const own = decoded(await tokens.sign(claims), 0).kid;
    const impostor = await openTokens([{ ...trusted, kid: own }]);
    expect(await impostor.verify(signed({ ...header, kid: own }, claims, other))).toMatchObject({
      kind: "refused",
      code: "bad_signature",
    });
    expect((await impostor.verify(await impostor.sign(claims))).kind).toBe("verified");
  });

  test("that cannot be read at a later look leave those that are there", async () => {
    const aside = mkdtempSync(join(tmpdir(), "holdpoint-keys-"));
    const tokens = await openPermitTokens({ directory: aside, trusted: [], nowSeconds: () => nowSeconds });
    const token = await tokens.sign(claims);
    rmSync(aside, { recursive: true });
    nowSeconds += 10;
    const unknown = signed({ alg: "EdDSA", typ: "holdpoint-permit+jwt", kid: "who" }, claims);
    expect(await tokens.verify(unknown)).toMatchObject({ code: "unknown_key" });
    expect((await tokens.verify(token)).kind).toBe("verified");
    rmSync(aside, { recursive: true, force: true });
  });

  test("that rotate under a running sidecar leave its permits valid", async () => {
    const { decision, use: body } = await allowed();
    const kid = addSigningKey(holdpoint.config.keys_dir, inSeconds(0));
    await holdpoint.sidecar.tokens.reload();
    const { decision: later, use: laterBody } = await allowed();
    expect(decoded(later.permit, 0).kid).toBe(kid);
    expect(decoded(decision.permit, 0).kid).not.toBe(kid);
    expect((await consume(body)).status).toBe(200);
    expect((await consume(laterBody)).status).toBe(200);
    const { body: jwks } = await holdpoint.send({ path: "/.well-known/jwks.json" });
    expect(jwks.keys.map((jwk: Body) => jwk.kid)).toEqual([kid, decoded(decision.permit, 0).kid]);
    for (const jwk of jwks.keys) expect(Object.keys(jwk).sort()).toEqual(["alg", "crv", "kid", "kty", "use", "x"]);
  });
});

// -------------------------------------------------------------------------------------- several sidecars, one Redis

describe("sidecars on one Redis", () => {
  let redis: RedisServer;
  let first: ScriptedSidecar;
  let second: ScriptedSidecar;
  let keysDir: string;
  beforeAll(async () => {
    const [port] = await freePorts(1);
    redis = await startRedis({ port: port! });
    keysDir = mkdtempSync(join(tmpdir(), "holdpoint-keys-"));
    first = await startScripted({ store: redis.url, keys_dir: keysDir });
    second = await startScripted({ store: redis.url, keys_dir: keysDir });
  });
  afterAll(async () => {
    await Promise.all([first.close(), second.close()]);
    await redis.dispose();
    rmSync(keysDir, { recursive: true, force: true });
  });

  test("honour one another's permits and approvals, once between them", async () => {
    const proposal = scripted(escalate());
    const { body } = await first.decide(proposal);
    expect((await second.review(body.approval.id, "grant")).status).toBe(200);
    const decision = (await first.decide(proposal)).body;
    const useBody = useOf(proposal, decision);
    expect((await verify(useBody, second)).status).toBe(200);
    expect((await consume(useBody, second)).status).toBe(200);
    for (const at of [first, second]) expect((await consume(useBody, at)).body.code).toBe("already_consumed");
  });

  test("let exactly one of fifty contenders run, ten times over", async () => {
    for (let round = 0; round < 10; round++) {
      const { use: body } = await allowed({}, PERMIT, first);
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => consume(body, index % 2 === 0 ? first : second)),
      );
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      expect(new Set(answers.filter(({ status }) => status !== 200).map((answer) => answer.body.code))).toEqual(
        new Set(["already_consumed"]),
      );
    }
  });

  test("use an envelope exactly as often as it says between them", async () => {
    const { use: body } = await enveloped(9, {}, first);
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => consume(body, index % 2 === 0 ? first : second)),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(9);
  });

  test("wake whoever waits at the other one", async () => {
    const { body } = await first.decide(scripted(escalate()));
    const waiting = second.send({ path: `/v1/approvals/${body.approval.id}?wait=30s` });
    await first.review(body.approval.id, "deny");
    expect((await waiting).body.status).toBe("denied");
  });

  test("refuse what the other signed with a key of its own, unless it is trusted", async () => {
    const theirs = await startScripted({ store: redis.url });
    const { use: body } = await allowed({}, PERMIT, theirs);
    expect((await consume(body, first)).body.code).toBe("unknown_key");
    const { x, kid } = signingKey(theirs);
    const trusting = await startScripted({
      store: redis.url,
      trusted_keys: [{ kty: "OKP", crv: "Ed25519", x, kid }],
    });
    expect((await consume(body, trusting)).status).toBe(200);
    expect((await consume(body, theirs)).body.code).toBe("already_consumed");
    await Promise.all([theirs.close(), trusting.close()]);
  });

  test("refuse everything while no policy is loaded, and use nothing up", async () => {
    const bare = await startSidecar({ store: redis.url, keys_dir: keysDir });
    const { use: body } = await allowed({}, PERMIT, first);
    for (const path of ["verify", "consume"] as const) {
      const { status, body: problem } = await use(path, body, bare);
      expect(status).toBe(503);
      expect(problem).toMatchObject({ code: "policy_not_loaded", valid: false, outcome: "deny", enforced: true });
    }
    expect(
      bare
        .entries()
        .filter((entry) => entry.kind === "permit_refused")
        .map(({ data }) => data.code),
    ).toEqual(["policy_not_loaded"]);
    expect((await consume(body, first)).status).toBe(200);
    await bare.close();
  });

  test("answer a permit that the store lost with unknown_permit, and a used one with already_consumed", async () => {
    const { use: lost } = await allowed({}, PERMIT, first);
    const { use: used } = await allowed({}, PERMIT, first);
    expect((await consume(used, first)).status).toBe(200);
    await redis.admin.flushall();
    expect(await consume(lost, first)).toMatchObject({
      status: 404,
      body: { code: "unknown_permit", outcome: "deny" },
    });
    expect(await verify(lost, first)).toMatchObject({ status: 404, body: { code: "unknown_permit" } });
    expect(await consume(used, first)).toMatchObject({ status: 409, body: { code: "already_consumed" } });
    expect(await verify(used, first)).toMatchObject({ status: 409, body: { code: "already_consumed" } });
    expect((await consume(used, second)).status).not.toBe(200);
  });

  test("refuse to revive a grant from a store that lost it", async () => {
    const proposal = scripted(escalate());
    const decision = await first.grant(proposal);
    await redis.admin.flushall();
    expect((await consume(useOf(proposal, decision), first)).status).not.toBe(200);
    const named = await first.decide(again(proposal, { approval_id: decision.approval.id }));
    expect(named).toMatchObject({ status: 404, body: { code: "approval_not_found" } });
    expect((await first.decide(again(proposal))).body.outcome).toBe("escalate");
  });
});

describe("a store that is put back to an earlier state", () => {
  test("does not make a used permit usable again", async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "holdpoint-data-"));
    let sidecar = await startScripted({ data_dir: dataDir });
    const { use: body } = await allowed({}, PERMIT, sidecar);
    await sidecar.close();
    const names = readdirSync(dataDir).filter((name) => name !== "ledger" && name !== "keys");
    expect(names.length).toBeGreaterThan(0);
    const backup = mkdtempSync(join(tmpdir(), "holdpoint-backup-"));
    for (const name of names) cpSync(join(dataDir, name), join(backup, name), { recursive: true });
    sidecar = await startScripted({ data_dir: dataDir });
    expect((await consume(body, sidecar)).status).toBe(200);
    await sidecar.close();
    for (const name of names) {
      rmSync(join(dataDir, name), { recursive: true });
      cpSync(join(backup, name), join(dataDir, name), { recursive: true });
    }
    sidecar = await startScripted({ data_dir: dataDir });
    expect((await sidecar.sidecar.store.readPermit("default", decoded(body.permit, 1).jti))?.usesLeft).toBe(1);
    expect((await consume(body, sidecar)).body.code).toBe("already_consumed");
    await sidecar.close();
    for (const directory of [dataDir, backup]) rmSync(directory, { recursive: true, force: true });
  });
});

test("KEYS of reviewers are of no use to an executor", async () => {
  const guarded = await startScripted({ auth: "api_key" });
  const { status, body } = await consume({ permit: "x", id: freshId() }, guarded, KEYS.olivia);
  expect(status).toBe(403);
  expect(body).toMatchObject({ code: "forbidden", outcome: "deny" });
  await guarded.close();
});
