import { describe, expect, test } from "vitest";
import { readDomain } from "../../src/core/domain.ts";
import { changed, compileFiles, compileText, ORDER } from "../support/domains.ts";

const STAGES: Readonly<Record<string, string>> = {
  "an entity and an action": `domain: refund-agno
entity: Order
actions:
  - name: REFUND_ORDER
    executor: refund.issue_refund
`,
  "and its states": `domain: refund-agno
entity: Order
events: [ORDER_PLACED, ORDER_PAID, ORDER_REFUNDED]
states: [CREATED, PAID, REFUNDED]
transitions:
  - on: ORDER_PLACED
    to: CREATED
  - on: ORDER_PAID
    from: CREATED
    to: PAID
  - on: ORDER_REFUNDED
    from: PAID
    to: REFUNDED
actions:
  - name: MARK_PAID
    allowed_states: [CREATED]
  - name: REFUND_ORDER
    allowed_states: [PAID]
`,
  "and who may do what": `domain: refund-agno
entity: Order
events: [ORDER_PLACED, ORDER_PAID, ORDER_REFUNDED]
states: [CREATED, PAID, REFUNDED]
transitions:
  - { on: ORDER_PLACED, to: CREATED }
  - { on: ORDER_PAID, from: CREATED, to: PAID }
  - { on: ORDER_REFUNDED, from: PAID, to: REFUNDED }
actions:
  - name: MARK_PAID
    allowed_states: [CREATED]
    required_permissions: [orders.mark_paid]
    risk: low
  - name: AUTO_REFUND
    allowed_states: [PAID]
    required_parameters: [amount, reason]
    required_permissions: [orders.refund]
    risk: medium
    approval: never
  - name: REFUND_ORDER
    allowed_states: [PAID]
    required_parameters: [amount, reason]
    required_permissions: [orders.refund]
    risk: high
    approval: required
permissions:
  roles:
    ops_agent: [orders.mark_paid, orders.refund]
    admin: [orders.refund, orders.approve]
`,
};
const COMPLETE = `${STAGES["and who may do what"]}audit:
  store: in-memory
  trace_propagation: true
adapters:
  - name: stripe-webhook
    source: stripe
    kind: webhook
`.replace("approval: required\n", "approval: required\n    executor: refund.issue_refund\n    event: ORDER_REFUNDED\n");

describe("compileDomains() takes a domain as it grows", () => {
  test.each([...Object.entries(STAGES), ["and where events come from", COMPLETE]])("%s", (_, text) => {
    const { lines, holdpoint } = compileText(text);
    expect(lines.filter((line) => line.includes(": error: "))).toEqual([]);
    expect(readDomain({ holdpoint })).toMatchObject({ entities: expect.any(Map) });
  });

  test("with nothing but an entity and an action", () => {
    expect(compileText(STAGES["an entity and an action"]!).holdpoint).toEqual({
      entities: { order: { states: [], events: [], transitions: [], attributes: {} } },
      contracts: { REFUND_ORDER: { entity_types: ["order"], executor: "refund.issue_refund" } },
    });
  });

  test("to the last: what is not of the bundle is noted, what no action needs is warned of", () => {
    const { lines, holdpoint } = compileText(COMPLETE);
    expect(lines).toEqual([
      "domain.yaml:31:28: warning: role admin: no action requires orders.approve",
      "domain.yaml:33:3: note: audit.store: the sidecar's ledger is always the store, whatever is said here",
      expect.stringMatching(
        /^domain\.yaml:36:11: note: adapter stripe-webhook: the sidecar's configuration must define/,
      ),
    ]);
    expect(Object.keys(holdpoint)).toEqual(["contracts", "entities", "roles"]);
    expect(holdpoint.contracts.REFUND_ORDER).toEqual({
      entity_types: ["order"],
      allowed_states: ["PAID"],
      parameters: { amount: { required: true }, reason: { required: true } },
      permissions: ["orders.refund"],
      risk: "high",
      approval: { when: "always" },
      executor: "refund.issue_refund",
      event: "ORDER_REFUNDED",
    });
    expect(holdpoint.contracts.AUTO_REFUND.approval).toEqual({ when: "never" });
    expect(holdpoint.roles).toEqual({
      ops_agent: { "orders.mark_paid": true, "orders.refund": true },
      admin: { "orders.refund": true, "orders.approve": true },
    });
  });
});

describe("compileDomains() writes", () => {
  test("transitions and attributes as core reads them", () => {
    const text = `domain: d
entity: Order
events: [A, B, C]
states: [ONE, TWO]
transitions:
  - { on: A, to: ONE }
  - { on: B, from: [ONE, TWO], to: TWO }
  - { on: C, from: "*", to: ONE }
attributes:
  sum: { on: [A, B], add: /amount }
  times: { on: C, count: true }
  span:
    - { on: A, min: /a~1b }
    - { on: B, max: /0 }
`;
    const { lines, holdpoint } = compileText(text);
    expect(lines).toEqual([]);
    expect(holdpoint.entities.order).toEqual({
      states: ["ONE", "TWO"],
      events: ["A", "B", "C"],
      transitions: [
        { on: "A", from: [], to: "ONE" },
        { on: "B", from: ["ONE", "TWO"], to: "TWO" },
        { on: "C", from: ["*"], to: "ONE" },
      ],
      attributes: {
        sum: [{ on: ["A", "B"], operation: "add", pointer: "/amount" }],
        times: [{ on: ["C"], operation: "count", pointer: "" }],
        span: [
          { on: ["A"], operation: "min", pointer: "/a~1b" },
          { on: ["B"], operation: "max", pointer: "/0" },
        ],
      },
    });
  });

  test("every other member of a contract as it is, and required parameters beside what is known of them", () => {
    const members = `    parameters: { amount: { type: number, maximum: 10.5 }, note: { type: string } }
    approval: { when: threshold, roles: [ops_agent], quorum: 2 }
    thresholds: [{ parameter: amount, above: 100, outcome: escalate, approval: { roles: [ops_agent] } }]
    limits: [{ key: refunds, by: [entity.id], limit: 5, window_seconds: 60, window: sliding }]
    lock: { key: order, by: [entity.id], ttl_seconds: 30, wait_seconds: 5 }
    permit: { required: true, ttl_seconds: 60, bind_entity_version: true }
    classifications: [pii]
    session_sums: [amount]
    environments: [production]
    mode: observe
    description: Gives money back
`;
    const text = changed(ORDER, "    approval: required\n", members);
    const { lines, holdpoint } = compileText(text);
    expect(lines).toEqual([]);
    expect(holdpoint.contracts.REFUND_ORDER).toMatchObject({
      parameters: {
        amount: { type: "number", maximum: 10.5, required: true },
        note: { type: "string" },
        reason: { required: true },
      },
      approval: { when: "threshold", roles: ["ops_agent"], quorum: 2 },
      thresholds: [{ parameter: "amount", above: 100, outcome: "escalate", approval: { roles: ["ops_agent"] } }],
      limits: [{ key: "refunds", by: ["entity.id"], limit: 5, window_seconds: 60, window: "sliding" }],
      lock: { key: "order", by: ["entity.id"], ttl_seconds: 30, wait_seconds: 5 },
      permit: { required: true, ttl_seconds: 60, bind_entity_version: true },
      classifications: ["pii"],
      session_sums: ["amount"],
      environments: ["production"],
      mode: "observe",
      description: "Gives money back",
    });
  });

  test("several types by what proposals call them, and actions on one or more of those", () => {
    const text = `domain: cases
entities:
  RefundCase: { events: [OPENED], states: [OPEN], transitions: [{ on: OPENED, to: OPEN }] }
  HTTPRoute2Host: {}
  order-item: {}
actions:
  - { name: CLOSE, entity: RefundCase, allowed_states: [OPEN] }
  - { name: LOOK, entity: [HTTPRoute2Host, order-item] }
  - { name: SEND, entity_types: [parcel], allowed_states: [PACKED] }
`;
    const { lines, holdpoint } = compileText(text);
    expect(lines).toEqual([]);
    expect(Object.keys(holdpoint.entities)).toEqual(["http_route2_host", "order_item", "refund_case"]);
    expect(holdpoint.contracts).toEqual({
      CLOSE: { entity_types: ["refund_case"], allowed_states: ["OPEN"] },
      LOOK: { entity_types: ["http_route2_host", "order_item"] },
      SEND: { entity_types: ["parcel"], allowed_states: ["PACKED"] },
    });
  });

  test("that sessions are kept, where the domain says so and not otherwise", () => {
    expect(compileText(ORDER).holdpoint).not.toHaveProperty("sessions");
    expect(compileText(`${ORDER}sessions: true\n`).holdpoint).toMatchObject({ sessions: true });
    expect(compileText(`${ORDER}sessions: false\n`).holdpoint).not.toHaveProperty("sessions");
    expect(compileText(`${ORDER}sessions: always\n`).lines.join()).toContain("sessions: expected true");
  });

  test("the same bytes for the same files, whatever the order of their members", () => {
    const members = ORDER.split(/^(?=[a-z])/m);
    const reversed = [...members].reverse().join("");
    const { dataText } = compileText(ORDER);
    expect(compileText(reversed).dataText).toBe(dataText);
    expect(compileText(ORDER.replaceAll("\n", "\r\n")).dataText).toBe(dataText);
    expect(compileFiles({ "deep/er/domain.yml": `\ufeff${ORDER}` }).dataText).toBe(dataText);
    expect(compileFiles({ "data.yaml": "other: 1\n" }).files).toEqual([]);
  });
});

const OTHER = `domain: parcels
entity: Parcel
actions:
  - name: SEND_PARCEL
    required_permissions: [parcels.send]
permissions:
  roles:
    ops_agent: { parcels.send: true }
`;

describe("compileDomains() puts several files together", () => {
  test("with the permissions of a role from all of them, but for those that data files grant", () => {
    const data = "holdpoint:\n  roles:\n    ops_agent: { parcels.send: true, files.read: true }\n";
    const { lines, holdpoint } = compileFiles({ "a/domain.yaml": ORDER, "b/domain.yaml": OTHER, "data.yaml": data });
    expect(lines).toEqual([]);
    expect(Object.keys(holdpoint.contracts)).toEqual(["MARK_PAID", "REFUND_ORDER", "SEND_PARCEL"]);
    expect(holdpoint.roles).toEqual({ ops_agent: { "orders.refund": true } });
  });

  test("and takes roles and demands of data files for what they are", () => {
    const roles = "holdpoint: { roles: { clerk: [orders.refund], boss: { orders.look: true } } }\n";
    const contracts = "PING:\n  permissions: [orders.refund]\n";
    const text = changed(ORDER, "permissions:\n  roles:\n    ops_agent: [orders.refund]\n", "");
    const { lines } = compileFiles({
      "domain.yaml": text,
      "data.yml": roles,
      "holdpoint/contracts/data.yaml": contracts,
    });
    expect(lines).toEqual([]);
    const unused = changed(text, "    required_permissions: [orders.refund]\n", "");
    const granted = `${unused}permissions: { roles: { boss: [orders.refund] } }\n`;
    expect(compileFiles({ "domain.yaml": granted, "holdpoint/contracts/data.yaml": contracts }).lines).toEqual([]);
  });

  test.each([
    [
      "an action in two domains",
      { "b/domain.yaml": changed(OTHER, "SEND_PARCEL", "REFUND_ORDER") },
      ["b/domain.yaml:4:11: error: action REFUND_ORDER is also in a/domain.yaml:15:11"],
    ],
    [
      "a type in two domains",
      { "b/domain.yaml": changed(OTHER, "Parcel", "order") },
      ["b/domain.yaml:2:9: error: entity type order is also in a/domain.yaml:2:9"],
    ],
    [
      "a contract in data",
      { "data.yaml": "holdpoint:\n  contracts:\n    MARK_PAID: {}\n" },
      ["a/domain.yaml:13:11: error: action MARK_PAID is also in data.yaml:3:5"],
    ],
    [
      "a contract in a folder of its name",
      { "holdpoint/contracts/MARK_PAID/data.yaml": "risk: low\n" },
      ["a/domain.yaml:13:11: error: action MARK_PAID is also in holdpoint/contracts/MARK_PAID/data.yaml:1:1"],
    ],
    [
      "a type in data",
      { "holdpoint/any.json": '{"entities": {"order": {}}}' },
      ["a/domain.yaml:2:9: error: entity type order is also in holdpoint/any.json:1:1"],
    ],
    [
      "a role that is a list in data",
      { "data.yaml": "holdpoint:\n  roles:\n    ops_agent: [x]\n" },
      ["a/domain.yaml:25:5: error: role ops_agent is a list in data.yaml:3:5: lists do not merge, make it an object"],
    ],
    [
      "a permission that data refuses",
      { "data.yaml": "holdpoint:\n  roles:\n    ops_agent: { orders.refund: false }\n" },
      ["a/domain.yaml:25:17: error: role ops_agent: orders.refund is not true in data.yaml:3:18"],
    ],
    [
      "data that cannot be read beside it",
      { "data.yaml": "holdpoint: {}\nholdpoint: {}\n" },
      ['data.yaml:2:1: error: "holdpoint" is there twice, first on line 1'],
    ],
  ] as const)("but not %s", (_, files, lines) => {
    const compiled = compileFiles({ "a/domain.yaml": ORDER, ...files });
    expect(compiled.lines).toEqual(lines);
    expect(compiled.dataText).toBeUndefined();
  });
});
