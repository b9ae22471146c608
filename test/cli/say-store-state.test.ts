import { describe, expect, test } from "vitest";
import { observeWarning } from "../../src/cli/observe-warning.ts";
import { REMIND_MS, sayStoreState, storeAddress } from "../../src/cli/say-store-state.ts";
import { UnavailableError } from "../../src/core/errors.ts";

function started() {
  const said: string[] = [];
  const clock = { ms: 0 };
  const say = (facts: unknown, msg?: string) =>
    void said.push(msg === undefined ? String(facts) : `${msg} ${JSON.stringify(facts)}`);
  const logger = { info: say, warn: say } as never;
  const state = sayStoreState({ logger, address: "redis://h:1", nowMs: () => clock.ms });
  const cause = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" });
  const fails = (of: Error = new Error("Connection is closed.", { cause })) =>
    state({
      operation: "ping",
      seconds: 0,
      error: new UnavailableError("store_unavailable", "Store cannot answer", { cause: of }),
    });
  const succeeds = (seconds = 0) => state({ operation: "ping", seconds, error: undefined });
  const refuses = (message: string) =>
    state({ operation: "ping", seconds: 0, error: new UnavailableError("store_unavailable", message) });
  return { said, clock, fails, succeeds, refuses };
}

describe("sayStoreState()", () => {
  test("says once that the store is away, reminds once a minute, and says once that it is back", () => {
    const { said, clock, fails, succeeds } = started();
    succeeds();
    for (; clock.ms < REMIND_MS - 1; clock.ms += 1_000) fails();
    expect(said).toEqual(["Store redis://h:1 is away: ECONNREFUSED"]);
    clock.ms = REMIND_MS;
    fails();
    fails();
    clock.ms += 3_000;
    succeeds();
    succeeds();
    expect(said.slice(1)).toEqual([
      'Store redis://h:1 is away for 60 s: ECONNREFUSED {"failed_calls":61}',
      'Store is back after 63 s {"failed_calls":62}',
    ]);
  });

  test("what the store itself refuses is no outage, and is told once a minute", () => {
    const { said, clock, succeeds, refuses } = started();
    for (; clock.ms <= REMIND_MS; clock.ms += 1_000) {
      refuses("Store may lose records");
      succeeds();
    }
    expect(said).toEqual(["Store may lose records", "Store may lose records"]);
  });

  test("a call that began before another failed is no recovery", () => {
    const { said, clock, fails, succeeds } = started();
    clock.ms = 1_000;
    fails();
    clock.ms = 1_500;
    succeeds(0.9);
    expect(said).toHaveLength(1);
    succeeds(0.1);
    expect(said).toHaveLength(2);
  });

  test("waits for the reason where a connection was just lost, and tells of an outage that was over before", () => {
    const { said, fails, succeeds } = started();
    fails(new Error("Connection is closed."));
    expect(said).toEqual([]);
    fails();
    expect(said).toEqual(["Store redis://h:1 is away: ECONNREFUSED"]);
    succeeds();
    fails(new Error("No answer within 300 ms"));
    succeeds();
    expect(said.slice(2)).toEqual([
      "Store redis://h:1 is away: No answer within 300 ms",
      'Store is back after 0 s {"failed_calls":1}',
    ]);
  });
});

test.each([
  ["redis://h:1", "redis://h:1"],
  ["redis://:secret@h:1/2", "redis://h:1/2"],
  ["rediss://user:se%2Fcret@h:1?waitReplicas=1", "rediss://h:1"],
  ["redis+sentinel://u:p@a:1,b:2/main?sentinelPassword=secret", "redis+sentinel://a:1,b:2/main"],
  ["redis+unix:///run/redis.sock", "redis+unix:///run/redis.sock"],
  ["embedded", "embedded"],
])("storeAddress() of %s names no secret", (url, address) => {
  expect(storeAddress(url)).toBe(address);
});

test.each([
  [{ mode: "enforce", actions: {}, tenants: {} }, undefined],
  [{ mode: "observe", actions: { a: { mode: "observe" } }, tenants: {} }, /^nothing is blocked, unless policy/],
  [
    {
      mode: "observe",
      actions: { "email.send": { mode: "enforce" }, b: { mode: "observe" } },
      tenants: { acme: { mode: "enforce" } },
    },
    /^enforced for the actions email.send and the tenants acme; nothing else is blocked/,
  ],
] as const)("observeWarning() of %j promises no more than is so", (config, words) => {
  const said = observeWarning(config as never);
  if (words === undefined) expect(said).toBeUndefined();
  else expect(said).toMatch(words);
});
