import { createHash } from "node:crypto";
import { request as httpRequest } from "node:http";
import { canonicalize } from "json-canonicalize";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { freshId, useOf } from "../support/proposals.ts";
import { until } from "../support/redis.ts";
import {
  ALLOW,
  again,
  DENY,
  escalate,
  rewrite,
  type ScriptedSidecar,
  scripted,
  startScripted,
} from "../support/scripted.ts";
import { API_KEYS, type Body, KEYS, type Send } from "../support/sidecar.ts";

/** Ids may have any letters, a bearer token has ASCII. */
const key = (id: string): string => `key-of-${Buffer.from(id).toString("hex")}`;

/** Reviewers whose ids are spelled like those who propose, and one credential that may both propose and review. */
const MORE_KEYS = [
  { id: "SUPPORT-Agent", scopes: ["review"], roles: ["ops_operator"] },
  { id: "ｓupport-agent", scopes: ["review"], roles: ["ops_operator"] },
  { id: "Service-X", scopes: ["review"], roles: ["ops_operator"] },
  { id: "alice", scopes: ["review"], roles: ["ops_operator"] },
  { id: "both", scopes: ["decide", "review"], roles: ["ops_operator", "operator"], actors: "*", on_behalf_of: "*" },
  { id: "OLIVIA", scopes: ["review"], roles: ["ops_operator"] },
].map((one) => ({ ...one, sha256: createHash("sha256").update(key(one.id)).digest("hex") }));

let holdpoint: ScriptedSidecar;
beforeAll(async () => {
  holdpoint = await startScripted({ api_keys: [...API_KEYS, ...MORE_KEYS], wait_seconds_max: 30 });
});
afterAll(() => holdpoint.close());

const digest = (value: unknown) => `sha256:${createHash("sha256").update(canonicalize(value)).digest("hex")}`;

const bindingOf = (proposal: Body, args: Body = proposal.action.arguments): string =>
  digest({
    tenant: "default",
    actor: proposal.actor.id,
    on_behalf_of: proposal.actor.on_behalf_of ?? null,
    action: proposal.action.name,
    entity: proposal.entity ?? null,
    arguments: args,
  });

const open = async (proposal: Body, credential?: string): Promise<Body> => {
  const { body } = await holdpoint.decide(proposal, credential);
  expect(body).toMatchObject({ outcome: "escalate", approval: { status: "pending" } });
  return body.approval;
};

const read = async (id: string, credential: string = KEYS.olivia): Promise<Body> =>
  (await holdpoint.send({ port: "admin", path: `/v1/approvals/${id}`, key: credential })).body;

const consume = (body: Body) => holdpoint.send({ path: "/v1/permits/consume", body });

const facts = (kind: string, approvalId: string): Body[] =>
  holdpoint.entries().filter((entry) => entry.kind === kind && entry.data.approval?.id === approvalId);

describe("POST /v1/approvals/{id}/grant", () => {
  test("lets the same proposal run once, with a permit that cites the approval", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    const granted = await holdpoint.review(id, "grant", { reason: "verified" });
    expect(granted.status).toBe(200);
    expect(granted.body.approval).toMatchObject({
      id,
      status: "granted",
      binding_digest: bindingOf(proposal),
      argument_digest: digest(proposal.action.arguments),
      action: proposal.action,
      actor: proposal.actor,
      entity: proposal.entity,
      context: proposal.context,
      proposal_id: proposal.id,
      reviews: [{ reviewer: { id: "olivia" }, verdict: "grant", reason: "verified", authenticated: true }],
    });
    const { body } = await holdpoint.decide(proposal);
    expect(body).toMatchObject({
      outcome: "allow",
      approval: { id, status: "granted" },
      reasons: [{ code: "approval_granted", message: "Granted by olivia" }, { code: "approval_required" }],
    });
    const claims = JSON.parse(Buffer.from(body.permit.split(".")[1], "base64url").toString());
    expect(claims).toMatchObject({
      binding_digest: bindingOf(proposal),
      lineage: { approval_id: id, decision_id: body.decision_id },
      uses: 1,
    });
    expect(await consume(useOf(proposal, body))).toMatchObject({ status: 200, body: { valid: true } });
    expect(await read(id)).toMatchObject({ status: "exhausted", uses_left: 0 });
    const after = await holdpoint.decide(again(proposal));
    expect(after.body).toMatchObject({ outcome: "escalate", approval: { status: "pending" } });
    expect(after.body.approval.id).not.toBe(id);
  });

  test("is the only verdict that leads to an allow", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    for (let round = 0; round < 3; round++) {
      expect((await holdpoint.decide(proposal)).body).toMatchObject({ outcome: "escalate", approval: { id } });
      expect((await holdpoint.decide(again(proposal))).body).toMatchObject({ outcome: "escalate", approval: { id } });
    }
    expect((await holdpoint.decide(proposal)).body.permit).toBeUndefined();
  });

  test.each(["grant", "deny"])("is refused after a %s", async (first) => {
    const { id } = await open(scripted(escalate()));
    await holdpoint.review(id, first);
    for (const verdict of ["grant", "deny"]) {
      const { status, body } = await holdpoint.review(id, verdict, {}, KEYS.pierre);
      expect(status).toBe(409);
      expect(body).toMatchObject({
        code: "approval_not_pending",
        status: 409,
        approval_status: first === "grant" ? "granted" : "denied",
      });
    }
  });

  test("serves two proposals of one binding with one use between them", async () => {
    const first = scripted(escalate());
    const second = again(first);
    const { id } = await open(first);
    expect((await open(second)).id).toBe(id);
    await holdpoint.review(id, "grant");
    const [one, two] = [(await holdpoint.decide(first)).body, (await holdpoint.decide(second)).body];
    expect(one.permit).not.toBe(two.permit);
    expect((await consume(useOf(second, two))).status).toBe(200);
    expect(await consume(useOf(first, one))).toMatchObject({ status: 409, body: { code: "already_consumed" } });
  });

  test("gives a new permit after the first has lapsed, while the grant is unused", async () => {
    const proposal = scripted(escalate({}, { permit: { required: true, ttl_seconds: 3 } }));
    const { id } = await open(proposal);
    await holdpoint.review(id, "grant");
    const first = (await holdpoint.decide(proposal)).body;
    expect((await holdpoint.decide(proposal)).body).toEqual(first);
    let latest = first;
    await until(async () => {
      latest = (await holdpoint.decide(proposal)).body;
      return latest.permit !== first.permit;
    }, "a new permit");
    expect(latest).toMatchObject({ outcome: "allow", approval: { id } });
    expect(await consume(useOf(proposal, first))).toMatchObject({ status: 403, body: { code: "expired" } });
    expect((await consume(useOf(proposal, latest))).status).toBe(200);
    await until(async () => (await holdpoint.decide(proposal)).body.outcome === "deny", "the grant is used up");
    expect((await holdpoint.decide(proposal)).body.reasons[0].code).toBe("approval_exhausted");
  });

  test("ends with the time that policy gives a grant", async () => {
    const proposal = scripted(escalate({ grant_ttl_seconds: 3 }, { permit: { required: true, ttl_seconds: 60 } }));
    const allowed = await holdpoint.grant(proposal);
    const { id } = allowed.approval;
    await until(async () => (await read(id)).status === "expired", "the grant expires");
    expect(await consume(useOf(proposal, allowed))).toMatchObject({ status: 403, body: { code: "approval_revoked" } });
    const late = await holdpoint.review(id, "grant", {}, KEYS.pierre);
    expect(late).toMatchObject({ status: 409, body: { code: "approval_not_pending" } });
    const named = await holdpoint.decide(again(proposal, { approval_id: id }));
    expect(named.body).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_expired" }, {}] });
    const anew = await holdpoint.decide(again(proposal));
    expect(anew.body).toMatchObject({ outcome: "escalate" });
    expect(anew.body.approval.id).not.toBe(id);
  });
});

describe("quorum", () => {
  test("is reached by distinct reviewers only", async () => {
    const proposal = scripted(escalate({ quorum: 2 }));
    const { id } = await open(proposal);
    expect((await holdpoint.review(id, "grant")).body.approval).toMatchObject({ status: "pending", quorum: 2 });
    const twice = await holdpoint.review(id, "grant");
    expect(twice).toMatchObject({ status: 409, body: { code: "already_reviewed" } });
    expect((await holdpoint.decide(proposal)).body.outcome).toBe("escalate");
    expect((await holdpoint.review(id, "grant", {}, KEYS.pierre)).body.approval.status).toBe("granted");
    expect((await holdpoint.decide(proposal)).body).toMatchObject({
      outcome: "allow",
      reasons: [{ message: "Granted by olivia, pierre" }, {}],
    });
  });

  test("does not count one person in two spellings", async () => {
    const { id } = await open(scripted(escalate({ quorum: 2 })));
    await holdpoint.review(id, "grant");
    const { status, body } = await holdpoint.review(id, "grant", {}, key("OLIVIA"));
    expect(status).toBe(409);
    expect(body.code).toBe("already_reviewed");
    expect((await read(id)).status).toBe("pending");
  });

  test("counts one of twenty simultaneous grants by one reviewer", async () => {
    const { id } = await open(scripted(escalate({ quorum: 2 })));
    const answers = await Promise.all(Array.from({ length: 20 }, () => holdpoint.review(id, "grant")));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(await read(id)).toMatchObject({ status: "pending", version: 2 });
  });

  test("one denial is enough to end it", async () => {
    const proposal = scripted(escalate({ quorum: 3 }));
    const { id } = await open(proposal);
    await holdpoint.review(id, "grant");
    await holdpoint.review(id, "deny", {}, KEYS.pierre);
    expect((await holdpoint.decide(proposal)).body.reasons[0].code).toBe("approval_denied");
  });
});

describe("separation of proposer and reviewer", () => {
  const delegated = {
    id: "support-agent",
    on_behalf_of: { id: "service-x", on_behalf_of: { id: "Alice" } },
  };

  test.each([
    ["the proposer in other case", "SUPPORT-Agent"],
    ["the proposer in full width", "ｓupport-agent"],
    ["the first principal", "Service-X"],
    ["the second principal", "alice"],
  ])("refuses %s as reviewer, grant and deny alike", async (_, id) => {
    const approval = await open(scripted(escalate(), { actor: delegated }));
    for (const verdict of ["grant", "deny"]) {
      const { status, body } = await holdpoint.review(approval.id, verdict, {}, key(id));
      expect(status).toBe(403);
      expect(body.code).toBe("self_approval");
    }
    expect(await read(approval.id)).toMatchObject({ status: "pending", reviews: [] });
  });

  test("lets those who asked withdraw", async () => {
    const proposal = scripted(escalate({ roles: ["some_other_role"] }), { actor: delegated });
    const approval = await open(proposal);
    expect((await holdpoint.review(approval.id, "cancel", {}, key("alice"))).body.approval.status).toBe("cancelled");
    expect((await holdpoint.decide(proposal)).body.reasons[0].code).toBe("approval_cancelled");
  });

  test("refuses a reviewer without any of the roles, whatever the body says", async () => {
    const { id } = await open(scripted(escalate()));
    const { status, body } = await holdpoint.review(
      id,
      "grant",
      { actor: { id: "intern", roles: ["ops_operator"] } },
      KEYS.intern,
    );
    expect(status).toBe(403);
    expect(body.code).toBe("role_missing");
    for (const verdict of ["deny", "cancel"]) {
      expect((await holdpoint.review(id, verdict, {}, KEYS.intern)).body.code).toBe("role_missing");
    }
    expect((await read(id)).reviews).toEqual([]);
  });

  test("takes any reviewer where policy names no role", async () => {
    const { id } = await open(scripted(escalate({ roles: [] })));
    expect((await holdpoint.review(id, "grant", {}, KEYS.intern)).status).toBe(200);
  });

  test("takes the reviewer from the credential, never from the body", async () => {
    const { id } = await open(scripted(escalate()));
    const { status, body } = await holdpoint.review(id, "grant", { actor: { id: "pierre", roles: ["ops_operator"] } });
    expect(status).toBe(403);
    expect(body).toMatchObject({ code: "forbidden", pointer: "/actor" });
    const same = await holdpoint.review(id, "grant", { actor: { id: "olivia", roles: ["root"], type: "god" } });
    expect(same.body.approval.reviews).toMatchObject([
      { reviewer: { id: "olivia", type: "human", roles: ["ops_operator"] }, authenticated: true },
    ]);
  });

  test.each(["grant", "deny", "cancel"])("refuses an agent's key for %s, on either port", async (verdict) => {
    const { id } = await open(scripted(escalate()));
    const refused = await holdpoint.review(id, verdict, {}, KEYS.bot);
    expect(refused).toMatchObject({ status: 403, body: { code: "forbidden" } });
    const path = `/v1/approvals/${id}/${verdict}`;
    expect((await holdpoint.send({ path, body: {}, key: KEYS.olivia })).status).toBe(404);
    expect((await holdpoint.send({ port: "admin", path, body: {} })).status).toBe(401);
    expect((await holdpoint.review(id, verdict, {}, "no-such-key")).status).toBe(401);
    expect((await read(id)).status).toBe("pending");
  });

  test.each(["/v1/approvals", "/v1/executions", "/v1/policy", "/v1/ledger/entries", "/v1/ledger/checkpoint"])(
    "refuses an agent's key for %s of the admin port",
    async (path) => {
      expect((await holdpoint.send({ port: "admin", path, key: KEYS.bot })).status).toBe(403);
      expect((await holdpoint.send({ port: "admin", path })).status).toBe(401);
      expect((await holdpoint.send({ port: "admin", path, key: KEYS.olivia })).status).toBe(200);
    },
  );
});

describe("separation with authenticated callers", () => {
  let authenticated: ScriptedSidecar;
  beforeAll(async () => {
    authenticated = await startScripted({ auth: "api_key", api_keys: [...API_KEYS, ...MORE_KEYS] });
  });
  afterAll(() => authenticated.close());

  const proposed = (changes: Body = {}) => scripted(escalate(), changes);

  test("refuses the credential that proposed, whomever it named as actor", async () => {
    const { body } = await authenticated.decide(proposed({ actor: { id: "somebody" } }), key("both"));
    const { status, body: refused } = await authenticated.review(body.approval.id, "grant", {}, key("both"));
    expect(status).toBe(403);
    expect(refused.code).toBe("self_approval");
  });

  test("does not let a credential that could have proposed an action approve it, whoever did propose it", async () => {
    const proposal = proposed();
    const { body } = await authenticated.decide(proposal, KEYS.bot);
    for (const verdict of ["grant", "deny"]) {
      const refused = await authenticated.review(body.approval.id, verdict, {}, key("both"));
      expect(refused).toMatchObject({ status: 403, body: { code: "self_approval" } });
    }
    const joined = again(proposal);
    expect((await authenticated.decide(joined, key("both"))).body.approval.id).toBe(body.approval.id);
    expect((await authenticated.review(body.approval.id, "grant", {}, key("both"))).status).toBe(403);
    expect((await authenticated.review(body.approval.id, "grant")).status).toBe(200);
    expect((await authenticated.decide(proposal, KEYS.bot)).body).toMatchObject({ outcome: "allow" });
  });

  test("shows an approval to those who could have proposed it, and to nobody else", async () => {
    const { body } = await authenticated.decide(proposed(), KEYS.bot);
    const other = await authenticated.decide(proposed({ actor: { id: "another-agent" } }), key("both"));
    const get = (id: string, credential?: string) =>
      authenticated.send({ path: `/v1/approvals/${id}`, ...(credential === undefined ? {} : { key: credential }) });
    expect((await get(body.approval.id, KEYS.bot)).body).toMatchObject({ id: body.approval.id, authenticated: true });
    expect((await get(body.approval.id, key("both"))).status).toBe(200);
    const hidden = await get(other.body.approval.id, KEYS.bot);
    const unknown = await get("appr_00nosuch", KEYS.bot);
    expect(hidden.status).toBe(404);
    expect({ ...hidden.body, detail: 0, trace_id: 0 }).toEqual({ ...unknown.body, detail: 0, trace_id: 0 });
    expect((await get(body.approval.id)).status).toBe(401);
    expect((await get(body.approval.id, KEYS.olivia)).status).toBe(403);
  });
});

describe("without authentication of reviewers", () => {
  let lax: ScriptedSidecar;
  beforeAll(async () => {
    lax = await startScripted({ admin_auth: "none" });
  });
  afterAll(() => lax.close());

  const act = (id: string, verdict: string, body: Body) =>
    lax.send({ port: "admin", path: `/v1/approvals/${id}/${verdict}`, body });

  test("takes the reviewer from the body, and says in every record that nobody checked", async () => {
    const proposal = scripted(escalate());
    const { body } = await lax.decide(proposal);
    const { id } = body.approval;
    const actor = { id: "bob", type: "human", roles: ["ops_operator"] };
    const { body: granted } = await act(id, "grant", { actor });
    expect(granted.approval.reviews).toMatchObject([{ reviewer: actor, authenticated: false }]);
    const allowed = (await lax.decide(proposal)).body;
    await lax.send({ path: "/v1/permits/consume", body: useOf(proposal, allowed) });
    await lax.send({ path: "/v1/permits/consume", body: useOf(proposal, allowed) });
    await lax.send({ path: "/v1/executions", body: { permit_id: allowed.permit_id, status: "succeeded" } });
    const about = lax.entries().filter((entry) => entry.tenant !== "");
    expect(about.map((entry) => [entry.kind, (entry.caller ?? entry.data).authenticated])).toEqual([
      ["approval_opened", undefined],
      ["decision", false],
      ["approval_reviewed", undefined],
      ["decision", false],
      ["permit_consumed", false],
      ["permit_refused", false],
      ["execution_reported", false],
    ]);
    expect(about[2].data.approval.reviews[0].authenticated).toBe(false);
    expect(about[3].reviews[0].authenticated).toBe(false);
  });

  // The subject keeps "" for no credential, and approvalView() takes anything but null for one.
  test("says of the proposer of an approval that nobody checked it", async () => {
    const { body } = await lax.decide(scripted(escalate()));
    const { body: approval } = await lax.send({ path: `/v1/approvals/${body.approval.id}` });
    expect(approval.authenticated).toBe(false);
  });

  test("still refuses the proposer, in any spelling, and whoever it acts for", async () => {
    const { body } = await lax.decide(
      scripted(escalate(), { actor: { id: "agent-s", on_behalf_of: { id: "Nikos", on_behalf_of: { id: "carol" } } } }),
    );
    for (const id of ["agent-s", "AGENT-S", "ａgent-s", "agent-\u017f", "NIKOS", "Carol"]) {
      const refused = await act(body.approval.id, "grant", { actor: { id, roles: ["ops_operator"] } });
      expect(refused, id).toMatchObject({ status: 403, body: { code: "self_approval" } });
    }
  });

  test.each([
    ["no actor", {}, "/actor"],
    ["an actor without id", { actor: { roles: ["ops_operator"] } }, "/actor/id"],
    ["an actor that is a text", { actor: "bob" }, "/actor"],
    ["an actor with a space", { actor: { id: "bo b" } }, "/actor/id"],
    ["a principal behind the actor", { actor: { id: "bob", on_behalf_of: { id: "x" } } }, "/actor/on_behalf_of"],
    ["an unknown member", { actor: { id: "bob" }, approved: true }, "/approved"],
  ])("refuses a body with %s", async (_, sent, pointer) => {
    const { body } = await lax.decide(scripted(escalate()));
    const { status, body: problem } = await act(body.approval.id, "grant", sent);
    expect(status).toBe(400);
    expect(problem).toMatchObject({ code: "invalid_request", pointer });
  });

  test("refuses an unauthenticated reviewer without the role", async () => {
    const { body } = await lax.decide(scripted(escalate()));
    expect((await act(body.approval.id, "grant", { actor: { id: "bob" } })).body.code).toBe("role_missing");
  });
});

describe("POST /v1/approvals/{id}/deny", () => {
  test("is terminal in its context, also under new ids, and a grant cannot follow", async () => {
    const proposal = scripted(escalate(), { context: { session: "s-1" } });
    const { id } = await open(proposal);
    expect((await holdpoint.review(id, "deny", { reason: "looks wrong" })).body.approval.status).toBe("denied");
    for (const retry of [proposal, again(proposal), again(proposal, { approval_id: id })]) {
      const { body } = await holdpoint.decide(retry);
      expect(body).toMatchObject({
        outcome: "deny",
        approval: { id, status: "denied" },
        reasons: [{ code: "approval_denied" }, { code: "approval_required" }],
      });
      expect(body.permit).toBeUndefined();
    }
    const roles = again(proposal, { actor: { ...proposal.actor, roles: ["operator", "admin"], type: "robot" } });
    expect((await holdpoint.decide(roles)).body.reasons[0].code).toBe("approval_denied");
    const elsewhere = again(proposal, { context: { ...proposal.context, session: "s-2" } });
    expect((await holdpoint.decide(elsewhere)).body).toMatchObject({ outcome: "escalate" });
  });

  test("stays within the context that policy names", async () => {
    const proposal = scripted(escalate({ context: ["session"] }), { context: { session: "s-1", note: 1 } });
    const { id } = await open(proposal);
    await holdpoint.review(id, "deny");
    const sideways = (context: Body) => again(proposal, { context: { ...proposal.context, ...context } });
    for (const retry of [sideways({ note: 2 }), sideways({ more: true }), sideways({ note: null })]) {
      expect((await holdpoint.decide(retry)).body.reasons[0].code).toBe("approval_denied");
    }
    expect((await holdpoint.decide(sideways({ session: "s-2" }))).body.outcome).toBe("escalate");
    const { session: _, ...without } = proposal.context;
    expect((await holdpoint.decide(again(proposal, { context: without }))).body.outcome).toBe("escalate");
  });

  test("closes one binding, not others", async () => {
    const proposal = scripted(escalate());
    await holdpoint.review((await open(proposal)).id, "deny");
    const dearer = again(proposal, { action: { name: "PAY", arguments: { amount: 6 } } });
    expect((await holdpoint.decide(dearer)).body.outcome).toBe("escalate");
  });
});

describe("POST /v1/approvals/{id}/cancel", () => {
  test("of a pending one closes it, and a new proposal may ask again", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    expect((await holdpoint.review(id, "cancel")).body.approval.status).toBe("cancelled");
    expect((await holdpoint.decide(proposal)).body).toMatchObject({
      outcome: "deny",
      reasons: [{ code: "approval_cancelled" }, {}],
    });
    const anew = await holdpoint.decide(again(proposal));
    expect(anew.body.outcome).toBe("escalate");
    expect(anew.body.approval.id).not.toBe(id);
  });

  test("of a granted one revokes: the permit is refused, and stays refused", async () => {
    const proposal = scripted(escalate());
    const allowed = await holdpoint.grant(proposal);
    const cancelled = await holdpoint.review(allowed.approval.id, "cancel", { reason: "changed my mind" }, KEYS.pierre);
    expect(cancelled.body.approval.status).toBe("cancelled");
    for (const path of ["/v1/permits/verify", "/v1/permits/consume", "/v1/permits/consume"]) {
      const { status, body } = await holdpoint.send({ path, body: useOf(proposal, allowed) });
      expect(status).toBe(403);
      expect(body).toMatchObject({ code: "approval_revoked", valid: false, outcome: "deny" });
    }
    expect((await holdpoint.review(allowed.approval.id, "grant")).body.code).toBe("approval_not_pending");
  });

  test("after the use comes too late", async () => {
    const proposal = scripted(escalate());
    const allowed = await holdpoint.grant(proposal);
    await consume(useOf(proposal, allowed));
    const { status, body } = await holdpoint.review(allowed.approval.id, "cancel");
    expect(status).toBe(409);
    expect(body).toMatchObject({ code: "approval_not_pending" });
  });
});

describe("expiry", () => {
  test("never grants, is told to the same proposal, and a new id asks anew", async () => {
    const proposal = scripted(escalate({ ttl_seconds: 1 }));
    const { id, expires_at } = await open(proposal);
    await until(async () => (await read(id)).status === "expired", "the approval expires");
    expect(Date.parse(expires_at)).toBeLessThanOrEqual(Date.now());
    const late = await holdpoint.review(id, "grant");
    expect(late).toMatchObject({ status: 409, body: { code: "approval_not_pending" } });
    const { body } = await holdpoint.decide(proposal);
    expect(body).toMatchObject({
      outcome: "deny",
      approval: { id, status: "expired" },
      reasons: [{ code: "approval_expired" }, {}],
    });
    expect((await holdpoint.decide(proposal)).body).toEqual(body);
    const anew = await holdpoint.decide(again(proposal));
    expect(anew.body).toMatchObject({ outcome: "escalate", approval: { status: "pending" } });
    expect(anew.body.approval.id).not.toBe(id);
    await until(() => facts("approval_expired", id).length > 0, "the sweep records it");
    expect(facts("approval_expired", id)).toHaveLength(1);
    expect(facts("approval_expired", id)[0].data.approval).toMatchObject({ status: "expired", reviews: [] });
  });

  test("ends a quorum that was not reached", async () => {
    const { id } = await open(scripted(escalate({ ttl_seconds: 1, quorum: 2 })));
    await holdpoint.review(id, "grant");
    await until(async () => (await read(id)).status === "expired", "the approval expires");
    expect((await holdpoint.review(id, "grant", {}, KEYS.pierre)).status).toBe(409);
  });
});

describe("one pending approval per binding", () => {
  test("is shared by proposals of one binding and context, and by no others", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    expect((await open(again(proposal))).id).toBe(id);
    const others = [
      again(proposal, { action: { name: "PAY", arguments: { amount: 7 } } }),
      again(proposal, { action: { name: "REPAY", arguments: { amount: 5 } } }),
      again(proposal, { entity: { ...proposal.entity, type: "invoice" } }),
      again(proposal, { entity: undefined }),
      again(proposal, { actor: { ...proposal.actor, id: "other-agent" } }),
      again(proposal, { actor: { ...proposal.actor, on_behalf_of: { id: "alice" } } }),
      again(proposal, { context: { ...proposal.context, x: 1 } }),
    ];
    const ids = await Promise.all(others.map(async (other) => (await open(other)).id));
    expect(new Set([id, ...ids]).size).toBe(others.length + 1);
  });
});

describe("the reviewer's echo of the binding digest", () => {
  test("is checked where it is given", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    const wrong = await holdpoint.review(id, "grant", { binding_digest: `sha256:${"0".repeat(64)}` });
    expect(wrong).toMatchObject({ status: 409, body: { code: "binding_mismatch", pointer: "/binding_digest" } });
    const malformed = await holdpoint.review(id, "grant", { binding_digest: bindingOf(proposal).toUpperCase() });
    expect(malformed).toMatchObject({ status: 400, body: { code: "invalid_request", pointer: "/binding_digest" } });
    expect((await read(id)).status).toBe("pending");
    const right = await holdpoint.review(id, "grant", { binding_digest: bindingOf(proposal) });
    expect(right.body.approval.status).toBe("granted");
  });

  test("of what was there before an edit is wrong", async () => {
    const proposal = scripted(escalate({ quorum: 2 }));
    const { id } = await open(proposal);
    const edited = { amount: 1 };
    await holdpoint.review(id, "grant", { arguments: edited });
    const stale = await holdpoint.review(id, "grant", { binding_digest: bindingOf(proposal) }, KEYS.pierre);
    expect(stale.body.code).toBe("binding_mismatch");
    const fresh = await holdpoint.review(id, "grant", { binding_digest: bindingOf(proposal, edited) }, KEYS.pierre);
    expect(fresh.body.approval.status).toBe("granted");
  });

  test("can be made mandatory for grants", async () => {
    const strict = await startScripted({ require_binding_echo: true });
    const proposal = scripted(escalate());
    const { id } = (await strict.decide(proposal)).body.approval;
    expect(await strict.review(id, "grant")).toMatchObject({ status: 400, body: { code: "binding_echo_required" } });
    expect((await strict.review(id, "grant", { binding_digest: bindingOf(proposal) })).status).toBe(200);
    const other = (await strict.decide(scripted(escalate()))).body.approval;
    expect((await strict.review(other.id, "deny")).status).toBe(200);
    await strict.close();
  });

  test.each(["deny", "cancel"])("and edited arguments are no part of %s", async (verdict) => {
    const { id } = await open(scripted(escalate()));
    for (const [member, value] of [
      ["binding_digest", `sha256:${"0".repeat(64)}`],
      ["arguments", {}],
    ] as const) {
      const { status, body } = await holdpoint.review(id, verdict, { [member]: value });
      expect(status).toBe(400);
      expect(body.pointer).toBe(`/${member}`);
    }
  });
});

describe("a grant of edited arguments", () => {
  test("binds them and no longer the original ones, and the record shows both", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    const edited = { amount: 3, note: "halved" };
    const granted = (await holdpoint.review(id, "grant", { arguments: edited, reason: "less" })).body.approval;
    expect(granted).toMatchObject({
      status: "granted",
      action: { arguments: edited },
      argument_digest: digest(edited),
      original_argument_digest: digest(proposal.action.arguments),
      binding_digest: bindingOf(proposal, edited),
    });
    const { body } = await holdpoint.decide(proposal);
    expect(body).toMatchObject({
      outcome: "allow",
      action: { arguments: edited },
      argument_digest: digest(edited),
      original_argument_digest: digest(proposal.action.arguments),
      binding_digest: bindingOf(proposal, edited),
    });
    const entry = holdpoint.entries().find((one) => one.decision?.decision_id === body.decision_id);
    expect(entry.original_arguments).toEqual(proposal.action.arguments);
    expect(entry.input.action.arguments).toEqual(edited);
    expect(entry.input.approval).toEqual({ id, reviewers: ["olivia"], status: "granted" });
    expect((await holdpoint.decide(proposal)).body).toEqual(body);
    const original = useOf(proposal, body, { action: proposal.action });
    expect(await consume(original)).toMatchObject({ status: 403, body: { code: "digest_mismatch" } });
    expect((await consume(useOf(proposal, body))).status).toBe(200);
  });

  test.each([
    ["denies", { answer: DENY }, "policy denies it: forbidden_now"],
    ["would rewrite", { answer: rewrite({ amount: 1, answer: escalate() }) }, "policy would rewrite it"],
    ["asks for other roles", { answer: escalate({ roles: ["director"] }) }, "policy asks for other reviewers for it"],
    ["asks for more reviewers", { answer: escalate({ quorum: 2 }) }, "policy asks for other reviewers for it"],
    [
      "draws an envelope around",
      { answer: escalate({ binding: "envelope", envelope: { schema: {}, uses: 5 } }) },
      "an envelope",
    ],
    ["gives no valid answer to", { answer: { outcome: "yes" } }, "policy denies it: policy_result_invalid"],
  ])("is refused where policy %s them", async (_, edited, why) => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    const { status, body } = await holdpoint.review(id, "grant", { arguments: edited });
    expect(status).toBe(409);
    expect(body).toMatchObject({ code: "edit_refused", pointer: "/arguments" });
    expect(body.detail).toContain(why);
    expect(await read(id)).toMatchObject({ status: "pending", reviews: [], binding_digest: bindingOf(proposal) });
  });

  test.each([
    ["allows by itself", { answer: ALLOW }],
    ["asks fewer of", { answer: escalate({ roles: ["ops_operator", "trainee"] }) }],
  ])("works where policy %s", async (_, edited) => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    expect((await holdpoint.review(id, "grant", { arguments: edited })).status).toBe(200);
    const { body } = await holdpoint.decide(proposal);
    expect(body).toMatchObject({ outcome: "allow", binding_digest: bindingOf(proposal, edited) });
    expect((await consume(useOf(proposal, body))).status).toBe(200);
  });

  test("drops the grants that were given to what was there before", async () => {
    const proposal = scripted(escalate({ quorum: 2 }));
    const { id } = await open(proposal);
    await holdpoint.review(id, "grant");
    const edited = await holdpoint.review(id, "grant", { arguments: { amount: 2 } }, KEYS.pierre);
    expect(edited.body.approval).toMatchObject({ status: "pending" });
    expect((await holdpoint.decide(proposal)).body.outcome).toBe("escalate");
    const repeated = await holdpoint.review(id, "grant", { arguments: { amount: 2 } }, KEYS.pierre);
    expect(repeated.body.code).toBe("already_reviewed");
    expect((await holdpoint.review(id, "grant")).body.approval.status).toBe("granted");
    const { body } = await holdpoint.decide(proposal);
    expect(body).toMatchObject({ outcome: "allow", action: { arguments: { amount: 2 } } });
    expect((await read(id)).reviews.map((review: Body) => [review.reviewer.id, review.binding_digest])).toEqual([
      ["olivia", bindingOf(proposal)],
      ["pierre", bindingOf(proposal, { amount: 2 })],
      ["olivia", bindingOf(proposal, { amount: 2 })],
    ]);
  });

  test("answers the edited arguments, proposed as such, with an approval of their own", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    await holdpoint.review(id, "grant", { arguments: { amount: 2 } });
    const direct = again(proposal, { action: { name: "PAY", arguments: { amount: 2 } } });
    expect((await open(direct)).id).not.toBe(id);
  });

  test.each([
    ["a list", []],
    ["a text", "x"],
    ["null", null],
  ])("refuses %s for arguments", async (_, args) => {
    const { id } = await open(scripted(escalate()));
    const { status, body } = await holdpoint.review(id, "grant", { arguments: args });
    expect(status).toBe(400);
    expect(body.pointer).toBe("/arguments");
  });

  test("reads them as strictly as a proposal", async () => {
    const { id } = await open(scripted(escalate()));
    const twice = await holdpoint.review(id, "grant", '{"arguments":{"a":1,"\\u0061":2}}');
    expect(twice).toMatchObject({ status: 400, body: { code: "duplicate_key", pointer: "/arguments/a" } });
    const inexact = await holdpoint.review(id, "grant", '{"arguments":{"a":9007199254740993}}');
    expect(inexact).toMatchObject({ status: 400, body: { code: "inexact_number" } });
  });
});

describe("approval_id", () => {
  test("that is right continues the approval under a new proposal id", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    expect((await holdpoint.decide(again(proposal, { approval_id: id }))).body).toMatchObject({
      outcome: "escalate",
      approval: { id },
    });
    await holdpoint.review(id, "grant");
    const named = again(proposal, { approval_id: id });
    const { body } = await holdpoint.decide(named);
    expect(body).toMatchObject({ outcome: "allow", approval: { id } });
    const { approval_id: _, ...unnamed } = named;
    expect((await holdpoint.decide(unnamed)).body).toEqual(body);
    expect((await consume(useOf(proposal, body))).status).toBe(200);
    const late = await holdpoint.decide(again(proposal, { approval_id: id }));
    expect(late.body).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_exhausted" }, {}] });
  });

  test("that is unknown, another tenant's or no id at all is not found, and all look alike", async () => {
    const foreign = (await holdpoint.sidecar.store.openApproval({
      ...(await storedRequest()),
      tenant: "other",
    })) as Body;
    const answers = await Promise.all(
      [foreign.approval.id, "appr_00nosuch", "x", "appr_{1}".replace(/[{}]/g, ""), "perm_001", "../../etc/passwd"].map(
        async (approval_id) => {
          const { status, body } = await holdpoint.decide(scripted(escalate(), { approval_id }));
          return { status, ...body, detail: body.detail.replace(approval_id, "…"), trace_id: "" };
        },
      ),
    );
    expect(answers[0]).toMatchObject({
      status: 404,
      code: "approval_not_found",
      pointer: "/approval_id",
      outcome: "deny",
      enforced: true,
    });
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  test("of another binding is refused, recorded, and does not use the grant up", async () => {
    const proposal = scripted(escalate());
    const { id } = await open(proposal);
    await holdpoint.review(id, "grant");
    const attempts = [
      again(proposal, { approval_id: id, action: { name: "PAY", arguments: { amount: 500 } } }),
      again(proposal, { approval_id: id, action: { ...proposal.action, name: "PAY_ALL" } }),
      again(proposal, { approval_id: id, entity: { type: "order", id: "ord-other" } }),
      again(proposal, { approval_id: id, actor: { ...proposal.actor, id: "other-agent" } }),
      again(proposal, { approval_id: id, actor: { ...proposal.actor, on_behalf_of: { id: "alice" } } }),
      again(proposal, { approval_id: id, context: { ...proposal.context, session: "another" } }),
    ];
    for (const attempt of attempts) {
      const { status, body } = await holdpoint.decide(attempt);
      expect(status).toBe(200);
      expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_mismatch" }, {}] });
      expect(body.permit).toBeUndefined();
      const entry = holdpoint.entries().find((one) => one.decision?.decision_id === body.decision_id);
      expect(entry.decision.outcome).toBe("deny");
    }
    expect(await read(id)).toMatchObject({ status: "granted", uses_left: 1 });
    const { body } = await holdpoint.decide(proposal);
    expect((await consume(useOf(proposal, body))).status).toBe(200);
  });

  test("of another tenant's approval does not open the door either", async () => {
    const foreign = (await holdpoint.sidecar.store.openApproval({
      ...(await storedRequest()),
      tenant: "other",
    })) as Body;
    const { id } = foreign.approval;
    for (const verdict of ["grant", "deny", "cancel"]) {
      const refused = await holdpoint.review(id, verdict);
      expect(refused).toMatchObject({ status: 404, body: { code: "approval_not_found" } });
    }
    expect((await holdpoint.send({ path: `/v1/approvals/${id}` })).status).toBe(404);
    expect((await holdpoint.sidecar.store.readApproval("other", id))?.status).toBe("pending");
  });
});

/** What the gate asks of the store for a fresh proposal, taken from one that it made. */
async function storedRequest(): Promise<Body> {
  const { id } = await open(scripted(escalate()));
  const approval = await holdpoint.sidecar.store.readApproval("default", id);
  return { ...approval, pendingMax: 100 };
}

describe("GET /v1/approvals/{id}?wait", () => {
  const wait = (id: string, query: string, port: Send["port"] = "decision") =>
    holdpoint.send({ port, path: `/v1/approvals/${id}?${query}`, key: KEYS.olivia });

  test.each(["decision", "admin"] as const)("answers on the %s port as soon as the approval changes", async (port) => {
    const { id } = await open(scripted(escalate()));
    const waiting = wait(id, "wait=30s", port);
    await holdpoint.review(id, "grant");
    expect((await waiting).body).toMatchObject({ id, status: "granted", version: 2 });
  });

  test("sees each change of a quorum", async () => {
    const { id } = await open(scripted(escalate({ quorum: 2 })));
    const asked = vi.spyOn(holdpoint.sidecar.gate, "waitApproval");
    const waiting = wait(id, "wait=30s");
    await until(() => asked.mock.calls.length > 0, "somebody waits");
    await holdpoint.review(id, "grant");
    expect((await waiting).body).toMatchObject({ status: "pending", version: 2 });
    asked.mockRestore();
  });

  test("answers when its time is up, with what there is", async () => {
    const { id } = await open(scripted(escalate()));
    expect((await wait(id, "wait=1ms")).body).toMatchObject({ status: "pending", version: 1 });
    expect((await wait(id, "wait=0")).body).toMatchObject({ status: "pending", version: 1 });
  });

  test("answers at the approval's own deadline", async () => {
    const { id } = await open(scripted(escalate({ ttl_seconds: 1 })));
    expect((await wait(id, "wait=30s")).body).toMatchObject({ status: "expired" });
  });

  test.each(["grant", "deny", "cancel"])("answers at once after a %s that came before it", async (verdict) => {
    const { id } = await open(scripted(escalate()));
    const { body } = await holdpoint.review(id, verdict);
    const asked = vi.spyOn(holdpoint.sidecar.gate, "waitApproval");
    expect((await wait(id, "wait=1s")).body).toEqual(body.approval);
    expect(asked).not.toHaveBeenCalled();
    asked.mockRestore();
  });

  test.each(["31s", "31", "1m", "30001ms", "-1s", "1.5s", "", "forever", "1h", "9999999", "1e3", " 1s"])(
    "refuses the duration %j",
    async (text) => {
      const { id } = await open(scripted(escalate()));
      const { status, body } = await wait(id, `wait=${encodeURIComponent(text)}`);
      expect(status).toBe(400);
      expect(body.code).toBe("invalid_request");
    },
  );

  test("refuses two durations", async () => {
    const { id } = await open(scripted(escalate()));
    expect((await wait(id, "wait=1s&wait=2s")).status).toBe(400);
  });

  test("lets go of a client that hangs up", async () => {
    const { id } = await open(scripted(escalate()));
    const asked = vi.spyOn(holdpoint.sidecar.gate, "waitApproval");
    const request = httpRequest(`${holdpoint.decisionUrl}/v1/approvals/${id}?wait=30s`);
    request.on("error", () => {});
    request.end();
    await until(() => asked.mock.calls.length > 0, "somebody waits");
    const signal = asked.mock.calls[0]![2];
    expect(signal.aborted).toBe(false);
    request.destroy();
    await until(() => signal.aborted, "the wait is given up");
    expect(await asked.mock.results[0]!.value).toMatchObject({ id, status: "pending" });
    asked.mockRestore();
  });

  test("wakes a hundred who wait for one approval", async () => {
    const { id } = await open(scripted(escalate()));
    const waiting = Array.from({ length: 100 }, () => wait(id, "wait=30s"));
    await holdpoint.review(id, "deny");
    const answers = await Promise.all(waiting);
    expect(new Set(answers.map(({ body }) => body.status))).toEqual(new Set(["denied"]));
  });
});

describe("GET /v1/approvals", () => {
  const list = (query: string) => holdpoint.send({ port: "admin", path: `/v1/approvals?${query}`, key: KEYS.olivia });

  test("lists each status, page by page, each approval once", async () => {
    const made = {
      pending: await open(scripted(escalate())),
      granted: (await holdpoint.grant(scripted(escalate()))).approval,
      denied: await open(scripted(escalate())),
      cancelled: await open(scripted(escalate())),
      exhausted: {} as Body,
      expired: await open(scripted(escalate({ ttl_seconds: 1 }))),
    };
    await holdpoint.review(made.denied.id, "deny");
    await holdpoint.review(made.cancelled.id, "cancel");
    const used = scripted(escalate());
    const allowed = await holdpoint.grant(used);
    await consume(useOf(used, allowed));
    made.exhausted = allowed.approval;
    await until(() => facts("approval_expired", made.expired.id).length > 0, "the sweep records it");
    for (const [status, approval] of Object.entries(made)) {
      const ids: string[] = [];
      let cursor: string | null = null;
      do {
        const query: string = `status=${status}&limit=2${cursor === null ? "" : `&cursor=${cursor}`}`;
        const { body }: Body = await list(query);
        expect(body.approvals.length).toBeLessThanOrEqual(2);
        for (const one of body.approvals) expect(one.status).toBe(status);
        ids.push(...body.approvals.map((one: Body) => one.id));
        cursor = body.cursor;
      } while (cursor !== null);
      expect(ids).toContain(approval.id);
      expect(new Set(ids).size).toBe(ids.length);
    }
  });

  test("lists the pending ones oldest first where nothing else is said", async () => {
    const first = await open(scripted(escalate()));
    const second = await open(scripted(escalate()));
    const { body } = await holdpoint.send({ port: "admin", path: "/v1/approvals?limit=100", key: KEYS.olivia });
    const ids = body.approvals.map((one: Body) => one.id);
    expect(ids.indexOf(first.id)).toBeGreaterThanOrEqual(0);
    expect(ids.indexOf(first.id)).toBeLessThan(ids.indexOf(second.id));
    expect((await list("status=pending&limit=100")).body).toEqual(body);
  });

  test.each([
    "status=approved",
    "status=",
    "status=pending&status=granted",
    "limit=0",
    "limit=101",
    "limit=-1",
    "limit=1e2",
    "cursor=x",
    "cursor=%7B%7D",
    "cursor=",
  ])("refuses the query %s", async (query) => {
    const { status, body } = await list(query);
    expect(status).toBe(400);
    expect(body.code).toBe("invalid_request");
  });

  test.each(["%7Bx%7D", "appr_00", "appr_00%00", "a%20b", "x".repeat(5_000), "appr_0f%2F..%2F", "%F0%9F%98%80"])(
    "answers the id %.40s with not found",
    async (id) => {
      for (const path of [`/v1/approvals/${id}`, `/v1/approvals/${id}?wait=1ms`]) {
        const answer = await holdpoint.send({ port: "admin", path, key: KEYS.olivia });
        expect(answer).toMatchObject({ status: 404, body: { code: "approval_not_found" } });
      }
      expect((await holdpoint.review(id, "grant")).status).toBe(404);
    },
  );

  test("answers a path that cannot be decoded with a problem", async () => {
    const answer = await holdpoint.send({ port: "admin", path: "/v1/approvals/%ff", key: KEYS.olivia });
    expect(answer).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  });
});

describe("policy that changed between grant and proposal", () => {
  const propose = async (now: Body, later: Body, more: Body = {}) => {
    const proposal = scripted(now, { context: { later, ...more } });
    const { id } = await open(proposal);
    expect((await holdpoint.review(id, "grant")).status).toBe(200);
    await holdpoint.turnTo("later");
    try {
      const same = (await holdpoint.decide(proposal)).body;
      const fresh = (await holdpoint.decide(again(proposal))).body;
      return { id, proposal, same, fresh };
    } finally {
      await holdpoint.turnTo("now");
    }
  };

  test("and denies: denied, and the grant is not used up", async () => {
    const { id, same, fresh } = await propose(escalate(), DENY);
    for (const body of [same, fresh])
      expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "forbidden_now" }] });
    expect(await read(id)).toMatchObject({ status: "granted", uses_left: 1 });
  });

  test("and allows: allowed without the grant", async () => {
    const { same, fresh } = await propose(escalate(), ALLOW);
    for (const body of [same, fresh]) {
      expect(body.outcome).toBe("allow");
      expect(body.approval).toBeUndefined();
    }
  });

  test.each([
    ["two reviewers", escalate({ quorum: 2 })],
    ["another role", escalate({ roles: ["director"] })],
    ["no reviewer of the old role", escalate({ roles: ["director", "cfo"] })],
  ])("and asks for %s: insufficient", async (_, later) => {
    const { id, same, fresh } = await propose(escalate(), later);
    for (const body of [same, fresh]) {
      expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_insufficient" }, {}] });
      expect(body.permit).toBeUndefined();
    }
    expect((await read(id)).status).toBe("granted");
  });

  test.each([
    ["any reviewer", escalate({ roles: [] })],
    ["the role or another one", escalate({ roles: ["director", "ops_operator"] })],
  ])("and asks for %s: the grant is enough", async (_, later) => {
    const { same, fresh } = await propose(escalate(), later);
    for (const body of [same, fresh]) expect(body).toMatchObject({ outcome: "allow", permit: expect.any(String) });
  });

  test("and rewrites before it escalates: the grant does not cover it", async () => {
    const { id, same, fresh } = await propose(escalate(), rewrite({ amount: 1, answer: escalate() }));
    expect(same).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_mismatch" }, {}] });
    expect(fresh).toMatchObject({ outcome: "escalate", action: { arguments: { amount: 1 } } });
    expect(fresh.approval.id).not.toBe(id);
  });

  test("and denies what it sees with the grant: denied", async () => {
    const { id, proposal } = await propose(escalate(), escalate(), { granted: DENY });
    const { body } = await holdpoint.decide(again(proposal));
    expect(body).toMatchObject({ outcome: "deny", approval: { id }, reasons: [{ code: "forbidden_now" }] });
    expect(body.permit).toBeUndefined();
  });

  test("and rewrites what it sees with the grant: insufficient", async () => {
    const { same } = await propose(escalate(), escalate(), {
      granted: rewrite({ amount: 9 }),
    });
    expect(same.outcome).toBe("deny");
  });
});

describe("large and odd arguments", () => {
  test("that grow in canonical form are granted and used like any other", async () => {
    const many = `[${Array.from({ length: 30_000 }, () => "1e20").join(",")}]`;
    const id = freshId("big");
    const text = (name: string) =>
      `{"id":"${name}","action":{"name":"PAY","arguments":{"many":${many}}},"actor":{"id":"a"},"context":{"now":${JSON.stringify(escalate())}}}`;
    const { body } = await holdpoint.decide(text(id));
    expect(body.outcome).toBe("escalate");
    await holdpoint.review(body.approval.id, "grant");
    const granted = await holdpoint.decide(text(id));
    expect(granted.status).toBe(200);
    expect(granted.body.outcome).toBe("allow");
    const use = `{"permit":"${granted.body.permit}","action":{"name":"PAY","arguments":{"many":${many}}},"actor":{"id":"a"}}`;
    expect((await consume(use)).body).toMatchObject({ valid: true });
  });

  test("named like an object's own are bound like any other", async () => {
    const id = freshId("odd");
    const odd = (value: number) =>
      `{"__proto__":{"x":${value}},"constructor":null,"toJSON":{"b":1,"a":2},"":[],"\u{1f600}":"\\u0000"}`;
    const text = `{"id":"${id}","action":{"name":"__proto__","arguments":${odd(1)}},"actor":{"id":"constructor"},"context":{"toJSON":1,"now":${JSON.stringify(escalate())}}}`;
    const { body } = await holdpoint.decide(text);
    await holdpoint.review(body.approval.id, "grant");
    const allowed = (await holdpoint.decide(text)).body;
    const use = (args: string) =>
      `{"permit":"${allowed.permit}","action":{"name":"__proto__","arguments":${args}},"actor":{"id":"constructor"}}`;
    expect((await consume(use(odd(2)))).body.code).toBe("digest_mismatch");
    expect((await consume(use(odd(1)))).body.valid).toBe(true);
  });
});

describe("facts", () => {
  test("of each transition are in the ledger before it is answered, once", async () => {
    const proposal = scripted(escalate({ quorum: 2 }));
    const { id } = await open(proposal);
    expect(facts("approval_opened", id)).toHaveLength(1);
    await holdpoint.review(id, "grant", { reason: "one" });
    expect(facts("approval_reviewed", id)).toHaveLength(1);
    await holdpoint.review(id, "grant", { reason: "two" }, KEYS.pierre);
    await holdpoint.review(id, "cancel", { reason: "three" }, KEYS.pierre);
    const reviewed = facts("approval_reviewed", id).map(({ data }) => data.approval);
    expect(reviewed.map(({ status }) => status)).toEqual(["pending", "granted", "cancelled"]);
    expect(reviewed[2].reviews.map(({ verdict, reason }: Body) => [verdict, reason])).toEqual([
      ["grant", "one"],
      ["grant", "two"],
      ["cancel", "three"],
    ]);
    const factIds = holdpoint.entries().flatMap((entry) => entry.data?.fact_id ?? []);
    expect(new Set(factIds).size).toBe(factIds.length);
    const opened = facts("approval_opened", id)[0];
    expect(opened.trace_id).toBe(opened.data.approval.trace_id);
  });

  test("of a refused act are none, and it leaves the approval as it was", async () => {
    const { id } = await open(scripted(escalate()));
    const before = await read(id);
    await holdpoint.review(id, "grant", {}, KEYS.intern);
    await holdpoint.review(id, "grant", { binding_digest: `sha256:${"1".repeat(64)}` });
    await holdpoint.review(id, "grant", { arguments: { answer: DENY } });
    expect(await read(id)).toEqual(before);
    expect(facts("approval_reviewed", id)).toEqual([]);
  });
});
