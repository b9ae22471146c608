/** Ways to more than was allowed, tried over HTTP on two sidecars of one Redis; each was open once. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type ContextualSidecar, pay, startContextual } from "../support/contextual.ts";
import { freshId } from "../support/proposals.ts";
import { type RedisServer, startRedis, until } from "../support/redis.ts";
import type { Body } from "../support/sidecar.ts";

let redis: RedisServer;
let one: ContextualSidecar;
let two: ContextualSidecar;
let executor: Server;
let calls = 0;
let held: ServerResponse[] | undefined;

beforeAll(async () => {
  redis = await startRedis();
  executor = createServer((request, response) => {
    calls += 1;
    request.resume().on("end", () => (held === undefined ? response.end("{}") : held.push(response)));
  });
  await new Promise<void>((resolve) => executor.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(executor.address() as AddressInfo).port}/`;
  const settings = { store: redis.url, executors: { runner: { url, timeout_ms: 20_000 } } };
  one = await startContextual(settings);
  two = await startContextual(settings);
});
afterAll(async () => {
  await one.close();
  await two.close();
  executor.closeAllConnections();
  executor.close();
  await redis.dispose();
});
beforeEach(() => {
  calls = 0;
  held = undefined;
});

const REVIEWER = { id: "olivia", roles: ["ops_operator"] };
const allow = (more: Body = {}) => ({ outcome: "allow", permit: { required: true }, ...more });
const limited = (more: Body = {}) => ({ key: freshId("limit"), limit: 1, window_seconds: 3_600, ...more });
const decide = async (proposal: Body, on = one): Promise<Body> => (await on.decide(proposal)).body;
const freeze = async (subject: string) =>
  (await one.send({ port: "admin", path: "/v1/freezes", body: { kind: "action", subject, reason: "stop" } })).body
    .freeze;
const lift = ({ id }: Body) => one.send({ port: "admin", path: `/v1/freezes/${id}/lift`, body: { reason: "go on" } });
const run = (order: string, id: string, now: Body = allow(), on = one) =>
  on.send({
    path: `/v1/entities/${order}/actions/RUN/execute`,
    body: { id, entity_type: "order", actor: { id: "ops-agent" }, context: { now } },
  });
const uses = async (proposal: Body, decisions: readonly Body[], on = one): Promise<number> => {
  let valid = 0;
  for (const decision of decisions) if ((await on.consume(proposal, decision)).valid === true) valid += 1;
  return valid;
};

describe("one proposal, one use", () => {
  test("through a freeze that came and went after it ran", async () => {
    const [order, id] = [await one.paidOrder(), freshId("run")];
    expect((await run(order, id)).status).toBe(200);
    const frozen = await freeze("RUN");
    expect((await run(order, id)).body.reasons[0].code).toBe("frozen");
    await lift(frozen);
    expect((await run(order, id)).status).toBe(409);
    expect(calls).toBe(1);
  });

  test("through a freeze that came and went before it was used", async () => {
    const proposal = pay(allow(), freshId("ord"));
    const decisions = [await decide(proposal)];
    const frozen = await freeze("PAY");
    decisions.push(await decide(proposal));
    await lift(frozen);
    decisions.push(await decide(proposal));
    expect(decisions.map(({ outcome }) => outcome)).toEqual(["allow", "deny", "allow"]);
    expect(await uses(proposal, [decisions[0], decisions[2]])).toBe(1);
  });

  test("on two sidecars, one of which remembers the entity", async () => {
    const order = await one.paidOrder();
    await decide(pay(allow(), order));
    const proposal = pay(allow(), order);
    const decisions = [await decide(proposal, one), await decide(proposal, two)];
    expect(new Set(decisions.map(({ permit_id }) => permit_id)).size).toBe(1);
    expect(await uses(proposal, decisions)).toBe(1);
  });

  test("decided again by two sidecars at the entity's next version", async () => {
    const order = await one.paidOrder();
    const proposal = pay(allow({ permit: { required: true, bind_entity_version: true } }), order);
    await decide(proposal, one);
    await decide(proposal, two);
    await one.event("NOTED", order);
    const decisions = [await decide(proposal, one), await decide(proposal, two)];
    expect(decisions.map(({ entity_version }) => entity_version)).toEqual([3, 3]);
    expect(await uses(proposal, decisions)).toBe(1);
  });

  test("through modes that change", async () => {
    const proposal = pay(allow(), freshId("ord"));
    const decisions = [await decide(proposal)];
    await one.sidecar.reconfigure({ ...one.config, mode: "observe" });
    decisions.push(await decide(proposal));
    await one.sidecar.reconfigure(one.config);
    decisions.push(await decide(proposal));
    expect(await uses(proposal, decisions)).toBe(1);
  });
});

describe("who runs an action says what became of it", () => {
  test("and not who proposed it, while the sidecar runs it", async () => {
    held = [];
    const now = allow({ limits: [limited()], lock: { key: freshId("lock"), ttl_seconds: 60 } });
    const order = await one.paidOrder();
    const running = run(order, freshId("run"), now);
    await until(() => calls === 1, "the executor was called");
    const [unknown] = (await one.send({ method: "GET", port: "admin", path: "/v1/executions" })).body.executions.filter(
      ({ action }: Body) => action === "RUN",
    );
    for (const on of [one, two]) {
      const report = { permit_id: unknown.permit_id, execution_id: unknown.execution_id, status: "failed" };
      expect(await on.send({ path: "/v1/executions", body: report })).toMatchObject({
        status: 403,
        body: { code: "forbidden" },
      });
    }
    expect((await run(order, freshId("run"), now)).status).toBe(422);
    for (const response of held) response.end("{}");
    expect((await running).status).toBe(200);
    expect(calls).toBe(1);
  });
});

describe("a reviewer's no", () => {
  test("stays one when the limit that asked comes free, under its id and any other", async () => {
    const now = allow({ limits: [limited({ on_exceed: "escalate" })], approval: { roles: ["ops_operator"] } });
    const [order, context] = [freshId("ord"), { session: freshId("s") }];
    const first = pay(now, order, { context });
    const spent = await decide(first);
    const asked = pay(now, order, { context });
    const held = await decide(asked);
    await one.review(held.approval.id, "deny", { actor: REVIEWER });
    await one.consume(first, spent);
    await one.report(spent, "failed");
    for (const on of [one, two]) {
      for (const proposal of [asked, { ...asked, id: freshId("again") }]) {
        expect(await decide(proposal, on)).toMatchObject({ outcome: "deny", reasons: [{ code: "approval_denied" }] });
      }
    }
  });
});

describe("an envelope of several uses", () => {
  test("is charged use by use where there is a limit", async () => {
    const envelope = { schema: { type: "object" }, uses: 10 };
    const limits = [limited({ limit: 100, cost: 50 })];
    const held = { outcome: "escalate", approval: { roles: ["ops_operator"], binding: "envelope", envelope }, limits };
    const order = freshId("ord");
    const ask = async () => {
      const proposal = pay(held, order, { context: { granted: { ...held, permit: { required: true } } } });
      return { proposal, decision: await decide(proposal) };
    };
    const first = await ask();
    await one.review(first.decision.approval.id, "grant", { actor: REVIEWER });
    let spent = 0;
    for (let round = 0; round < 5; round += 1) {
      const { proposal, decision } = await ask();
      if (decision.permit !== undefined) spent += await uses(proposal, [decision, decision]);
    }
    expect(spent).toBe(2);
  });
});

describe("waiting for a lock", () => {
  const lockOf = (key: string, wait_seconds: number) => ({ key, ttl_seconds: 30, wait_seconds });

  test("ends when what waits is frozen", async () => {
    const key = freshId("lock");
    const proposal = { ...pay(allow({ lock: lockOf(key, 0) }), "o"), action: { name: "WAIT", arguments: {} } };
    await decide(proposal);
    const waiting = decide({ ...proposal, id: freshId("w"), context: { now: allow({ lock: lockOf(key, 20) }) } });
    await until(
      async () => Number(await redis.admin.eval("return #redis.call('KEYS', '*lock-queue*')", 0)) > 0,
      "it waits",
    );
    const frozen = await freeze("WAIT");
    expect(await waiting).toMatchObject({ outcome: "deny", reasons: [{ code: "frozen" }] });
    await lift(frozen);
  });

  test("takes nothing off the permit's life", async () => {
    const key = freshId("lock");
    const first = pay(allow({ lock: lockOf(key, 0) }), "o");
    const holder = await decide(first);
    const short = { permit: { required: true, ttl_seconds: 1 }, lock: lockOf(key, 20) };
    const second = pay(allow(short), "o");
    const waiting = decide(second);
    await until(
      async () => Number(await redis.admin.eval("return #redis.call('KEYS', '*lock-queue*')", 0)) > 0,
      "it waits",
    );
    const since = Date.now();
    await until(() => Date.now() > since + 1_100, "longer than the permit lives");
    await one.consume(first, holder);
    await one.report(holder, "succeeded");
    const decision = await waiting;
    expect(decision.outcome).toBe("allow");
    expect(await one.consume(second, decision)).toMatchObject({ valid: true });
  });
});

describe("policy", () => {
  test("that binds a permit to the version of what the domain does not know is denied", async () => {
    const now = allow({ permit: { required: true, bind_entity_version: true } });
    for (const entity of [{ type: "ordre", id: "x" }, undefined]) {
      expect(await decide(pay(now, "x", { entity }))).toMatchObject({
        outcome: "deny",
        reasons: [{ code: "entity_unknown" }],
      });
    }
  });

  test("may say frozen itself, and is answered with what was recorded", async () => {
    const proposal = pay({ outcome: "deny", reasons: [{ code: "frozen", message: "by policy" }] }, "o");
    const first = await decide(proposal);
    expect((await decide(proposal)).decision_id).toBe(first.decision_id);
  });
});

describe("observe mode", () => {
  let observing: ContextualSidecar;
  beforeAll(async () => {
    observing = await startContextual({ store: redis.url, mode: "observe" });
  });
  afterAll(() => observing.close());

  test("counts limits, and says what enforcing would have", async () => {
    const now = allow({ limits: [limited()] });
    const seen = [];
    for (let round = 0; round < 2; round += 1) seen.push(await decide(pay(now, "o"), observing));
    expect(seen.map(({ outcome, observed_outcome, limits }) => [outcome, observed_outcome, limits[0].used])).toEqual([
      ["allow", "allow", 1],
      ["allow", "deny", 2],
    ]);
    expect((await decide(pay(now, "o"), one)).outcome).toBe("deny");
  });

  test("gives permits that are no way around a limit where it is enforced", async () => {
    const proposal = pay(allow({ limits: [limited()] }), "o");
    const decision = await decide(proposal, observing);
    expect(await one.consume(proposal, decision)).toMatchObject({ valid: false });
  });

  test("is not stopped by a session's odd name", async () => {
    for (const session of ["my session", 42, {}]) {
      expect((await observing.decide(pay(allow(), "o", { context: { session } }))).status).toBe(200);
    }
  });
});
