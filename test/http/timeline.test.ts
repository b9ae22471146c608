/** What happened, read back on the admin port: the worked examples from proposal to effect, by their real entries. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import { freshId, refund, useOf } from "../support/proposals.ts";
import { type Answer, API_KEYS, type Body, KEYS, startSidecar, type TestSidecar } from "../support/sidecar.ts";

const STRIPE = "test-key-stripe";
const api_keys = [
  ...API_KEYS,
  { id: "stripe", sha256: createHash("sha256").update(STRIPE).digest("hex"), scopes: ["ingest"] },
];

let holdpoint: TestSidecar;

beforeAll(async () => {
  holdpoint = await startSidecar({ bundle: examplesBundle(), api_keys });
});
afterAll(() => holdpoint.close());

const admin = (path: string, key: string = KEYS.olivia): Promise<Answer> =>
  holdpoint.send({ port: "admin", path, key });
const ofEntity = (id: string, query = "") => admin(`/v1/entities/order/${id}/timeline${query}`);
const told = ({ body }: Answer): Body => body.rows.map(({ kind, actor, summary }: Body) => [kind, actor, summary]);

async function event(id: string, type: string, data: object = {}): Promise<void> {
  const body = {
    id: freshId("evt"),
    source: "stripe",
    type,
    entity: { type: "order", id },
    actor: { id: "stripe" },
    data,
  };
  const { status, text } = await holdpoint.send({ port: "admin", path: "/v1/events", body, key: STRIPE });
  expect(status, text).toBe(200);
}

const propose = (id: string, action: string, amount: number): Body => ({
  ...refund(amount),
  action: { name: action, arguments: { amount, reason: "customer request" } },
  actor: { id: "ops-agent", type: "agent", roles: ["operator"] },
  entity: { type: "order", id },
});

async function run(proposal: Body, status = "succeeded"): Promise<void> {
  const { body: decision } = await holdpoint.decide(proposal);
  const use = useOf(proposal, decision, { audience: "payments" });
  const { body: used, text } = await holdpoint.send({ path: "/v1/permits/consume", body: use });
  expect(used.valid, text).toBe(true);
  const report = { permit_id: used.permit_id, status, result: { ok: true } };
  expect((await holdpoint.send({ path: "/v1/executions", body: report })).status).toBe(200);
}

describe("GET /v1/entities/{type}/{id}/timeline", () => {
  test("tells of an order that was paid and refunded, and that its state follows from its events", async () => {
    const id = freshId("ord");
    await event(id, "ORDER_PLACED", { total: 49 });
    await event(id, "ORDER_PAID", { amount: 49 });
    await event(id, "ORDER_PLACED");
    await run(propose(id, "AUTO_REFUND", 49));
    const answer = await ofEntity(id);
    expect(told(answer).slice(0, 9)).toEqual([
      ["event_ingested", "stripe", "ORDER_PLACED"],
      ["state_changed", "stripe", "CREATED"],
      ["event_ingested", "stripe", "ORDER_PAID"],
      ["state_changed", "stripe", "CREATED → PAID"],
      ["event_ingested", "stripe", "ORDER_PLACED"],
      ["event_refused", "stripe", "no transition from PAID"],
      ["decision_recorded", "ops-agent", "propose AUTO_REFUND"],
      ["action_validated", "ops-agent", "AUTO_REFUND ✓"],
      ["action_executed", "ops-agent", "AUTO_REFUND"],
    ]);
    expect(answer.body).toMatchObject({ entity: { type: "order", id }, cursor: null, rebuild: { matches: true } });
    expect(answer.body.rebuild.events).toBeGreaterThanOrEqual(3);
  });

  test("tells of what a human granted, of what was denied, and of what policy blocked", async () => {
    const [granted, denied, unpaid] = [freshId("ord"), freshId("ord"), freshId("ord")];
    for (const id of [granted, denied]) {
      await event(id, "ORDER_PLACED");
      await event(id, "ORDER_PAID", { amount: 900 });
    }
    await event(unpaid, "ORDER_PLACED");
    const proposal = propose(granted, "REFUND_ORDER", 900);
    const { body: held } = await holdpoint.decide(proposal);
    await holdpoint.review(held.approval.id, "grant");
    await run(proposal, "failed");
    expect(told(await ofEntity(granted)).slice(4)).toEqual([
      ["decision_recorded", "ops-agent", "propose REFUND_ORDER (high)"],
      ["approval_required", "ops-agent", "REFUND_ORDER awaiting human"],
      ["approval_granted", "olivia", "REFUND_ORDER granted"],
      ["action_failed", "ops-agent", "REFUND_ORDER"],
    ]);
    const full = await ofEntity(granted, "?detail=full");
    expect(told(full).slice(4)).toEqual([
      ["approval_opened", "ops-agent", "REFUND_ORDER pending"],
      ["decision", "ops-agent", "REFUND_ORDER escalate: approval_required, approval pending"],
      ["approval_reviewed", "olivia", "REFUND_ORDER granted (grant)"],
      ["decision", "ops-agent", expect.stringMatching(/^REFUND_ORDER allow.*, approval granted$/)],
      ["permit_consumed", "ops-agent", "REFUND_ORDER permit used, 0 uses left"],
      ["execution_reported", "ops-agent", "REFUND_ORDER failed"],
    ]);

    const other = await holdpoint.decide(propose(denied, "REFUND_ORDER", 900));
    await holdpoint.review(other.body.approval.id, "deny");
    expect(told(await ofEntity(denied)).slice(6)).toEqual([
      ["approval_denied", "olivia", "REFUND_ORDER denied"],
      ["action_blocked", "ops-agent", "REFUND_ORDER not executed"],
    ]);
    await holdpoint.decide(propose(unpaid, "REFUND_ORDER", 49));
    expect(told(await ofEntity(unpaid)).slice(2)).toEqual([
      ["decision_recorded", "ops-agent", "propose REFUND_ORDER (high)"],
      ["action_blocked", "ops-agent", "state_not_allowed"],
    ]);
  });

  test("finds entities by whatever they are called, and is told of one that nobody knows", async () => {
    const id = "a/b %2F?ü#".replaceAll(" ", "_");
    await holdpoint.decide({ ...refund(5), entity: { type: "order/x", id } });
    const path = `/v1/entities/${encodeURIComponent("order/x")}/${encodeURIComponent(id)}/timeline`;
    const { status, body } = await admin(path);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      entity: { type: "order/x", id },
      rebuild: { matches: null, reason: expect.any(String) },
    });
    expect(body.rows).toHaveLength(2);
    expect(await admin("/v1/entities/order/nobody/timeline")).toMatchObject({
      status: 404,
      body: { code: "entity_not_found" },
    });
    expect((await admin(`/v1/entities/order/${encodeURIComponent("a b")}/timeline`)).status).toBe(400);
    expect((await admin(`/v1/entities/order/${"a".repeat(256)}/timeline`)).status).toBe(404);
    expect((await admin(`/v1/entities/order/${"a".repeat(257)}/timeline`)).status).toBe(400);
    expect((await admin("/v1/entities/order/%E0%A4%A/timeline")).status).toBe(400);
  });
});

describe("GET /v1/traces/{id}", () => {
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";

  test("tells of one trace, page by page, to its own tenant", async () => {
    const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01` };
    for (let at = 0; at < 3; at += 1) {
      await holdpoint.send({ path: "/v1/decisions", body: refund(5), headers });
    }
    const whole = await admin(`/v1/traces/${trace}`);
    expect(whole.body).toMatchObject({ trace_id: trace, cursor: null });
    expect(whole.body).not.toHaveProperty("rebuild");
    expect(told(whole).map(([kind]: string[]) => kind)).toEqual(
      Array.from({ length: 3 }, () => ["decision_recorded", "action_validated"]).flat(),
    );
    const rows: Body[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const page: Body = (await admin(`/v1/traces/${trace}?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`)).body;
      rows.push(...page.rows);
      cursor = page.cursor;
    }
    expect(rows).toEqual(whole.body.rows);
    const [row] = whole.body.rows;
    const since = encodeURIComponent(row.time.replace("Z", "+00:00"));
    expect((await admin(`/v1/traces/${trace}?kind=action_validated&since=${since}`)).body.rows).toHaveLength(3);
    expect((await admin(`/v1/traces/${trace}?until=${row.time}`)).body).toMatchObject({ rows: [], cursor: null });
    expect((await admin(`/v1/traces/${trace}?detail=full&kind=decision`)).body.rows).toHaveLength(3);

    const foreign = await admin(`/v1/traces/${trace}`, KEYS.otherReviewer);
    expect(foreign).toMatchObject({ status: 404, body: { code: "trace_not_found" } });
  });

  test.each(["a".repeat(32), trace.toUpperCase(), "0".repeat(32), "x", "%00", encodeURIComponent("a:b/ü")])(
    "knows nothing of %s",
    async (id) => {
      expect(await admin(`/v1/traces/${id}`)).toMatchObject({ status: 404, body: { code: "trace_not_found" } });
    },
  );
});

describe("a request for a timeline", () => {
  test.each([
    "limit=0",
    "limit=501",
    "cursor=7",
    "cursor=-1.0",
    "cursor=1.0&cursor=2.0",
    "cursor=1000000000000000.0",
    "kind=",
    "kind=decision",
    "kind=action_validated,",
    `kind=${Array(33).fill("state_changed").join(",")}`,
    `detail=full&kind=${"a".repeat(65)}`,
    "detail=all",
    "since=yesterday",
    "since=2026-11-20",
    "since=2026-13-20T10:00:00Z",
    "until=2026-11-20T10:00:00+02:00",
  ])("with %s is refused", async (query) => {
    expect((await ofEntity("ord", `?${query}`)).body).toMatchObject({ status: 400, code: "invalid_request" });
  });

  test.each([
    "limit=1",
    "limit=500",
    "cursor=999999999999999.999",
    `kind=${Array(32).fill("state_changed").join(",")}`,
    `detail=full&kind=${"a".repeat(64)}`,
    "since=2026-11-20t10:00:00.123456789z",
    "until=2026-11-20T10:00:00%2B02:00",
    "more=1",
  ])("with %s is taken", async (query) => {
    await holdpoint.decide({ ...refund(5), entity: { type: "order", id: "ord" } });
    expect((await ofEntity("ord", `?${query}`)).status).toBe(200);
  });

  test("is for reviewers and operators, on the admin port", async () => {
    for (const path of ["/v1/traces/x", "/v1/entities/order/ord/timeline"]) {
      expect((await admin(path, KEYS.bot)).body).toMatchObject({ code: "forbidden" });
      expect((await admin(path, STRIPE)).body).toMatchObject({ code: "forbidden" });
      expect((await holdpoint.send({ port: "admin", path })).status).toBe(401);
      expect((await holdpoint.send({ path, key: KEYS.olivia })).status).toBe(404);
      expect((await admin(path, KEYS.pierre)).status).not.toBe(403);
    }
  });
});
