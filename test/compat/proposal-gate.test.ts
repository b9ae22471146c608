/** The proposal gate's routes: its words and shapes, an executor that really answers, and what is left when one does not. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type ContextualSidecar, startContextual } from "../support/contextual.ts";
import { freshId } from "../support/proposals.ts";
import { type Body, KEYS } from "../support/sidecar.ts";

interface Call {
  readonly headers: IncomingMessage["headers"];
  readonly body: Body;
}

let executor: Server;
let calls: Call[];
let behave: (request: IncomingMessage, response: ServerResponse) => void;
let holdpoint: ContextualSidecar;

beforeAll(async () => {
  executor = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    calls.push({ headers: request.headers, body: JSON.parse(text) });
    behave(request, response);
  });
  await new Promise<void>((resolve) => executor.listen(0, "127.0.0.1", resolve));
  const { port } = executor.address() as AddressInfo;
  holdpoint = await startContextual({
    executors: { runner: { url: `http://127.0.0.1:${port}/run`, timeout_ms: 400 } },
  });
});
afterAll(async () => {
  await holdpoint.close();
  executor.closeAllConnections();
  executor.close();
});
beforeEach(() => {
  calls = [];
  behave = (_, response) =>
    response
      .writeHead(200, { "content-type": "application/json" })
      .end(JSON.stringify({ message: "auto-refund of $49.00 issued" }));
});
afterEach(() => executor.closeAllConnections());

const ALLOW = { outcome: "allow" };
const HOLD = {
  outcome: "escalate",
  approval: { roles: ["ops_operator"] },
  reasons: [{ code: "approval_required", message: "" }],
};

const bodyOf = (now: Body, more: Body = {}): Body => ({
  entity_type: "order",
  actor: { id: "ops-agent", type: "agent", roles: ["operator"] },
  parameters: { amount: 49, reason: "customer request" },
  context: { now, states: ["PAID"], granted: ALLOW },
  ...more,
});
const execute = (order: string, body: Body, action = "RUN") =>
  holdpoint.send({ path: `/v1/entities/${order}/actions/${action}/execute`, body });
const stateOf = async (order: string) =>
  (await holdpoint.send({ method: "GET", port: "admin", path: `/v1/entities/order/${order}` })).body;
const unknown = async (): Promise<Body[]> =>
  (await holdpoint.send({ method: "GET", port: "admin", path: "/v1/executions?status=unknown" })).body.executions;

describe("POST /v1/entities/{id}/actions/{action}/execute", () => {
  test("runs what is allowed, once, with the permit, and moves the entity", async () => {
    const order = await holdpoint.paidOrder();
    const { status, body } = await execute(order, bodyOf(ALLOW));
    expect(status).toBe(200);
    expect(body.result).toMatchObject({
      action_name: "RUN",
      entity_id: order,
      status: "succeeded",
      executed: true,
      message: "auto-refund of $49.00 issued",
      state: "REFUNDED",
    });
    expect(calls).toHaveLength(1);
    expect(calls[0]!.body).toMatchObject({
      action: { name: "RUN", arguments: { amount: 49, reason: "customer request" } },
      actor: { id: "ops-agent" },
      entity: { type: "order", id: order },
      execution_id: body.result.execution_id,
    });
    expect(calls[0]!.headers["idempotency-key"]).toBe(body.result.execution_id);
    expect(calls[0]!.headers["holdpoint-permit"]).toMatch(/^ey/);
    expect(await stateOf(order)).toMatchObject({ state: "REFUNDED", rebuild: { matches: true } });
    expect(await unknown()).toEqual([]);
  });

  test("leaves the records of a small refund, in their order", async () => {
    const order = await holdpoint.paidOrder();
    const before = holdpoint.entries().length;
    await execute(order, bodyOf(ALLOW));
    expect(
      holdpoint
        .entries()
        .slice(before)
        .map(({ kind }) => kind),
    ).toEqual(["decision", "permit_consumed", "execution_reported", "event_ingested", "state_changed"]);
  });

  test("says which states allow it, and calls nobody", async () => {
    const order = freshId("ord");
    await holdpoint.event("ORDER_PLACED", order);
    expect(await execute(order, bodyOf(ALLOW))).toMatchObject({
      status: 422,
      body: { error: "state not allowed", action: "RUN", current_state: "CREATED", allowed_states: ["PAID"] },
    });
    expect(calls).toEqual([]);
  });

  test("holds what a human must decide, and runs it with the granted approval", async () => {
    const order = await holdpoint.paidOrder();
    const held = await execute(order, bodyOf(HOLD));
    expect(held).toMatchObject({ status: 422, body: { error: "action requires approval", action: "RUN" } });
    const { approval_id } = held.body;
    const opened = await holdpoint.send({ path: `/v1/entities/${order}/actions/RUN/approvals`, body: bodyOf(HOLD) });
    expect(opened).toMatchObject({
      status: 201,
      body: { approval: { id: approval_id, status: "pending", action_name: "RUN", entity_id: order } },
    });
    const actor = { id: "ops-human", type: "human", roles: ["ops_operator"] };
    const granted = await holdpoint.review(approval_id, "grant", { actor, reason: "verified with customer" });
    expect(granted.body.approval).toMatchObject({
      id: approval_id,
      status: "granted",
      action_name: "RUN",
      entity_id: order,
      reviewed_by: "ops-human",
    });
    const done = await execute(order, bodyOf(HOLD, { approval_id }));
    expect(done).toMatchObject({ status: 200, body: { result: { status: "succeeded", state: "REFUNDED" } } });
    expect((await execute(order, bodyOf(HOLD, { approval_id }))).status).toBe(422);
    expect(calls).toHaveLength(1);
  });

  test("a denial is the end of it, however often it is tried", async () => {
    const order = await holdpoint.paidOrder();
    const { body: held } = await execute(order, bodyOf(HOLD));
    const actor = { id: "ops-human", roles: ["ops_operator"] };
    await holdpoint.review(held.approval_id, "deny", { actor, reason: "order disputed" });
    const tried = await execute(order, bodyOf(HOLD));
    expect(tried).toMatchObject({
      status: 422,
      body: { error: "state not allowed", current_state: "PAID" },
    });
    expect(tried.body.reasons[0].code).toBe("approval_denied");
    expect(calls).toEqual([]);
  });

  test.each<[string, (request: IncomingMessage, response: ServerResponse) => void]>([
    ["hangs", () => {}],
    ["answers 500", (_, response) => response.writeHead(500).end()],
    ["redirects", (_, response) => response.writeHead(302, { location: "http://169.254.169.254/" }).end()],
    ["breaks off", (request) => request.socket.destroy()],
    [
      "streams without end",
      (_, response) => {
        const more = () => response.write("x".repeat(65_536), () => setImmediate(more));
        response.writeHead(200, { "content-type": "application/json" });
        more();
      },
    ],
  ])("an executor that %s leaves an unknown outcome, never a second call", async (_, behaviour) => {
    behave = behaviour;
    const order = await holdpoint.paidOrder();
    const { status, body } = await execute(order, bodyOf(ALLOW));
    expect({ status, error: body.error, executed: body.executed }).toEqual({
      status: 504,
      error: "outcome unknown",
      executed: null,
    });
    expect(calls).toHaveLength(1);
    expect(await stateOf(order)).toMatchObject({ state: "PAID" });
    expect(await unknown()).toMatchObject([{ execution_id: body.execution_id, status: "unknown" }]);
    const path = `/v1/executions/${body.execution_id}/resolve`;
    const resolution = { status: "succeeded", reason: "seen in the ledger of the bank", actor: { id: "olivia" } };
    const resolved = await holdpoint.send({ port: "admin", path, body: resolution });
    expect(resolved).toMatchObject({ status: 200, body: { status: "succeeded" } });
    expect(await stateOf(order)).toMatchObject({ state: "REFUNDED", rebuild: { matches: true } });
    expect(await unknown()).toEqual([]);
    const contrary = await holdpoint.send({ port: "admin", path, body: { ...resolution, status: "failed" } });
    expect(contrary).toMatchObject({ status: 409, body: { code: "execution_conflict" } });
  });

  test("an executor that refuses did not run: nothing moved, and the order may be tried again", async () => {
    behave = (_, response) => response.writeHead(409).end();
    const order = await holdpoint.paidOrder();
    expect(await execute(order, bodyOf(ALLOW))).toMatchObject({
      status: 502,
      body: { error: "executor failed", status: "failed", executed: false },
    });
    expect(await stateOf(order)).toMatchObject({ state: "PAID" });
    behave = (_, response) => response.end("{}");
    expect((await execute(order, bodyOf(ALLOW))).status).toBe(200);
  });

  test("without an executor nothing is decided or reserved", async () => {
    const before = holdpoint.entries().length;
    for (const action of ["PAY", "LOST"]) {
      expect(await execute("o", bodyOf(ALLOW), action)).toMatchObject({ status: 422, body: { error: "no executor" } });
    }
    expect(holdpoint.entries()).toHaveLength(before);
  });

  test("bad input has the problem's members and this protocol's", async () => {
    expect(await execute("o", { entity_type: "order" })).toMatchObject({
      status: 400,
      body: { error: "invalid request", code: "invalid_request", pointer: "/actor", outcome: "deny" },
    });
  });
});

describe("POST /v1/proposals/decide", () => {
  const decide = (now: Body, more: Body = {}) =>
    holdpoint.send({
      path: "/v1/proposals/decide",
      body: {
        id: freshId("toolcall"),
        entity_id: "ord_002",
        entity_type: "order",
        action_name: "ISSUE_REFUND",
        actor_id: "support-agent",
        parameters: { amount: 4900, reason: "customer request" },
        context: { now },
        ...more,
      },
    });

  test.each<[Body, string, string]>([
    [ALLOW, "allowed", "execute the action"],
    [HOLD, "approval_required", "request approval before executing"],
    [{ outcome: "deny", reasons: [{ code: "too_large", message: "" }] }, "blocked", "do not execute"],
  ])("answers %j in its words", async (now, outcome, message) => {
    const { status, body } = await decide(now);
    expect({ status, outcome: body.outcome, message: body.message }).toEqual({ status: 200, outcome, message });
    if (outcome === "approval_required") expect(body).toMatchObject({ reasons: ["approval_required"] });
    if (outcome === "blocked") expect(body.reasons).toEqual(["too_large"]);
  });

  test("gives an actor that is named by its id alone the roles that its credential lists", async () => {
    const keyed = await startContextual({ auth: "api_key" });
    const body = { id: "toolcall", action_name: "PAY", actor_id: "support-agent", context: { now: ALLOW } };
    expect((await keyed.send({ path: "/v1/proposals/decide", key: KEYS.bot, body })).body.outcome).toBe("allowed");
    expect(keyed.entries().at(-1).input.actor).toEqual({ id: "support-agent", roles: ["operator"] });
    await keyed.close();
  });
});
