import fc from "fast-check";
import { expect, test } from "vitest";
import { domainDiagram } from "../../src/policy/domain/domain-diagram.ts";
import { compileText, ORDER } from "../support/domains.ts";

function diagramOf(text: string): readonly string[] {
  const { domains, lines } = compileText(text);
  expect(lines.filter((line) => line.includes(" error: "))).toEqual([]);
  return domainDiagram(domains.flatMap((domain) => domain.entities.map((entity) => ({ domain, entity }))));
}

test("domainDiagram() draws states, transitions and what is allowed where", () => {
  expect(diagramOf(ORDER)).toEqual([
    "stateDiagram-v2",
    '  state "CREATED" as s_CREATED',
    '  state "PAID" as s_PAID',
    '  state "REFUNDED" as s_REFUNDED',
    "  [*] --> s_CREATED: ORDER_PLACED",
    "  s_CREATED --> s_PAID: ORDER_PAID",
    "  s_PAID --> s_REFUNDED: ORDER_REFUNDED",
    "  note right of s_CREATED",
    "    MARK_PAID",
    "  end note",
    "  note right of s_PAID",
    "    REFUND_ORDER (high, approval) then ORDER_REFUNDED",
    "  end note",
  ]);
});

test("domainDiagram() draws several types as boxes, and any state as one", () => {
  const text = `domain: d
entities:
  RefundCase: { events: [X], states: [A, B], transitions: [{ on: X, from: "*", to: A }, { on: Y, from: [A, B], to: B }] }
  Order: {}
actions:
  - { name: LOOK, entity: [RefundCase, Order] }
`.replace("events: [X]", "events: [X, Y]");
  expect(diagramOf(text)).toEqual([
    "stateDiagram-v2",
    '  state "RefundCase" as entity1 {',
    '    state "A" as entity1_s_A',
    '    state "B" as entity1_s_B',
    '    state "any state, or none" as entity1_any_state',
    "    entity1_any_state --> entity1_s_A: X",
    "    entity1_s_A --> entity1_s_B: Y",
    "    entity1_s_B --> entity1_s_B: Y",
    "    note right of entity1_any_state",
    "      LOOK",
    "    end note",
    "  }",
    '  state "Order" as entity2 {',
    '    state "any state, or none" as entity2_any_state',
    "    note right of entity2_any_state",
    "      LOOK",
    "    end note",
    "  }",
  ]);
});

/** Each line is one of Mermaid's statements, and nothing in a name can be another. */
const STATEMENT =
  /^(?:stateDiagram-v2| +state "(?:[\p{L}\p{N}_ .,()/]|#\d+;)+" as \w+(?: \{)?| +(?:\[\*\]|\w+) --> \w+: (?:[\p{L}\p{N}_ .,()/]|#\d+;)+| +note right of \w+| +(?:[\p{L}\p{N}_ .,()/]|#\d+;)+| +end note| +\})$/u;

test("domainDiagram() is valid whatever the names, and says them all", () => {
  const names = fc.stringMatching(/^[!-z|~é東]{1,12}$/).filter((name) => name !== "*");
  fc.assert(
    fc.property(fc.uniqueArray(names, { minLength: 2, maxLength: 5 }), (states) => {
      const quoted = states.map((state) => JSON.stringify(state));
      const text = `domain: d\nentity: Order\nevents: [${quoted}]\nstates: [${quoted}]\ntransitions: [${quoted.map((q) => `{ on: ${q}, to: ${q} }`)}]\nactions: [{ name: ${quoted[0]}, allowed_states: [${quoted}] }]\n`;
      const lines = diagramOf(text);
      for (const line of lines) expect(line).toMatch(STATEMENT);
      const read = lines.join("\n").replace(/#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
      for (const state of states) expect(read).toContain(`state "${state}" as `);
      const ids = lines.flatMap((line) => / as (\w+)$/.exec(line)?.[1] ?? []);
      expect(new Set(ids).size).toBe(states.length);
    }),
    { seed: 3, numRuns: 200 },
  );
});
