/** Where what policy says of a mode, an envelope or a cancelled grant meets the door where actions run. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sha256Digest } from "../../src/core/digest.ts";
import { freshId, useOf } from "../support/proposals.ts";
import { startRedis, until } from "../support/redis.ts";
import {
  DENY,
  escalate,
  PERMIT,
  type ScriptedSidecar,
  scripted,
  scriptedBundle,
  startScripted,
} from "../support/scripted.ts";
import { API_KEYS, type Body, KEYS, startSidecar } from "../support/sidecar.ts";

let holdpoint: ScriptedSidecar;
beforeAll(async () => {
  holdpoint = await startScripted();
});
afterAll(() => holdpoint.close());

const consume = (sidecar: Pick<ScriptedSidecar, "send">, body: Body) =>
  sidecar.send({ path: "/v1/permits/consume", body });

describe("POST /v1/permits/consume", () => {
  test("refuses in observe mode where policy says that the action is enforced", async () => {
    const observing = await startSidecar({ bundle: scriptedBundle("now"), mode: "observe" });
    const forged = (answer: Body) => ({
      permit: "forged",
      action: { name: "PAY", arguments: { answer } },
      actor: { id: "support-agent" },
    });
    const enforced = await consume(observing, forged({ ...DENY, mode: "enforce" }));
    expect(enforced).toMatchObject({ status: 403, body: { code: "bad_signature", valid: false } });
    const observed = await consume(observing, forged(DENY));
    expect(observed).toMatchObject({
      status: 200,
      body: { valid: true, enforced: false, observed: { code: "bad_signature" } },
    });
    await observing.close();
  });

  test("takes the largest action that can be proposed, with its permit beside it", async () => {
    const size = 262_144;
    const proposal = scripted(PERMIT, { action: { name: "PAY", arguments: { note: "" } } });
    const room = size - Buffer.byteLength(JSON.stringify(proposal));
    proposal.action.arguments.note = "x".repeat(room);
    const { body: decision } = await holdpoint.decide(proposal);
    expect(decision.outcome).toBe("allow");
    expect((await consume(holdpoint, useOf(proposal, decision))).body).toMatchObject({ valid: true });
  });
});

describe("an envelope", () => {
  const envelope = (chars: number) => {
    const schema = { type: "object", description: "" };
    schema.description = "x".repeat(chars - JSON.stringify(schema).length);
    return escalate({ binding: "envelope", envelope: { schema, uses: 2 } });
  };

  test("is shown to the reviewer", async () => {
    const schema = { type: "object", properties: { amount: { type: "integer", maximum: 10 } } };
    const proposal = scripted(escalate({ binding: "envelope", envelope: { schema, uses: 3 } }));
    const { body } = await holdpoint.decide(proposal);
    const approval = await holdpoint.send({ path: `/v1/approvals/${body.approval.id}` });
    expect(approval.body).toMatchObject({ binding: "envelope", envelope: schema, uses_left: 3 });
    const exact = await holdpoint.decide(scripted(escalate()));
    const other = await holdpoint.send({ path: `/v1/approvals/${exact.body.approval.id}` });
    expect(other.body.binding).toBe("exact");
    expect(other.body).not.toHaveProperty("envelope");
  });

  test("may be as large as a permit can carry and no larger", async () => {
    const granted = await holdpoint.grant(scripted(envelope(16_384)));
    expect(granted.outcome).toBe("allow");
    const { body } = await holdpoint.decide(scripted(envelope(16_385)));
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "policy_result_invalid" }] });
  });
});

describe("an envelope's schema", () => {
  const under = async (schema: Body, args: Body) => {
    const proposal = scripted(escalate({ binding: "envelope", envelope: { schema, uses: 9 } }), {
      action: { name: "PAY", arguments: args },
    });
    return holdpoint.grant(proposal);
  };

  test("meets the agent's text in linear time", async () => {
    const schema = { type: "object", properties: { n: { type: "string", pattern: "^(a+)+$" } } };
    expect(await under(schema, { n: "aaa" })).toMatchObject({ outcome: "allow" });
    const hostile = await under(schema, { n: `${"a".repeat(5_000)}!` });
    expect(hostile).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_insufficient" }, {}] });
  });

  test.each([
    [
      "a pattern that only a backtracking engine can match",
      { properties: { n: { type: "string", pattern: "(a)\\1" } } },
    ],
    ["uniqueItems without a bound", { properties: { n: { type: "array", uniqueItems: true } } }],
    [
      "uniqueItems with a bound too large",
      { properties: { n: { type: "array", uniqueItems: true, maxItems: 1_001 } } },
    ],
  ])("with %s accepts nothing", async (_, schema) => {
    expect(await under({ type: "object", ...schema }, {})).toMatchObject({ outcome: "deny" });
  });

  test("may ask for unique items up to its bound", async () => {
    const list = { type: "array", uniqueItems: true, maxItems: 1_000 };
    expect(await under({ type: "object", properties: { n: list } }, { n: [1, 2] })).toMatchObject({ outcome: "allow" });
  });
});

describe("arguments", () => {
  test("may be a thousand and not one more", async () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, index]));
    const decide = (count: number) =>
      holdpoint.decide(scripted(PERMIT, { action: { name: "PAY", arguments: many(count) } }));
    expect((await decide(1_000)).body.outcome).toBe("allow");
    expect(await decide(1_001)).toMatchObject({
      status: 400,
      body: { code: "invalid_request", pointer: "/action/arguments", outcome: "deny" },
    });
  });
});

describe("a denial", () => {
  const onBehalf = (principal: Body, id = freshId("d")) =>
    scripted(escalate(), {
      id,
      entity: { type: "order", id: "the-same" },
      actor: {
        id: "support-agent",
        on_behalf_of: { id: "alice", type: "human", roles: ["operator", "y"], ...principal },
      },
    });

  test("holds for the same people in whatever spelling of their types and roles", async () => {
    const { body } = await holdpoint.decide(onBehalf({}));
    await holdpoint.review(body.approval.id, "deny");
    const spellings: Body[] = [
      { roles: ["y", "operator"] },
      { roles: ["y", "y"] },
      { roles: undefined },
      { type: "Human" },
      { type: undefined },
    ];
    for (const spelling of spellings) {
      const again = await holdpoint.decide(onBehalf(spelling));
      expect(again.body, JSON.stringify(spelling)).toMatchObject({
        outcome: "deny",
        reasons: [{ code: "approval_denied" }, {}],
      });
    }
    expect((await holdpoint.decide(onBehalf({ id: "bob" }))).body.outcome).toBe("escalate");
  });
});

describe("an edit", () => {
  test("does not bring back what was denied", async () => {
    const held = (amount: number) =>
      scripted(escalate(), { action: { name: "PAY", arguments: { amount } }, entity: { type: "order", id: "edited" } });
    const first = (await holdpoint.decide(held(7))).body;
    await holdpoint.review(first.approval.id, "deny");
    const second = (await holdpoint.decide(held(8))).body;
    const refused = await holdpoint.review(second.approval.id, "grant", { arguments: { amount: 7 } });
    expect(refused).toMatchObject({ status: 409, body: { code: "edit_refused", pointer: "/arguments" } });
    expect((await holdpoint.review(second.approval.id, "grant", { arguments: { amount: 6 } })).status).toBe(200);
  });
});

describe("POST /v1/executions", () => {
  test("is for the credential that consumed the permit, and for no other of its tenant", async () => {
    const second = {
      ...API_KEYS.find(({ id }) => id === "bot")!,
      id: "second",
      sha256: sha256Digest("second").slice(7),
    };
    const closed = await startSidecar({
      bundle: scriptedBundle("now"),
      auth: "api_key",
      api_keys: [...API_KEYS, second],
    });
    const proposal = scripted(PERMIT);
    const { body: decision } = await closed.decide(proposal, KEYS.bot);
    const used = await closed.send({ path: "/v1/permits/consume", body: useOf(proposal, decision), key: KEYS.bot });
    expect(used.body).toMatchObject({ valid: true });
    const report = (key: string) =>
      closed.send({ path: "/v1/executions", body: { permit_id: decision.permit_id, status: "succeeded" }, key });
    expect(await report("second")).toMatchObject({ status: 403, body: { code: "forbidden" } });
    expect(await report(KEYS.bot)).toMatchObject({ status: 200, body: { status: "succeeded" } });
    await closed.close();
  });
});

describe("a mode", () => {
  test("of an action does not relax a tenant that is set to enforce", async () => {
    const mixed = await startSidecar({
      bundle: scriptedBundle("now"),
      tenants: { default: { mode: "enforce" } },
      actions: { PAY: { mode: "observe" } },
    });
    expect((await mixed.decide(scripted(DENY))).body).toMatchObject({ outcome: "deny", enforced: true });
    await mixed.close();
    const global = await startSidecar({ bundle: scriptedBundle("now"), actions: { PAY: { mode: "observe" } } });
    expect((await global.decide(scripted(DENY))).body).toMatchObject({ outcome: "allow", enforced: false });
    await global.close();
  });
});

describe("two sidecars on one Redis", () => {
  test("give one proposal one use, and refuse other content under its id", async () => {
    const redis = await startRedis();
    const keys = mkdtempSync(join(tmpdir(), "holdpoint-keys-"));
    const settings = { bundle: scriptedBundle("now"), store: redis.url, keys_dir: keys };
    const one = await startSidecar(settings);
    const two = await startSidecar(settings);
    for (const sidecar of [one, two]) await until(async () => (await sidecar.send({ path: "/readyz" })).status === 200);
    const proposal = scripted(PERMIT);
    const decisions = [(await one.decide(proposal)).body, (await two.decide(proposal)).body];
    expect(decisions.map(({ outcome }) => outcome)).toEqual(["allow", "allow"]);
    const uses = await Promise.all([
      consume(one, useOf(proposal, decisions[0])),
      consume(two, useOf(proposal, decisions[1])),
      consume(one, useOf(proposal, decisions[1])),
    ]);
    expect(uses.filter(({ status }) => status === 200)).toHaveLength(1);
    const other = scripted(PERMIT);
    await one.decide(other);
    const changed = await two.decide({ ...other, action: { name: "PAY", arguments: { amount: 6 } } });
    expect(changed).toMatchObject({ status: 409, body: { code: "proposal_conflict", outcome: "deny" } });
    await one.close();
    await two.close();
    await redis.dispose();
    rmSync(keys, { recursive: true });
  });
});

describe("GET /v1/ledger/entries", () => {
  test("ends a page by its size and says where to go on", async () => {
    const large = () => scripted(PERMIT, { action: { name: "PAY", arguments: { note: "x".repeat(200_000) } } });
    for (let index = 0; index < 30; index++) await holdpoint.decide(large());
    const { size } = holdpoint.sidecar.ledger.head();
    let start = 0;
    let pages = 0;
    while (start < size) {
      const { text, body } = await holdpoint.send({
        port: "admin",
        path: `/v1/ledger/entries?start=${start}&limit=1000`,
        key: KEYS.olivia,
      });
      expect(text.length).toBeLessThan(5 * 1024 * 1024);
      expect(body.entries[0].index).toBe(start);
      start = body.next;
      pages++;
    }
    expect(pages).toBeGreaterThan(1);
    const { body } = await holdpoint.send({
      port: "admin",
      path: "/v1/ledger/entries?start=999999999",
      key: KEYS.olivia,
    });
    expect(body).toMatchObject({ entries: [], next: size, size });
  });
});

describe("a proposal that was allowed", () => {
  test("is denied when it is posted again after its grant was cancelled", async () => {
    const proposal = scripted(escalate(), { id: freshId("cancelled") });
    const granted = await holdpoint.grant(proposal);
    expect(granted.outcome).toBe("allow");
    await holdpoint.review(granted.approval.id, "cancel");
    const { body } = await holdpoint.decide(proposal);
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_cancelled" }, {}] });
  });
});

describe("an error", () => {
  const away = "redis://127.0.0.1:1";

  test("means deny for an action that is enforced, also where the rest is observed", async () => {
    const mixed = await startSidecar({
      bundle: scriptedBundle("now"),
      mode: "observe",
      store: away,
      actions: { PAY: { mode: "enforce" } },
    });
    const refused = await mixed.decide(scripted(PERMIT));
    expect(refused).toMatchObject({
      status: 503,
      body: { code: "store_unavailable", outcome: "deny", enforced: true },
    });
    const observed = await mixed.decide(scripted(PERMIT, { action: { name: "LOOK", arguments: {} } }));
    expect(observed).toMatchObject({ status: 200, body: { outcome: "allow", enforced: false } });
    const unreadable = await mixed.send({ path: "/v1/decisions", body: "{" });
    expect(unreadable).toMatchObject({ status: 400, body: { outcome: "deny" } });
    await mixed.close();
  });

  test("means deny for an action that policy enforces while the sidecar observes", async () => {
    const observing = await startSidecar({ bundle: scriptedBundle("now"), mode: "observe", store: away });
    const refused = await observing.decide(scripted({ ...PERMIT, mode: "enforce" }));
    expect(refused).toMatchObject({
      status: 503,
      body: { code: "store_unavailable", outcome: "deny", enforced: true },
    });
    await observing.close();
  });

  test("of a store that never answers does not hold up what is only observed", async () => {
    const redis = await startRedis();
    const observing = await startSidecar({
      bundle: scriptedBundle("now"),
      mode: "observe",
      store: redis.url,
      store_timeout_ms: 5_000,
    });
    await until(async () => (await observing.send({ path: "/readyz" })).status === 200);
    redis.freeze();
    const proposal = scripted(PERMIT);
    const { body: decision } = await observing.decide(proposal);
    expect(decision).toMatchObject({ outcome: "allow", enforced: false });
    const used = await consume(observing, useOf(proposal, decision));
    expect(used).toMatchObject({
      status: 200,
      body: { valid: true, observed: { code: "store_unavailable", detail: expect.stringContaining("within 100 ms") } },
    });
    redis.thaw();
    await observing.close();
    await redis.dispose();
  });
});
