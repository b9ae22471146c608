import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NO_DOMAIN } from "../../src/core/domain.ts";
import type { LoadedPolicy } from "../../src/core/ports.ts";
import { hasJson, isSameJson } from "../../src/policy/exact-json.ts";
import { readCases } from "../../src/policy/read-cases.ts";
import { verifyPolicy } from "../../src/policy/verify-policy.ts";
import { temporaryDirectory } from "../support/process.ts";
import { CAPABILITIES, opaPath } from "./support/opa.ts";

describe("isSameJson()", () => {
  test.each([
    ["1", "1.0", true],
    ["1e2", "100", true],
    ["-0", "0", true],
    ["9007199254740993", "9007199254740992", false],
    ["0.1", "0.10000000000000001", false],
    ["1e400", "1e401", false],
    ['"1"', "1", false],
    ['"#1"', "1", false],
    ['"1e2"', '"100"', false],
    ['{"a":1,"b":[1,2]}', '{"b":[1.0,2],"a":1e0}', true],
    ["[1,2]", "[2,1]", false],
    ["[]", "{}", false],
    ["null", "false", false],
    ['{"a":null}', "{}", false],
    ['{"__proto__":1}', "{}", false],
    ['{"1.0":1}', '{"1":1}', false],
    ['"a\\"1\\\\"', '"a\\u00221\\u005c"', true],
    ['"\\u003c"', '"<"', true],
  ])("of %s and %s is %s", (a, b, isSame) => {
    expect(isSameJson(a, b)).toBe(isSame);
    expect(isSameJson(b, a)).toBe(isSame);
  });

  test("holds for any value spelled in two ways, and for no value and another", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        const [one, other] = [JSON.stringify(a), JSON.stringify(b)];
        expect(isSameJson(one, JSON.stringify(a, null, 2))).toBe(true);
        expect(isSameJson(JSON.stringify([a, one]), JSON.stringify([a, one], null, 1))).toBe(true);
        if (!isSameJson(one, other)) expect(one).not.toBe(other);
        else expect(JSON.parse(one)).toEqual(JSON.parse(other));
      }),
      { seed: 11, numRuns: 500 },
    );
  });
});

test.each([
  ['{"a":1,"b":2}', '{"a":1.0}', true],
  ['{"a":{"b":1,"c":[1,2]}}', '{"a":{"c":[1,2]}}', true],
  ['{"a":{"c":[1,2]}}', '{"a":{"c":[1]}}', false],
  ['{"a":[{"b":1,"c":2}]}', '{"a":[{"b":1}]}', false],
  ['{"a":1}', '{"a":1,"b":null}', false],
  ['{"a":[]}', '{"a":{}}', false],
  ["[]", "{}", false],
  ["{}", "[]", false],
  ["5", "5.0", true],
])("hasJson() of %s and the expected %s is %s", (text, expected, has) => {
  expect(hasJson(text, expected)).toBe(has);
});

describe("readCases()", () => {
  const read = (name: string, text: string) => {
    const path = join(temporaryDirectory(), name);
    writeFileSync(path, text);
    return readCases(path).map(({ name, given, expect }) => [
      name,
      given.kind === "input" ? given.text : given.reading.canonical,
      expect,
    ]);
  };

  test("takes lists, one, and tables; proposals and inputs; JSON and YAML", () => {
    expect(read("a.json", '{"cases":{"t":[{"name":"n","input":{"b":1,"a":2.0},"expected":{"x":1}}]}}')).toEqual([
      ["a.json: t: n", '{"a":2,"b":1}', '{"x":1}'],
    ]);
    expect(read("b.yaml", "cases:\n- { input: 5 }\n- { input: null, expect: null }\n")).toEqual([
      ["b.yaml: case 1", "5", undefined],
      ["b.yaml: case 2", "null", "null"],
    ]);
    expect(read("c.yml", "{ id: p-1, action: { name: x } }")).toEqual([
      ["c.yml: p-1", '{"action":{"name":"x"},"id":"p-1"}', undefined],
    ]);
  });

  test("takes a proposal with what is expected of it; the word for tables of opa test means the whole result", () => {
    const path = join(temporaryDirectory(), "d.yaml");
    writeFileSync(
      path,
      `- { name: some, proposal: { id: a }, expect: { outcome: deny } }
- { name: whole, proposal: { id: a }, expect: {}, exact: true }
- { name: table, input: 1, expected: {} }
`,
    );
    expect(readCases(path).map(({ name, given, isExact }) => [name, given.kind, isExact])).toEqual([
      ["d.yaml: some", "proposal", false],
      ["d.yaml: whole", "proposal", true],
      ["d.yaml: table", "input", true],
    ]);
  });

  test("of a directory leaves the policy's own data out, and names every other file that is no cases", () => {
    const directory = temporaryDirectory();
    for (const name of ["data.yaml", "data.json"]) writeFileSync(join(directory, name), '{"holdpoint":{}}');
    writeFileSync(join(directory, "cases.json"), '[{"input":1}]');
    expect(readCases(directory)).toHaveLength(1);
    writeFileSync(join(directory, "other.json"), '{"holdpoint":{}}');
    expect(() => readCases(directory)).toThrow(
      expect.objectContaining({ faults: [expect.stringMatching(/other\.json: .*expected a proposal/)] }),
    );
  });

  test.each([
    ["a.json", '[{"input":1,"proposal":{}}]', /two cases/],
    ["a.json", '[{"input":1,"exact":"yes"}]', /exact: expected/],
    ["a.json", '{"a":1,"a":2}', /stands twice/],
    ["a.json", '[{"input":9007199254740993}]', /a\.json: /],
    ["a.yaml", "- { input: 9007199254740993 }", /9007199254740993/],
    ["a.yaml", "- { input: .inf }", /no JSON number/],
    ["a.yaml", "a: 1\na: 2\n", /unique/],
    ["a.json", '[{"input":1,"expect":1,"expected":1}]', /the same/],
    ["a.json", '{"cases":5}', /expected a list/],
    ["a.json", "[{}]", /expected a proposal/],
  ])("refuses %s with %s", (name, text, message) => {
    expect(() => read(name, text)).toThrow(
      expect.objectContaining({ faults: expect.arrayContaining([expect.stringMatching(message)]) }),
    );
  });
});

describe("verifyPolicy()", () => {
  const REGO = `package t

d := {"n": 12345678901234567890123, "big": input.n + 1} if is_number(input.n)
d := {"sum": 3, "set": {2, 1}} if input.set
c := {"v": 1} if input.one
c := {"v": 2} if input.two
`;
  const directory = temporaryDirectory();
  writeFileSync(join(directory, "t.rego"), REGO);

  const answering = (rule: string, answers: Readonly<Record<string, string | undefined>>): LoadedPolicy => ({
    digest: "sha256:",
    revision: "",
    entrypoint: `t/${rule}`,
    loadedAt: new Date(0),
    domain: NO_DOMAIN,
    evaluate: (input) => {
      const text = answers[input];
      if (text === "fault") return { kind: "fault", code: "policy_fault", message: "fault" };
      return text === undefined ? { kind: "undefined" } : { kind: "result", text };
    },
  });
  const verify = (
    rule: string,
    answers: Readonly<Record<string, string | undefined>>,
    expectations: Record<string, string> = {},
    isExact = true,
  ) =>
    verifyPolicy({
      opa: opaPath(),
      paths: [directory],
      capabilities: CAPABILITIES,
      policy: answering(rule, answers),
      cases: Object.keys(answers).map((inputText) => ({
        name: inputText,
        inputText,
        expect: expectations[inputText],
        isExact,
      })),
    });

  test("agrees to the last digit, on undefined, and on the order of sets", async () => {
    const same = {
      '{"n":1}': '{"big":2,"n":12345678901234567890123}',
      '{"set":true}': '{"set":[1,2],"sum":3.0}',
      "{}": undefined,
      "5": undefined,
    };
    expect(await verify("d", same)).toEqual([]);
    const differences = await verify("d", {
      '{"n":1}': '{"big":2,"n":12345678901234567890124}',
      '{"set":true}': '{"set":[2,1],"sum":3}',
      "{}": "{}",
      "5": undefined,
    });
    expect(differences.map(({ name, kind }) => [name, kind])).toEqual([
      ['{"n":1}', "engines"],
      ['{"set":true}', "engines"],
      ["{}", "engines"],
    ]);
    expect(differences[2]).toMatchObject({ opa: { kind: "undefined" }, wasm: { kind: "result", text: "{}" } });
  });

  test("finds the case that is an error among many, and takes two faults for the same", async () => {
    const answers = { '{"one":1}': '{"v":1}', '{"two":1}': '{"v":2}', '{"one":1,"two":1}': "fault", "{}": undefined };
    expect(await verify("c", answers)).toEqual([]);
    const [difference, ...others] = await verify("c", { ...answers, '{"one":1,"two":1}': '{"v":1}' });
    expect(others).toEqual([]);
    expect(difference).toMatchObject({
      name: '{"one":1,"two":1}',
      opa: { kind: "fault", message: expect.stringContaining("eval_conflict_error") },
    });
  });

  test("holds what both agree on against what was expected", async () => {
    const expectations = { '{"one":1}': '{"v":1.0}', '{"two":1}': '{"v":1}', "{}": "null" };
    const differences = await verify(
      "c",
      { '{"one":1}': '{"v":1}', '{"two":1}': '{"v":2}', "{}": undefined },
      expectations,
    );
    expect(differences.map(({ name, kind }) => [name, kind])).toEqual([
      ['{"two":1}', "expectation"],
      ["{}", "expectation"],
    ]);
  });

  test("of an expectation that is not exact compares the members that it has", async () => {
    const answers = { '{"n":1}': '{"big":2,"n":12345678901234567890123}', '{"one":1}': undefined };
    const met = async (expect_: string) =>
      (await verify("d", answers, { '{"n":1}': expect_ }, false)).map(({ kind }) => kind);
    expect(await met('{"big":2.0}')).toEqual([]);
    expect(await met('{"n":12345678901234567890124}')).toEqual(["expectation"]);
    expect(await met('{"big":2,"other":null}')).toEqual(["expectation"]);
    expect((await verify("d", answers, { '{"one":1}': "{}" }, false)).map(({ kind }) => kind)).toEqual(["expectation"]);
  });

  test.each([
    ["do not compile", "package t\n\nthis is not rego\n", /parse_error/],
    ["would call out", 'package t\n\nc := http.send({"method": "GET", "url": "http://127.0.0.1:1/"})\n', /http\.send/],
    ["would read our variables", "package t\n\nc := opa.runtime().env\n", /opa\.runtime/],
  ])("throws where the sources %s, rather than take it for a fault of every case", async (_, rego, words) => {
    const sources = temporaryDirectory();
    writeFileSync(join(sources, "t.rego"), rego);
    const request = {
      opa: opaPath(),
      paths: [sources],
      capabilities: CAPABILITIES,
      policy: answering("c", { "1": "fault" }),
      cases: [{ name: "a", inputText: "1", expect: undefined, isExact: false }],
    };
    await expect(verifyPolicy(request)).rejects.toMatchObject({
      code: "bundle_invalid",
      message: expect.stringMatching(words),
    });
  });

  test("throws where what is asked is not OPA", async () => {
    const request = {
      opa: "/bin/false",
      paths: [],
      capabilities: CAPABILITIES,
      policy: answering("c", { "1": "fault" }),
      cases: [{ name: "a", inputText: "1", expect: undefined, isExact: false }],
    };
    await expect(verifyPolicy(request)).rejects.toMatchObject({ code: "bundle_invalid" });
  });

  test("throws where OPA cannot be asked", async () => {
    const request = {
      opa: "/nowhere/opa",
      paths: [],
      capabilities: CAPABILITIES,
      policy: answering("c", {}),
      cases: [{ name: "a", inputText: "1", expect: undefined, isExact: false }],
    };
    await expect(verifyPolicy(request)).rejects.toMatchObject({
      code: "config_invalid",
      message: expect.stringContaining("/nowhere/opa"),
    });
  });
});
