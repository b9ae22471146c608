import { describe, expect, test } from "vitest";
import { changed, compileText, ORDER } from "../support/domains.ts";

const TRANSITIONS = "  - { on: ORDER_PAID, from: CREATED, to: PAID }\n";
const more = (line: string) => [TRANSITIONS, `${TRANSITIONS}${line}\n`] as const;
const refund = (line: string) => ["    executor: refund.issue_refund\n", `    ${line}\n`] as const;

/** What is changed in the order's domain, and every line that is then found. */
const FOUND: readonly (readonly [name: string, from: string, to: string, ...lines: string[]])[] = [
  [
    "an unknown member",
    "entity: Order",
    "entity: Order\nstate: []",
    "3:1: error: domain file: unknown member state, did you mean states?",
  ],
  [
    "an unknown member of an action",
    ...refund("requird_parameters: [a]"),
    "21:5: error: REFUND_ORDER: unknown member requird_parameters, did you mean required_parameters?",
  ],
  [
    "an unknown member of a transition",
    ...more("  - { on: ORDER_PAID, form: PAID, to: PAID }"),
    "8:23: error: transition: unknown member form, did you mean from?",
  ],
  ["no domain", "domain: refunds\n", "", "1:1: error: domain file: domain is missing"],
  [
    "no entity",
    "entity: Order\n",
    "",
    "1:1: error: domain file: entity is missing, or entities where there are several",
  ],
  [
    "an entity of several",
    "entity: Order\n",
    "entities: { Order: {} }\n",
    "3:1: error: events belongs to one entity: expected it below a name in entities",
    "4:1: error: states belongs to one entity: expected it below a name in entities",
    "5:1: error: transitions belongs to one entity: expected it below a name in entities",
    "9:1: error: attributes belongs to one entity: expected it below a name in entities",
    "13:5: error: MARK_PAID: entity is missing: the file has several",
    "15:5: error: REFUND_ORDER: entity is missing: the file has several",
  ],
  [
    "an unknown entity",
    ...refund("entity: Ordr"),
    "21:13: error: REFUND_ORDER: unknown entity Ordr, did you mean Order?",
  ],
  [
    "the entity said twice",
    ...refund("entity_types: [order]\n    entity: Order"),
    "21:5: error: REFUND_ORDER: entity and entity_types say the same: expected one of them",
  ],
  [
    "an unknown state arrived at",
    "from: CREATED, to: PAID",
    "from: CREATED, to: PIAD",
    "7:42: error: unknown state PIAD, did you mean PAID?",
  ],
  [
    "an unknown state left",
    "from: CREATED, to: PAID",
    "from: [CREATED, PIAD], to: PAID",
    "7:39: error: unknown state PIAD, did you mean PAID?",
  ],
  [
    "an unknown event",
    "on: ORDER_PAID",
    "on: ORDER_PAD",
    "7:11: error: unknown event ORDER_PAD, did you mean ORDER_PAID?",
  ],
  ["no state to arrive at", "from: CREATED, to: PAID", "from: CREATED", "7:5: error: transition: to is missing"],
  [
    "an empty from",
    "from: CREATED, to: PAID",
    "from: [], to: PAID",
    "7:29: error: from: expected a state; leave it out for an entity that has none yet",
  ],
  [
    "a state of that name for any",
    "PAID, REFUNDED]",
    'PAID, REFUNDED, "*"]',
    "4:35: error: * is no name: it stands for any state",
  ],
  [
    "a state twice",
    "[CREATED, PAID, ",
    "[CREATED, PAID, CREATED, ",
    "4:25: error: states: CREATED is there twice, first on line 4",
  ],
  [
    "an event twice",
    "[ORDER_PLACED, ",
    "[ORDER_PLACED, ORDER_PAID, ",
    "3:36: error: events: ORDER_PAID is there twice, first on line 3",
  ],
  [
    "an action twice",
    "name: MARK_PAID",
    "name: REFUND_ORDER",
    "15:11: error: action REFUND_ORDER is there twice, first on line 13",
  ],
  [
    "a conflict",
    ...more("  - { on: ORDER_PAID, from: [PAID, CREATED], to: CREATED }"),
    "8:5: error: ORDER_PAID leads from CREATED to CREATED, and by transition 2 to PAID",
  ],
  [
    "a conflict with any state",
    ...more('  - { on: ORDER_PAID, from: "*", to: REFUNDED }'),
    "8:5: error: ORDER_PAID leads from CREATED to REFUNDED, and by transition 2 to PAID",
  ],
  [
    "a conflict of any state",
    TRANSITIONS,
    `  - { on: ORDER_PAID, from: "*", to: PAID }\n  - { on: ORDER_PAID, to: CREATED }\n`,
    "8:5: error: ORDER_PAID leads from an entity without a state to CREATED, and by transition 2 to PAID",
  ],
  [
    "a conflict without a state",
    ...more("  - { on: ORDER_PLACED, to: PAID }"),
    "8:5: error: ORDER_PLACED leads from an entity without a state to PAID, and by transition 1 to CREATED",
  ],
  [
    "a transition twice",
    ...more("  - { on: ORDER_PAID, from: [CREATED], to: PAID }"),
    "8:5: warning: the same transition is on line 7",
  ],
  [
    "an unreachable state",
    "PAID, REFUNDED]",
    "PAID, REFUNDED, LOST]",
    "4:35: error: state LOST is unreachable: no order of events leads to it",
  ],
  [
    "states that reach one another only",
    "from: CREATED, to: PAID",
    "from: REFUNDED, to: PAID",
    "4:19: error: state PAID is unreachable: no order of events leads to it",
    "4:25: error: state REFUNDED is unreachable: no order of events leads to it",
    "16:21: error: REFUND_ORDER is never allowed: each of its allowed_states is unreachable",
  ],
  [
    "an unknown allowed state",
    "allowed_states: [PAID]",
    "allowed_states: [PAID, PAIDD]",
    "16:28: error: REFUND_ORDER: unknown state PAIDD, did you mean PAID?",
  ],
  [
    "no allowed state",
    "allowed_states: [PAID]",
    "allowed_states: []",
    "16:21: error: REFUND_ORDER is never allowed: allowed_states is empty; leave it out to allow it in any state",
  ],
  [
    "an unknown event to follow",
    "event: ORDER_REFUNDED",
    "event: ORDER_REFUND",
    "22:12: error: REFUND_ORDER: unknown event ORDER_REFUND of order, did you mean ORDER_REFUNDED?",
  ],
  [
    "an event that leads nowhere",
    "allowed_states: [PAID]",
    "allowed_states: [PAID, CREATED]",
    "22:12: error: REFUND_ORDER is allowed in CREATED, from where ORDER_REFUNDED leads nowhere",
  ],
  [
    "an event that leads nowhere from some state",
    "    allowed_states: [PAID]\n",
    "",
    "21:12: warning: REFUND_ORDER is allowed in any state, and from CREATED, REFUNDED ORDER_REFUNDED leads nowhere",
  ],
  [
    "a permission that no role has",
    "required_permissions: [orders.refund]",
    "required_permissions: [orders.refnd]",
    "18:28: error: REFUND_ORDER: no role has the permission orders.refnd, so nobody may do it, did you mean orders.refund?",
    "25:17: warning: role ops_agent: no action requires orders.refund, did you mean orders.refnd?",
  ],
  [
    "permissions said twice",
    ...refund("permissions: [orders.refund]"),
    "21:5: error: REFUND_ORDER: permissions and required_permissions say the same: expected one of them",
  ],
  [
    "a role for reviewers that is none",
    "approval: required",
    "approval: { when: always, roles: [ops_agents] }",
    "20:39: warning: REFUND_ORDER: reviewers must have the role ops_agents, which is not among the roles, did you mean ops_agent?",
  ],
  [
    "a role for a threshold's reviewers",
    ...refund("thresholds: [{ parameter: amount, above: 1, outcome: escalate, approval: { roles: [boss] } }]"),
    "21:88: warning: REFUND_ORDER: reviewers must have the role boss, which is not among the roles",
  ],
  [
    "an attribute of an unknown event",
    "{ on: ORDER_PLACED, set: /total }",
    "{ on: [ORDER_PAID, ORDER_PLACE], set: /total }",
    "10:29: error: unknown event ORDER_PLACE, did you mean ORDER_PLACED?",
  ],
  [
    "an attribute without an event",
    "{ on: ORDER_PLACED, set: /total }",
    "{ set: /total }",
    "10:10: error: total: on is missing: the event that it follows",
  ],
  [
    "no JSON Pointer",
    "set: /total",
    "set: total",
    "10:35: error: set: expected a JSON Pointer into the event's data such as /amount, did you mean /total?",
  ],
  [
    "two operations",
    "set: /total",
    "set: /total, add: /total",
    "10:10: error: total: expected one of set, first, add, min, max, count",
  ],
  ["a count of something", "set: /total", "count: /total", "10:37: error: count: expected true"],
  [
    "a risk that is none",
    "risk: high",
    "risk: hihg",
    "19:11: error: risk: expected low, medium, high or critical, found hihg, did you mean high?",
  ],
  [
    "an approval that is no word for it",
    "approval: required",
    "approval: always",
    "20:15: error: approval: expected required, never or an object, found always",
  ],
  [
    "an approval at no time",
    "approval: required",
    "approval: { when: required }",
    "20:23: error: approval: when: expected always, threshold or never, found required",
  ],
  [
    "a parameter required and not",
    ...refund("parameters: { reason: { type: string, required: false } }"),
    "17:35: error: REFUND_ORDER: reason is required, and by parameters it is not",
  ],
  [
    "a permission that is not granted",
    "ops_agent: [orders.refund]",
    "ops_agent: { orders.refund: false }",
    "25:33: error: role ops_agent: expected true for orders.refund; leave out what it has not",
  ],
  [
    "a list that is none",
    "events: [ORDER_PLACED, ORDER_PAID, ORDER_REFUNDED]",
    "events:",
    "3:8: error: events: expected a list, found nothing",
  ],
  [
    "a name that is none",
    "name: MARK_PAID",
    "name: MARK PAID",
    '13:11: error: name: "MARK PAID" is no name: expected 1 to 256 characters without white space, control or format characters, or braces',
  ],
  [
    "a name that is a number",
    "[CREATED, PAID, ",
    "[CREATED, PAID, 5, ",
    "4:25: error: states: expected a name, found a number",
  ],
  [
    "traces that are not passed on",
    "domain: refunds",
    "domain: refunds\naudit: { trace_propagation: false }",
    "2:29: error: trace_propagation: expected true: every decision and event carries its trace",
  ],
  [
    "an adapter twice",
    "domain: refunds",
    "domain: refunds\nadapters: [{ name: a }, { name: a, knd: b }]",
    expect.stringContaining("2:20: note: adapter a") as never,
    "2:33: error: adapter a is there twice",
    expect.stringContaining("2:33: note: adapter a") as never,
    "2:36: error: adapter: unknown member knd, did you mean kind?",
  ],
];

describe("domain check finds", () => {
  test.each(FOUND)("%s", (_, from, to, ...lines) => {
    const compiled = compileText(changed(ORDER, from, to));
    expect(compiled.lines.map((line) => line.replace(/^domain\.yaml:/, ""))).toEqual(lines);
    const isError = compiled.lines.some((line) => line.includes(" error: "));
    expect(compiled.dataText === undefined).toBe(isError);
  });

  test("nothing in what is right", () => {
    expect(compileText(ORDER).lines).toEqual([]);
  });

  test("states that wait for their transitions, and says so once", () => {
    const text = "domain: d\nentity: Order\nstates: [A, B]\nactions: [{ name: GO, allowed_states: [A] }]\n";
    expect(compileText(text).lines).toEqual([
      "domain.yaml:3:9: warning: order: no event leads to any state: transitions are missing",
    ]);
  });

  test("two types that proposals could not tell apart", () => {
    const { lines } = compileText("domain: d\nentities:\n  RefundCase: {}\n  refund-case: {}\n");
    expect(lines).toEqual(["domain.yaml:4:3: error: refund-case and RefundCase are both refund_case in proposals"]);
  });

  test("more of a kind than there may be, at the place of the kind", () => {
    const names = Array.from({ length: 501 }, (_, index) => `S${index}`).join(", ");
    const { lines } = compileText(`domain: d\nentity: Order\nstates: [${names}]\n`);
    expect(lines).toEqual([expect.stringMatching(/^domain\.yaml:3:9: error: order: .*500/)]);
  });

  test("at most so many faults of a file, an error among them", () => {
    const roles = Array.from({ length: 900 }, (_, index) => `p${index}`).join(", ");
    const text = changed(ORDER, "[orders.refund]\n    risk", "[orders.x]\n    risk");
    const { lines } = compileText(changed(text, "ops_agent: [orders.refund]", `ops_agent: [${roles}]`));
    expect(lines.length).toBe(500);
    expect(lines[0]).toContain("error: REFUND_ORDER: no role has the permission orders.x");
  });
});
