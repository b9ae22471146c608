import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { EntityState } from "../../src/core/context.ts";
import {
  ANY_STATE,
  ATTRIBUTE_CHARS_MAX,
  type AttributeFold,
  applyEvent,
  type Domain,
  type EntityType,
  isKnownEvent,
  NEW_ENTITY,
  NO_DOMAIN,
  readDomain,
  type Transition,
} from "../../src/core/domain.ts";
import { DOMAIN_FAULTS_MAX, entityTypeFaults } from "../../src/core/domain-faults.ts";
import type { Json, JsonObject } from "../../src/core/types.ts";

function typeOf(
  of: Partial<Omit<EntityType, "attributes">> & { attributes?: Record<string, AttributeFold[]> },
): EntityType {
  const { attributes = {}, ...rest } = of;
  return {
    name: "order",
    states: [],
    events: [],
    transitions: [],
    ...rest,
    attributes: new Map(Object.entries(attributes)),
  };
}

const ORDER = typeOf({
  states: ["CREATED", "PAID", "CLOSED"],
  events: ["PLACED", "PAY", "CLOSE", "NOTE"],
  transitions: [
    { on: "PLACED", from: [], to: "CREATED" },
    { on: "PAY", from: ["CREATED"], to: "PAID" },
    { on: "CLOSE", from: [ANY_STATE], to: "CLOSED" },
  ],
  attributes: { paid: [{ on: ["PAY"], operation: "add", pointer: "/amount" }] },
});

const at = (state: string | null, version = 3): EntityState => ({ state, version, attributes: {} });

describe("applyEvent()", () => {
  test("moves an entity by its transition, and counts", () => {
    expect(applyEvent(ORDER, NEW_ENTITY, { type: "PLACED", data: {} })).toEqual({
      kind: "applied",
      from: null,
      after: { state: "CREATED", version: 1, attributes: {} },
    });
  });

  test.each([
    ["a second time", "CREATED", "PLACED", []],
    ["too early", null, "PAY", ["CREATED"]],
    ["from elsewhere", "CLOSED", "PAY", ["CREATED"]],
  ])("refuses an event %s, and says from where it leads", (_, state, type, allowedFrom) => {
    expect(applyEvent(ORDER, at(state), { type, data: {} })).toEqual({ kind: "refused", from: state, allowedFrom });
  });

  test.each([null, "CREATED", "PAID", "CLOSED"])("takes an event of any state from %s", (state) => {
    expect(applyEvent(ORDER, at(state), { type: "CLOSE", data: {} })).toMatchObject({
      kind: "applied",
      after: { state: "CLOSED", version: 4 },
    });
  });

  test("leaves the state where an event has no transition, and none where there is none", () => {
    for (const state of [null, "PAID"])
      expect(applyEvent(ORDER, at(state), { type: "NOTE", data: {} })).toMatchObject({
        kind: "applied",
        from: state,
        after: { state, version: 4 },
      });
  });

  test("changes nothing of what it was given", () => {
    const before = Object.freeze({ state: "CREATED", version: 1, attributes: Object.freeze({ paid: 1 }) });
    const applied = applyEvent(ORDER, before, { type: "PAY", data: Object.freeze({ amount: 2 }) });
    expect(applied).toMatchObject({ after: { attributes: { paid: 3 } } });
    expect(before.attributes.paid).toBe(1);
  });

  test("does not fold what is refused", () => {
    expect(applyEvent(ORDER, at("PAID"), { type: "PAY", data: { amount: "x" } }).kind).toBe("refused");
  });
});

const fold = (operation: AttributeFold["operation"], before: Json | undefined, value: Json | undefined) => {
  const type = typeOf({ events: ["E"], attributes: { a: [{ on: ["E"], operation, pointer: "/v" }] } });
  const attributes: JsonObject = before === undefined ? {} : { a: before };
  const data: JsonObject = value === undefined ? {} : { v: value };
  const applied = applyEvent(type, { state: null, version: 0, attributes }, { type: "E", data });
  return applied.kind === "applied" ? applied.after.attributes.a : applied;
};

const REFUSED = { kind: "invalid", pointer: "/v", message: expect.stringContaining("expected a number") };

describe("applyEvent() folds", () => {
  test.each([
    ["set", undefined, "x", "x"],
    ["set", 1, { b: [2] }, { b: [2] }],
    ["set", 1, null, null],
    ["set", 1, undefined, 1],
    ["first", undefined, 1, 1],
    ["first", 1, 2, 1],
    ["first", null, 2, null],
    ["add", undefined, 0.1, 0.1],
    ["add", 0.1, 0.2, 0.3],
    ["add", 5, -7.5, -2.5],
    ["add", "x", 2, 2],
    ["add", 1, undefined, 1],
    ["min", undefined, 3, 3],
    ["min", 2, 3, 2],
    ["max", 2, 3, 3],
    ["max", -2, -3, -2],
    ["count", undefined, undefined, 1],
    ["count", 2, "whatever", 3],
  ] as const)("%s: %j and %j", (operation, before, value, after) => {
    expect(fold(operation, before, value)).toEqual(after);
  });

  test.each([
    ["add", 1, "2"],
    ["add", 1, null],
    ["add", 1, 0.000_000_1],
    ["add", 9_007_199_254, 1],
    ["add", -9_007_199_254, -1],
    ["min", 1, true],
    ["max", 1, [1]],
    ["count", 9_007_199_254, 1],
  ] as const)("%s refuses %j and %j", (operation, before, value) => {
    expect(fold(operation, before, value)).toEqual(REFUSED);
  });

  test("as many characters as an attribute may have, and not one more", () => {
    const text = "x".repeat(ATTRIBUTE_CHARS_MAX - 2);
    expect(fold("set", undefined, text)).toBe(text);
    expect(fold("set", undefined, `${text}x`)).toMatchObject({ kind: "invalid", pointer: "/v" });
  });

  test("names that objects have, as names", () => {
    const rules: [string, AttributeFold[]][] = [
      ["constructor", [{ on: ["E"], operation: "count", pointer: "" }]],
      ["hasOwnProperty", [{ on: ["E"], operation: "set", pointer: "/toString" }]],
    ];
    const type = typeOf({ events: ["E"], attributes: Object.fromEntries(rules) });
    const applied = applyEvent(type, NEW_ENTITY, { type: "E", data: {} });
    expect(applied).toMatchObject({ kind: "applied", after: { attributes: { constructor: 1 } } });
    expect(Object.keys((applied as { after: EntityState }).after.attributes)).toEqual(["constructor"]);
  });

  test("several rules of one attribute in their order, each by its events", () => {
    const type = typeOf({
      events: ["IN", "OUT"],
      attributes: {
        left: [
          { on: ["IN"], operation: "add", pointer: "/n" },
          { on: ["OUT"], operation: "set", pointer: "/left" },
          { on: ["OUT"], operation: "add", pointer: "/n" },
        ],
      },
    });
    const entity = { ...NEW_ENTITY, attributes: { left: 5 } };
    expect(applyEvent(type, entity, { type: "IN", data: { n: 2 } })).toMatchObject({
      after: { attributes: { left: 7 } },
    });
    expect(applyEvent(type, entity, { type: "OUT", data: { n: 2, left: 1 } })).toMatchObject({
      after: { attributes: { left: 3 } },
    });
  });
});

const EVENTS = ["E0", "E1", "E2"];
const STATES = ["S0", "S1", "S2", "S3"];

const transition: fc.Arbitrary<Transition> = fc.record({
  on: fc.constantFrom(...EVENTS),
  from: fc.oneof(
    fc.constant<string[]>([]),
    fc.constant([ANY_STATE]),
    fc.uniqueArray(fc.constantFrom(...STATES), { minLength: 1 }),
  ),
  to: fc.constantFrom(...STATES),
});

const rule: fc.Arbitrary<AttributeFold> = fc.record({
  on: fc.uniqueArray(fc.constantFrom(...EVENTS), { minLength: 1 }),
  operation: fc.constantFrom("set", "first", "add", "min", "max", "count"),
  pointer: fc.constantFrom("/v", "/w/0", ""),
});

const randomType = fc
  .record({
    states: fc.constant(STATES),
    events: fc.constant(EVENTS),
    transitions: fc.array(transition, { maxLength: 8 }),
    attributes: fc.dictionary(fc.constantFrom("a", "b"), fc.array(rule, { minLength: 1, maxLength: 3 })),
  })
  .map(typeOf);

const randomEvent = fc.record({
  type: fc.constantFrom(...EVENTS),
  data: fc.oneof(
    fc.record({ v: fc.oneof(fc.integer(), fc.double(), fc.string()) }, { requiredKeys: [] }),
    fc.record({ w: fc.array(fc.integer(), { maxLength: 2 }) }),
  ) as fc.Arbitrary<JsonObject>,
});

/** Every state on the way, the first one included. */
function replay(type: EntityType, events: readonly { type: string; data: JsonObject }[]): EntityState[] {
  const way: EntityState[] = [NEW_ENTITY];
  for (const event of events) {
    const applied = applyEvent(type, way.at(-1)!, event);
    if (applied.kind === "applied") way.push(applied.after);
  }
  return way;
}

describe("whatever the domain and its events", () => {
  test("an entity stays in declared states, counts what counted, and replays to the same", () => {
    fc.assert(
      fc.property(randomType, fc.array(randomEvent, { maxLength: 30 }), (type, events) => {
        const way = replay(type, events);
        for (const [index, entity] of way.entries()) {
          expect([null, ...STATES]).toContain(entity.state);
          expect(entity.version).toBe(index);
          for (const value of Object.values(entity.attributes))
            expect(value).toEqual(JSON.parse(JSON.stringify(value)));
        }
        expect(replay(type, events)).toEqual(way);
        // What is kept between two events is JSON text.
        const half = JSON.parse(JSON.stringify(way[way.length >> 1])) as EntityState;
        expect(half).toEqual(way[way.length >> 1]);
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test("of a domain without faults, the order of its transitions decides nothing", () => {
    let sound = 0;
    fc.assert(
      fc.property(randomType, fc.array(randomEvent, { maxLength: 20 }), (type, events) => {
        if (entityTypeFaults(type).length > 0) return;
        sound++;
        const turned = { ...type, transitions: [...type.transitions].reverse() };
        expect(replay(turned, events)).toEqual(replay(type, events));
      }),
      { seed: 2, numRuns: 1_000 },
    );
    expect(sound).toBeGreaterThan(100);
  });

  test("a fault is found exactly where two transitions of one event fit one state and differ", () => {
    fc.assert(
      fc.property(fc.array(transition, { maxLength: 6 }), (transitions) => {
        const fits = ({ from }: Transition, state: string | null) =>
          from.includes(ANY_STATE) || (state === null ? from.length === 0 : from.includes(state));
        const isAmbiguous = [null, ...STATES].some((state) =>
          EVENTS.some((event) => {
            const fitting = transitions.filter((one) => one.on === event && fits(one, state));
            return new Set(fitting.map(({ to }) => to)).size > 1;
          }),
        );
        const faults = entityTypeFaults(typeOf({ states: STATES, events: EVENTS, transitions }));
        expect(faults.length > 0).toBe(isAmbiguous);
      }),
      { seed: 3, numRuns: 2_000 },
    );
  });
});

describe("entityTypeFaults()", () => {
  test("names every name that stands for nothing, with its place", () => {
    const type = typeOf({
      states: ["A", "A", ANY_STATE],
      events: ["E"],
      transitions: [{ on: "F", from: ["B", ANY_STATE], to: "C" }],
      attributes: { x: [{ on: ["E", "G"], operation: "count", pointer: "" }] },
    });
    expect(entityTypeFaults(type).map(({ path, message }) => `/${path.join("/")}: ${message}`)).toEqual([
      "/states/1: A is there twice",
      "/states/2: * is no name: it stands for any state",
      "/transitions/0/on: unknown event F, did you mean E?",
      "/transitions/0/from/0: unknown state B, did you mean A?",
      "/transitions/0/to: unknown state C, did you mean A?",
      "/attributes/x/0/on/1: unknown event G, did you mean E?",
    ]);
  });

  test("stops where more would say no more", () => {
    const transitions = Array.from({ length: 500 }, () => ({ on: "E", from: [], to: "nowhere" }));
    expect(entityTypeFaults(typeOf({ transitions })).length).toBe(DOMAIN_FAULTS_MAX);
  });
});

describe("readDomain()", () => {
  const read = (holdpoint: Json) => readDomain({ holdpoint });
  const order = { states: ["A"], events: ["E"], transitions: [{ on: "E", from: [], to: "A" }] };

  test("reads entities, and of contracts what the gate needs", () => {
    const domain = read({
      entities: { order },
      contracts: {
        GO: { entity_types: ["order"], allowed_states: ["A"], executor: "x", event: "E", risk: "low" },
        ODD: 5,
        OTHER: { session: true },
        TOUCHING: { classifications: ["pii"] },
        ADDING: { session_sums: ["amount"] },
      },
    }) as Domain;
    expect(domain.entities.get("order")).toEqual({ name: "order", ...order, attributes: new Map() });
    expect(isKnownEvent(domain.entities.get("order")!, "E")).toBe(true);
    expect(isKnownEvent(domain.entities.get("order")!, "toString")).toBe(false);
    expect(domain.actions.get("GO")).toEqual({
      name: "GO",
      entityTypes: ["order"],
      allowedStates: ["A"],
      executor: "x",
      event: "E",
      keepsSession: false,
    });
    expect(domain.actions.get("ODD")).toMatchObject({ entityTypes: [], allowedStates: undefined });
    expect([...domain.actions.values()].filter(({ keepsSession }) => keepsSession).map(({ name }) => name)).toEqual([
      "OTHER",
      "TOUCHING",
      "ADDING",
    ]);
    expect([domain.keepsSessions, (read({ sessions: true }) as Domain).keepsSessions]).toEqual([false, true]);
  });

  test.each([null, 5, [], {}, { holdpoint: null }, { holdpoint: [] }, { other: {} }])("has nothing in %j", (data) => {
    expect(readDomain(data as Json)).toEqual(NO_DOMAIN);
  });

  test.each([
    [{ order: { states: "A" } }, "data.holdpoint at /entities/order/states: expected array, found string"],
    [{ order: { state: [] } }, "data.holdpoint at /entities/order/state: unknown member"],
    [[], "data.holdpoint at /entities: expected record, found array"],
    [{ "a/b": { states: ["A", "A"] } }, "data.holdpoint at /entities/a~1b/states/1: A is there twice"],
    [{ order: { ...order, events: [] } }, "data.holdpoint at /entities/order/transitions/0/on: unknown event E"],
    [
      { order: { events: ["E"], attributes: { a: [{ on: ["E"], operation: "set", pointer: "a" }] } } },
      "data.holdpoint at /entities/order/attributes/a/0/pointer: expected a JSON Pointer such as /amount",
    ],
  ])("refuses %j, with its place", (entities, fault) => {
    expect(read({ entities: entities as unknown as Json })).toEqual({ faults: [fault] });
  });
});
