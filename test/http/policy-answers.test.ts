/** What the gate makes of what policy answers: a policy that says whatever the proposal's context tells it to. */

import { createHash } from "node:crypto";
import { canonicalize } from "json-canonicalize";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readJson } from "../../src/core/read-json.ts";
import { loadPolicy } from "../../src/policy/load-policy.ts";
import { compileBundle } from "../support/bundles.ts";
import { freshId } from "../support/proposals.ts";
import { type Body, startSidecar, type TestSidecar } from "../support/sidecar.ts";

const ECHO = `
decision := object.union(input.context.say, {"arguments": rewritten}) if input.context.rewrite

decision := input.context.say if not input.context.rewrite

rewritten := object.union(input.action.arguments, {"n": input.action.arguments.n + 1}) if {
	input.context.rewrite == "always"
}

rewritten := object.union(input.action.arguments, {"n": min([input.context.upto, input.action.arguments.n + 1])}) if {
	input.context.rewrite == "upto"
	input.action.arguments.n < input.context.upto
}
`;

let bundle: string;
let holdpoint: TestSidecar;
beforeAll(async () => {
  bundle = compileBundle(ECHO);
  holdpoint = await startSidecar({ bundle });
});
afterAll(() => holdpoint.close());

const digest = (value: unknown) => `sha256:${createHash("sha256").update(canonicalize(value)).digest("hex")}`;

const saying = (say: unknown, changes: Body = {}): Body => ({
  id: freshId(),
  action: { name: "x", arguments: { n: 0 } },
  actor: { id: "agent-1" },
  context: { say },
  ...changes,
});

describe("a policy result", () => {
  test.each<[string, unknown]>([
    ["an unknown outcome", { outcome: "permit" }],
    ["an outcome in other letters", { outcome: "Allow" }],
    ["no outcome", {}],
    ["true", true],
    ["an array", [{ outcome: "allow" }]],
    ["an unknown member", { outcome: "allow", allow: true }],
    ["reasons that are no list", { outcome: "allow", reasons: "ok" }],
    ["a reason without message", { outcome: "allow", reasons: [{ code: "x" }] }],
    ["one reason too many", { outcome: "allow", reasons: Array(65).fill({ code: "x", message: "" }) }],
    ["allow with arguments", { outcome: "allow", arguments: { n: 9 } }],
    ["deny with arguments", { outcome: "deny", arguments: {} }],
    ["compute without arguments", { outcome: "compute" }],
    ["compute with arguments that are a list", { outcome: "compute", arguments: [] }],
    ["quorum 0", { outcome: "escalate", approval: { quorum: 0 } }],
    ["quorum one too many", { outcome: "escalate", approval: { quorum: 33 } }],
    ["a fraction of a quorum", { outcome: "escalate", approval: { quorum: 1.5 } }],
    ["a time to live of 0", { outcome: "escalate", approval: { ttl_seconds: 0 } }],
    ["a time to live past the limit", { outcome: "escalate", approval: { ttl_seconds: 2_592_001 } }],
    ["a permit that lives too long", { outcome: "allow", permit: { ttl_seconds: 3_601 } }],
    ["an envelope without schema", { outcome: "escalate", approval: { binding: "envelope" } }],
    ["an envelope beside an exact binding", { outcome: "escalate", approval: { envelope: { schema: {}, uses: 2 } } }],
    ["a mode nobody knows", { outcome: "allow", mode: "off" }],
    ["a limit without a window", { outcome: "allow", limits: [{ key: "k", limit: 1 }] }],
    ["a limit below nought", { outcome: "allow", limits: [{ key: "k", limit: -1, window_seconds: 60 }] }],
    ["a cost below nought", { outcome: "allow", limits: [{ key: "k", limit: 1, window_seconds: 60, cost: -1 }] }],
    [
      "a cost of a ten-millionth",
      { outcome: "allow", limits: [{ key: "k", limit: 1, window_seconds: 60, cost: 1e-7 }] },
    ],
    ["a cost that is no number", { outcome: "allow", limits: [{ key: "k", limit: 1, window_seconds: 60, cost: "1" }] }],
    [
      "a limit with a key of 513",
      { outcome: "allow", limits: [{ key: "k".repeat(513), limit: 1, window_seconds: 60 }] },
    ],
    [
      "a limit with a key of 10 kB",
      { outcome: "allow", limits: [{ key: "k".repeat(10_000), limit: 1, window_seconds: 60 }] },
    ],
    ["one limit twice", { outcome: "allow", limits: Array(2).fill({ key: "k", limit: 1, window_seconds: 60 }) }],
    [
      "a distinct limit with a cost",
      { outcome: "allow", limits: [{ key: "k", limit: 1, window_seconds: 60, cost: 1, distinct: "a" }] },
    ],
    [
      "one limit too many",
      {
        outcome: "allow",
        limits: Array.from({ length: 33 }, (_, at) => ({ key: `k${at}`, limit: 1, window_seconds: 60 })),
      },
    ],
    ["a lock without an end", { outcome: "allow", lock: { key: "k" } }],
    ["a lock of an hour and a second", { outcome: "allow", lock: { key: "k", ttl_seconds: 3_601 } }],
    [
      "a lock that is waited for 61 seconds",
      { outcome: "allow", lock: { key: "k", ttl_seconds: 1, wait_seconds: 61 } },
    ],
    ["a session's sum below nought", { outcome: "allow", session: { sums: { amount: -1 } } }],
    [
      "one classification too many",
      { outcome: "allow", session: { classifications: Array.from({ length: 17 }, (_, at) => `c${at}`) } },
    ],
  ])("of %s is denied as policy_result_invalid", async (_, say) => {
    const { status, body } = await holdpoint.decide(saying(say));
    expect(status).toBe(200);
    expect(body).toMatchObject({ outcome: "deny", output_hash: null, reasons: [{ code: "policy_result_invalid" }] });
  });

  test("that is undefined is denied", async () => {
    const { body } = await holdpoint.decide({ ...saying(1), context: {} });
    expect(body).toMatchObject({
      outcome: "deny",
      reasons: [{ code: "policy_result_invalid", message: "Policy result is undefined" }],
    });
  });

  test("with numbers that no reader can be sure of is denied", async () => {
    const exact = { outcome: "compute", arguments: { third: 0.1 } };
    const thirds = await startSidecar({
      bundle: compileBundle('decision := {"outcome": "compute", "arguments": {"third": input.action.arguments.n / 3}}'),
    });
    const { body } = await thirds.decide(saying(exact, { action: { name: "x", arguments: { n: 1 } } }));
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "policy_result_invalid" }] });
    await thirds.close();
  });

  test("with obligations, risk, contract and rules passes them on", async () => {
    const say = {
      outcome: "allow",
      obligations: { log: ["all"], "": null },
      risk: "low",
      contract: "c",
      rules: ["a", "b"],
    };
    const { body } = await holdpoint.decide(saying(say));
    expect(body).toMatchObject(say);
  });
});

describe("compute", () => {
  test("is decided again until the arguments stay, and then what policy says of them counts", async () => {
    const settle = `
decision := {"outcome": "compute", "arguments": {"n": input.action.arguments.n + 1}} if input.action.arguments.n < input.context.upto
decision := {"outcome": input.context.then, "reasons": []} if input.action.arguments.n >= input.context.upto`;
    const settling = await startSidecar({ bundle: compileBundle(settle) });
    const decide = async (upto: number, then: string) =>
      (await settling.decide(saying(0, { context: { upto, then } }))).body;
    expect(await decide(0, "allow")).toMatchObject({ outcome: "allow", action: { arguments: { n: 0 } } });
    expect(await decide(1, "allow")).toMatchObject({ outcome: "compute", action: { arguments: { n: 1 } } });
    expect(await decide(3, "allow")).toMatchObject({ outcome: "compute", action: { arguments: { n: 3 } } });
    expect(await decide(4, "allow")).toMatchObject({ outcome: "deny", reasons: [{ code: "compute_unstable" }] });
    expect(await decide(2, "deny")).toMatchObject({ outcome: "deny" });
    const held = await decide(2, "escalate");
    expect(held).toMatchObject({ outcome: "escalate", action: { arguments: { n: 2 } } });
    expect(held.argument_digest).toBe(digest({ n: 2 }));
    expect(held.original_argument_digest).toBe(digest({ n: 0 }));
    const approval = await settling.sidecar.store.readApproval("default", held.approval.id);
    expect(approval).toMatchObject({ bindingDigest: held.binding_digest, subject: { arguments: { n: 2 } } });
    await settling.close();
  });

  test("that never stops is denied after three rounds", async () => {
    const { body } = await holdpoint.decide(saying(0, { context: { say: { outcome: "compute" }, rewrite: "always" } }));
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "compute_unstable" }] });
    const entry = holdpoint.entries().find((found) => found.decision?.decision_id === body.decision_id);
    expect(entry.rounds).toHaveLength(3);
  });

  test("of the arguments that were given is denied", async () => {
    const { body } = await holdpoint.decide(saying({ outcome: "compute", arguments: { n: 0 } }));
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "compute_unstable" }] });
  });

  test("that speaks beside an escalation rewrites first, then escalates what was rewritten", async () => {
    const both = `
decision := {"outcome": "escalate", "arguments": {"n": 1}} if input.action.arguments.n < 1
decision := {"outcome": "escalate"} if input.action.arguments.n >= 1`;
    const escalating = await startSidecar({ bundle: compileBundle(both) });
    const { body } = await escalating.decide(saying(0));
    expect(body).toMatchObject({
      outcome: "escalate",
      action: { arguments: { n: 1 } },
      approval: { status: "pending" },
    });
    expect(body.original_argument_digest).toBe(digest({ n: 0 }));
    await escalating.close();
  });

  test("whose rewritten arguments leave policy without an answer is denied", async () => {
    const { body } = await holdpoint.decide(
      saying(0, { context: { say: { outcome: "compute" }, rewrite: "upto", upto: 1 } }),
    );
    expect(body).toMatchObject({ outcome: "deny", reasons: [{ code: "policy_result_invalid" }] });
  });
});

describe("modes", () => {
  const deny = { outcome: "deny", reasons: [{ code: "no", message: "no" }] };

  test("are set for all, per tenant and per action, and an action's wins", async () => {
    const mixed = await startSidecar({ bundle, mode: "observe", actions: { y: { mode: "enforce" } } });
    expect((await mixed.decide(saying(deny))).body).toMatchObject({
      outcome: "allow",
      observed_outcome: "deny",
      enforced: false,
      mode: "observe",
    });
    const strict = await mixed.decide(saying(deny, { action: { name: "y", arguments: {} } }));
    expect(strict.body).toMatchObject({ outcome: "deny", enforced: true });
    await mixed.close();
    const tenant = await startSidecar({ bundle, tenants: { default: { mode: "observe" } } });
    expect((await tenant.decide(saying(deny))).body).toMatchObject({ outcome: "allow", observed_outcome: "deny" });
    await tenant.close();
  });

  test("policy may always be stricter, and may relax only where configuration lets it", async () => {
    const observe = { ...deny, mode: "observe" };
    expect((await holdpoint.decide(saying(observe))).body).toMatchObject({ outcome: "deny", mode: "enforce" });
    const relaxed = await startSidecar({ bundle, policy_may_observe: true });
    expect((await relaxed.decide(saying(observe))).body).toMatchObject({
      outcome: "allow",
      observed_outcome: "deny",
      mode: "observe",
    });
    await relaxed.close();
    const observing = await startSidecar({ bundle, mode: "observe" });
    expect((await observing.decide(saying({ ...deny, mode: "enforce" }))).body).toMatchObject({
      outcome: "deny",
      mode: "enforce",
    });
    await observing.close();
  });

  test("observe evaluates fully, changes nothing and opens no approval", async () => {
    const observing = await startSidecar({ bundle, mode: "observe" });
    const held = (await observing.decide(saying({ outcome: "escalate" }))).body;
    expect(held).toMatchObject({ outcome: "allow", observed_outcome: "escalate", enforced: false });
    expect(held.approval).toBeUndefined();
    const rewriting = saying(0, { context: { say: { outcome: "compute" }, rewrite: "always" } });
    const { body } = await observing.decide(rewriting);
    expect(body).toMatchObject({ outcome: "allow", observed_outcome: "deny", action: { arguments: { n: 0 } } });
    expect(body.argument_digest).toBe(digest({ n: 0 }));
    await observing.close();
  });

  test("without policy enforce denies everything and is not ready, observe allows and says what is missing", async () => {
    const strict = await startSidecar({});
    expect((await strict.decide(saying(0))).body).toMatchObject({
      outcome: "deny",
      policy: null,
      reasons: [{ code: "policy_not_loaded" }],
    });
    const ready = await strict.send({ path: "/readyz" });
    expect(ready).toMatchObject({ status: 503, body: { checks: { policy: "not loaded", ledger: "ok", store: "ok" } } });
    expect((await strict.send({ path: "/healthz" })).status).toBe(200);
    await strict.close();
    const observing = await startSidecar({ mode: "observe" });
    expect((await observing.decide(saying(0))).body).toMatchObject({
      outcome: "allow",
      observed_outcome: "deny",
      reasons: [{ code: "policy_not_loaded" }],
    });
    await observing.close();
  });
});

describe("replay", () => {
  test("of every recorded decision with its policy yields the recorded output hash", async () => {
    const policy = await loadPolicy({ path: bundle, entrypoint: "holdpoint/decision" });
    const decisions = holdpoint
      .entries()
      .filter((entry) => entry.kind === "decision" && entry.decision.output_hash !== null);
    expect(decisions.length).toBeGreaterThan(3);
    for (const { input, decision } of decisions) {
      expect(decision.policy.digest).toBe(policy.digest);
      const text = canonicalize(input);
      expect(digest(input)).toBe(decision.input_hash);
      const answer = policy.evaluate(text);
      expect(answer.kind).toBe("result");
      if (answer.kind === "result") expect(digest(readJson(answer.text).value)).toBe(decision.output_hash);
    }
  });
});
