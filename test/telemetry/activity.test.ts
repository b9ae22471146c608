import { expect, test } from "vitest";
import { type ErrorCode, IntegrityError, UnavailableError } from "../../src/core/errors.ts";
import type { RecentActivity } from "../../src/core/ports.ts";
import type { Mode, Outcome } from "../../src/core/types.ts";
import { ACTIVITY_TENANTS_MAX, createActivity, INCIDENTS_MAX, sumActivity } from "../../src/telemetry/activity.ts";
import { combineObservers } from "../../src/telemetry/combine-observers.ts";

const MINUTE = 60_000;
const START = Date.UTC(2026, 0, 1);

function started(atMs = START) {
  const clock = { ms: atMs };
  const activity = createActivity(() => clock.ms);
  const decide = (outcome: Outcome = "allow", tenant = "default", reasonCodes: readonly string[] = []) =>
    activity.decided({ tenant, action: "A", outcome, mode: "enforce", reasonCodes, seconds: 0, evaluationSeconds: 0 });
  return { clock, activity, decide };
}

const minutesOf = (report: RecentActivity) => report.minutes.map(({ startMs, counts }) => [startMs, counts]);
const counts = (of: Partial<Record<Outcome, number>>) => ({ allow: 0, compute: 0, escalate: 0, deny: 0, ...of });
const codesOf = (report: RecentActivity) => report.incidents.map(({ code, count }) => [code, count]);

test("createActivity() counts decisions by minute and outcome", () => {
  const { clock, activity, decide } = started();
  for (const outcome of ["allow", "allow", "deny", "compute", "escalate"] as const) decide(outcome);
  clock.ms += MINUTE;
  decide("deny");
  expect(minutesOf(activity.report("default"))).toEqual([
    [START, counts({ allow: 2, deny: 1, compute: 1, escalate: 1 })],
    [START + MINUTE, counts({ deny: 1 })],
  ]);
});

test("createActivity() keeps what was only observed apart, and adds it up over processes", () => {
  const { activity } = started();
  const decided = (outcome: Outcome, mode: Mode) =>
    activity.decided({
      tenant: "default",
      action: "A",
      outcome,
      mode,
      reasonCodes: [],
      seconds: 0,
      evaluationSeconds: 0,
    });
  for (const mode of ["observe", "observe", "enforce"] as const) decided("deny", mode);
  decided("escalate", "observe");
  const report = activity.report("default");
  const [minute] = report.minutes;
  expect(minute).toEqual({
    startMs: START,
    counts: counts({ deny: 3, escalate: 1 }),
    observed: counts({ deny: 2, escalate: 1 }),
  });
  expect(sumActivity([report, report]).minutes[0]!.observed).toEqual(counts({ deny: 4, escalate: 2 }));
});

test("configurationRefused() shows its tenant what is wrong, shortly, and nobody else", () => {
  const { activity } = started();
  activity.configurationRefused(
    Array.from({ length: 9 }, (_, index) => `${index}: ${"x".repeat(1_000)}`),
    "a",
  );
  const { incidents } = activity.report("a");
  expect(incidents).toHaveLength(5);
  for (const { code, message } of incidents) expect([code, message.length]).toEqual(["config_invalid", 500]);
  expect(activity.report("b").incidents).toEqual([]);
});

test("createActivity() forgets after 60 minutes, one bucket at a time", () => {
  const { clock, activity, decide } = started();
  decide();
  clock.ms = START + 59 * MINUTE;
  expect(activity.report("default").minutes).toHaveLength(1);
  clock.ms = START + 60 * MINUTE;
  expect(activity.report("default").minutes).toEqual([]);
  decide("deny");
  expect(minutesOf(activity.report("default"))).toEqual([[clock.ms, counts({ deny: 1 })]]);
});

test.each([1, 59, 60, 61, 600])(
  "a clock stepped back by %i minutes costs no decision that comes after it",
  (minutes) => {
    const { clock, activity, decide } = started();
    decide();
    clock.ms -= minutes * MINUTE;
    decide("deny");
    expect(minutesOf(activity.report("default"))).toEqual([[clock.ms, counts({ deny: 1 })]]);
  },
);

test("a clock before 1970 is no reason to fail", () => {
  const { activity, decide } = started(-5 * MINUTE);
  decide();
  expect(activity.report("default").minutes).toEqual([]);
});

test("a tenant sees its own decisions and errors, and those that are nobody's", () => {
  const { activity, decide } = started();
  decide("deny", "a", ["policy_fault"]);
  activity.recorded("credentials_refused", { by_reason: { scope_missing: 2 } }, "b");
  activity.recorded("credentials_refused", { by_reason: { unknown_token: 3, missing: 9 } }, "");
  activity.ledgerFailed();
  expect(minutesOf(activity.report("b"))).toEqual([]);
  expect(codesOf(activity.report("a")).sort()).toEqual([
    ["ledger_unavailable", 1],
    ["policy_fault", 1],
    ["unknown_token", 3],
  ]);
  expect(codesOf(activity.report("b")).sort()).toEqual([
    ["ledger_unavailable", 1],
    ["scope_missing", 2],
    ["unknown_token", 3],
  ]);
  expect(codesOf(activity.report("c")).map(([code]) => code)).not.toContain("policy_fault");
});

test("the same error is one line that counts, and as many kinds are kept as there is room for", () => {
  const { clock, activity } = started();
  const fail = (operation: number) => {
    clock.ms += 1_000;
    activity.storeFailed(new UnavailableError("store_unavailable", `Store cannot do ${operation}`));
  };
  fail(0);
  fail(0);
  expect(activity.report("default").incidents).toEqual([
    {
      code: "store_unavailable",
      message: "Store cannot do 0",
      count: 2,
      firstMs: START + 1_000,
      lastMs: START + 2_000,
    },
  ]);
  for (let operation = 1; operation <= INCIDENTS_MAX; operation += 1) fail(operation);
  const { incidents } = activity.report("default");
  expect(incidents).toHaveLength(INCIDENTS_MAX);
  expect(incidents[0]!.message).toBe(`Store cannot do ${INCIDENTS_MAX}`);
  expect(incidents.at(-1)!.message).toBe("Store cannot do 1");
});

test("so many tenants are kept, and the one that came first is forgotten", () => {
  const { activity, decide } = started();
  for (let index = 0; index <= ACTIVITY_TENANTS_MAX; index += 1) decide("allow", `t${index}`);
  expect(activity.report("t0").minutes).toEqual([]);
  expect(activity.report("t1").minutes).toHaveLength(1);
  expect(activity.report(`t${ACTIVITY_TENANTS_MAX}`).minutes).toHaveLength(1);
});

test("answered() keeps what is the sidecar's own, in words that no request has a part in", () => {
  const { activity } = started();
  for (const code of ["malformed_json", "forbidden", "already_consumed", "__proto__"])
    activity.answered(code as ErrorCode);
  expect(activity.report("default").incidents).toEqual([]);
  activity.answered("internal_error");
  expect(codesOf(activity.report("default"))).toEqual([["internal_error", 1]]);
});

test("a reason that policy chose is an error only of a denial, and only where it is a word of ours", () => {
  const { activity, decide } = started();
  decide("allow", "default", ["policy_fault"]);
  decide("deny", "default", ["toString"]);
  expect(activity.report("default").incidents).toEqual([]);
});

test("failed() tells what is known to be ours, and of anything else only that the log has it", () => {
  const { activity } = started();
  activity.failed({ what: "sweep", error: new Error('secret {"amount": 5}') });
  activity.failed({ what: "sweep", error: new IntegrityError("internal_error", "secret") });
  activity.failed({ what: "sweep", error: new UnavailableError("store_unavailable", "Store cannot ping") });
  const messages = activity.report("default").incidents.map(({ message }) => message);
  expect(messages.sort()).toEqual(["Cannot sweep: Store cannot ping", "Cannot sweep: the log says why"]);
});

test("recorded() knows the facts that are errors", () => {
  const { activity } = started();
  activity.recorded("sidecar_started", { mode: "enforce" });
  activity.recorded("policy_refused", { code: "bundle_invalid", message: "No policy.wasm" });
  activity.recorded("configuration_refused", { faults: 2 });
  expect(
    activity
      .report("default")
      .incidents.map(({ code, message }) => `${code}: ${message}`)
      .sort(),
  ).toEqual([
    "bundle_invalid: Policy refused: No policy.wasm",
    "config_invalid: The changed configuration has faults (2): the one before stays. The log names them",
  ]);
});

test("sumActivity() adds up the minutes and errors of several processes", () => {
  const processes = [started(), started(), started()];
  for (const [index, { clock, activity, decide }] of processes.entries()) {
    decide();
    clock.ms += MINUTE * index;
    decide("deny");
    activity.ledgerFailed();
  }
  const sum = sumActivity(processes.map(({ activity }) => activity.report("default")));
  expect(minutesOf(sum)).toEqual([
    [START, counts({ allow: 3, deny: 1 })],
    [START + MINUTE, counts({ deny: 1 })],
    [START + 2 * MINUTE, counts({ deny: 1 })],
  ]);
  expect(sum.incidents).toMatchObject([{ count: 3, firstMs: START, lastMs: START + 2 * MINUTE }]);
  expect(sumActivity([])).toEqual({ minutes: [], incidents: [] });
});

test("combineObservers() tells each observer what it listens to, in order", () => {
  const told: string[] = [];
  const listener = (name: string) => ({ failed: ({ what }: { what: string }) => void told.push(`${name} ${what}`) });
  const observer = combineObservers(listener("a"), {}, listener("b"));
  observer.failed({ what: "x", error: new Error() });
  observer.approvalChanged({ tenant: "t", status: "pending" });
  expect(told).toEqual(["a x", "b x"]);
});
