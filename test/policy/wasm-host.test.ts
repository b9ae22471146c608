/** The host itself: its limits, its faults, and that nothing of an evaluation outlives it. */
import { expect, test } from "vitest";
import { createWasmHost, ModuleRefusedError } from "../../src/policy/wasm-host.ts";
import { seeded } from "./support/generate-calls.ts";
import { buildWasm, opaEval } from "./support/opa.ts";

const POLICY = `package holdpoint

default decision := {"outcome": "deny", "reasons": []}

decision := {"outcome": "allow", "echo": input.action.arguments} if input.action.name in data.allowed

shape := sprintf("%v", [input.x])

conflict := 1 if input.x
conflict := 2 if input.x

long := numbers.range(1, input.n)

missing := input.absent

walked := count([1 | some a in input.set; some b in input.set])
`;
const ENTRYPOINTS = ["decision", "shape", "conflict", "long", "missing", "walked"].map((name) => `holdpoint/${name}`);
const { wasm, data } = buildWasm({ "p.rego": POLICY, "data.json": '{"allowed":["READ"]}' }, ENTRYPOINTS);

function open(options = {}) {
  const host = createWasmHost(wasm, data, options);
  return {
    host,
    ask: (name: string, input: unknown) =>
      host.evaluate(host.entrypoints.get(`holdpoint/${name}`)!, JSON.stringify(input)),
  };
}

test("evaluate() gives the value, undefined, or a fault", () => {
  const { ask } = open();
  expect(ask("decision", { action: { name: "READ", arguments: { b: [1], a: "é" } } })).toEqual({
    kind: "result",
    text: '{"echo":{"a":"é","b":[1]},"outcome":"allow"}',
  });
  expect(ask("missing", {})).toEqual({ kind: "undefined" });
  expect(ask("conflict", { x: 1 })).toMatchObject({ kind: "fault", code: "policy_fault" });
});

test("evaluate() takes falsy inputs as they are", () => {
  for (const input of [0, false, "", null]) expect(open().ask("decision", input)).toMatchObject({ kind: "result" });
});

test("evaluate() rebuilds the instance after a fault and answers as before", () => {
  const { host, ask } = open();
  const before = ask("shape", { x: { k: [1, 2.5] } });
  expect(ask("conflict", { x: 1 }).kind).toBe("fault");
  expect(ask("shape", { x: { k: [1, 2.5] } })).toEqual(before);
  expect(host.instancesMade()).toBe(2);
});

test("evaluate() faults on text that is not JSON, on input over its limit, and on memory over its limit", () => {
  const { host, ask } = open({ inputBytesMax: 1000, memoryPagesMax: 40 });
  expect(host.evaluate(0, '{"a":').kind).toBe("fault");
  expect(ask("shape", { x: "y".repeat(993) }).kind).toBe("fault");
  expect(ask("shape", { x: "é".repeat(600) }).kind).toBe("fault");
  expect(ask("shape", { x: "y".repeat(992) }).kind).toBe("result");
  expect(ask("long", { n: 900_000 }).kind).toBe("fault");
  expect(ask("decision", { action: { name: "READ" } }).kind).toBe("result");
});

test("evaluate() counts steps at the limit and one past it, and always the same number", () => {
  const input = { set: Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`k${index}`, index])) };
  const takes = (steps: number) => open({ stepsMax: steps }).ask("walked", input).kind === "result";
  let least = 1;
  while (!takes(least)) least += 1;
  expect(least).toBeGreaterThan(20 * 20);
  expect(takes(least)).toBe(true);
  expect(open({ stepsMax: least - 1 }).ask("walked", input)).toEqual({
    kind: "fault",
    code: "policy_fault",
    message: `Policy took more than ${least - 1} steps`,
  });
});

test("evaluate() keeps memory flat over many evaluations with huge ones between them", () => {
  const { host, ask } = open({ growthPagesMax: 16 });
  const huge = { x: Array.from({ length: 40_000 }, (_, i) => `item ${i}`) };
  const small = JSON.stringify({ action: { name: "READ", arguments: { amount: 1 } } });
  const entrypoint = host.entrypoints.get("holdpoint/decision")!;
  host.evaluate(entrypoint, small);
  const pages = host.memoryPages();
  for (let i = 0; i < 200_000; i++) {
    if (i % 50_000 === 0) expect(ask("shape", huge).kind).toBe("result");
    if (host.evaluate(entrypoint, small).kind !== "result") throw new Error(`evaluation ${i} failed`);
  }
  expect(host.memoryPages()).toBeLessThanOrEqual(pages + 16);
});

test("createWasmHost() refuses builtins by name and modules that are not OPA's", () => {
  const built = buildWasm(
    {
      "p.rego":
        'package p\nd := yaml.unmarshal(input.x)\ne := time.now_ns()\nf := http.send({"method": "get", "url": input.x})',
    },
    ["p/d", "p/e", "p/f"],
    null,
  );
  const refusal = (() => {
    try {
      return createWasmHost(built.wasm, built.data);
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(refusal).toBeInstanceOf(ModuleRefusedError);
  expect((refusal as ModuleRefusedError).faults.refusedBuiltins).toEqual([
    "http.send",
    "time.now_ns",
    "yaml.unmarshal",
  ]);
  expect(() => createWasmHost(Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), "{}")).toThrow(/name section/);
  expect(() => createWasmHost(Buffer.from("no wasm"), "{}")).toThrow();
  expect(() => createWasmHost(wasm.subarray(0, wasm.length - 100), "{}")).toThrow();
});

test("evaluate() denies what a published policy denies, a card number inside rendered arguments", () => {
  const policy = `package agent

default allow := true

allow := false if regex.match("\\\\b4[0-9]{12}(?:[0-9]{3})?\\\\b", sprintf("%v", [input.action.arguments]))
`;
  const built = buildWasm({ "p.rego": policy }, ["agent/allow"]);
  const host = createWasmHost(built.wasm, built.data);
  const input = { action: { arguments: { note: { lines: ["ok", { text: "card 4111111111111111 please" }] } } } };
  expect(host.evaluate(0, JSON.stringify(input))).toEqual({ kind: "result", text: "false" });
  expect(opaEval({ "p.rego": policy }, "data.agent.allow", input)).toBe(false);
  expect(host.evaluate(0, '{"action":{"arguments":{"note":"none"}}}')).toEqual({ kind: "result", text: "true" });
});

/** Rules over collections: order of iteration, sets, comprehensions, negation, every, with, walk. */
const TEMPLATES: readonly ((field: string, n: number) => string)[] = [
  (f) => `[k | some k, _ in input.${f}]`,
  (f) => `{v | some v in input.${f}}`,
  (f) => `concat(",", {sprintf("%v", [v]) | some v in input.${f}})`,
  (f, n) => `count([v | some v in input.${f}; v != ${n}])`,
  (f) => `[p | walk(input.${f}, [p, _])]`,
  (f, n) => `sum([v | some v in input.${f}; is_number(v)]) * ${n} / 3`,
  (f) => `{k: upper(k) | some k, _ in input.${f}; is_string(k)}`,
  (f) => `object.union(input.${f}, {"z": 1})`,
  (f) => `[x | some x in sort([v | some v in input.${f}])]`,
  (f) => `json.marshal({v | some v in input.${f}})`,
  (f, n) => `every v in input.${f} { v != ${n} }`,
  (f) => `max([v | some v in input.${f}])`,
  (f) => `not input.${f}.a`,
  (f) => `[a | some a in input.${f}; some b in input.${f}; a == b]`,
  (f) => `{a: {b | some b in input.${f}; b != a} | some a in input.${f}}`,
  (f, n) => `input.${f}[${n}]`,
  (f, n) => `{v | some v in input.${f}; 3000000000 * ${n} > 0.5; is_number(v); v * 1000000000 > 2.5}`,
  (f) => `{sprintf("%v", [x]): y | some x, y in input.${f}; x != y}`,
];

test("createWasmHost() answers generated policies on generated inputs as OPA does", () => {
  const random = seeded(7);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const fields = ["a", "b", "c"];
  const value = (depth: number): unknown => {
    const scalar = (): unknown => pick([0, 1, 2, -7, 2.5, 0.1, 1e21, "x", "é", "😀", "", "Zz", true, false, null]);
    if (depth === 0 || random() < 0.4) return scalar();
    const size = Math.floor(random() * 5);
    if (random() < 0.5) return Array.from({ length: size }, () => value(depth - 1));
    return Object.fromEntries(
      Array.from({ length: size }, () => [pick(["a", "b", "zz", "é", "__proto__x", "10", "9"]), value(depth - 1)]),
    );
  };
  const rules = Array.from({ length: 300 }, (_, i) => {
    const template = pick(TEMPLATES)(pick(fields), i % 4);
    return template.startsWith("every") || template.startsWith("not")
      ? `r[${i}] := true if ${template}`
      : `r[${i}] := ${template}`;
  });
  const files = { "p.rego": `package p\n\n${rules.join("\n")}\n` };
  const built = buildWasm(files, ["p/r"]);
  const host = createWasmHost(built.wasm, built.data);
  for (let round = 0; round < 12; round++) {
    const input = Object.fromEntries(fields.map((field) => [field, value(3)]));
    const answer = host.evaluate(0, JSON.stringify(input));
    const wanted = opaEval(files, "data.p.r", input) as Record<string, unknown>;
    if (answer.kind !== "result") throw new Error(JSON.stringify(answer));
    const got = JSON.parse(answer.text) as Record<string, unknown>;
    for (const [i, rule] of rules.entries())
      expect({ rule, value: got[i] }, JSON.stringify(input)).toEqual({ rule, value: wanted[i] });
  }
});
