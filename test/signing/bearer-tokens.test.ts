/** Tokens that were made to be believed: each is refused, for the reason that it is refused for, and the honest one is not. */
import { createHmac, generateKeyPairSync, sign as signBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { CompactEncrypt } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { BearerRefusal } from "../../src/core/ports.ts";
import { type BearerTokens, createBearerTokens, LEEWAY_SECONDS } from "../../src/signing/bearer-tokens.ts";
import {
  encoded,
  forge,
  type Issuer,
  makeKey,
  mint,
  type SigningKey,
  signature,
  startIssuer,
} from "../support/issuer.ts";
import type { Body } from "../support/sidecar.ts";

const NOW = 1_767_225_600;

const keys = {
  ed: makeKey("EdDSA", "ed"),
  ec: makeKey("ES256", "ec"),
  rsa: makeKey("RS256", "rsa"),
  twin1: makeKey("EdDSA", "twin"),
  twin2: makeKey("EdDSA", "twin"),
  beta: makeKey("EdDSA", "beta"),
} as const;
const eve = makeKey("EdDSA", "eve");

/** 1024 bits: too few for RS256. */
const short = { alg: "RS256", ...generateKeyPairSync("rsa", { modulusLength: 1024 }) } as const;

let acme: Issuer;
let beta: Issuer;
let tokens: BearerTokens;
let now = NOW;

beforeAll(async () => {
  acme = await startIssuer({ key: keys.ed });
  const weak: SigningKey = {
    ...keys.rsa,
    kid: "short",
    jwk: { ...short.publicKey.export({ format: "jwk" }), kid: "short" },
  };
  const empty: SigningKey = { ...keys.rsa, kid: "empty", jwk: { ...keys.rsa.jwk, kid: "empty", n: "" } };
  acme.publish(keys.ed, keys.ec, keys.rsa, keys.twin1, keys.twin2, weak, empty);
  beta = await startIssuer({ key: keys.beta });
  const audiences = ["holdpoint", "urn:holdpoint"];
  const algorithms = ["RS256", "ES256", "EdDSA"];
  tokens = createBearerTokens(
    [
      { name: "acme", issuer: "https://acme.test", audiences, jwks: acme.jwksUrl, algorithms },
      { name: "acme-ops", issuer: "https://acme.test", audiences: ["ops"], jwks: acme.jwksUrl, algorithms: ["EdDSA"] },
      { name: "sibling", issuer: "https://sibling.test", audiences: ["sibling"], jwks: acme.jwksUrl, algorithms },
      { name: "beta", issuer: "https://beta.test", audiences, jwks: beta.jwksUrl, algorithms },
      { name: "pss", issuer: "https://pss.test", audiences, jwks: acme.jwksUrl, algorithms: ["RS256", "PS256"] },
    ],
    { nowMs: () => now * 1000, jwks: { nowMs: () => 0 } },
  );
});
afterAll(async () => {
  await acme.close();
  await beta.close();
});

const claims = (changes: Body = {}): Body => ({
  iss: "https://acme.test",
  aud: "holdpoint",
  sub: "alice",
  iat: NOW,
  exp: NOW + 300,
  ...changes,
});
const head = (changes: Body = {}): Body => ({ alg: "EdDSA", kid: "ed", typ: "JWT", ...changes });
const good = (changes: Body = {}, header: Body = {}) => mint(keys.ed, claims(changes), header);

/** A member with `undefined` is left out. */
const forged = (header: Body = {}, payload: Body = {}, key: Pick<SigningKey, "alg" | "privateKey"> = keys.ed) =>
  forge(key, head(header), claims(payload));

async function expectRefused(token: string, reason: BearerRefusal): Promise<void> {
  const answer = await tokens.verify(token);
  expect(answer).toMatchObject({ kind: "refused", reason, message: expect.any(String) });
}

type Made = string | Promise<string>;

describe("verify() takes", () => {
  test.each<[string, () => Made, string]>([
    ["Ed25519", () => good(), "acme"],
    ["ES256", () => mint(keys.ec, claims()), "acme"],
    ["RS256", () => mint(keys.rsa, claims()), "acme"],
    ["a second audience", () => good({ aud: "urn:holdpoint" }), "acme"],
    ["its audience among others", () => good({ aud: ["x", "holdpoint", "y"] }), "acme"],
    ["the issuer's other audience, under its other name", () => good({ aud: "ops" }), "acme-ops"],
    ["another issuer with the same keys", () => good({ iss: "https://sibling.test", aud: "sibling" }), "sibling"],
    ["another issuer", () => mint(keys.beta, claims({ iss: "https://beta.test" })), "beta"],
    ["no typ", () => forged({ typ: undefined }), "acme"],
    ...["jwt", "Jwt", "at+jwt", "AT+JWT", "application/jwt", "application/at+jwt"].map(
      (typ): [string, () => Made, string] => [`typ ${typ}`, () => forged({ typ }), "acme"],
    ),
    ["an nbf at the leeway", () => good({ nbf: NOW + LEEWAY_SECONDS }), "acme"],
    ["an exp within the leeway", () => good({ exp: NOW - LEEWAY_SECONDS + 1 }), "acme"],
    ["an exp that is no integer", () => good({ exp: NOW + 0.5 }), "acme"],
    ["an exp far away", () => good({ exp: 253_402_300_799 }), "acme"],
    ["header members that it does not know", () => forged({ cty: "x", foo: { bar: [1] } }), "acme"],
  ])("%s", async (_, make, issuer) => {
    expect(await tokens.verify(await make())).toMatchObject({ kind: "verified", issuer, claims: { sub: "alice" } });
  });
});

describe("verify() refuses a signature", () => {
  test("by another key of the same name", async () => {
    await expectRefused(await mint(makeKey("EdDSA", "ed"), claims()), "bad_signature");
    await expectRefused(await mint(makeKey("ES256", "ec"), claims()), "bad_signature");
    await expectRefused(await mint(makeKey("RS256", "rsa"), claims()), "bad_signature");
  });

  test.each<[string, (token: string) => string]>([
    ["that is empty", (token) => token.replace(/[^.]*$/, "")],
    ["that is cut short", (token) => token.slice(0, -4)],
    ["that goes on", (token) => `${token}AAAA`],
    ["with one bit changed", (token) => `${token.slice(0, -10)}${token.at(-10) === "A" ? "B" : "A"}${token.slice(-9)}`],
    ["of zeros", (token) => token.replace(/[^.]*$/, "A".repeat(86))],
    ["of another token", (token) => token.replace(/[^.]*$/, forged({}, { jti: "x" }).split(".")[2]!)],
    [
      "over other claims",
      (token) => [token.split(".")[0], encoded(claims({ sub: "root" })), token.split(".")[2]].join("."),
    ],
    ["over another header", (token) => [encoded(head({ typ: "at+jwt" })), ...token.split(".").slice(1)].join(".")],
  ])("%s", async (_, spoil) => {
    for (const token of [
      forged(),
      forged({ alg: "ES256", kid: "ec" }, {}, keys.ec),
      forged({ alg: "RS256", kid: "rsa" }, {}, keys.rsa),
    ]) {
      const answer = await tokens.verify(spoil(token));
      expect(answer).toMatchObject({ kind: "refused", reason: expect.stringMatching(/^(bad_signature|malformed)$/) });
    }
  });

  test("by ECDSA in DER, or of r and s zero", async () => {
    const input = `${encoded(head({ alg: "ES256", kid: "ec" }))}.${encoded(claims())}`;
    const der = signBytes("sha256", Buffer.from(input), keys.ec.privateKey);
    await expectRefused(`${input}.${der.toString("base64url")}`, "bad_signature");
    await expectRefused(`${input}.${Buffer.alloc(64).toString("base64url")}`, "bad_signature");
  });

  test("by a key with too few bits, or none", async () => {
    await expectRefused(forged({ alg: "RS256", kid: "short" }, {}, short), "malformed");
    await expectRefused(forged({ alg: "RS256", kid: "empty" }, {}, keys.rsa), "malformed");
  });

  test("by RSA-PSS where PKCS#1 is meant, and the other way round", async () => {
    const pss = { ...keys.rsa, alg: "PS256" } as const;
    await expectRefused(forged({ alg: "RS256", kid: "rsa" }, {}, pss), "bad_signature");
    await expectRefused(forged({ alg: "PS256", kid: "rsa" }, {}, pss), "algorithm_not_allowed");
    // The issuer's set says that this key is for RS256, whatever the configuration permits.
    await expectRefused(forged({ alg: "PS256", kid: "rsa" }, { iss: "https://pss.test" }, pss), "unknown_key");
  });

  test.each([
    "none",
    "None",
    "NONE",
    "nOnE",
    "none ",
    "",
    "HS256",
    "HS384",
    "HS512",
    "hs256",
    "eddsa",
    "rs256",
    "ES256K",
    "ML-DSA-44",
    "dir",
    "RSA1_5",
  ])("by the algorithm %j", async (alg) => {
    const unsigned = `${encoded(head({ alg }))}.${encoded(claims())}.`;
    await expectRefused(unsigned, "algorithm_not_allowed");
    await expectRefused(`${unsigned}${encoded("x")}`, "algorithm_not_allowed");
    await expectRefused(forged({ alg }), "algorithm_not_allowed");
  });

  test.each([[null], [undefined], [0], [true], [["EdDSA"]], [{ alg: "EdDSA" }]])(
    "by the algorithm %j, which is no text",
    async (alg) => {
      await expectRefused(forged({ alg }), "algorithm_not_allowed");
    },
  );

  test("by HMAC under anything that is public", async () => {
    const { publicKey, jwk } = keys.rsa;
    const pem = publicKey.export({ format: "pem", type: "spki" }).toString();
    const secrets: (string | Buffer)[] = [
      pem,
      pem.trim(),
      publicKey.export({ format: "pem", type: "pkcs1" }).toString(),
      publicKey.export({ format: "der", type: "spki" }),
      JSON.stringify(jwk),
      JSON.stringify({ keys: [jwk] }),
      jwk.n!,
      Buffer.from(jwk.n!, "base64url"),
      keys.ed.jwk.x!,
      Buffer.from(keys.ed.jwk.x!, "base64url"),
      "",
    ];
    for (const [alg, hash] of [
      ["HS256", "sha256"],
      ["HS512", "sha512"],
      ["RS256", "sha256"],
      ["EdDSA", "sha512"],
    ] as const) {
      for (const kid of ["rsa", "ed"]) {
        const input = `${encoded(head({ alg, kid }))}.${encoded(claims())}`;
        for (const secret of secrets) {
          const answer = await tokens.verify(`${input}.${createHmac(hash, secret).update(input).digest("base64url")}`);
          expect(answer.kind).toBe("refused");
        }
      }
    }
  });

  test("by an algorithm that this name of the issuer does not take", async () => {
    await expectRefused(await mint(keys.ec, claims({ aud: "ops" })), "algorithm_not_allowed");
  });
});

describe("verify() looks for a key where it is configured", () => {
  test.each<[string, unknown, BearerRefusal]>([
    ["an unknown name", "nobody", "unknown_key"],
    ["an empty name", "", "unknown_key"],
    ["a path", "../../../../proc/self/environ", "unknown_key"],
    ["a file", "/dev/null", "unknown_key"],
    ["SQL", "ed' UNION SELECT 'AAAA' --", "unknown_key"],
    ["a URL", "http://127.0.0.1/jwks", "unknown_key"],
    ["__proto__", "__proto__", "unknown_key"],
    ["constructor", "constructor", "unknown_key"],
    ["a name with NUL", "ed\u0000", "unknown_key"],
    ["a name in other case", "ED", "unknown_key"],
    ["null", null, "unknown_key"],
    ["a number", 0, "unknown_key"],
    ["a list", ["ed"], "unknown_key"],
    ["an object", { ed: 1 }, "unknown_key"],
    ["a long name", "x".repeat(4_000), "unknown_key"],
    ["a name that two keys have", "twin", "unknown_key"],
    ["nothing, where several fit", undefined, "unknown_key"],
    ["a key of another kind", "rsa", "unknown_key"],
  ])("and not by %s as kid", async (_, kid, reason) => {
    await expectRefused(forged({ kid }), reason);
    await expectRefused(forged({ kid }, {}, kid === "twin" ? keys.twin1 : eve), reason);
  });

  test("and never where the token says: no key in it is used, and no address in it is asked", async () => {
    const asked: string[] = [];
    const server = createServer((request, response) => {
      asked.push(request.url!);
      response.end(JSON.stringify({ keys: [eve.jwk] }));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const x5c = [eve.publicKey.export({ format: "der", type: "spki" }).toString("base64")];
    const injected: Body[] = [
      { jwk: eve.jwk },
      { jwk: { ...eve.jwk, kid: "ed" } },
      { jku: `${url}/jku` },
      { jku: `${acme.url}/../jku` },
      { x5u: `${url}/x5u` },
      { x5c },
      { x5t: "AAAA", "x5t#S256": "AAAA" },
      { jwk: eve.jwk, jku: `${url}/jku`, x5u: `${url}/x5u`, x5c },
    ];
    for (const header of injected) {
      await expectRefused(forged(header, {}, eve), "bad_signature");
      await expectRefused(forged({ ...header, kid: "eve" }, {}, eve), "unknown_key");
      await expectRefused(forged({ ...header, kid: undefined }, {}, eve), "unknown_key");
      // Beside an honest signature they mean nothing.
      expect((await tokens.verify(forged(header))).kind).toBe("verified");
    }
    await expectRefused(forged({ kid: `${url}/kid` }, { iss: url }, eve), "unknown_issuer");
    expect(asked).toEqual([]);
    expect(new Set(acme.paths())).toEqual(new Set(["/jwks"]));
    server.close();
  });

  test("which is that of the issuer that the token names", async () => {
    await expectRefused(await mint(keys.ed, claims({ iss: "https://beta.test" })), "unknown_key");
    await expectRefused(await mint({ ...keys.ed, kid: "beta" }, claims({ iss: "https://beta.test" })), "bad_signature");
    await expectRefused(await mint(keys.beta, claims()), "unknown_key");
    await expectRefused(await mint({ ...keys.beta, kid: "ed" }, claims()), "bad_signature");
  });

  test("and asks the issuer no more than once per cool-down, whatever was tried", () => {
    expect(acme.fetches()).toBeLessThanOrEqual(1);
    expect(beta.fetches()).toBeLessThanOrEqual(1);
  });
});

describe("verify() refuses extensions", () => {
  test.each<[string, Body]>([
    ["that it does not know", { crit: ["urn:unknown"], "urn:unknown": 1 }],
    ["that it knows as something else", { crit: ["exp"], exp: NOW + 300 }],
    ["that are not there", { crit: ["urn:unknown"] }],
    ["of none", { crit: [] }],
    ["that are no list", { crit: "alg" }],
    ["with null", { crit: null }],
    ["named by the standard itself", { crit: ["alg"] }],
    ["twice", { crit: ["b64", "b64"], b64: true }],
    ["among which one is unknown", { crit: ["b64", "x"], b64: true, x: 1 }],
  ])("%s", async (_, header) => {
    await expectRefused(forged(header), "malformed");
  });

  test("an unencoded payload, which is signed as other bytes than are read", async () => {
    const header = head({ b64: false, crit: ["b64"] });
    await expectRefused(forge(keys.ed, header, claims()), "malformed");
    const input = `${encoded(header)}.${JSON.stringify(claims())}`;
    await expectRefused(`${input}.${signature(keys.ed, input).toString("base64url")}`, "malformed");
    await expectRefused(forged({ b64: false }), "malformed");
  });
});

describe("verify() refuses a type", () => {
  test.each([
    "holdpoint-permit+jwt",
    "application/holdpoint-permit+jwt",
    "Holdpoint-Permit+JWT",
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "JOSE",
    "JWE",
    "JWT ",
    "JW\u0422",
    "application/json",
    "text/jwt",
    "",
  ])("%j", async (typ) => {
    await expectRefused(forged({ typ }), "wrong_type");
  });

  test.each([[null], [5], [true], [["JWT"]], [{}]])("%j, which is no text, without falling over it", async (typ) => {
    await expectRefused(forged({ typ }), "wrong_type");
  });
});

describe("verify() refuses times", () => {
  test.each<[string, Body, BearerRefusal]>([
    ["over at the leeway", { exp: NOW - LEEWAY_SECONDS }, "expired"],
    ["over past the leeway", { exp: NOW - LEEWAY_SECONDS - 1 }, "expired"],
    ["over at the epoch", { exp: 0 }, "expired"],
    ["over before the epoch", { exp: -1 }, "expired"],
    ["far before the epoch", { exp: -1e300 }, "expired"],
    ["without end", { exp: undefined }, "claims_invalid"],
    ["whose end is a text", { exp: String(NOW + 300) }, "claims_invalid"],
    ["whose end is null", { exp: null }, "claims_invalid"],
    ["whose end is true", { exp: true }, "claims_invalid"],
    ["whose end is a list", { exp: [NOW + 300] }, "claims_invalid"],
    ["whose end is an object", { exp: { valueOf: NOW + 300 } }, "claims_invalid"],
    ["that begin past the leeway", { nbf: NOW + LEEWAY_SECONDS + 1 }, "not_yet_valid"],
    ["that begin at a text", { nbf: "0" }, "claims_invalid"],
    ["that begin at null", { nbf: null }, "claims_invalid"],
    ["of a token made at a text", { iat: "0" }, "claims_invalid"],
    ["that end before they begin", { exp: NOW - 60, nbf: NOW + 60 }, "not_yet_valid"],
  ])("%s", async (_, changes, reason) => {
    await expectRefused(forged({}, changes), reason);
  });

  test.each(["1e400", "-1e400", "9007199254740993", "NaN", "Infinity", "0x7fffffff", "01893456000", "+1893456000"])(
    "that end at %s, which readers disagree on",
    async (text) => {
      await expectRefused(forge(keys.ed, head(), JSON.stringify(claims({ exp: 42 })).replace("42", text)), "malformed");
    },
  );

  test("as its clock goes on", async () => {
    const token = await good();
    try {
      now = NOW + 300 + LEEWAY_SECONDS - 1;
      expect((await tokens.verify(token)).kind).toBe("verified");
      now += 1;
      await expectRefused(token, "expired");
    } finally {
      now = NOW;
    }
  });
});

describe("verify() refuses an audience", () => {
  test.each([
    ["other"],
    ["holdpoint "],
    ["Holdpoint"],
    ["holdpoint/"],
    ["holdpoint other"],
    ["holdpoint,other"],
    ["sibling"],
    [""],
    ["*"],
    [null],
    [undefined],
    [5],
    [[]],
    [["other"]],
    [[["holdpoint"]]],
    [{ holdpoint: true }],
    [{ 0: "holdpoint", length: 1 }],
  ])("%j", async (aud) => {
    await expectRefused(forged({}, { aud }), "wrong_audience");
  });

  test("of another issuer that has the same keys", async () => {
    await expectRefused(await good({ iss: "https://sibling.test" }), "wrong_audience");
    await expectRefused(await good({ aud: "sibling" }), "wrong_audience");
  });
});

describe("verify() refuses an issuer", () => {
  test.each([
    ["https://acme.test/"],
    ["https://ACME.test"],
    ["HTTPS://acme.test"],
    ["http://acme.test"],
    ["https://acme.test."],
    ["https://acme.test:443"],
    ["https://acme.test#"],
    ["https://acme.test.evil.test"],
    [" https://acme.test"],
    ["https://acm\u0435.test"],
    ["acme"],
    ["holdpoint"],
    [""],
    [null],
    [undefined],
    [5],
    [["https://acme.test"]],
    [{ iss: "https://acme.test" }],
  ])("%j", async (iss) => {
    await expectRefused(forged({}, { iss }), "unknown_issuer");
  });
});

describe("verify() refuses a text", () => {
  const payload = JSON.stringify(claims());
  const header = JSON.stringify(head());
  const swapped = (text: string, from: string, to: string) => {
    expect(text).toContain(from);
    return text.replace(from, to);
  };

  test.each<[string, string, string]>([
    ["an issuer twice", header, swapped(payload, "{", '{"iss":"https://evil.test",')],
    ["a subject twice", header, swapped(payload, "{", '{"sub":"root",')],
    ["a subject twice, once escaped", header, swapped(payload, "{", '{"\\u0073ub":"root",')],
    ["an end twice", header, swapped(payload, "{", '{"exp":1,')],
    ["an algorithm twice", swapped(header, "{", '{"alg":"none",'), payload],
    ["a kid twice, once escaped", swapped(header, "{", '{"ki\\u0064":"eve",'), payload],
    ["a type twice", swapped(header, "{", '{"typ":"holdpoint-permit+jwt",'), payload],
    ["a claim twice far inside", header, swapped(payload, "{", '{"x":[{"roles":1,"roles":2}],')],
    ["half a surrogate", header, swapped(payload, "alice", "alice\\ud800")],
    ["a byte order mark", header, `\ufeff${payload}`],
    ["a comment", header, `${payload}//`],
    ["something after the claims", header, `${payload}{}`],
    ["something after the header", `${header}{}`, payload],
    ["claims in single quotes", header, payload.replaceAll('"', "'")],
    ["claims nested deeply", header, swapped(payload, "{", `{"x":${"[".repeat(32)}${"]".repeat(32)},`)],
    ["a header nested deeply", swapped(header, "{", `{"x":${"[".repeat(32)}${"]".repeat(32)},`), payload],
    ["claims that are a list", header, `[${payload}]`],
    ["claims that are a text", header, JSON.stringify(payload)],
    ["claims that are null", header, "null"],
    ["no claims", header, ""],
    ["a header that is a list", `[${header}]`, payload],
    ["a header that is null", "null", payload],
    ["a token inside a token", JSON.stringify(head({ cty: "JWT" })), forged()],
  ])("with %s, though its signature holds", async (_, first, second) => {
    await expectRefused(forge(keys.ed, first, second), "malformed");
  });

  test("that is ill-formed UTF-8, though its signature holds", async () => {
    const bytes = Buffer.from(payload);
    bytes[bytes.indexOf("alice")] = 0xff;
    await expectRefused(forge(keys.ed, header, bytes), "malformed");
  });

  test("nested to the limit, not", async () => {
    const deep = swapped(payload, "{", `{"x":${"[".repeat(31)}${"]".repeat(31)},`);
    expect((await tokens.verify(forge(keys.ed, header, deep))).kind).toBe("verified");
  });

  test.each([
    "",
    ".",
    "..",
    "...",
    "x",
    "x.y",
    "x.y.z",
    "e30.e30.",
    "e30..e30",
    ".e30.e30",
    "bnVsbA.bnVsbA.",
    "a".repeat(8_192),
    `${".".repeat(8_000)}`,
  ])("like %j", async (text) => {
    const answer = await tokens.verify(text);
    expect(answer.kind).toBe("refused");
  });

  test("of two parts, four, or five", async () => {
    const token = forged();
    const [first, second, third] = token.split(".");
    await expectRefused(`${first}.${second}`, "malformed");
    await expectRefused(`${token}.`, "malformed");
    await expectRefused(`${token}.${third}`, "malformed");
    await expectRefused(`${first}.${second}.${third}.${first}.${second}`, "malformed");
    const jwe = await new CompactEncrypt(Buffer.from(token))
      .setProtectedHeader({ alg: "RSA-OAEP-256", enc: "A256GCM", kid: "rsa", cty: "JWT" })
      .encrypt(keys.rsa.publicKey);
    await expectRefused(jwe, "malformed");
  });

  test.each<[string, (token: string) => string]>([
    ["with white space before", (token) => ` ${token}`],
    ["with white space after", (token) => `${token}\n`],
    ["with white space inside", (token) => token.replace(".", ".\n")],
    ["with padding", (token) => token.replace(".", "=.")],
    ["with a character that means nothing", (token) => token.replace(".", "!.")],
    ["with one character too many", (token) => `A${token}`],
    ["with a character too many in the payload", (token) => token.replace(".", ".A")],
  ])("%s, without falling over it", async (_, spoil) => {
    const answer = await tokens.verify(spoil(forged()));
    expect(answer.kind).toBe("refused");
  });

  test("cut anywhere, or with any character of it changed", async () => {
    const token = forged();
    for (let index = 0; index < token.length; index += 1) {
      expect((await tokens.verify(token.slice(0, index))).kind).toBe("refused");
    }
    // The last character of the signature holds four bits that no byte is made of.
    for (let index = 0; index < token.length - 1; index += 1) {
      const other = token[index] === "A" ? "B" : "A";
      const answer = await tokens.verify(`${token.slice(0, index)}${other}${token.slice(index + 1)}`);
      expect(answer.kind).toBe("refused");
    }
  });
});

describe("createBearerTokens() after another configuration", () => {
  test("keeps the keys of an issuer that stays, and forgets those of one that went", async () => {
    const issuer = await startIssuer();
    const of = (name: string, jwks = issuer.jwksUrl) => ({
      name,
      issuer: issuer.url,
      audiences: ["holdpoint"],
      jwks,
      algorithms: ["EdDSA"],
    });
    const first = createBearerTokens([of("first")], { nowMs: Date.now });
    const token = await issuer.token();
    expect(await first.verify(token)).toMatchObject({ kind: "verified", issuer: "first" });
    await issuer.close();
    const second = createBearerTokens([of("second")], { nowMs: Date.now, before: first });
    expect(await second.verify(token)).toMatchObject({ kind: "verified", issuer: "second" });
    const moved = createBearerTokens([of("moved", `${issuer.url}/moved`)], { nowMs: Date.now, before: second });
    await expect(moved.verify(token)).rejects.toMatchObject({ code: "identity_unavailable" });
    const failed = await moved.refresh();
    expect([...failed.keys()]).toEqual(["moved"]);
    const none = createBearerTokens([], { nowMs: Date.now, before: second });
    expect(none.sources.size).toBe(0);
    expect(await none.verify(token)).toMatchObject({ kind: "refused", reason: "unknown_issuer" });
  });
});
