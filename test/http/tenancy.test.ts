import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { freshId, useOf } from "../support/proposals.ts";
import {
  ALLOW,
  again,
  DENY,
  escalate,
  PERMIT,
  type ScriptedSidecar,
  scripted,
  startScripted,
} from "../support/scripted.ts";
import { API_KEYS, type Body, KEYS } from "../support/sidecar.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

const MORE_KEYS = [
  { id: "operator", sha256: sha256("operator"), scopes: ["operate"], roles: ["ops_operator"] },
  {
    id: "narrow",
    sha256: sha256("narrow"),
    scopes: ["decide"],
    actors: ["a1", "a2"],
    roles: ["reader"],
    on_behalf_of: ["alice", "bob"],
  },
  { id: "bare", sha256: sha256("bare"), scopes: ["decide"] },
];

let holdpoint: ScriptedSidecar;
beforeAll(async () => {
  holdpoint = await startScripted({
    auth: "api_key",
    api_keys: [...API_KEYS, ...MORE_KEYS],
    pending_approvals_max: 320,
  });
});
afterAll(() => holdpoint.close());

const admin = (path: string, key: string) => holdpoint.send({ port: "admin", path, key });

/** What two answers must share where one must not be told from the other. */
const alike = ({ status, body }: { status: number; body: Body }, id: string) => ({
  ...body,
  httpStatus: status,
  detail: body.detail.replace(id, "…"),
  trace_id: "",
});

describe("the authorization header of a caller", () => {
  const decide = (headers: Record<string, string | string[]>, path = "/v1/decisions") =>
    holdpoint.send({ path, body: scripted(ALLOW), headers });

  test.each<[string, Record<string, string | string[]>]>([
    ["missing", {}],
    ["empty", { authorization: "" }],
    ["of an unknown key", { authorization: "Bearer no-such-key" }],
    ["in other case of the key", { authorization: `Bearer ${KEYS.bot.toUpperCase()}` }],
    ["with the key's hash", { authorization: `Bearer ${sha256(KEYS.bot)}` }],
    ["with the key's name", { authorization: "Bearer bot" }],
    ["without a scheme", { authorization: KEYS.bot }],
    ["of another scheme", { authorization: `Basic ${Buffer.from(`bot:${KEYS.bot}`).toString("base64")}` }],
    ["without a token", { authorization: "Bearer" }],
    ["with two spaces", { authorization: `Bearer  ${KEYS.bot}` }],
    ["with a tab", { authorization: `Bearer\t${KEYS.bot}` }],
    ["with two tokens", { authorization: `Bearer ${KEYS.bot} ${KEYS.bot}` }],
    ["with two credentials in a list", { authorization: `Bearer ${KEYS.bot}, Bearer ${KEYS.bot}` }],
    ["twice", { authorization: [`Bearer ${KEYS.bot}`, `Bearer ${KEYS.other}`] }],
    ["twice the same", { authorization: [`Bearer ${KEYS.bot}`, `Bearer ${KEYS.bot}`] }],
    ["longer than any key", { authorization: `Bearer ${KEYS.bot}${"x".repeat(9_000)}` }],
    ["under another name", { "x-api-key": KEYS.bot, "proxy-authorization": `Bearer ${KEYS.bot}` }],
  ])("%s is refused, and the answer means deny", async (_, headers) => {
    for (const path of [
      "/v1/decisions",
      "/v1/decisions/batch",
      "/v1/permits/verify",
      "/v1/permits/consume",
      "/v1/executions",
    ]) {
      const answer = await decide(headers, path);
      expect(answer.status).toBe(401);
      expect(answer.body).toMatchObject({ code: "unauthenticated", outcome: "deny", enforced: true });
      expect(answer.headers["www-authenticate"]).toMatch(/^Bearer/);
      expect(answer.text).not.toContain(KEYS.bot);
    }
  });

  test.each(["Bearer", "bearer", "BEARER"])("names its scheme %s in any case", async (scheme) => {
    const { status, body } = await decide({ authorization: `${scheme} ${KEYS.bot}` });
    expect(status).toBe(200);
    expect(body.outcome).toBe("allow");
  });

  test("is read before the body", async () => {
    const { status } = await holdpoint.send({ path: "/v1/decisions", body: "{" });
    expect(status).toBe(401);
  });

  test.each([
    ["a reviewer's key", KEYS.pierre],
    ["an operator's key", "operator"],
  ])("with %s is of no use to a caller", async (_, key) => {
    for (const path of ["/v1/decisions", "/v1/permits/consume", "/v1/permits/verify", "/v1/executions"]) {
      const { status, body } = await holdpoint.send({ path, body: scripted(ALLOW), key });
      expect(status).toBe(403);
      expect(body).toMatchObject({ code: "forbidden", outcome: "deny" });
    }
  });

  test("with an operator's key reads, and does not review", async () => {
    const { body } = await holdpoint.decide(scripted(escalate()), KEYS.bot);
    expect((await admin("/v1/approvals", "operator")).status).toBe(200);
    expect((await admin("/v1/ledger/checkpoint", "operator")).status).toBe(200);
    for (const verdict of ["grant", "deny", "cancel"]) {
      const refused = await holdpoint.review(body.approval.id, verdict, {}, "operator");
      expect(refused).toMatchObject({ status: 403, body: { code: "forbidden" } });
    }
  });
});

describe("what a credential allows its bearer to say of itself", () => {
  const as = (actor: Body) => scripted(ALLOW, { actor });

  test.each<[string, Body]>([
    ["an actor", { id: "a1" }],
    ["another actor", { id: "a2", roles: [] }],
    ["a role", { id: "a1", roles: ["reader"] }],
    ["a principal", { id: "a1", on_behalf_of: { id: "alice", roles: ["reader"] } }],
    ["two principals", { id: "a1", on_behalf_of: { id: "bob", on_behalf_of: { id: "alice" } } }],
    ["any type", { id: "a1", type: "whatever" }],
  ])("lets it be %s that is listed", async (_, actor) => {
    const { status, body } = await holdpoint.decide(as(actor), "narrow");
    expect(status).toBe(200);
    expect(body.outcome).toBe("allow");
  });

  test.each<[string, Body, string]>([
    ["another actor", { id: "a3" }, "/actor/id"],
    ["an actor in other case", { id: "A1" }, "/actor/id"],
    ["its own credential", { id: "narrow" }, "/actor/id"],
    ["an actor that is listed as principal", { id: "alice" }, "/actor/id"],
    ["another role", { id: "a1", roles: ["reader", "admin"] }, "/actor/roles/1"],
    ["a role in other case", { id: "a1", roles: ["Reader"] }, "/actor/roles/0"],
    ["another principal", { id: "a1", on_behalf_of: { id: "carol" } }, "/actor/on_behalf_of/id"],
    ["a principal that is listed as actor", { id: "a1", on_behalf_of: { id: "a2" } }, "/actor/on_behalf_of/id"],
    [
      "a principal's other role",
      { id: "a1", on_behalf_of: { id: "bob", roles: ["x"] } },
      "/actor/on_behalf_of/roles/0",
    ],
    [
      "another principal further behind",
      { id: "a1", on_behalf_of: { id: "bob", on_behalf_of: { id: "alice", on_behalf_of: { id: "eve" } } } },
      "/actor/on_behalf_of/on_behalf_of/on_behalf_of/id",
    ],
  ])("refuses %s, with the place", async (_, actor, pointer) => {
    const proposal = as(actor);
    const size = holdpoint.sidecar.ledger.head().size;
    const { status, body } = await holdpoint.decide(proposal, "narrow");
    expect(status).toBe(403);
    expect(body).toMatchObject({ code: "forbidden", pointer, outcome: "deny", enforced: true });
    expect(holdpoint.sidecar.ledger.head().size).toBe(size);
    const { body: batch } = await holdpoint.send({
      path: "/v1/decisions/batch",
      body: { proposals: [as({ id: "a1" }), proposal] },
      key: "narrow",
    });
    expect(batch.decisions).toMatchObject([
      { outcome: "allow" },
      { outcome: "deny", code: "forbidden", pointer: `/proposals/1${pointer}` },
    ]);
  });

  test("lets it say nothing where nothing is listed", async () => {
    expect((await holdpoint.decide(as({ id: "bare" }), "bare")).body).toMatchObject({ code: "forbidden" });
  });

  test("refuses a tenant in the body", async () => {
    const { status, body } = await holdpoint.decide({ ...as({ id: "a1" }), tenant: "other" }, "narrow");
    expect(status).toBe(400);
    expect(body).toMatchObject({ code: "invalid_request", pointer: "/tenant", outcome: "deny" });
  });

  test("is in the record of each decision", async () => {
    const { body } = await holdpoint.decide(as({ id: "a1" }), "narrow");
    const entry = holdpoint.entries().find((one) => one.decision?.decision_id === body.decision_id);
    expect(entry).toMatchObject({ tenant: "default", caller: { authenticated: true, credential: "narrow" } });
  });

  test("does not let a proposal seen before be read by whoever may not be its actor", async () => {
    const proposal = scripted(PERMIT);
    expect((await holdpoint.decide(proposal, KEYS.bot)).body.permit).toEqual(expect.any(String));
    const stolen = await holdpoint.decide(proposal, "narrow");
    expect(stolen).toMatchObject({ status: 403, body: { code: "forbidden" } });
    expect(stolen.body.permit).toBeUndefined();
  });
});

describe("tenants", () => {
  test("have proposal ids of their own", async () => {
    const id = freshId();
    const mine = await holdpoint.decide(scripted(ALLOW, { id }), KEYS.bot);
    const theirs = await holdpoint.decide(scripted(DENY, { id }), KEYS.other);
    expect([mine.body.outcome, theirs.body.outcome]).toEqual(["allow", "deny"]);
    expect(theirs.body.decision_id).not.toBe(mine.body.decision_id);
  });

  test("have bindings of their own for the same action", async () => {
    const proposal = scripted(escalate());
    const mine = (await holdpoint.decide(proposal, KEYS.bot)).body;
    const theirs = (await holdpoint.decide(proposal, KEYS.other)).body;
    expect(theirs.binding_digest).not.toBe(mine.binding_digest);
    expect(theirs.approval.id).not.toBe(mine.approval.id);
    expect((await holdpoint.review(theirs.approval.id, "deny", {}, KEYS.otherReviewer)).status).toBe(200);
    expect((await holdpoint.decide(proposal, KEYS.bot)).body.outcome).toBe("escalate");
    expect((await holdpoint.decide(proposal, KEYS.other)).body.reasons[0].code).toBe("approval_denied");
  });

  test("cannot see, name, wait for or review one another's approvals", async () => {
    const proposal = scripted(escalate());
    const { id } = (await holdpoint.decide(proposal, KEYS.bot)).body.approval;
    const unknownId = "appr_00nosuch";
    const attempts = (of: string) => [
      admin(`/v1/approvals/${of}`, KEYS.otherReviewer),
      admin(`/v1/approvals/${of}?wait=1ms`, KEYS.otherReviewer),
      holdpoint.send({ path: `/v1/approvals/${of}`, key: KEYS.other }),
      ...["grant", "deny", "cancel"].map((verdict) => holdpoint.review(of, verdict, {}, KEYS.otherReviewer)),
      holdpoint.review(of, "grant", { arguments: { amount: 1 } }, KEYS.otherReviewer),
      holdpoint.decide(again(proposal, { approval_id: of }), KEYS.other),
    ];
    const [foreign, unknown] = await Promise.all([Promise.all(attempts(id)), Promise.all(attempts(unknownId))]);
    for (const [index, answer] of foreign.entries()) {
      expect(answer).toMatchObject({ status: 404, body: { code: "approval_not_found" } });
      expect(alike(answer, id)).toEqual(alike(unknown[index]!, unknownId));
    }
    for (const status of ["pending", "granted", "denied", "cancelled"]) {
      const { body } = await admin(`/v1/approvals?limit=100&status=${status}`, KEYS.otherReviewer);
      for (const approval of body.approvals) expect(approval.tenant).toBe("other");
    }
    expect((await admin(`/v1/approvals/${id}`, KEYS.olivia)).body).toMatchObject({ status: "pending", reviews: [] });
  });

  test("cannot use one another's permits, and do not use them up by trying", async () => {
    const proposal = scripted(PERMIT);
    const { body: decision } = await holdpoint.decide(proposal, KEYS.bot);
    const body = useOf(proposal, decision);
    for (const path of ["/v1/permits/verify", "/v1/permits/consume"]) {
      const refused = await holdpoint.send({ path, body, key: KEYS.other });
      expect(refused).toMatchObject({ status: 403, body: { code: "wrong_tenant", valid: false, outcome: "deny" } });
    }
    const [refusal] = holdpoint.entries().filter((entry) => entry.data?.code === "wrong_tenant");
    expect(refusal).toMatchObject({ kind: "permit_refused", tenant: "other", data: { caller: "other-bot" } });
    expect((await holdpoint.send({ path: "/v1/permits/consume", body, key: KEYS.bot })).status).toBe(200);
  });

  test("see one another's ledger entries as places and nothing else", async () => {
    const mine = (await holdpoint.decide(scripted(ALLOW), KEYS.bot)).body;
    const theirs = (await holdpoint.decide(scripted(ALLOW), KEYS.other)).body;
    const indexOf = (decision: Body): number =>
      holdpoint.entries().findIndex((entry) => entry.decision?.decision_id === decision.decision_id);
    for (const [key, own, foreign] of [
      [KEYS.olivia, mine, theirs],
      [KEYS.otherReviewer, theirs, mine],
    ] as const) {
      const { body, text } = await admin("/v1/ledger/entries?limit=1000", key);
      expect(body.entries).toHaveLength(body.size);
      expect(body.entries[indexOf(own)].entry.decision.decision_id).toBe(own.decision_id);
      expect(body.entries[indexOf(foreign)]).toEqual({ index: indexOf(foreign), entry: null });
      expect(text).not.toContain(foreign.decision_id);
      const single = await admin(`/v1/ledger/entries/${indexOf(foreign)}`, key);
      const beyond = await admin("/v1/ledger/entries/99999999", key);
      expect(single).toMatchObject({ status: 404, body: { code: "entry_not_found" } });
      expect(alike(single, String(indexOf(foreign)))).toEqual(alike(beyond, "99999999"));
      expect((await admin(`/v1/ledger/entries/${indexOf(own)}`, key)).status).toBe(200);
    }
  });

  test("do not use up one another's room for pending approvals", async () => {
    const flood = async (): Promise<Body[]> => {
      const proposals = Array.from({ length: 100 }, () => scripted(escalate()));
      return (await holdpoint.send({ path: "/v1/decisions/batch", body: { proposals }, key: KEYS.bot })).body.decisions;
    };
    let answers: Body[] = [];
    for (let round = 0; round < 8 && !answers.some((answer) => answer.code === "overloaded"); round++) {
      answers = await flood();
    }
    const refused = answers.find((answer) => answer.code === "overloaded");
    expect(refused).toMatchObject({ status: 503, outcome: "deny", limit: 320 });
    for (let round = 0; round < 20; round++) {
      expect((await holdpoint.decide(scripted(escalate()), KEYS.other)).body.outcome).toBe("escalate");
    }
  });

  test("have modes of their own", async () => {
    const split = await startScripted({
      auth: "api_key",
      api_keys: API_KEYS,
      tenants: { other: { mode: "observe" } },
    });
    expect((await split.decide(scripted(DENY), KEYS.bot)).body).toMatchObject({ outcome: "deny", enforced: true });
    expect((await split.decide(scripted(DENY), KEYS.other)).body).toMatchObject({
      outcome: "allow",
      enforced: false,
      observed_outcome: "deny",
    });
    const broken = { ...scripted(DENY), id: "" };
    expect((await split.decide(broken, KEYS.bot)).body).toMatchObject({ code: "invalid_request", outcome: "deny" });
    expect((await split.decide(broken, KEYS.other)).body).toMatchObject({ code: "invalid_request", outcome: "allow" });
    await split.close();
  });
});
