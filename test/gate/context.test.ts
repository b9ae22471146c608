/** The loop over HTTP, on both stores: events move entities, decisions see and take from the shared context. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ContextualSidecar, eventOf, pay, startContextual } from "../support/contextual.ts";
import { freshId } from "../support/proposals.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import type { Body } from "../support/sidecar.ts";

const limit = (more: Body = {}) => ({ key: freshId("limit"), limit: 10, window_seconds: 3600, ...more });
const allow = (more: Body = {}) => ({ outcome: "allow", permit: { required: true }, ...more });

describe.each(["embedded", "redis"])("on the store %s", (kind) => {
  let redis: RedisServer | undefined;
  let one: ContextualSidecar;
  let two: ContextualSidecar;

  beforeAll(async () => {
    redis = kind === "redis" ? await startRedis() : undefined;
    const store = redis?.url ?? "embedded";
    one = await startContextual({ store });
    two = redis === undefined ? one : await startContextual({ store });
  });
  afterAll(async () => {
    await one.close();
    if (two !== one) await two.close();
    await redis?.dispose();
  });

  const decide = async (proposal: Body, on = one): Promise<Body> => (await on.decide(proposal)).body;
  const entity = async (order: string, on = one): Promise<Body> =>
    (await on.send({ method: "GET", port: "admin", path: `/v1/entities/order/${order}` })).body;

  describe("POST /v1/events", () => {
    test("moves an entity, folds its attributes and is found again", async () => {
      const order = freshId("ord");
      const placed = await one.event("ORDER_PLACED", order, { data: { total: 49.9 } });
      expect(placed).toMatchObject({ applied: true, repeated: false, from: null, state: "CREATED", version: 1 });
      await one.event("ORDER_PAID", order, { data: { amount: 49.9 } });
      expect(await entity(order, two)).toMatchObject({
        type: "order",
        id: order,
        state: "PAID",
        version: 2,
        attributes: { total: 49.9, paid: 49.9 },
        events: 2,
        history: [
          { type: "ORDER_PAID", from: "CREATED", to: "PAID", sequence: 2 },
          { type: "ORDER_PLACED", from: null, to: "CREATED", sequence: 1 },
        ],
        rebuild: { matches: true, events: 2 },
      });
    });

    test("records an event without a transition, and refuses the change of state", async () => {
      const order = freshId("ord");
      const early = await one.event("ORDER_PAID", order, { data: { amount: 5 } });
      expect(early).toMatchObject({ applied: false, state: null, version: 0, refusal: { code: "no_transition" } });
      expect(await entity(order)).toMatchObject({ state: null, attributes: {}, events: 1, rebuild: { matches: true } });
    });

    test("answers the same event again with what is on record, from any sidecar", async () => {
      const event = eventOf("ORDER_PLACED", freshId("ord"), { data: { total: 1 } });
      const send = async (on: ContextualSidecar) =>
        (await on.send({ port: "admin", path: "/v1/events", body: event })).body;
      const first = await send(one);
      expect(await send(two)).toEqual({ ...first, repeated: true, trace_id: first.trace_id });
      const other = { ...event, data: { total: 2 } };
      expect(await one.send({ port: "admin", path: "/v1/events", body: other })).toMatchObject({
        status: 409,
        body: { code: "event_conflict" },
      });
    });

    test("takes an event without a time, and its repetition for the same one", async () => {
      const { time: _, ...event } = eventOf("ORDER_PLACED", freshId("ord"));
      const send = () => one.send({ port: "admin", path: "/v1/events", body: event });
      expect((await send()).body).toMatchObject({ applied: true, repeated: false });
      expect((await send()).body).toMatchObject({ applied: true, repeated: true });
      const { history } = await entity(event.entity.id);
      expect(Math.abs(Date.parse(history[0].time) - Date.now())).toBeLessThan(60_000);
    });

    test("holds a source to the version that it expects, and still answers its retry", async () => {
      const order = freshId("ord");
      const event = eventOf("ORDER_PLACED", order, { expected_version: 0 });
      const send = (body: Body) => one.send({ port: "admin", path: "/v1/events", body });
      expect((await send(event)).body.version).toBe(1);
      expect((await send(event)).body).toMatchObject({ repeated: true, version: 1 });
      const late = await send(eventOf("ORDER_PAID", order, { expected_version: 0 }));
      expect(late).toMatchObject({ status: 409, body: { code: "version_conflict", current_version: 1 } });
    });

    test.each<[string, Body, number, string]>([
      ["an unknown entity type", { entity: { type: "invoice", id: "i" } }, 422, "entity_type_unknown"],
      ["an unknown event", { type: "ORDER_EATEN" }, 422, "event_type_unknown"],
      ["a sum that is none", { type: "ORDER_PLACED", source: "holdpoint" }, 403, "forbidden"],
      ["no time at all", { time: "yesterday" }, 400, "invalid_request"],
    ])("refuses %s", async (_, changes, status, code) => {
      const body = eventOf("ORDER_PLACED", freshId("ord"), changes);
      expect(await one.send({ port: "admin", path: "/v1/events", body })).toMatchObject({ status, body: { code } });
    });

    test("takes a batch in its order, each event on its own", async () => {
      const order = freshId("ord");
      const events = [
        eventOf("ORDER_PLACED", order),
        { id: "?" },
        eventOf("ORDER_PAID", order, { data: { amount: 1.25 } }),
      ];
      const { body } = await one.send({ port: "admin", path: "/v1/events", body: { events } });
      expect(body.events).toMatchObject([
        { applied: true, state: "CREATED" },
        { code: "invalid_request", pointer: "/events/1/source" },
        { applied: true, state: "PAID" },
      ]);
    });
  });

  describe("a decision on an entity", () => {
    test("sees its state, whichever sidecar heard of it, and records the version", async () => {
      const order = freshId("ord");
      const proposal = () => pay({ outcome: "allow" }, order, { context: { states: ["PAID"] } });
      expect(await decide(proposal())).toMatchObject({ outcome: "deny", entity_version: 0 });
      await two.event("ORDER_PLACED", order);
      expect(await decide(proposal())).toMatchObject({ outcome: "deny", entity_version: 1 });
      await two.event("ORDER_PAID", order);
      expect(await decide(proposal())).toMatchObject({
        outcome: "allow",
        entity_version: 2,
        obligations: { entity: { type: "order", id: order, state: "PAID", version: 2 } },
      });
    });

    test("binds a permit to its version: a newer one refuses, and the proposal is decided anew", async () => {
      const order = await one.paidOrder();
      const now = allow({ permit: { required: true, bind_entity_version: true } });
      const proposal = pay(now, order, { context: { states: ["PAID"] } });
      const decision = await decide(proposal);
      await two.event("NOTED", order);
      expect(await one.consume(proposal, decision)).toMatchObject({
        valid: false,
        code: "state_changed",
        current_version: 3,
      });
      const again = await decide(proposal);
      expect(again).toMatchObject({ outcome: "allow", entity_version: 3 });
      expect(again.permit_id).not.toBe(decision.permit_id);
      expect(await one.consume(proposal, again)).toMatchObject({ valid: true });
      await two.event("ORDER_REFUNDED", order);
      // What was used stays the answer to its proposal.
      expect((await decide(proposal)).permit_id).toBe(again.permit_id);
    });
  });

  describe("limits", () => {
    test("are charged by decisions, reported, and exceeded with what is left", async () => {
      const limits = [limit({ limit: 12.5, cost: 5 })];
      const order = freshId("ord");
      const used = [];
      for (let round = 0; round < 3; round += 1)
        used.push(await decide(pay(allow({ limits }), order), round % 2 ? two : one));
      expect(used.map((decision) => decision.outcome)).toEqual(["allow", "allow", "deny"]);
      expect(used.map((decision) => decision.limits[0].remaining)).toEqual([7.5, 2.5, 2.5]);
      expect(used[2].reasons[0]).toMatchObject({ code: "limit_exceeded" });
    });

    test("give back what a failed execution took, and not what a successful one did", async () => {
      const limits = [limit({ limit: 1 })];
      const order = freshId("ord");
      const first = pay(allow({ limits }), order);
      const decision = await decide(first);
      expect((await decide(pay(allow({ limits }), order))).outcome).toBe("deny");
      await one.consume(first, decision);
      await one.report(decision, "failed");
      const second = pay(allow({ limits }), order);
      const again = await decide(second);
      expect(again.outcome).toBe("allow");
      await one.consume(second, again);
      await one.report(again, "succeeded");
      expect((await decide(pay(allow({ limits }), order))).outcome).toBe("deny");
    });

    test("charge one proposal once, however often and wherever it is sent", async () => {
      const limits = [limit({ limit: 3 })];
      const proposal = pay(allow({ limits }), freshId("ord"));
      await Promise.all([one, two, one, two].map((on) => decide(proposal, on)));
      const next = await decide(pay(allow({ limits }), freshId("ord")));
      expect(next.limits[0]).toMatchObject({ used: 2, remaining: 1 });
    });

    test("a hundred contenders for ten get exactly ten", async () => {
      const limits = [limit()];
      const decisions = await Promise.all(
        Array.from({ length: 100 }, (_, index) => decide(pay(allow({ limits }), `o${index}`), index % 2 ? two : one)),
      );
      expect(decisions.filter(({ outcome }) => outcome === "allow")).toHaveLength(10);
    });

    test("that escalate ask a human, whose grant passes the limit", async () => {
      const limits = [limit({ limit: 1, on_exceed: "escalate" })];
      const now = allow({ limits, approval: { roles: ["ops_operator"] } });
      const order = freshId("ord");
      expect((await decide(pay(now, order))).outcome).toBe("allow");
      const proposal = pay(now, order, { context: { granted: now } });
      const held = await decide(proposal);
      expect(held).toMatchObject({
        outcome: "escalate",
        reasons: [{ code: "limit_exceeded" }],
        approval: { status: "pending" },
      });
      const actor = { id: "olivia", roles: ["ops_operator"] };
      expect((await one.review(held.approval.id, "grant", { actor })).status).toBe(200);
      const granted = await decide(proposal);
      expect(granted).toMatchObject({ outcome: "allow", limits: [{ used: 2, remaining: 0 }] });
      expect(await one.consume(proposal, granted)).toMatchObject({ valid: true });
    });

    test("count different values, and a value twice as one", async () => {
      const key = freshId("limit");
      const contact = (customer: string) =>
        allow({ limits: [{ key, limit: 2, window_seconds: 60, window: "sliding", distinct: customer }] });
      const outcomes = [];
      for (const customer of ["a", "b", "a", "c"]) outcomes.push((await decide(pay(contact(customer), "o"))).outcome);
      expect(outcomes).toEqual(["allow", "allow", "allow", "deny"]);
    });
  });

  describe("locks", () => {
    test("let one permit live at a time, with a fence that grows", async () => {
      const lock = { key: freshId("lock"), ttl_seconds: 30 };
      const first = pay(allow({ lock }), "o");
      const held = await decide(first);
      expect(held).toMatchObject({ outcome: "allow", lock: { key: lock.key } });
      expect(await decide(pay(allow({ lock }), "o"), two)).toMatchObject({
        outcome: "deny",
        reasons: [{ code: "lock_held" }],
      });
      await one.consume(first, held);
      await one.report(held, "succeeded");
      const next = await decide(pay(allow({ lock }), "o"), two);
      expect(next.lock.fence).toBeGreaterThan(held.lock.fence);
    });

    test("that ended before the permit was used refuse it, and the next holder has the bigger fence", async () => {
      const lock = { key: freshId("lock"), ttl_seconds: 1 };
      const proposal = pay(allow({ lock }), "o");
      const held = await decide(proposal);
      const next = () => decide(pay(allow({ lock: { ...lock, ttl_seconds: 30 } }), "o"), two);
      await expect.poll(async () => (await next()).outcome, { timeout: 5_000 }).toBe("allow");
      expect(await one.consume(proposal, held)).toMatchObject({ valid: false, code: "lock_lost" });
    });

    test("are waited for in turn, and in vain for no longer than policy says", async () => {
      const lock = { key: freshId("lock"), ttl_seconds: 30 };
      const first = pay(allow({ lock }), "o");
      const held = await decide(first);
      const patient = decide(pay(allow({ lock: { ...lock, wait_seconds: 20 } }), "o"), two);
      const hasty = await decide(pay(allow({ lock: { ...lock, wait_seconds: 1 } }), "o"));
      expect(hasty).toMatchObject({ outcome: "deny", reasons: [{ code: "lock_timeout" }] });
      await one.consume(first, held);
      await one.report(held, "failed");
      expect((await patient).outcome).toBe("allow");
    });
  });

  describe("a session", () => {
    test("shows policy what was done in it, on every sidecar, and what became of it", async () => {
      const session = freshId("s");
      const now = allow({ session: { classifications: ["pii"], sums: { amount: 5.5 } } });
      const proposal = () => pay(now, "o", { context: { session } });
      const first = proposal();
      const done = await decide(first);
      await one.consume(first, done);
      await one.report(done, "succeeded");
      const second = await decide(proposal(), two);
      expect(second.obligations.session).toMatchObject({
        id: session,
        classifications: ["pii"],
        sums: { amount: 5.5 },
        actions: [{ decision_id: done.decision_id, action: "PAY", outcome: "allow", status: "succeeded" }],
      });
      const other = await decide({ ...proposal(), actor: { id: "another-agent" } });
      expect(other.obligations.session).toMatchObject({ count: 0, actions: [] });
    });

    test("is left alone by actions whose contracts have nothing to do with it", async () => {
      const context = { session: freshId("s") };
      const run = { ...pay(allow(), "o", { context }), action: { name: "RUN", arguments: {} } };
      expect((await decide(run)).obligations.session).toBeNull();
    });

    test.each([[7], [""], ["a b"], ["x".repeat(257)]])(
      "named %j is refused where the action keeps one",
      async (session) => {
        const answer = await one.decide(pay(allow(), "o", { context: { session } }));
        expect(answer).toMatchObject({
          status: 400,
          body: { code: "invalid_request", pointer: "/context/session", outcome: "deny" },
        });
      },
    );

    test("is in order where many decide in it at once", async () => {
      const session = freshId("s");
      await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          decide(pay(allow(), "o", { context: { session } }), index % 2 ? two : one),
        ),
      );
      const last = await decide(pay(allow(), "o", { context: { session } }));
      expect(last.obligations.session.count).toBe(12);
      expect(new Set(last.obligations.session.actions.map((action: Body) => action.decision_id)).size).toBe(12);
    });
  });

  describe("a freeze", () => {
    test.each<[string, (order: string) => Body]>([
      ["actor", () => ({ kind: "actor", subject: "frozen-agent" })],
      ["entity", (order) => ({ kind: "entity", subject: `order/${order}` })],
      ["action", () => ({ kind: "action", subject: "FROZEN" })],
    ])("of one %s stops proposals and permits on every sidecar, and is lifted", async (_, what) => {
      const order = freshId("ord");
      const proposal = () => ({
        ...pay(allow(), order),
        actor: { id: "frozen-agent" },
        action: { name: "FROZEN", arguments: {} },
      });
      const before = proposal();
      const permitted = await decide(before);
      const body = { ...what(order), reason: "something is wrong" };
      const { body: set } = await two.send({ port: "admin", path: "/v1/freezes", body });
      const stopped = proposal();
      await expect.poll(async () => (await decide(proposal())).reasons[0]?.code, { timeout: 2_000 }).toBe("frozen");
      expect(await decide(stopped)).toMatchObject({ outcome: "deny", reasons: [{ code: "frozen" }] });
      expect(await one.consume(before, permitted)).toMatchObject({ valid: false, code: "frozen" });
      const lifting = { port: "admin", path: `/v1/freezes/${set.freeze.id}/lift`, body: { reason: "found" } } as const;
      expect((await one.send(lifting)).status).toBe(200);
      expect(await one.consume(before, permitted)).toMatchObject({ valid: true });
      expect((await decide(stopped)).outcome).toBe("allow");
    });
  });
});
