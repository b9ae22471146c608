/** JWTs of callers and reviewers: what their claims permit, who they are, and what of it is in the record. */
import { createPrivateKey } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jwtIssuerSchema } from "../../src/config/settings.ts";
import { createJwtCredentials, type FindJwt } from "../../src/http/jwt-credentials.ts";
import { createBearerTokens } from "../../src/signing/bearer-tokens.ts";
import { forge, type Issuer, makeKey, startIssuer } from "../support/issuer.ts";
import { useOf } from "../support/proposals.ts";
import { ALLOW, again, escalate, PERMIT, type ScriptedSidecar, scripted, startScripted } from "../support/scripted.ts";
import { API_KEYS, type Body, KEYS } from "../support/sidecar.ts";

/** Agents, people, other people, and a directory for several tenants. */
let agents: Issuer;
let people: Issuer;
let guests: Issuer;
let shared: Issuer;
let holdpoint: ScriptedSidecar;

const issuers = (): Body[] => [
  {
    name: "agents",
    issuer: agents.url,
    audiences: ["holdpoint"],
    jwks: agents.jwksUrl,
    scopes: ["decide"],
    type: "agent",
    roles: ["operator", "reader"],
    roles_claim: "roles",
    actors_claim: "/hp/actors",
    on_behalf_of: ["alice", "bob"],
    on_behalf_of_claim: "obo",
  },
  {
    name: "free",
    issuer: agents.url,
    audiences: ["free"],
    jwks: agents.jwksUrl,
    scopes: ["decide"],
    roles: "*",
    actors: "*",
    on_behalf_of: "*",
  },
  { name: "plain", issuer: agents.url, audiences: ["plain"], jwks: agents.jwksUrl, scopes: ["decide"] },
  {
    name: "people",
    issuer: people.url,
    audiences: ["holdpoint"],
    jwks: people.jwksUrl,
    scopes: ["review", "operate", "decide"],
    scopes_claim: "scope",
    type: "human",
    roles: ["ops_operator", "auditor"],
    roles_claim: "/realm_access/roles",
  },
  {
    name: "guests",
    issuer: guests.url,
    audiences: ["holdpoint"],
    jwks: guests.jwksUrl,
    scopes: ["review"],
    type: "human",
    roles: ["ops_operator"],
  },
  {
    name: "mail",
    issuer: guests.url,
    audiences: ["mail"],
    jwks: guests.jwksUrl,
    scopes: ["review"],
    roles: ["ops_operator"],
    id_claim: "/profile/https:~1~1acme.test~1mail~0x",
  },
  {
    name: "shared",
    issuer: shared.url,
    audiences: ["holdpoint"],
    jwks: shared.jwksUrl,
    scopes: ["decide", "review", "operate"],
    tenant_claim: "org",
    tenants: ["default", "other"],
    roles: "*",
    roles_claim: "roles",
    actors: "*",
    on_behalf_of: "*",
  },
];

/** The same issuers as one function from a token to what it permits, on a clock of the test's own. */
function finder(): { readonly find: FindJwt; pass(ms: number): void; nowMs(): number; refresh(): Promise<unknown> } {
  let now = Date.now();
  const records = issuers().map((issuer) => jwtIssuerSchema.parse(issuer));
  const tokens = createBearerTokens(records, { nowMs: () => now, jwks: { nowMs: () => now } });
  return {
    find: createJwtCredentials(tokens, records, () => now),
    pass: (ms) => {
      now += ms;
    },
    nowMs: () => now,
    refresh: tokens.refresh,
  };
}

beforeAll(async () => {
  [agents, people, guests, shared] = await Promise.all([startIssuer(), startIssuer(), startIssuer(), startIssuer()]);
  holdpoint = await startScripted({
    auth: "api_key,jwt",
    admin_auth: "api_key,jwt",
    api_keys: API_KEYS,
    jwt_issuers: issuers(),
  });
});
afterAll(async () => {
  await holdpoint.close();
  await Promise.all([agents, people, guests, shared].map((issuer) => issuer.close()));
});

const agentToken = (claims: Body = {}) =>
  agents.token({ sub: "bot-7", hp: { actors: ["support-agent"] }, roles: ["operator"], obo: "alice", ...claims });
const freeToken = (sub: string) => agents.token({ aud: "free", sub });
const personToken = (sub: string, claims: Body = {}) =>
  people.token({ sub, scope: "openid review operate", realm_access: { roles: ["ops_operator"] }, ...claims });
const guestToken = (sub: string) => guests.token({ sub });

const admin = (path: string, key: string) => holdpoint.send({ port: "admin", path, key });

async function knownOf(find: FindJwt, token: Promise<string>) {
  const answer = await find(await token);
  if (answer.kind !== "known") throw new Error(`${answer.reason}: ${answer.message}`);
  return answer.credential;
}

describe("claims of a JWT", () => {
  const INVISIBLE: [string, unknown][] = [
    ["empty", ""],
    ["a space", "a b"],
    ["a space at its end", "alice "],
    ["a tab", "a\tb"],
    ["a line break", "a\nb"],
    ["NUL", "alice\u0000"],
    ["a right-to-left override", "alice\u202egnp"],
    ["a right-to-left isolate", "\u2067alice"],
    ["a zero-width space", "al\u200bice"],
    ["a zero-width joiner", "al\u200dice"],
    ["a soft hyphen", "al\u00adice"],
    ["a byte order mark", "\ufeffalice"],
    ["a line separator", "alice\u2028"],
    ["a no-break space", "alice\u00a0"],
    ["a tag character", "alice\u{e0041}"],
    ["braces", "{alice}"],
    ["257 characters", "x".repeat(257)],
  ];

  test.each<[string, unknown]>([
    ...INVISIBLE,
    ["absent", undefined],
    ["null", null],
    ["a number", 5],
    ["true", true],
    ["a list", ["alice"]],
    ["an object", { id: "alice" }],
  ])("with a sub that is or has %s are refused", async (_, sub) => {
    const { find } = finder();
    // As another issuer would have written it: a member that JSON leaves out.
    const token = forge(guests.key(), { alg: "EdDSA", kid: guests.key().kid }, { ...(await base(guests)), sub });
    expect(await find(token)).toMatchObject({ kind: "refused", reason: "claims_invalid" });
  });

  test.each([
    "x",
    "x".repeat(256),
    "Zoë",
    "user@acme.test",
    "auth0|5f7c",
    "*",
    "any",
    "__proto__",
    "constructor",
    "\u{1f600}",
  ])("with the sub %j name whoever it is", async (sub) => {
    const { find } = finder();
    expect((await knownOf(find, guestToken(sub))).reviewer).toMatchObject({ id: sub, issuer: "guests" });
  });

  test.each<[string, Body]>([
    ["absent", {}],
    ["null", { profile: null }],
    ["a list", { profile: [{ "https://acme.test/mail~x": "z" }] }],
    ["by the pointer's last part alone", { "https://acme.test/mail~x": "z" }],
    ["inherited", { profile: {} }],
    ["under an unescaped name", { profile: { "https:~1~1acme.test~1mail~0x": "z" } }],
    ["in parts", { profile: { "https:": { "": { "acme.test": { "mail~x": "z" } } } } }],
  ])("with an id claim inside that is %s are refused", async (_, claims) => {
    const { find } = finder();
    const token = await guests.token({ aud: "mail", sub: "alice", ...claims });
    expect(await find(token)).toMatchObject({ kind: "refused", reason: "claims_invalid" });
  });

  test("are found by a JSON Pointer, or under the pointer as a name", async () => {
    const { find } = finder();
    const inside = guests.token({ aud: "mail", sub: "x", profile: { "https://acme.test/mail~x": "zoe@acme.test" } });
    expect((await knownOf(find, inside)).reviewer.id).toBe("zoe@acme.test");
    const named = guests.token({ aud: "mail", "/profile/https:~1~1acme.test~1mail~0x": "ann@acme.test" });
    expect((await knownOf(find, named)).reviewer.id).toBe("ann@acme.test");
  });

  test.each<[unknown, string[]]>([
    ["review", ["review"]],
    ["review operate", ["review", "operate"]],
    [" review  openid review profile ", ["review", "review"]],
    [
      ["review", "decide"],
      ["review", "decide"],
    ],
    [["admin", "root", "*", "any"], []],
    ["", []],
    [undefined, []],
    [null, []],
    ["REVIEW Decide", []],
    ["review,decide", []],
  ])("with the scopes %j give those of them that are configured", async (scope, expected) => {
    const { find } = finder();
    const { scopes } = await knownOf(find, personToken("rita", { scope }));
    expect([...scopes].sort()).toEqual([...new Set(expected)].sort());
  });

  test("cannot give a scope that the issuer has not", async () => {
    const { find } = finder();
    const all = ["decide", "review", "operate"];
    for (const aud of ["holdpoint", "free", "plain"]) {
      const token = agents.token({ aud, sub: "bot", scope: all, scopes: all, roles: [], hp: { actors: [] } });
      expect([...(await knownOf(find, token)).scopes]).toEqual(["decide"]);
    }
    const guest = guests.token({ sub: "gus", scope: all });
    expect([...(await knownOf(find, guest)).scopes]).toEqual(["review"]);
  });

  test("narrow roles, actors and principals, and widen none of them", async () => {
    const { find } = finder();
    const { caller } = await knownOf(
      find,
      agentToken({ roles: ["reader", "admin", "ops_operator"], hp: { actors: ["a1", "*"] }, obo: "alice mallory bob" }),
    );
    expect(caller.roles).toEqual(new Set(["reader"]));
    expect(caller.actors).toEqual(new Set(["a1", "*"]));
    expect(caller.onBehalfOf).toEqual(new Set(["alice", "bob"]));
    const nothing = await knownOf(find, agentToken({ roles: undefined, hp: undefined, obo: null }));
    expect(nothing.caller).toMatchObject({ roles: new Set(), actors: new Set(), onBehalfOf: new Set() });
    const person = await knownOf(find, personToken("rita", { realm_access: { roles: ["root", "auditor"] } }));
    expect(person.reviewer.roles).toEqual(["auditor"]);
    expect(
      (await knownOf(find, personToken("rita", { roles: ["ops_operator"], realm_access: {} }))).reviewer.roles,
    ).toEqual([]);
  });

  test("that are not asked for mean nothing", async () => {
    const { find } = finder();
    const extra = {
      roles: ["root"],
      actors: ["root"],
      tenant: "other",
      org: "other",
      act: { sub: "root" },
      scope: "review",
    };
    const { tenant, caller } = await knownOf(find, agents.token({ aud: "plain", sub: "bot", ...extra }));
    expect(tenant).toBe("default");
    expect(caller).toMatchObject({ actors: new Set(["bot"]), roles: new Set(), onBehalfOf: new Set() });
  });

  test.each<[string, Body]>([
    ["roles that are a number", { roles: 5 }],
    ["roles that are an object", { roles: { operator: true } }],
    ["roles that are true", { roles: true }],
    ["a role that is a number", { roles: ["operator", 5] }],
    ["a role that is a list", { roles: [["operator"]] }],
    ["a role that is null", { roles: [null] }],
    ["an empty role", { roles: [""] }],
    ["a role with a space", { roles: ["operator reader"] }],
    ["a role one too long", { roles: ["x".repeat(257)] }],
    ["a role nobody sees whole", { roles: ["operator\u202e"] }],
    ["one role too many to read", { roles: Array.from({ length: 1_001 }, (_, index) => `r${index}`) }],
    ["actors that are an object", { hp: { actors: { id: "a" } } }],
    ["an actor with a line break", { hp: { actors: ["a\nb"] } }],
    ["principals that are a number", { obo: 7 }],
  ])("with %s are refused", async (_, claims) => {
    const { find } = finder();
    expect(await find(await agentToken(claims))).toMatchObject({ kind: "refused", reason: "claims_invalid" });
  });

  test("hold a thousand words, of which 64 roles at most are one's own", async () => {
    const { find } = finder();
    const words = (count: number) => Array.from({ length: count }, (_, index) => `r${index}`);
    const { caller } = await knownOf(find, agentToken({ roles: [...words(999), "reader"] }));
    expect(caller.roles).toEqual(new Set(["reader"]));
    const many = (count: number) => shared.token({ sub: "x", org: "default", roles: words(count) });
    expect((await knownOf(find, many(64))).reviewer.roles).toHaveLength(64);
    expect(await find(await many(65))).toMatchObject({ kind: "refused", reason: "claims_invalid" });
  });

  test.each([
    ["Default"],
    ["third"],
    ["other "],
    [""],
    ["*"],
    [null],
    [undefined],
    [["other"]],
    [{ other: 1 }],
    ["__proto__"],
  ])("cannot name the tenant %j", async (org) => {
    const { find } = finder();
    const token = forge(
      shared.key(),
      { alg: "EdDSA", kid: shared.key().kid },
      { ...(await base(shared)), sub: "x", org },
    );
    expect(await find(token)).toMatchObject({ kind: "refused", reason: "claims_invalid" });
  });

  test("name the tenant, and nothing else of a request does", async () => {
    const token = await shared.token({ sub: "carol", org: "other", roles: ["operator"] });
    const proposal = scripted(escalate(), { actor: { id: "anybody" } });
    const { body } = await holdpoint.decide(proposal, token);
    expect((await admin(`/v1/approvals/${body.approval.id}`, KEYS.otherReviewer)).body.tenant).toBe("other");
    expect((await admin(`/v1/approvals/${body.approval.id}`, KEYS.olivia)).status).toBe(404);
    for (const headers of [{ "x-tenant": "default" }, { "x-holdpoint-tenant": "default" }]) {
      const again_ = await holdpoint.send({ path: "/v1/decisions", body: again(proposal), key: token, headers });
      expect(again_.body.approval.id).toBe(body.approval.id);
    }
  });
});

const base = async (issuer: Issuer): Promise<Body> =>
  JSON.parse(Buffer.from((await issuer.token()).split(".")[1]!, "base64url").toString());

describe("a token that was verified", () => {
  test("counts for a minute after its key is gone from the set, and not a millisecond longer", async () => {
    const key = agents.key();
    const { find, pass, refresh } = finder();
    const token = await agents.token({ aud: "plain", sub: "bot" });
    expect((await find(token)).kind).toBe("known");
    agents.publish(makeKey());
    try {
      await refresh();
      pass(59_999);
      expect((await find(token)).kind).toBe("known");
      pass(1);
      expect(await find(token)).toMatchObject({ kind: "refused", reason: "unknown_key" });
    } finally {
      agents.publish(key);
    }
  });

  test("ends at once where the keys are looked at anew by hand", async () => {
    const issuer = await startIssuer();
    const record = { name: "own", issuer: issuer.url, audiences: ["holdpoint"], jwks: issuer.jwksUrl };
    const sidecar = await startScripted({
      auth: "jwt",
      jwt_issuers: [{ ...record, scopes: ["decide"], actors: "*", roles: "*" }],
    });
    const token = await issuer.token({ sub: "bot" });
    expect((await sidecar.decide(scripted(ALLOW), token)).status).toBe(200);
    issuer.rotate();
    expect((await sidecar.decide(scripted(ALLOW), token)).status).toBe(200);
    await sidecar.sidecar.refreshIdentity();
    expect((await sidecar.decide(scripted(ALLOW), token)).status).toBe(401);
    expect((await sidecar.decide(scripted(ALLOW), await issuer.token({ sub: "bot" }))).status).toBe(200);
    await sidecar.close();
    await issuer.close();
  });

  test("ends with its own end, and is not remembered past it", async () => {
    const { find, pass, nowMs } = finder();
    const token = await agents.token({ aud: "plain", sub: "bot", exp: Math.floor(nowMs() / 1000) + 30 });
    expect((await find(token)).kind).toBe("known");
    pass(34_000);
    expect((await find(token)).kind).toBe("known");
    pass(1_000);
    expect(await find(token)).toMatchObject({ kind: "refused", reason: "expired" });
  });

  test("is looked at again where the clock was set back", async () => {
    const { find, pass, nowMs } = finder();
    const token = await agents.token({ aud: "plain", sub: "bot", nbf: Math.floor(nowMs() / 1000) });
    expect((await find(token)).kind).toBe("known");
    pass(-60_000);
    expect(await find(token)).toMatchObject({ kind: "refused", reason: "not_yet_valid" });
  });

  test("is that text alone", async () => {
    const { find } = finder();
    const token = await agents.token({ aud: "plain", sub: "bot" });
    expect((await find(token)).kind).toBe("known");
    for (const other of [`${token}A`, token.slice(0, -2), token.toUpperCase(), `${token} `, ` ${token}`, `${token}.`])
      expect((await find(other)).kind).toBe("refused");
  });
});

describe("a JWT as bearer", () => {
  const decide = (token: string, scheme = "Bearer") =>
    holdpoint.send({ path: "/v1/decisions", body: scripted(ALLOW), headers: { authorization: `${scheme} ${token}` } });

  /** Padded until the header is this long. */
  async function tokenOf(chars: number): Promise<string> {
    for (let pad = chars; pad > 0; pad -= 1) {
      for (const more of [{}, { x: "" }, { x: "1" }, { x: "12" }]) {
        const length = Math.floor((pad * 3) / 4);
        const token = await agentToken({ pad: "x".repeat(length), ...more });
        if (token.length < chars - 300) throw new Error(`No token of ${chars} characters`);
        if (token.length === chars) return token;
      }
    }
    throw new Error("unreachable");
  }

  test("may make a header of 8,192 characters, and not of one more", async () => {
    const token = await tokenOf(8_192 - "Bearer ".length);
    expect((await decide(token)).status).toBe(200);
    const longer = await tokenOf(8_193 - "Bearer ".length);
    expect(await decide(longer)).toMatchObject({ status: 401, body: { code: "unauthenticated", outcome: "deny" } });
  });

  test("is no permit, and none of what this sidecar's own key signed", async () => {
    const proposal = scripted(PERMIT);
    const { body } = await holdpoint.decide(proposal, await agentToken());
    expect(body.permit).toEqual(expect.any(String));
    expect(await decide(body.permit)).toMatchObject({ status: 401, body: { detail: "A permit is no credential" } });
    const name = readdirSync(holdpoint.config.keys_dir).find((one) => one.endsWith(".json"))!;
    const jwk = JSON.parse(readFileSync(join(holdpoint.config.keys_dir, name), "utf8"));
    const own = { alg: "EdDSA", privateKey: createPrivateKey({ key: jwk, format: "jwk" }) } as const;
    const exp = Math.floor(Date.now() / 1000) + 300;
    for (const iss of ["holdpoint", people.url]) {
      const token = forge(
        own,
        { alg: "EdDSA", kid: jwk.kid },
        { iss, aud: "holdpoint", sub: "olivia", scope: "review", exp },
      );
      expect((await admin("/v1/approvals", token)).status).toBe(401);
    }
    // And its use is not spent by trying.
    const use = await holdpoint.send({
      path: "/v1/permits/consume",
      body: useOf(proposal, body),
      key: await agentToken(),
    });
    expect(use.status).toBe(200);
  });

  test("is refused without a word of itself in the answer, the ledger or the metrics", async () => {
    const token = await agents.token({ sub: "canary-sub", aud: "canary-audience" });
    const answer = await decide(token);
    expect(answer).toMatchObject({ status: 401, body: { code: "unauthenticated", outcome: "deny" } });
    const metrics = await admin("/metrics", KEYS.olivia);
    expect(metrics.text).toContain('holdpoint_credentials_refused_total{port="decision",reason="wrong_audience"}');
    for (const text of [answer.text, JSON.stringify(holdpoint.entries()), metrics.text])
      for (const secret of [token, token.split(".")[2]!, "canary-sub", "canary-audience"])
        expect(text).not.toContain(secret);
  });

  test("has the scopes that it has, at whichever door", async () => {
    const proposer = await agentToken();
    const { body } = await holdpoint.decide(scripted(escalate()), proposer);
    for (const path of ["/v1/approvals", "/v1/policy", "/v1/ledger/entries", `/v1/approvals/${body.approval.id}`])
      expect((await admin(path, proposer)).status).toBe(403);
    for (const verdict of ["grant", "deny", "cancel"])
      expect((await holdpoint.review(body.approval.id, verdict, {}, proposer)).status).toBe(403);
    const operator = await personToken("oscar", { scope: "operate" });
    expect((await admin("/v1/ledger/entries", operator)).status).toBe(200);
    expect((await holdpoint.review(body.approval.id, "grant", {}, operator)).status).toBe(403);
    expect((await decide(operator)).status).toBe(403);
    const nobody = await personToken("nora", { scope: undefined });
    expect((await admin("/v1/approvals", nobody)).status).toBe(403);
    expect((await admin(`/v1/approvals/${body.approval.id}`, KEYS.olivia)).body).toMatchObject({
      status: "pending",
      reviews: [],
    });
  });
});

describe("a reviewer by JWT", () => {
  const open = async (token: string, actor: Body, approval: Body = {}): Promise<Body> => {
    const { body } = await holdpoint.decide(scripted(escalate(approval), { actor }), token);
    expect(body.outcome).toBe("escalate");
    return body.approval;
  };
  const grant = async (id: string, token: string, body: Body = {}) => holdpoint.review(id, "grant", body, token);

  test("grants, and is in the record with its issuer, as the proposer is with its own", async () => {
    const proposal = scripted(escalate());
    const { body: asked } = await holdpoint.decide(proposal, await agentToken());
    const { body } = await grant(asked.approval.id, await personToken("rita"), { reason: "looked at it" });
    expect(body.approval.reviews).toMatchObject([
      { reviewer: { id: "rita", type: "human", roles: ["ops_operator"], issuer: "people" }, authenticated: true },
    ]);
    const { body: done } = await holdpoint.decide(proposal, await agentToken());
    expect(done.outcome).toBe("allow");
    const entries = holdpoint.entries();
    const review = entries.find(
      (one) => one.kind === "approval_reviewed" && one.data.approval.id === asked.approval.id,
    );
    expect(review.data.approval.reviews[0].reviewer).toMatchObject({ id: "rita", issuer: "people" });
    const decision = entries.find((one) => one.decision?.decision_id === done.decision_id);
    expect(decision.caller).toEqual({ authenticated: true, credential: "bot-7", issuer: "agents" });
    expect(decision.reviews[0].reviewer).toMatchObject({ id: "rita", issuer: "people" });
  });

  test.each<[string, { sub: string; actor: Body }, string]>([
    ["the caller", { sub: "zoe", actor: { id: "a1" } }, "zoe"],
    ["the caller in other case", { sub: "zoe", actor: { id: "a1" } }, "ZOE"],
    ["the caller in full width", { sub: "zoe", actor: { id: "a1" } }, "ｚｏｅ"],
    ["the caller, decomposed", { sub: "zoë", actor: { id: "a1" } }, "zoe\u0308"],
    ["the caller, composed and in capitals", { sub: "zoe\u0308", actor: { id: "a1" } }, "ZOË"],
    ["the actor", { sub: "x", actor: { id: "agent-1" } }, "agent-1"],
    ["the actor in other case", { sub: "x", actor: { id: "agent-1" } }, "Agent-1"],
    ["the actor with a ligature", { sub: "x", actor: { id: "ﬁnn" } }, "FINN"],
    ["the actor with a sharp s", { sub: "x", actor: { id: "strauß" } }, "STRAUSS"],
    ["the actor with a final sigma", { sub: "x", actor: { id: "νίκος" } }, "ΝΊΚΟΣ"],
    ["the actor with a Kelvin sign", { sub: "x", actor: { id: "kim" } }, "\u212aim"],
    ["the principal", { sub: "x", actor: { id: "a1", on_behalf_of: { id: "bea" } } }, "bea"],
    ["the principal in other case", { sub: "x", actor: { id: "a1", on_behalf_of: { id: "bea" } } }, "BEA"],
    [
      "the principal behind the principal",
      { sub: "x", actor: { id: "a1", on_behalf_of: { id: "s", on_behalf_of: { id: "bea" } } } },
      "ｂEA",
    ],
  ])("who is %s cannot grant or deny", async (_, { sub, actor }, reviewer) => {
    const { id } = await open(await freeToken(sub), actor);
    for (const token of [await personToken(reviewer), await guestToken(reviewer)]) {
      for (const verdict of ["grant", "deny"])
        expect(await holdpoint.review(id, verdict, {}, token)).toMatchObject({
          status: 403,
          body: { code: "self_approval" },
        });
      const other = await grant(id, token, { actor: { id: "somebody-else" } });
      expect(other).toMatchObject({ status: 403, body: { code: "forbidden", pointer: "/actor" } });
    }
    expect((await admin(`/v1/approvals/${id}`, KEYS.olivia)).body).toMatchObject({ status: "pending", reviews: [] });
  });

  test("and one by API key of the same name are one person, whoever of them proposes", async () => {
    const byJwt = await open(await freeToken("olivia"), { id: "a1" });
    expect(await holdpoint.review(byJwt.id, "grant")).toMatchObject({ status: 403, body: { code: "self_approval" } });
    const byKey = await open(KEYS.bot, { id: "support-agent" });
    for (const sub of ["bot", "Bot", "support-agent"])
      expect(await grant(byKey.id, await guestToken(sub))).toMatchObject({
        status: 403,
        body: { code: "self_approval" },
      });
    expect((await grant(byKey.id, await guestToken("rita"))).status).toBe(200);
  });

  test("and one of another issuer of the same name are one person to a quorum", async () => {
    const { id } = await open(await agentToken(), { id: "support-agent" }, { quorum: 3 });
    expect((await grant(id, await personToken("rita"))).body.approval).toMatchObject({ status: "pending" });
    for (const token of [
      await guestToken("rita"),
      await guestToken("RITA"),
      await personToken("ｒita"),
      await personToken("rita"),
    ])
      expect(await grant(id, token)).toMatchObject({ status: 409, body: { code: "already_reviewed" } });
    expect((await grant(id, await guestToken("olivia"))).body.approval).toMatchObject({ status: "pending" });
    expect(await holdpoint.review(id, "grant")).toMatchObject({ status: 409, body: { code: "already_reviewed" } });
    expect((await holdpoint.review(id, "grant", {}, KEYS.pierre)).body.approval).toMatchObject({ status: "granted" });
  });

  test("that may propose as the actor cannot grant, whichever tenant it names", async () => {
    const { id } = await open(await agentToken(), { id: "support-agent" });
    const both = await shared.token({ sub: "carol", org: "default", roles: ["ops_operator"] });
    expect(await grant(id, both)).toMatchObject({ status: 403, body: { code: "self_approval" } });
    const elsewhere = await shared.token({ sub: "carol", org: "other", roles: ["ops_operator"] });
    expect(await grant(id, elsewhere)).toMatchObject({ status: 404, body: { code: "approval_not_found" } });
    // With scopes for both and only itself to propose as, it may: another person's action is not its own.
    const person = await personToken("rita", { scope: "review decide" });
    const own = await open(person, { id: "rita" });
    expect(await grant(own.id, await personToken("rita"))).toMatchObject({
      status: 403,
      body: { code: "self_approval" },
    });
    expect((await grant(id, person)).status).toBe(200);
  });

  test("has the roles of its claim, and none that it says of itself", async () => {
    const { id } = await open(await agentToken(), { id: "support-agent" });
    for (const roles of [[], ["auditor"], ["OPS_OPERATOR"], ["ops_operator2"], "auditor ops-operator"]) {
      const token = await personToken("tom", { realm_access: { roles }, roles: ["ops_operator"] });
      for (const body of [{}, { actor: { id: "tom", roles: ["ops_operator"] } }])
        expect(await grant(id, token, body)).toMatchObject({ status: 403, body: { code: "role_missing" } });
    }
    const token = await personToken("tom", { realm_access: { roles: ["ops_operator", "root"] } });
    const named = await grant(id, token, { actor: { id: "tom", type: "robot", roles: ["root", "ceo"] } });
    expect(named.body.approval.reviews[0].reviewer).toEqual({
      id: "tom",
      type: "human",
      roles: ["ops_operator"],
      issuer: "people",
    });
  });
});

describe("an issuer that is down", () => {
  test("when the sidecar starts: its tokens are refused as undecidable, everybody else is served, and it is found again", async () => {
    const gone = await startIssuer();
    await gone.close();
    const record = { name: "late", issuer: gone.url, audiences: ["holdpoint"], jwks: gone.jwksUrl };
    const sidecar = await startScripted({
      auth: "api_key,jwt",
      admin_auth: "api_key,jwt",
      jwt_issuers: [{ ...record, scopes: ["decide", "operate"], actors: "*", roles: "*" }],
    });
    const token = await gone.token({ sub: "bot" });
    const refused = await sidecar.decide(scripted(ALLOW), token);
    expect(refused).toMatchObject({
      status: 503,
      body: { code: "identity_unavailable", outcome: "deny", enforced: true },
    });
    expect(refused.text).not.toContain(String(gone.port));
    expect((await sidecar.send({ port: "admin", path: "/v1/policy", key: token })).status).toBe(503);
    expect(sidecar.entries().filter(({ kind }) => kind === "decision")).toEqual([]);
    expect((await sidecar.decide(scripted(ALLOW), KEYS.bot)).body.outcome).toBe("allow");
    const back = await startIssuer({ port: gone.port, key: gone.key() });
    await sidecar.sidecar.refreshIdentity();
    expect((await sidecar.decide(scripted(ALLOW), token)).body.outcome).toBe("allow");
    // And when a setting changes while it is away, the keys that it had are kept.
    await back.close();
    await sidecar.sidecar.reconfigure({
      ...sidecar.config,
      log_level: "silent",
      actions: { other: { mode: "observe" } },
    });
    expect((await sidecar.decide(scripted(ALLOW), await gone.token({ sub: "bot-2" }))).body.outcome).toBe("allow");
    await sidecar.close();
  });
});
