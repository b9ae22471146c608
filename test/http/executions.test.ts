import { createHash } from "node:crypto";
import { canonicalize } from "json-canonicalize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { useOf } from "../support/proposals.ts";
import { freePorts, type RedisServer, startRedis } from "../support/redis.ts";
import { escalate, PERMIT, type ScriptedSidecar, scripted, startScripted } from "../support/scripted.ts";
import { type Answer, API_KEYS, type Body, KEYS } from "../support/sidecar.ts";

const digest = (value: unknown) => `sha256:${createHash("sha256").update(canonicalize(value)).digest("hex")}`;

let redis: RedisServer;
beforeAll(async () => {
  const [port] = await freePorts(1);
  redis = await startRedis({ port: port! });
});
afterAll(() => redis.dispose());

describe.each(["embedded", "redis"])("on the %s store", (kind) => {
  let holdpoint: ScriptedSidecar;
  beforeAll(async () => {
    holdpoint = await startScripted(kind === "redis" ? { store: redis.url } : {});
  });
  afterAll(() => holdpoint.close());

  const report = (body: unknown): Promise<Answer> => holdpoint.send({ path: "/v1/executions", body });

  const consume = async (body: Body): Promise<Body> => {
    const { status, body: answer } = await holdpoint.send({ path: "/v1/permits/consume", body });
    expect(status).toBe(200);
    return answer;
  };

  /** A permit that was issued and, unless said otherwise, consumed. */
  async function consumed(): Promise<{ decision: Body; use: Body }> {
    const proposal = scripted(PERMIT);
    const { body: decision } = await holdpoint.decide(proposal);
    return { decision, use: await consume(useOf(proposal, decision)) };
  }

  async function envelope(uses: number): Promise<Body> {
    const proposal = scripted(escalate({ binding: "envelope", envelope: { schema: {}, uses } }));
    return useOf(proposal, await holdpoint.grant(proposal));
  }

  const reportsOf = (permitId: string): Body[] =>
    holdpoint.entries().filter((entry) => entry.kind === "execution_reported" && entry.data.permit_id === permitId);

  describe("POST /v1/executions", () => {
    test.each(["succeeded", "failed"])("closes the record as %s, with the digest of the result", async (status) => {
      const { decision, use } = await consumed();
      const result = { receipt: "r-1", amount: 5, note: "é\u{1f600}", nested: [null, { b: 1, a: 2 }] };
      const { status: code, body } = await report({ permit_id: decision.permit_id, status, result });
      expect(code).toBe(200);
      expect(body).toMatchObject({
        permit_id: decision.permit_id,
        execution_id: use.execution_id,
        decision_id: decision.decision_id,
        trace_id: decision.trace_id,
        action: "PAY",
        status,
        result_digest: digest(result),
      });
      expect(Date.parse(body.reported_at)).toBeGreaterThanOrEqual(Date.parse(body.consumed_at));
      const [entry, ...rest] = reportsOf(decision.permit_id);
      expect(rest).toEqual([]);
      expect(entry).toMatchObject({
        trace_id: decision.trace_id,
        data: { status, result_digest: digest(result), execution_id: use.execution_id, authenticated: false },
      });
      expect(JSON.stringify(entry)).not.toContain("r-1");
    });

    test.each([
      ["null", null],
      ["a text", "done"],
      ["false", false],
      ["a number", 6.022e23],
      ["an empty list", []],
    ])("takes %s for a result, which is not the same as none", async (_, result) => {
      const { decision } = await consumed();
      const { body } = await report({ permit_id: decision.permit_id, status: "succeeded", result });
      expect(body.result_digest).toBe(`sha256:${createHash("sha256").update(canonicalize(result)).digest("hex")}`);
      expect((await report({ permit_id: decision.permit_id, status: "succeeded" })).status).toBe(409);
    });

    test("takes no result", async () => {
      const { decision } = await consumed();
      const { body } = await report({ permit_id: decision.permit_id, status: "succeeded" });
      expect(body.result_digest).toBeNull();
    });

    test("answers the same report again alike, in any spelling, and records it once", async () => {
      const { decision } = await consumed();
      const first = await report({ permit_id: decision.permit_id, status: "succeeded", result: { a: 1, b: 2 } });
      const again = await report(
        `{"result": {"b":2, "\\u0061":1.0}, "status":"succeeded", "permit_id":"${decision.permit_id}"}`,
      );
      expect(again.body).toEqual(first.body);
      expect(reportsOf(decision.permit_id)).toHaveLength(1);
    });

    test("records one of fifty equal reports that come at once", async () => {
      const { decision } = await consumed();
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => report({ permit_id: decision.permit_id, status: "succeeded" })),
      );
      expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
      expect(reportsOf(decision.permit_id)).toHaveLength(1);
    });

    test.each([
      ["another status", { status: "failed", result: 1 }],
      ["another result", { status: "succeeded", result: 2 }],
      ["no result", { status: "succeeded" }],
    ])("refuses %s than it was told before, and keeps that", async (_, changes) => {
      const { decision } = await consumed();
      const first = await report({ permit_id: decision.permit_id, status: "succeeded", result: 1 });
      const { status, body } = await report({ permit_id: decision.permit_id, ...changes });
      expect(status).toBe(409);
      expect(body).toMatchObject({
        code: "execution_conflict",
        status: 409,
        execution_status: "succeeded",
        outcome: "deny",
      });
      const again = await report({ permit_id: decision.permit_id, status: "succeeded", result: 1 });
      expect(again.body).toEqual(first.body);
      expect(reportsOf(decision.permit_id)).toHaveLength(1);
    });

    test("refuses a report on a permit that was never consumed", async () => {
      const { body: decision } = await holdpoint.decide(scripted(PERMIT));
      const { status, body } = await report({ permit_id: decision.permit_id, status: "succeeded" });
      expect(status).toBe(409);
      expect(body.code).toBe("execution_not_consumed");
    });

    test("does not make a permit usable again", async () => {
      const proposal = scripted(PERMIT);
      const { body: decision } = await holdpoint.decide(proposal);
      await consume(useOf(proposal, decision));
      await report({ permit_id: decision.permit_id, status: "failed" });
      const replay = await holdpoint.send({ path: "/v1/permits/consume", body: useOf(proposal, decision) });
      expect(replay.body.code).toBe("already_consumed");
    });

    test.each(["perm_00nosuch", "appr_00nosuch", "x", "perm_0f", "../x", "perm_00\u{1f600}"])(
      "answers the unknown permit %s with not found",
      async (permit_id) => {
        const { status, body } = await report({ permit_id, status: "succeeded" });
        expect(status).toBe(404);
        expect(body).toMatchObject({ code: "permit_not_found", pointer: "/permit_id", outcome: "deny" });
      },
    );

    test.each([
      ["no permit", { status: "succeeded" }, "/permit_id"],
      ["an id with a brace", { permit_id: "perm_{x}", status: "succeeded" }, "/permit_id"],
      ["no status", { permit_id: "perm_00x" }, "/status"],
      ["status unknown", { permit_id: "perm_00x", status: "unknown" }, "/status"],
      ["status in other case", { permit_id: "perm_00x", status: "Succeeded" }, "/status"],
      ["an unknown member", { permit_id: "perm_00x", status: "failed", note: "" }, "/note"],
      ["an execution id that is empty", { permit_id: "perm_00x", status: "failed", execution_id: "" }, "/execution_id"],
    ])("refuses a body with %s", async (_, sent, pointer) => {
      const { status, body } = await report(sent);
      expect(status).toBe(400);
      expect(body).toMatchObject({ code: "invalid_request", pointer, outcome: "deny" });
    });

    test("reads a result as strictly as a proposal", async () => {
      const { decision } = await consumed();
      const { status, body } = await report(
        `{"permit_id":"${decision.permit_id}","status":"succeeded","result":{"a":1,"a":1}}`,
      );
      expect(status).toBe(400);
      expect(body).toMatchObject({ code: "duplicate_key", pointer: "/result/a" });
    });
  });

  describe("a permit with several uses", () => {
    test("is reported use by use, by the execution's id", async () => {
      const body = await envelope(3);
      const [first, second] = [await consume(body), await consume(body)];
      const permit_id = first.permit_id;
      expect(first.execution_id).not.toBe(second.execution_id);
      const vague = await report({ permit_id, status: "succeeded" });
      expect(vague).toMatchObject({ status: 409, body: { code: "execution_not_consumed" } });
      const one = await report({ permit_id, execution_id: first.execution_id, status: "succeeded", result: 1 });
      const two = await report({ permit_id, execution_id: second.execution_id, status: "failed" });
      expect([one.body.status, two.body.status]).toEqual(["succeeded", "failed"]);
      expect(reportsOf(permit_id).map(({ data }) => data.execution_id)).toEqual([
        first.execution_id,
        second.execution_id,
      ]);
      const third = first.execution_id.replace(/_1$/, "_3");
      expect(third).not.toBe(first.execution_id);
      const early = await report({ permit_id, execution_id: third, status: "succeeded" });
      expect(early).toMatchObject({ status: 409, body: { code: "execution_not_consumed" } });
    });

    test("does not take the execution of another permit for its own", async () => {
      const [body, other] = [await envelope(2), await envelope(2)];
      const [mine, theirs] = [await consume(body), await consume(other)];
      const mixed = await report({
        permit_id: mine.permit_id,
        execution_id: theirs.execution_id,
        status: "succeeded",
      });
      expect(mixed.status).toBe(409);
      const fine = await report({ permit_id: theirs.permit_id, execution_id: theirs.execution_id, status: "failed" });
      expect(fine.status).toBe(200);
    });
  });

  describe("GET /v1/executions", () => {
    const list = (query = "") => holdpoint.send({ port: "admin", path: `/v1/executions${query}`, key: KEYS.olivia });

    const listed = async (): Promise<string[]> => {
      const ids: string[] = [];
      let cursor: string | null = null;
      do {
        const { body }: Body = await list(`?limit=3${cursor === null ? "" : `&cursor=${cursor}`}`);
        expect(body.executions.length).toBeLessThanOrEqual(3);
        for (const one of body.executions) expect(one).toMatchObject({ status: "unknown", reported_at: null });
        ids.push(...body.executions.map((one: Body) => one.execution_id));
        cursor = body.cursor;
      } while (cursor !== null);
      return ids;
    };

    test("lists what was consumed and not reported, oldest first, until it is", async () => {
      const before = await listed();
      const uses: Body[] = [];
      for (let index = 0; index < 8; index++) uses.push(await consumed());
      const ids = uses.map(({ use }) => use.execution_id);
      const after = await listed();
      expect(after.filter((id) => ids.includes(id)).sort()).toEqual([...ids].sort());
      expect(after).toHaveLength(before.length + 8);
      expect(new Set(after).size).toBe(after.length);
      const times = (await list("?limit=500")).body.executions.map((one: Body) => one.consumed_at);
      expect(times).toEqual([...times].sort());
      for (const { decision } of uses.slice(0, 5)) {
        await report({ permit_id: decision.permit_id, status: "succeeded" });
      }
      const rest = await listed();
      expect(rest.filter((id) => ids.includes(id)).sort()).toEqual(ids.slice(5).sort());
      expect((await list("?status=unknown&limit=500")).body.executions).toHaveLength(rest.length);
    });

    test.each(["?status=succeeded", "?limit=0", "?limit=501", "?cursor=nonsense", "?status=unknown&status=unknown"])(
      "refuses the query %s",
      async (query) => {
        expect(await list(query)).toMatchObject({ status: 400, body: { code: "invalid_request" } });
      },
    );
  });
});

describe("another tenant's permit", () => {
  test("answers as an unknown one does, and stays open", async () => {
    const guarded = await startScripted({ auth: "api_key", api_keys: API_KEYS });
    const proposal = scripted(PERMIT);
    const { body: decision } = await guarded.decide(proposal, KEYS.bot);
    const send = (path: string, body: Body, key: string) => guarded.send({ path, body, key });
    expect((await send("/v1/permits/consume", useOf(proposal, decision), KEYS.bot)).status).toBe(200);
    const [foreign, unknown] = await Promise.all(
      [decision.permit_id, "perm_00nosuch"].map(async (permit_id) => {
        const { status, body } = await send("/v1/executions", { permit_id, status: "failed" }, KEYS.other);
        return { ...body, status, detail: body.detail.replace(permit_id, "…"), trace_id: "" };
      }),
    );
    expect(foreign).toMatchObject({ status: 404, code: "permit_not_found" });
    expect(foreign).toEqual(unknown);
    const listOf = (key: string) => guarded.send({ port: "admin", path: "/v1/executions", key });
    expect((await listOf(KEYS.otherReviewer)).body.executions).toEqual([]);
    expect((await listOf(KEYS.olivia)).body.executions).toMatchObject([{ permit_id: decision.permit_id }]);
    const own = await send("/v1/executions", { permit_id: decision.permit_id, status: "succeeded" }, KEYS.bot);
    expect(own.body.status).toBe("succeeded");
    const [entry] = guarded.entries().filter((one) => one.kind === "execution_reported");
    expect(entry.data).toMatchObject({ authenticated: true, caller: "bot" });
    await guarded.close();
  });
});
