import { createHash } from "node:crypto";
import { canonicalize } from "json-canonicalize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import { freshId, refund, writeFile } from "../support/proposals.ts";
import { type Body, startSidecar, type TestSidecar } from "../support/sidecar.ts";

let holdpoint: TestSidecar;
beforeAll(async () => {
  holdpoint = await startSidecar({ bundle: examplesBundle() });
});
afterAll(() => holdpoint.close());

/** By the library and not by our reader: an oracle of its own. */
const digest = (value: unknown) => `sha256:${createHash("sha256").update(canonicalize(value)).digest("hex")}`;

const entryOf = (decisionId: string): Body =>
  holdpoint.entries().find((entry) => entry.kind === "decision" && entry.decision.decision_id === decisionId);

describe("POST /v1/decisions", () => {
  test("allows with every digest recomputable from what was sent and recorded", async () => {
    const proposal = writeFile("/tmp/a.txt");
    const { status, body } = await holdpoint.decide(proposal);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      outcome: "allow",
      enforced: true,
      mode: "enforce",
      proposal_id: proposal.id,
      action: proposal.action,
      policy: { entrypoint: "holdpoint/decision", digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
      obligations: {},
    });
    expect(body.permit).toBeUndefined();
    expect(body.argument_digest).toBe(digest(proposal.action.arguments));
    expect(body.binding_digest).toBe(
      digest({
        tenant: "default",
        actor: "support-agent",
        on_behalf_of: null,
        action: "fs.write_file",
        entity: null,
        arguments: proposal.action.arguments,
      }),
    );
    const entry = entryOf(body.decision_id);
    expect(entry).toMatchObject({
      v: 1,
      kind: "decision",
      tenant: "default",
      caller: { authenticated: false, credential: null },
    });
    expect(entry.decision).toEqual(body);
    expect(body.input_hash).toBe(digest(entry.input));
    expect(body.output_hash).toBe(digest(entry.output));
    expect(entry.input).toEqual({
      action: proposal.action,
      actor: proposal.actor,
      approval: null,
      context: {},
      entity: null,
      session: null,
      tenant: "default",
      time: body.decided_at,
    });
  });

  test("is in the ledger, canonical, before it is answered", async () => {
    const before = holdpoint.sidecar.ledger.head().size;
    const { body } = await holdpoint.decide(refund(50, { context: { note: "é\u0000\u{1f600}", __proto__x: 1 } }));
    const text = holdpoint.sidecar.ledger.read(before)!;
    expect(JSON.parse(text).decision.decision_id).toBe(body.decision_id);
    expect(canonicalize(JSON.parse(text))).toBe(text);
  });

  test("denies what no contract governs, with the reason", async () => {
    const { status, body } = await holdpoint.decide({
      ...writeFile("/tmp/x"),
      action: { name: "db.drop", arguments: {} },
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "unknown_action" }] });
  });

  test("computes, decides the rewritten arguments again, and records both", async () => {
    const proposal = writeFile("/prod/app.yaml");
    const { body } = await holdpoint.decide(proposal);
    const safe = { path: "/sandbox/prod/app.yaml", content: "hello" };
    expect(body).toMatchObject({ outcome: "compute", action: { arguments: safe } });
    expect(body.argument_digest).toBe(digest(safe));
    expect(body.original_argument_digest).toBe(digest(proposal.action.arguments));
    const entry = entryOf(body.decision_id);
    expect(entry.original_arguments).toEqual(proposal.action.arguments);
    expect(entry.input.action.arguments).toEqual(safe);
    expect(entry.rounds).toHaveLength(1);
    expect(entry.rounds[0].argument_digest).toBe(body.original_argument_digest);
  });

  test("escalates with an approval that waits", async () => {
    const { body } = await holdpoint.decide(refund(4900));
    expect(body).toMatchObject({
      outcome: "escalate",
      approval: { status: "pending" },
      reasons: [{ code: "approval_required" }],
    });
    expect(body.permit).toBeUndefined();
    expect(Date.parse(body.approval.expires_at)).toBeGreaterThan(Date.parse(body.decided_at));
  });

  test("makes a permit where the contract or the caller asks for one, and its signature is not in the ledger", async () => {
    const { body: contract } = await holdpoint.decide(refund(50));
    const { body: caller } = await holdpoint.decide(writeFile("/tmp/a", { permit: true }));
    for (const body of [contract, caller]) {
      expect(body.permit.split(".")).toHaveLength(3);
      const entry = entryOf(body.decision_id);
      expect(entry.permit.jti).toBe(body.permit_id);
      expect(JSON.stringify(entry)).not.toContain(body.permit.split(".")[2]);
    }
  });

  test("answers the same proposal again with the same decision and the same permit", async () => {
    const proposal = refund(50);
    const first = await holdpoint.decide(proposal);
    const size = holdpoint.sidecar.ledger.head().size;
    const again = await holdpoint.decide({ ...proposal, context: { session: "s-81" } });
    expect(again.body).toEqual(first.body);
    expect(holdpoint.sidecar.ledger.head().size).toBe(size);
  });

  test("compares content, not spelling", async () => {
    const id = freshId();
    const first = await holdpoint.decide(
      `{"id":"${id}","action":{"name":"fs.write_file","arguments":{"path":"/tmp/\\u0061","content":"x"}},"actor":{"id":"a","roles":["operator"]}}`,
    );
    const again = await holdpoint.decide(
      `{ "actor":{"roles":["operator"],"id":"a"}, "action":{"arguments":{"content":"x","path":"/tmp/a"},"name":"fs.write_file"},"id":"${id}"}`,
    );
    expect(again.body).toEqual(first.body);
    expect(first.body.outcome).toBe("allow");
  });

  test.each([
    ["arguments", { action: { name: "fs.write_file", arguments: { path: "/tmp/other", content: "hello" } } }],
    ["action", { action: { name: "fs.read_file", arguments: { path: "/tmp/a", content: "hello" } } }],
    ["actor", { actor: { id: "support-agent", type: "agent", roles: ["operator", "admin"] } }],
    [
      "delegation",
      { actor: { id: "support-agent", type: "agent", roles: ["operator"], on_behalf_of: { id: "alice" } } },
    ],
    ["entity", { entity: { type: "file", id: "f" } }],
    ["context", { context: { a: 1 } }],
    ["wish for a permit", { permit: true }],
  ])("refuses the same id with another %s", async (_, change) => {
    const proposal = writeFile("/tmp/a");
    await holdpoint.decide(proposal);
    const { status, body } = await holdpoint.decide({ ...proposal, ...change });
    expect(status).toBe(409);
    expect(body).toMatchObject({ code: "proposal_conflict", pointer: "/id", outcome: "deny" });
  });

  test("compares with what was proposed where policy rewrote it", async () => {
    const proposal = writeFile("/prod/x");
    const first = await holdpoint.decide(proposal);
    expect((await holdpoint.decide(proposal)).body).toEqual(first.body);
    const rewritten = { ...proposal, action: first.body.action };
    expect((await holdpoint.decide(rewritten)).status).toBe(409);
  });

  test("records one decision when fifty post one proposal at once", async () => {
    const proposal = refund(60);
    const answers = await Promise.all(Array.from({ length: 50 }, () => holdpoint.decide(proposal)));
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1);
    const recorded = holdpoint.entries().filter((entry) => entry.decision?.proposal_id === proposal.id);
    expect(recorded).toHaveLength(1);
  });

  test("opens one approval when fifty propose one binding at once", async () => {
    const base = refund(700);
    const proposals = Array.from({ length: 50 }, (_, index) => ({ ...base, id: `${base.id}-${index}` }));
    const answers = await Promise.all(proposals.map((proposal) => holdpoint.decide(proposal)));
    expect(new Set(answers.map(({ body }) => body.approval.id)).size).toBe(1);
  });

  test("continues the caller's trace, and starts one where the header is not valid", async () => {
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const trace = async (traceparent: string) =>
      (await holdpoint.send({ path: "/v1/decisions", body: writeFile("/tmp/a"), headers: { traceparent } })).body
        .trace_id;
    expect(await trace(`00-${traceId}-00f067aa0ba902b7-01`)).toBe(traceId);
    expect(await trace(`cc-${traceId}-00f067aa0ba902b7-01-later`)).toBe(traceId);
    for (const invalid of [
      `00-${traceId}-0000000000000000-01`,
      `ff-${traceId}-00f067aa0ba902b7-01`,
      `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
      `00-${traceId.toUpperCase()}-00f067aa0ba902b7-01`,
      `00-${traceId}-00f067aa0ba902b7-01-x`,
      "nonsense",
    ]) {
      const found = await trace(invalid);
      expect(found).toMatch(/^[0-9a-f]{32}$/);
      expect(found).not.toBe(traceId);
    }
  });
});

describe("POST /v1/decisions/batch", () => {
  test("decides each on its own and answers in order", async () => {
    const proposals = [
      writeFile("/tmp/a"),
      { nonsense: true },
      refund(4000),
      writeFile("/prod/b"),
      { ...refund(1), id: "" },
    ];
    const { status, body } = await holdpoint.send({ path: "/v1/decisions/batch", body: { proposals } });
    expect(status).toBe(200);
    expect(body.decisions.map((decision: Body) => decision.outcome)).toEqual([
      "allow",
      "deny",
      "escalate",
      "compute",
      "deny",
    ]);
    expect(body.decisions[1]).toMatchObject({
      status: 400,
      code: "invalid_request",
      pointer: expect.stringMatching(/^\/proposals\/1/),
    });
    expect(body.decisions[4]).toMatchObject({ pointer: "/proposals/4/id" });
  });

  test("decides one proposal that stands twice once", async () => {
    const proposal = refund(20);
    const { body } = await holdpoint.send({ path: "/v1/decisions/batch", body: { proposals: [proposal, proposal] } });
    expect(body.decisions[0]).toEqual(body.decisions[1]);
  });

  test("takes a hundred and refuses one more", async () => {
    const batch = (count: number) =>
      holdpoint.send({
        path: "/v1/decisions/batch",
        body: { proposals: Array.from({ length: count }, () => writeFile("/tmp/a")) },
      });
    expect((await batch(100)).body.decisions).toHaveLength(100);
    const refused = await batch(101);
    expect(refused.status).toBe(413);
    expect(refused.body).toMatchObject({ code: "batch_too_large", pointer: "/proposals", limit: 100, outcome: "deny" });
  });
});
