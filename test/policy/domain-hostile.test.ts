/** Domain files by somebody who means harm, or whose editor did. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DOMAIN_BYTES_MAX } from "../../src/policy/domain/read-domain.ts";
import { YAML_DEPTH_MAX } from "../../src/policy/domain/read-located-yaml.ts";
import { changed, compileFiles, compileText, ORDER } from "../support/domains.ts";

const HEAD = "domain: d\nentity: Order\n";
const laughs = Array.from({ length: 20 }, (_, i) => `x${i + 1}: &a${i + 1} [${`*a${i}, `.repeat(9)}*a${i}]`).join("\n");
const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
const filled = (text: string) => text.repeat(Math.floor((DOMAIN_BYTES_MAX - 100) / text.length));

describe("a domain file is refused in time and with its place", () => {
  test.each([
    ["a billion laughs", `${HEAD}x0: &a0 [lol]\n${laughs}\n`, /values and 32 levels once aliases are followed/],
    ["an alias of what holds it", `${HEAD}states: &s [*s]\n`, /^domain\.yaml:3:13: error: s would hold itself$/m],
    ["an alias of nothing", `${HEAD}states: *s\n`, /^domain\.yaml:3:9: error: .*\bs$/m],
    ["brackets without end", filled("["), /^domain\.yaml:1:\d+: error: expected at most 32 levels/],
    ["braces without end", filled("{"), /expected at most 32 levels/],
    [
      "lists in lists",
      `${HEAD}states: ${nested(YAML_DEPTH_MAX + 1)}`,
      /^domain\.yaml:3:\d+: error: expected at most 32 levels/,
    ],
    ["dashes", filled("- "), /expected at most 32 levels/],
    ["question marks", filled("? "), /expected at most 32 levels/],
    ["exclamation marks", filled("!"), /^domain\.yaml:1:1: error: /],
    ["a tag", `${HEAD}states: !!set {A}\n`, /^domain\.yaml:3:9: error: expected no tag/],
    ["a tag within", `${HEAD}states: [!x A]\n`, /^domain\.yaml:3:10: error: expected no tag/],
    ["commas", `states: [${filled(",")}]`, /^domain\.yaml:1:11: error: Unexpected ,/],
    ["a directive of the older YAML", `%YAML 1.1\n---\n${HEAD}`, /^domain\.yaml:1:1: error: expected no directive/],
    ["a second document", `${HEAD}---\ndomain: e\n`, /^domain\.yaml:3:1: error: expected one document/],
    ["a key twice", `${HEAD}entity: Refund\n`, /^domain\.yaml:3:1: error: "entity" is there twice, first on line 2$/],
    [
      "a key twice, spelled with escapes",
      `${HEAD}"\\x65ntity": Refund\n`,
      /^domain\.yaml:3:1: error: "entity" is there twice/,
    ],
    ["a key that is none", `${HEAD}? [a]\n: b\n`, /^domain\.yaml:3:3: error: expected a name as key/],
    ["a merge", `x: &x { states: [A] }\n${HEAD}<<: *x\n`, /unknown member <</],
    [
      "half a character",
      Buffer.concat([Buffer.from(HEAD), Buffer.from([0xc3])]),
      /^domain\.yaml:1:1: error: expected UTF-8$/,
    ],
    [
      "half a pair",
      changed(ORDER, "risk: high", 'description: "\\ud800"'),
      /^domain\.yaml:19:18: error: expected well-formed Unicode$/,
    ],
    ["a name that hides", `${HEAD}states: ["PAI\\u200bD"]\n`, /^domain\.yaml:3:10: error: states: ".*" is no name/],
    [
      "a name of every object",
      `${HEAD}attributes: { __proto__: { on: A, count: true } }\n`,
      /^domain\.yaml:3:15: error: attributes: "__proto__" is no name/,
    ],
    ["nothing", "", /^domain\.yaml:1:1: error: domain file: expected an object, found nothing$/],
    ["a text", "domain", /^domain\.yaml:1:1: error: domain file: expected an object, found a text$/],
    ["a list", "- domain: d\n", /expected an object, found a list/],
    ["no YAML", `${HEAD}states: [A\n`, /^domain\.yaml:4:1: error: /],
  ])("%s", (_, text, message) => {
    const { lines, dataText } = compileText(text);
    expect(lines.join("\n")).toMatch(message);
    expect(dataText).toBeUndefined();
    expect(lines.length).toBeLessThan(100);
  });

  test("as deep as it may be, it is only wrong", () => {
    expect(compileText(`${HEAD}states: ${nested(YAML_DEPTH_MAX)}`).lines).toEqual([
      "domain.yaml:3:10: error: states: expected a name, found a list",
    ]);
  });

  test("of more bytes than it may have, to the byte", () => {
    const fill = (bytes: number) => `${HEAD}#${" ".repeat(bytes - HEAD.length - 1)}`;
    expect(compileText(fill(DOMAIN_BYTES_MAX)).lines).toEqual([]);
    expect(compileText(fill(DOMAIN_BYTES_MAX + 1)).lines).toEqual([
      "domain.yaml:1:1: error: expected at most 262144 bytes, found 262145",
    ]);
    expect(compileText(fill(1 << 20)).lines.length).toBe(1);
  });

  test("of as many keys as fit, each looked up once", () => {
    const keys = Array.from({ length: 20_000 }, (_, i) => `k${i}: ""`).join("\n");
    const { lines } = compileText(`${HEAD}${keys}\n`);
    expect(lines.length).toBe(500);
    expect(lines[0]).toBe("domain.yaml:3:1: error: domain file: unknown member k0");
  });
});

describe("what YAML readers differ in", () => {
  test("on is a key, and so are no and y", () => {
    const text = `${HEAD}events: [A]\nstates: [B]\ntransitions: [{ on: A, to: B }]\nattributes:\n  no: { on: A, count: true }\n  y: { on: A, count: true }\n`;
    const { lines, holdpoint } = compileText(text);
    expect(lines).toEqual([]);
    expect(Object.keys(holdpoint.entities.order.attributes)).toEqual(["no", "y"]);
  });

  test.each(["ON", "off", "Yes", "no", "y", "N"])("%s is a text, and is warned of unless it is quoted", (word) => {
    const of = (written: string) =>
      compileText(`${HEAD}events: [E]\nstates: [${written}]\ntransitions: [{ on: E, to: "${word}" }]\n`);
    expect(of(word).lines).toEqual([
      `domain.yaml:4:10: warning: ${word} is a text here, and a boolean to readers of YAML 1.1: quote it, or say true or false`,
    ]);
    expect(of(`"${word}"`).lines).toEqual([]);
    expect(of(word).holdpoint.entities.order.states).toEqual([word]);
  });

  test.each([
    ["010", "010"],
    ["0x1F", "0x1F"],
    ["0o17", "0o17"],
    ["+5", "+5"],
    [".5", ".5"],
    ["5.", "5."],
    [".inf", ".inf"],
    [".nan", ".nan"],
    ["1e400", "1e400"],
    ["9007199254740993", "9007199254740993"],
    ["0.10000000000000001", "0.10000000000000001"],
    ["1".repeat(600), "600 digits"],
  ])("the number %s is none", (written) => {
    const { lines } = compileText(changed(ORDER, "risk: high", `limits: [{ limit: ${written} }]`));
    expect(lines).toEqual([expect.stringMatching(/^domain\.yaml:19:23: error: expected a number as JSON has them: /)]);
  });

  test.each([
    ["5", 5],
    ["-0.25", -0.25],
    ["6.022e23", 6.022e23],
    ["1_000", "1_000"],
    ["12:30", "12:30"],
    ["2001-01-01", "2001-01-01"],
    ["null", null],
    ["~", null],
    ["true", true],
  ])("%s is what JSON would have", (written, value) => {
    const { lines, holdpoint } = compileText(changed(ORDER, "risk: high", `limits: [{ limit: ${written} }]`));
    expect(lines).toEqual([]);
    expect(holdpoint.contracts.REFUND_ORDER.limits).toEqual([{ limit: value }]);
  });

  test("TRUE is no boolean", () => {
    const { lines } = compileText(changed(ORDER, "risk: high", "additional_parameters: TRUE"));
    expect(lines).toEqual(["domain.yaml:19:28: error: expected true or false, in small letters"]);
  });
});

test("an alias stands for what it names, wherever it stands", () => {
  const text = `${HEAD}states: &all [A, B]\nevents: [E, F]\ntransitions: [{ on: E, to: A }, { on: F, from: *all, to: B }]\n`;
  const { lines, holdpoint } = compileText(text);
  expect(lines).toEqual([]);
  expect(holdpoint.entities.order.transitions[1]).toEqual({ on: "F", from: ["A", "B"], to: "B" });
});

test("data that is about something else is not read, however it is written", () => {
  const files = {
    "domain.yaml": HEAD,
    "data.yaml": "a: !x 1\na: 2\n",
    "deep/data.json": "{",
    "other/x.yaml": "holdpoint: [",
  };
  expect(compileFiles(files).lines).toEqual([]);
  expect(compileFiles({ ...files, "more.json": '{"holdpoint": ' }).lines).toEqual([
    expect.stringMatching(/^more\.json:1:1: error: /),
  ]);
});

test("whatever the bytes, there is a domain or a line that says why not", () => {
  const pieces = [
    ...ORDER.split(/(?<=[\s{}[\],:])/),
    "&a",
    "*a",
    "!x",
    "|",
    ">",
    "?",
    "- ",
    "\t",
    '"',
    "'",
    "%",
    "---\n",
    "\0",
    "\u2028",
  ];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 80 }), (chosen) => {
      const { lines, dataText } = compileText(chosen.join(""));
      expect(dataText !== undefined || lines.some((line) => line.includes(" error: "))).toBe(true);
    }),
    { seed: 11, numRuns: 300 },
  );
});
