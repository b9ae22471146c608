import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { UnavailableError } from "../../src/core/errors.ts";
import type { Ledger } from "../../src/core/ports.ts";
import { factEntry } from "../../src/gate/record.ts";
import {
  createTimelineReader,
  type RebuildCheck,
  TIMELINE_SCAN_MAX,
  TIMELINES_MAX,
  type TimelinePage,
  type TimelineRequest,
} from "../../src/gate/timeline.ts";
import { TIMELINE_KINDS } from "../../src/gate/timeline-rows.ts";
import { openEntryIndex } from "../../src/ledger/entry-index.ts";
import { openTestLedger, temporaryDirectory } from "../ledger/support.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const ORDER = { type: "order", id: "ord_002" };
const AGENT = { id: "ops-agent", type: "agent", roles: ["operator"] };
const TIME = "2026-11-20T10:00:00.000Z";

type Read = (request?: Partial<TimelineRequest>) => Promise<TimelinePage>;

let ledger: Ledger;
let read: Read;
let rebuild: () => Promise<RebuildCheck>;

beforeEach(async () => {
  const directory = temporaryDirectory();
  ledger = await openTestLedger(join(directory, "ledger"));
  const index = openEntryIndex({ directory: join(directory, "index"), ledger });
  onTestFinished(() => ledger.close());
  onTestFinished(() => index.close());
  rebuild = async () => ({ matches: true, events: 3 });
  read = readerOf(createTimelineReader({ ledger, index, rebuild: () => rebuild() }));
});

function readerOf(reader: (request: TimelineRequest) => Promise<TimelinePage>): Read {
  return (request = {}) =>
    reader({
      tenant: "default",
      about: { kind: "entity", ref: ORDER },
      detail: "summary",
      kinds: undefined,
      sinceMs: undefined,
      untilMs: undefined,
      limit: 500,
      cursor: undefined,
      ...request,
    });
}

interface More {
  readonly tenant?: string;
  readonly traceId?: string;
  readonly time?: string;
  readonly keys?: readonly string[];
}

const record = (kind: string, data: object, more: More = {}) =>
  ledger.append(factEntry({ kind, tenant: "default", traceId: TRACE, time: TIME, data, ...more }));

// biome-ignore lint/suspicious/noExplicitAny: entries of every shape
async function decide(outcome: string, changes: any = {}, more: More = {}): Promise<void> {
  const { action = "REFUND_ORDER", id = "dec_1", entity = ORDER, ...decision } = changes;
  const text = JSON.stringify({
    decision: { decision_id: id, outcome, action: { name: action, arguments: {} }, reasons: [], ...decision },
    input: { actor: AGENT, entity },
    kind: "decision",
    tenant: "default",
    time: TIME,
    trace_id: TRACE,
    v: 1,
    ...more,
  });
  await ledger.append({ text, keys: [`decision:default:${id}`] });
}

const event = (type: string, moved: object, actor = "stripe", more: More = {}) =>
  record(
    "event_ingested",
    {
      event: { id: `e-${type}`, source: "webhook", type, entity: ORDER, actor: { id: actor }, time: TIME },
      sequence: 1,
      applied: true,
      ...moved,
    },
    more,
  );

const change = (type: string, from: string | null, to: string, actor = "stripe") =>
  record("state_changed", {
    entity: ORDER,
    event_id: `e-${type}`,
    source: "webhook",
    actor: { id: actor },
    event: type,
    from,
    to,
    version: 1,
  });

const approval = (status: string, reviews: object[] = [], quorum = 1) => ({
  id: "appr_1",
  status,
  action: { name: "REFUND_ORDER", arguments: {} },
  actor: AGENT,
  entity: ORDER,
  decision_id: "dec_1",
  quorum,
  reviews,
});

const reviewBy = (id: string, verdict: string, binding_digest = "sha256:1") => ({
  reviewer: { id, type: "human" },
  verdict,
  binding_digest,
});

const report = (status: string, data: object = {}, more: More = {}) =>
  record(
    "execution_reported",
    { permit_id: "perm_1", decision_id: "dec_1", action: "REFUND_ORDER", status, ...data },
    more,
  );

const told = async (request: Partial<TimelineRequest> = {}): Promise<(string | null)[][]> =>
  (await read(request)).rows.map(({ kind, actor, summary }) => [kind, actor, summary]);

describe("the default view", () => {
  test("of what ran by itself reads as the first worked example does", async () => {
    await event("ORDER_PLACED", { from: null, to: "CREATED" });
    await change("ORDER_PLACED", "CREATED", "PAID");
    await decide("allow", { action: "AUTO_REFUND", risk: "low" });
    await record("permit_consumed", { permit_id: "perm_1", decision_id: "dec_1", entity: ORDER, actor: "ops-agent" });
    await report("succeeded", { action: "AUTO_REFUND" });
    await event("ORDER_REFUNDED", {}, "ops-agent");
    await change("ORDER_REFUNDED", "PAID", "REFUNDED", "ops-agent");
    expect(await told()).toEqual([
      ["event_ingested", "stripe", "ORDER_PLACED"],
      ["state_changed", "stripe", "CREATED → PAID"],
      ["decision_recorded", "ops-agent", "propose AUTO_REFUND"],
      ["action_validated", "ops-agent", "AUTO_REFUND ✓"],
      ["action_executed", "ops-agent", "AUTO_REFUND"],
      ["event_ingested", "ops-agent", "ORDER_REFUNDED"],
      ["state_changed", "ops-agent", "PAID → REFUNDED"],
    ]);
    expect((await read()).rebuild).toEqual({ matches: true, events: 3 });
  });

  test("of what people granted reads as the second and third do", async () => {
    await event("ORDER_PAID", {});
    await change("ORDER_PAID", null, "PAID");
    await decide("escalate", { risk: "high", approval: { id: "appr_1", status: "pending" } });
    await record("approval_opened", { approval: approval("pending") });
    await record("approval_reviewed", { approval: approval("granted", [reviewBy("ops-human", "grant")]) });
    await decide("allow", { id: "dec_2", risk: "high", approval: { id: "appr_1", status: "granted" } });
    await record("permit_consumed", { permit_id: "perm_1", decision_id: "dec_2", entity: ORDER, actor: "ops-agent" });
    await report("succeeded", { decision_id: "dec_2" });
    expect(await told()).toEqual([
      ["event_ingested", "stripe", "ORDER_PAID"],
      ["state_changed", "stripe", "PAID"],
      ["decision_recorded", "ops-agent", "propose REFUND_ORDER (high)"],
      ["approval_required", "ops-agent", "REFUND_ORDER awaiting human"],
      ["approval_granted", "ops-human", "REFUND_ORDER granted"],
      ["action_executed", "ops-agent", "REFUND_ORDER"],
    ]);
    const { rows } = await read();
    expect(rows[3]).toEqual({
      index: 2,
      time: TIME,
      kind: "approval_required",
      actor: "ops-agent",
      summary: "REFUND_ORDER awaiting human",
      trace_id: TRACE,
      decision_id: "dec_1",
      approval_id: "appr_1",
    });
    expect(rows[5]).toMatchObject({ index: 7, decision_id: "dec_2" });
  });

  test("of what people denied, and of what policy did, reads as the last two do", async () => {
    await record("approval_reviewed", { approval: approval("denied", [reviewBy("ops-human", "deny")]) });
    await decide("deny", {
      action: "AUTO_REFUND",
      reasons: [{ code: "state_not_allowed", message: "" }, { code: "b" }],
    });
    expect(await told()).toEqual([
      ["approval_denied", "ops-human", "REFUND_ORDER denied"],
      ["action_blocked", "ops-agent", "REFUND_ORDER not executed"],
      ["decision_recorded", "ops-agent", "propose AUTO_REFUND"],
      ["action_blocked", "ops-agent", "state_not_allowed"],
    ]);
  });

  test("tells everything else that there is to tell", async () => {
    await decide("compute", { risk: "critical" });
    await decide("deny", { id: "dec_9" });
    await decide("allow", { observed_outcome: "deny", reasons: [{ code: "no_way" }], approval: { status: "granted" } });
    await decide("allow", { observed_outcome: "allow" });
    await record("permit_refused", {
      entity: ORDER,
      code: "digest_mismatch",
      actor: "ops-agent",
      action: "REFUND_ORDER",
      mode: "enforce",
    });
    await record("permit_refused", {
      entity: ORDER,
      code: "digest_mismatch",
      actor: "ops-agent",
      action: "REFUND_ORDER",
      mode: "observe",
    });
    await record("approval_reviewed", {
      approval: approval("pending", [reviewBy("a", "grant", "sha256:0"), reviewBy("b", "grant")], 2),
    });
    await record("approval_reviewed", { approval: approval("cancelled", [reviewBy("a", "cancel")]) });
    await record("approval_expired", { approval: approval("expired") });
    await report("failed");
    await report("succeeded", { resolved: { by: "olivia", reason: "saw it" } });
    await event("ORDER_SHIPPED", { applied: false, from: "PAID", to: "PAID" });
    await event("ORDER_SHIPPED", { applied: false, from: null, to: null });
    const freeze = { id: "frz_1", kind: "entity", subject: "order/ord_002", reason: "fraud?", by: "olivia" };
    await record("freeze_set", { freeze });
    await record("freeze_lifted", { freeze, by: "pierre", reason: "" });
    await record("later_kind", { entity: ORDER });
    expect(await told()).toEqual([
      ["decision_recorded", "ops-agent", "propose REFUND_ORDER (critical)"],
      ["action_rewritten", "ops-agent", "REFUND_ORDER with arguments by policy"],
      ["decision_recorded", "ops-agent", "propose REFUND_ORDER"],
      ["action_blocked", "ops-agent", "denied"],
      ["decision_recorded", "ops-agent", "propose REFUND_ORDER"],
      ["action_observed", "ops-agent", "REFUND_ORDER let pass, policy says deny: no_way"],
      ["decision_recorded", "ops-agent", "propose REFUND_ORDER"],
      ["action_validated", "ops-agent", "REFUND_ORDER ✓"],
      ["action_blocked", "ops-agent", "permit refused: digest_mismatch"],
      ["action_observed", "ops-agent", "REFUND_ORDER let pass, its permit does not hold: digest_mismatch"],
      ["approval_reviewed", "b", "REFUND_ORDER granted by 1 of 2"],
      ["approval_cancelled", "a", "REFUND_ORDER cancelled"],
      ["approval_expired", null, "REFUND_ORDER expired"],
      ["action_failed", "ops-agent", "REFUND_ORDER"],
      ["action_executed", "ops-agent", "REFUND_ORDER (as olivia says)"],
      ["event_ingested", "stripe", "ORDER_SHIPPED"],
      ["event_refused", "stripe", "no transition from PAID"],
      ["event_ingested", "stripe", "ORDER_SHIPPED"],
      ["event_refused", "stripe", "no transition without a state"],
      ["freeze_set", "olivia", "entity order/ord_002 frozen: fraud?"],
      ["freeze_lifted", "pierre", "entity order/ord_002 lifted"],
    ]);
    const kinds = new Set((await read()).rows.map(({ kind }) => kind));
    for (const kind of kinds) expect(TIMELINE_KINDS).toContain(kind);
  });

  test("tells facts that were left behind as it tells others, at the time when they happened", async () => {
    const at = "2026-11-20T09:00:00.000Z";
    const left = (kind: string, payload: object) =>
      record(kind, { recovered: true, at, subject_id: "x", payload }, { traceId: "0".repeat(32) });
    const review = { reviewer: { id: "ops-human" }, verdict: "grant", bindingDigest: "sha256:1" };
    const subject = { decisionId: "dec_1", traceId: TRACE, action: "REFUND_ORDER", actor: AGENT, entity: ORDER };
    const kept = { id: "appr_1", subject, rule: { quorum: 2 }, reviews: [review] };
    await decide("escalate", { approval: { id: "appr_1", status: "pending" } });
    await left("approval_opened", { approval: { ...kept, status: "pending", reviews: [] } });
    await left("approval_reviewed", { approval: { ...kept, status: "pending" } });
    await left("approval_reviewed", { approval: { ...kept, status: "granted" } });
    const execution = { jti: "perm_1", decisionId: "dec_1", traceId: TRACE, action: "REFUND_ORDER" };
    await left("permit_consumed", {
      execution: { ...execution, status: "unknown" },
      approvalId: "appr_1",
      usesLeft: 0,
    });
    await left("execution_reported", { execution: { ...execution, status: "failed" } });
    const freeze = { id: "frz_1", kind: "entity", subject: "order/ord_002", reason: "r", by: "olivia" };
    await left("freeze_set", { freeze });
    await left("freeze_lifted", { freeze, by: "pierre", reason: "over" });
    expect((await told()).slice(2)).toEqual([
      ["approval_reviewed", "ops-human", "REFUND_ORDER granted by 1 of 2"],
      ["approval_granted", "ops-human", "REFUND_ORDER granted"],
      ["action_failed", "ops-agent", "REFUND_ORDER"],
      ["freeze_set", "olivia", "entity order/ord_002 frozen: r"],
      ["freeze_lifted", "pierre", "entity order/ord_002 lifted: over"],
    ]);
    const { rows } = await read();
    expect(rows[0]).not.toHaveProperty("recovered");
    expect(rows[2]).toMatchObject({
      time: at,
      recovered: true,
      approval_id: "appr_1",
      decision_id: "dec_1",
      trace_id: TRACE,
    });
    const inFull = await told({ detail: "full" });
    expect(inFull[4]).toEqual(["permit_consumed", "ops-agent", "REFUND_ORDER permit used, 0 uses left"]);
    expect(inFull).toHaveLength(8);
  });

  test("finds who proposed by the use of a permit where the decision is another sidecar's, or says that it cannot", async () => {
    const use = { permit_id: "perm_7", decision_id: "dec_7", entity: ORDER, actor: "their-agent" };
    await record("permit_consumed", use, { keys: ["consumed:default:perm_7"] });
    await report("succeeded", { permit_id: "perm_7", decision_id: "dec_7" });
    expect(await told()).toEqual([["action_executed", "their-agent", "REFUND_ORDER"]]);
    await report("failed", { permit_id: "perm_8", decision_id: "dec_8" });
    const about = { kind: "trace", traceId: TRACE } as const;
    expect((await told({ about })).at(-1)).toEqual(["action_failed", null, "REFUND_ORDER"]);
  });
});

describe("in full", () => {
  test("there is one row for each entry, with its own kind", async () => {
    await decide("escalate", {
      approval: { id: "appr_1", status: "pending" },
      reasons: [{ code: "approval_required" }],
    });
    await record("approval_opened", { approval: approval("pending") });
    await record("approval_reviewed", { approval: approval("granted", [reviewBy("ops-human", "grant")]) });
    await decide("allow", { id: "dec_2", approval: { id: "appr_1", status: "granted" } });
    const use = { permit_id: "perm_1", decision_id: "dec_2", approval_id: "appr_1", entity: ORDER };
    await record("permit_consumed", { ...use, action: "REFUND_ORDER", actor: "ops-agent", uses_left: 2 });
    await record("permit_refused", {
      entity: ORDER,
      code: "already_consumed",
      actor: "ops-agent",
      action: "REFUND_ORDER",
    });
    await report("succeeded", { decision_id: "dec_2" });
    await event("ORDER_REFUNDED", { applied: false });
    await change("ORDER_REFUNDED", "PAID", "REFUNDED");
    await record("freeze_set", { freeze: { id: "f", kind: "entity", subject: "order/ord_002", reason: "r", by: "o" } });
    await record("later_kind", { entity: ORDER });
    expect(await told({ detail: "full" })).toEqual([
      ["decision", "ops-agent", "REFUND_ORDER escalate: approval_required, approval pending"],
      ["approval_opened", "ops-agent", "REFUND_ORDER pending"],
      ["approval_reviewed", "ops-human", "REFUND_ORDER granted (grant)"],
      ["decision", "ops-agent", "REFUND_ORDER allow, approval granted"],
      ["permit_consumed", "ops-agent", "REFUND_ORDER permit used, 2 uses left"],
      ["permit_refused", "ops-agent", "REFUND_ORDER already_consumed"],
      ["execution_reported", "ops-agent", "REFUND_ORDER succeeded"],
      ["event_ingested", "stripe", "ORDER_REFUNDED of order/ord_002, refused"],
      ["state_changed", "stripe", "PAID → REFUNDED"],
      ["freeze_set", "o", "entity order/ord_002 frozen: r"],
      ["later_kind", null, ""],
    ]);
    const { rows } = await read({ detail: "full" });
    expect(rows.map(({ index }) => index)).toEqual([...rows.keys()]);
    expect(rows[4]).toMatchObject({ decision_id: "dec_2", approval_id: "appr_1" });
  });
});

describe("pages", () => {
  const text = ({ index, row }: NonNullable<TimelinePage["cursor"]>) => `${index}.${row}`;

  /** Five entries of two rows. */
  const five = async () => {
    for (let at = 0; at < 5; at += 1) await decide("allow", { id: `dec_${at}` });
  };

  test("end at the limit, in the middle of an entry too, and at one past it", async () => {
    await five();
    const whole = (await read()).rows;
    expect(whole).toHaveLength(10);
    for (let limit = 1; limit <= 11; limit += 1) {
      const page = await read({ limit });
      expect(page.rows).toEqual(whole.slice(0, limit));
      // The last page is known to be the last, and only it has the check.
      expect(page.cursor === undefined).toBe(limit >= 10);
      expect(page.rebuild === undefined).toBe(limit < 10);
      if (page.cursor === undefined) continue;
      expect(text(page.cursor)).toBe(`${Math.floor(limit / 2)}.${limit % 2}`);
      expect((await read({ cursor: page.cursor })).rows).toEqual(whole.slice(limit));
    }
    expect(await read({ cursor: { index: 5, row: 0 } })).toEqual({
      rows: [],
      cursor: undefined,
      rebuild: await rebuild(),
    });
    expect(await read({ cursor: { index: 4, row: 99 } })).toMatchObject({ rows: [], cursor: undefined });
  });

  test("go on with what came meanwhile", async () => {
    await five();
    const { cursor } = await read({ limit: 9 });
    await decide("deny", { id: "dec_9" });
    const { rows } = await read({ cursor });
    expect(rows.map(({ kind }) => kind)).toEqual(["action_validated", "decision_recorded", "action_blocked"]);
  });

  test("are bounded by what they look at; the cursor says where to go on", async () => {
    const texts = Array.from({ length: TIMELINE_SCAN_MAX + 5 }, (_, at) =>
      factEntry({
        kind: "permit_consumed",
        tenant: "default",
        traceId: TRACE,
        time: TIME,
        data: { at, entity: ORDER },
      }),
    );
    for (let at = 0; at < texts.length; at += 2_000) {
      await Promise.all(texts.slice(at, at + 2_000).map((draft) => ledger.append(draft)));
    }
    await decide("deny");
    const first = await read({ limit: 1 });
    expect(first).toMatchObject({ rows: [], cursor: { index: TIMELINE_SCAN_MAX, row: 0 }, rebuild: undefined });
    expect((await read({ limit: 1, cursor: first.cursor })).rows).toHaveLength(1);
  });

  test("of large entries end early", async () => {
    const filler = "x".repeat(3 * 1024 * 1024);
    for (let at = 0; at < 8; at += 1) await record("state_changed", { entity: ORDER, to: "S", filler, at });
    const first = await read();
    expect(first.rows).toHaveLength(6);
    expect(first.cursor).toEqual({ index: 6, row: 0 });
    expect((await read({ cursor: first.cursor })).rows).toHaveLength(2);
  });
});

describe("who asks for what", () => {
  test("sees its own tenant's, whoever else has a trace or an entity of that name", async () => {
    await record("state_changed", { entity: ORDER, to: "MINE" });
    await record("state_changed", { entity: ORDER, to: "THEIRS" }, { tenant: "other" });
    await record("state_changed", { entity: ORDER, to: "NOBODYS" }, { tenant: "" });
    for (const about of [
      { kind: "entity", ref: ORDER },
      { kind: "trace", traceId: TRACE },
    ] as const) {
      expect((await told({ about })).map(([, , summary]) => summary)).toEqual(["MINE"]);
      expect((await told({ about, tenant: "other" })).map(([, , summary]) => summary)).toEqual(["THEIRS"]);
    }
    const about = { kind: "trace", traceId: TRACE } as const;
    await expect(read({ about, tenant: "third" })).rejects.toMatchObject({ code: "trace_not_found" });
  });

  test("is not shown another tenant's entry even where an index names it", async () => {
    await record("state_changed", { entity: ORDER, to: "THEIRS" }, { tenant: "other" });
    const index = { find: async ({ from }: { from: number }) => (from === 0 ? [0] : []), close: async () => {} };
    const reader = createTimelineReader({ ledger, index, rebuild: () => rebuild() });
    expect((await readerOf(reader)({})).rows).toEqual([]);
  });

  test("is told of a trace that nobody knows, and not of one without rows", async () => {
    const about = { kind: "trace", traceId: TRACE } as const;
    await expect(read({ about })).rejects.toMatchObject({ code: "trace_not_found" });
    await expect(read({ about: { kind: "trace", traceId: "" } })).rejects.toMatchObject({ code: "trace_not_found" });
    await record("approval_opened", { approval: approval("pending") });
    expect(await read({ about })).toEqual({ rows: [], cursor: undefined, rebuild: undefined });
    expect((await read({ about, detail: "full" })).rows).toHaveLength(1);
  });

  test("is told of an entity of which neither ledger nor store know anything", async () => {
    rebuild = async () => {
      throw new UnavailableError("store_unavailable", "The store is away");
    };
    await expect(read()).rejects.toMatchObject({ code: "entity_not_found" });
    rebuild = async () => ({ matches: false, events: 2, reason: "another state" });
    expect(await read()).toEqual({
      rows: [],
      cursor: undefined,
      rebuild: { matches: false, events: 2, reason: "another state" },
    });
  });

  test("reads what happened while the store is out, and is told that it was not checked", async () => {
    await decide("allow");
    rebuild = async () => {
      throw new UnavailableError("store_unavailable", "The store is away");
    };
    expect(await read()).toMatchObject({ rebuild: { matches: null, reason: "The store is away" } });
    rebuild = async () => {
      throw new TypeError("a fault");
    };
    await expect(read()).rejects.toThrow("a fault");
    const strange = { matches: true, rebuilt: { state: "x" } };
    rebuild = async () => strange;
    expect((await read()).rebuild).toEqual({ matches: true });
  });

  test("is refused where too many ask at once, or where there is no index", async () => {
    await decide("allow");
    const asked = await Promise.allSettled(Array.from({ length: TIMELINES_MAX + 1 }, () => read()));
    expect(asked.filter(({ status }) => status === "fulfilled")).toHaveLength(TIMELINES_MAX);
    expect(asked.at(-1)).toMatchObject({ reason: { code: "overloaded" } });
    expect((await read()).rows).toHaveLength(2);
    const without = createTimelineReader({ ledger, index: undefined, rebuild: () => rebuild() });
    await expect(readerOf(without)()).rejects.toMatchObject({ code: "overloaded" });
  });

  test("gets kinds and times that it asked for", async () => {
    const at = (second: number) => `2026-11-20T10:00:0${second}.000Z`;
    for (let second = 0; second < 5; second += 1) await decide("allow", {}, { time: at(second) });
    const kinds = new Set(["action_validated"]);
    expect((await read({ kinds })).rows.map(({ kind }) => kind)).toEqual(Array(5).fill("action_validated"));
    const within = { sinceMs: Date.parse(at(1)), untilMs: Date.parse(at(3)) };
    const times = (await read({ ...within, kinds })).rows.map(({ time }) => time);
    expect(times).toEqual([at(1), at(2)]);
    // Nothing that is asked for comes after it: the page is the last one.
    expect((await read({ ...within, kinds, limit: 2 })).cursor).toBeUndefined();
  });
});

describe("hostile entries", () => {
  test.each([
    {},
    { data: null },
    { data: [], decision: 7, input: "x" },
    { data: { approval: null, event: 7, freeze: [], entity: ORDER } },
    { data: { entity: ORDER, approval: { reviews: "none", action: 7, quorum: {} } } },
    { data: { entity: ORDER, approval: { reviews: [null, 7, {}] } } },
    { data: { entity: ORDER, recovered: true, payload: 7 } },
    {
      data: {
        entity: ORDER,
        recovered: true,
        payload: { approval: { id: "a", subject: [] }, execution: 7, freeze: { id: "f" } },
      },
    },
    { input: { entity: ORDER }, decision: { reasons: {}, action: null, approval: "granted" } },
    { time: 7, data: { entity: ORDER } },
  ])("%j breaks no timeline, whatever its kind", async (body) => {
    const kinds = ["decision", "approval_opened", "approval_reviewed", "approval_expired", "permit_consumed"];
    kinds.push(
      "permit_refused",
      "execution_reported",
      "event_ingested",
      "state_changed",
      "freeze_set",
      "freeze_lifted",
    );
    for (const kind of [...kinds, "toString", "__proto__", ""]) {
      const base = { tenant: "default", time: TIME, trace_id: TRACE, kind };
      await ledger.append({ text: JSON.stringify({ ...base, ...body }), keys: [] });
    }
    const about = { kind: "trace", traceId: TRACE } as const;
    expect((await read({ about, detail: "full" })).rows).toHaveLength(14);
    const { rows } = await read({ about });
    for (const { actor, summary, kind } of rows) {
      expect(TIMELINE_KINDS).toContain(kind);
      expect(actor === null || typeof actor === "string").toBe(true);
      expect(typeof summary).toBe("string");
    }
    await read();
  });

  test("texts of callers are told as they are", async () => {
    const name = "\u001b[2J\u202e ✓\n→";
    await decide("allow", { action: name });
    expect((await told())[1]).toEqual(["action_validated", "ops-agent", `${name} ✓`]);
  });
});

test("whatever the limit and the filters, the pages together are the whole, filtered", async () => {
  const outcomes = ["allow", "deny", "escalate", "compute"];
  for (let at = 0; at < 150; at += 1) {
    const more = { time: new Date(Date.parse(TIME) + ((at * 37) % 150) * 1_000).toISOString() };
    const entity = at % 3 === 0 ? { type: "order", id: "another" } : ORDER;
    if (at % 4 === 0) await record("permit_consumed", { entity }, more);
    else if (at % 7 === 0) await event("E", { applied: false, from: "A" }, "stripe", more);
    else await decide(outcomes[at % 4]!, { id: `dec_${at}`, entity }, more);
  }
  const wholes = { summary: (await read()).rows, full: (await read({ detail: "full" })).rows };
  expect(Math.min(wholes.summary.length, wholes.full.length)).toBeGreaterThan(60);
  const ms = fc.option(
    fc.integer({ min: 0, max: 150 }).map((second) => Date.parse(TIME) + second * 1_000),
    { nil: undefined },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("summary", "full" as const),
      fc.integer({ min: 1, max: 40 }),
      fc.option(fc.subarray([...TIMELINE_KINDS, "decision", "permit_consumed"]), { nil: undefined }),
      ms,
      ms,
      async (detail, limit, names, sinceMs, untilMs) => {
        const kinds = names === undefined ? undefined : new Set<string>(names);
        const request = { detail, limit, kinds, sinceMs, untilMs } as const;
        const expected = wholes[detail].filter(({ kind, time }) => {
          const at = Date.parse(time);
          return (kinds?.has(kind) ?? true) && at >= (sinceMs ?? 0) && at < (untilMs ?? Number.POSITIVE_INFINITY);
        });
        const rows = [];
        let pages = 0;
        for (let cursor: TimelinePage["cursor"]; ; ) {
          const page = await read({ ...request, cursor });
          rows.push(...page.rows);
          pages += 1;
          cursor = page.cursor;
          if (cursor === undefined) break;
        }
        expect(rows).toEqual(expected);
        expect(pages).toBe(Math.max(1, Math.ceil(expected.length / limit)));
      },
    ),
    { numRuns: 100, seed: 4 },
  );
});
