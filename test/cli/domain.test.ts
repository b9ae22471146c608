import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { withDomainData } from "../../src/cli/domain-data.ts";
import { changed, ORDER } from "../support/domains.ts";
import { runCommand, temporaryDirectory } from "../support/process.ts";
import { opaPath, projectRoot } from "../support/tools.ts";
import { runJson } from "./run-main.ts";

let opa: readonly string[];
beforeAll(() => {
  opa = ["--opa", opaPath()];
});

function folder(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
  return directory;
}

const UNREACHABLE = changed(ORDER, "PAID, REFUNDED]", "PAID, REFUNDED, LOST]");
const UNUSED = changed(ORDER, "ops_agent: [", "ops_agent: [orders.look, ");

describe("domain check", () => {
  test("says nothing of what is right but what it read, and answers 0", async () => {
    const source = folder({ "orders/domain.yaml": ORDER });
    expect(await runCommand(["domain", "check", source])).toMatchObject({
      code: 0,
      stdout: "1 domain file, 1 entity type, 2 actions: 0 errors, 0 warnings\n",
      stderr: "",
    });
  });

  test("prints each finding with its line, and answers 1 where one is an error", async () => {
    const source = folder({ "a/domain.yaml": UNREACHABLE, "b/domain.yml": "domain: b\nentity: B\nevent: []\n" });
    const { code, stdout } = await runCommand(["domain", "check", source]);
    expect({ code, lines: stdout.trimEnd().split("\n") }).toEqual({
      code: 1,
      lines: [
        `${source}/a/domain.yaml:4:35: error: state LOST is unreachable: no order of events leads to it`,
        `${source}/b/domain.yml:3:1: error: domain file: unknown member event, did you mean events?`,
        "2 domain files, 2 entity types, 2 actions: 2 errors, 0 warnings",
      ],
    });
  });

  test("counts warnings as errors where asked to, and notes never", async () => {
    const file = join(folder({ "domain.yaml": `${UNUSED}audit: { store: disk }\n` }), "domain.yaml");
    const [loose, strict, json] = await Promise.all([
      runCommand(["domain", "check", file]),
      runCommand(["domain", "check", file, "--strict"]),
      runCommand(["domain", "check", file, "--strict", "--json"]),
    ]);
    expect(loose).toMatchObject({ code: 0, stdout: expect.stringContaining(`${file}:25:17: warning: role ops_agent`) });
    expect(strict).toMatchObject({ code: 1, stdout: expect.stringContaining(`${file}:25:17: error: role ops_agent`) });
    expect(json.code).toBe(1);
    expect(JSON.parse(json.stdout)).toEqual({
      files: [file],
      errors: 1,
      warnings: 0,
      findings: [
        { file, line: 25, column: 17, severity: "error", message: "role ops_agent: no action requires orders.look" },
        { file, line: 26, column: 10, severity: "note", message: expect.stringContaining("audit.store") },
      ],
    });
  });

  test("answers 2 where there is none, and says what it looked for and where", async () => {
    const source = folder({ "data.yaml": "holdpoint: {}\n" });
    const [none, absent] = await Promise.all([
      runCommand(["domain", "check", source]),
      runCommand(["domain", "check", join(source, "domain.yaml")]),
    ]);
    expect(none).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining(`Found no domain.yaml or domain.yml in ${source}, nor in any folder below`),
    });
    expect(absent).toMatchObject({ code: 2, stderr: expect.stringContaining(`There is no ${source}/domain.yaml`) });
  });

  test("escapes what a terminal would obey", async () => {
    const source = folder({ "domain.yaml": 'domain: d\nentity: Order\n"\\e[2J": 1\n' });
    const { stdout } = await runCommand(["domain", "check", source]);
    expect(stdout).toContain("unknown member \\u001b[2J");
  });

  test("finds nothing in the examples, strictly", async () => {
    const { code, stdout } = await runCommand(["domain", "check", join(projectRoot, "rego"), "--strict"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/: 0 errors, 0 warnings\n$/) });
  });
});

describe("domain compile", () => {
  test("prints the data that policy build puts into the bundle", async () => {
    const source = folder({ "domain.yaml": ORDER });
    const { code, stdout } = await runCommand(["domain", "compile", source]);
    expect(code).toBe(0);
    expect(Object.keys(JSON.parse(stdout).holdpoint)).toEqual(["contracts", "entities", "roles"]);
    const out = join(source, "bundle.tar.gz");
    expect(await runCommand(["policy", "build", source, "-o", out, ...opa])).toMatchObject({ code: 0, stderr: "" });
    const data = execFileSync("tar", ["-xzOf", out, "/data.json"], { encoding: "utf8" });
    expect(JSON.parse(data)).toEqual(JSON.parse(stdout));
  });

  test("prints nothing but the errors where there are any, and answers 1", async () => {
    const source = folder({ "domain.yaml": UNREACHABLE });
    const { code, stdout, stderr } = await runCommand(["domain", "compile", source]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toBe(
      `holdpoint: Cannot compile the domain\n  - ${source}/domain.yaml:4:35: error: state LOST is unreachable: no order of events leads to it\n`,
    );
  });
});

describe("domain diagram", () => {
  const TWO = "domain: d\nentities: { RefundCase: {}, Order: {} }\nactions: [{ name: LOOK, entity: Order }]\n";

  test("draws every type, or the one that is named as the file or proposals name it", async () => {
    const source = folder({ "domain.yaml": TWO });
    const draw = async (...args: string[]) => runCommand(["domain", "diagram", source, ...args]);
    const [all, named, wire, none] = await Promise.all([
      draw(),
      draw("--entity", "RefundCase"),
      draw("--entity", "refund_case"),
      draw("--entity", "Odrer"),
    ]);
    expect(all.stdout).toMatch(/^stateDiagram-v2\n {2}state "RefundCase" as entity1 \{\n {2}\}\n {2}state "Order"/);
    expect(named).toMatchObject({ code: 0, stdout: "stateDiagram-v2\n" });
    expect(wire.stdout).toBe(named.stdout);
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining("did you mean Order?") });
  });

  test("draws nothing of a domain with an error", async () => {
    const { code, stdout } = await runCommand(["domain", "diagram", folder({ "domain.yaml": UNREACHABLE })]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  });
});

const PAID = { type: "order", id: "o-1", state: "PAID", version: 2, attributes: {} };
const inputOf = (entity: unknown, roles = ["ops_agent"]) => ({
  action: { name: "REFUND_ORDER", arguments: { amount: 5, reason: "broken" } },
  actor: { id: "bot", roles },
  entity,
  context: {},
  tenant: "default",
});
const CASES = [
  { name: "paid", input: inputOf(PAID), expect: { outcome: "escalate" } },
  { name: "created", input: inputOf({ ...PAID, state: "CREATED" }), expect: { outcome: "deny" } },
  { name: "nobody", input: inputOf(PAID, []), expect: { outcome: "deny" } },
];
const TESTS = `package orders_test

import data.holdpoint

test_domain_is_data if data.holdpoint.entities.order.states == ["CREATED", "PAID", "REFUNDED"]

test_source_is_not_data if not data.domain

test_refund_escalates if holdpoint.decision.outcome == "escalate" with input as ${JSON.stringify(inputOf(PAID))}
`;

describe("policy commands take domains in", () => {
  const files = { "orders/domain.yaml": ORDER, "orders_test.rego": TESTS };

  test("build, with inspect showing what came of them", async () => {
    const source = folder(files);
    const out = join(source, "bundle.tar.gz");
    expect(await runJson(["policy", "build", source, "-o", out, ...opa])).toMatchObject({ contracts: 2 });
    const facts = await runJson(["policy", "inspect", out]);
    expect(facts.entities).toEqual([
      {
        type: "order",
        states: ["CREATED", "PAID", "REFUNDED"],
        events: ["ORDER_PLACED", "ORDER_PAID", "ORDER_REFUNDED"],
        transitions: 3,
        attributes: ["refunded", "total"],
      },
    ]);
    expect(facts.contracts[1]).toMatchObject({ executor: "refund.issue_refund", event: "ORDER_REFUNDED" });
    const { stdout } = await runCommand(["policy", "inspect", out]);
    expect(stdout).toMatch(/^ENTITY +STATES +EVENTS +TRANSITIONS +ATTRIBUTES\norder +3 +3 +3 +2$/m);
  });

  test("build from a file that is named alone", async () => {
    const source = folder(files);
    const out = join(source, "bundle.tar.gz");
    const built = await runJson(["policy", "build", join(source, "orders/domain.yaml"), "-o", out, ...opa]);
    expect(built).toMatchObject({ contracts: 2 });
    expect(JSON.parse(execFileSync("tar", ["-xzOf", out, "/data.json"], { encoding: "utf8" })).domain).toBeUndefined();
  });

  test("build fails on what domain check calls an error, and leaves the bundle before it", async () => {
    const source = folder({ ...files, "orders/domain.yaml": UNREACHABLE });
    const out = join(source, "bundle.tar.gz");
    writeFileSync(out, "the earlier one");
    const { code, stderr } = await runCommand(["policy", "build", source, "-o", out, "--json", ...opa]);
    expect(code).toBe(1);
    expect(JSON.parse(stderr).error).toEqual({
      code: "domain_invalid",
      message: "Cannot compile the domain",
      faults: [`${source}/orders/domain.yaml:4:35: error: state LOST is unreachable: no order of events leads to it`],
    });
    expect(readFileSync(out, "utf8")).toBe("the earlier one");
  });

  test("build names the line of an action whose contract the library does not take", async () => {
    const source = folder({ "domain.yaml": changed(ORDER, "risk: high", "permit: { requird: true }") });
    const { code, stderr } = await runCommand(["policy", "build", source, "-o", join(source, "b.tar.gz"), ...opa]);
    expect(code).toBe(1);
    expect(stderr).toContain(`  - ${source}/domain.yaml:15:11: error: contract REFUND_ORDER: member permit: unknown`);
    expect(existsSync(join(source, "b.tar.gz"))).toBe(false);
  });

  test("build takes every member that a domain's action may have", async () => {
    const members = `    environments: [production]
    additional_parameters: true
    classifications: [pii]
    description: Gives money back
    forced: { notify: true }
    limits: [{ key: refunds, by: [entity.id], limit: 5, window_seconds: 60, window: sliding }]
    lock: { key: order, by: [entity.id], ttl_seconds: 30, wait_seconds: 5 }
    mode: observe
    obligations: { notify: true }
    parameters: { amount: { type: number } }
    permit: { required: true, ttl_seconds: 60, bind_entity_version: true }
    rewrites: [{ parameter: path, prefix: /a/, to: /b/ }]
    session_sums: [amount]
    thresholds: [{ parameter: amount, above: 100, outcome: escalate }]
`;
    const source = folder({ "domain.yaml": changed(ORDER, "    risk: high\n", `    risk: high\n${members}`) });
    const built = await runCommand(["policy", "build", source, "-o", join(source, "b.tar.gz"), ...opa]);
    expect(built).toMatchObject({ code: 0, stderr: "" });
  });

  test("test, where the tests see what the domain became", async () => {
    const [all, broken] = await Promise.all([
      runCommand(["policy", "test", folder(files), ...opa]),
      runCommand(["policy", "test", folder({ ...files, "orders/domain.yaml": UNREACHABLE }), ...opa]),
    ]);
    expect(all).toMatchObject({ code: 0, stdout: "PASS: 3/3\n" });
    expect(broken).toMatchObject({ code: 1, stderr: expect.stringContaining("domain.yaml:4:35: error: ") });
  });

  test("verify, where both engines decide by the domain", async () => {
    const cases = join(folder({ "cases.json": JSON.stringify(CASES) }), "cases.json");
    const sources = folder(files);
    const verified = await runJson(["policy", "verify", sources, "--cases", cases, ...opa]);
    expect(verified).toMatchObject({ cases: 3, same: 3, expectations: 3, met: 3, differences: [] });
  });
});

describe("withDomainData()", () => {
  test("leaves nothing behind, however its use ends", async () => {
    const source = folder({ "domain.yaml": ORDER });
    let compiled = "";
    const use = withDomainData([source, join(source, "domain.yaml")], async ({ paths, placeOf }) => {
      expect(paths[0]).toBe(source);
      expect(paths).toHaveLength(2);
      compiled = paths[1]!;
      expect(existsSync(join(compiled, "data.json"))).toBe(true);
      expect(placeOf("MARK_PAID")).toBe(`${source}/domain.yaml:13:11`);
      expect(placeOf("toString")).toBeUndefined();
      throw new Error("as it may end");
    });
    await expect(use).rejects.toThrow("as it may end");
    expect(existsSync(compiled)).toBe(false);
  });

  test("gives the paths as they are where there is no domain", async () => {
    const source = folder({ "data.yaml": "holdpoint: {}\n" });
    expect(await withDomainData([source], async ({ paths }) => paths)).toEqual([source]);
  });
});
