import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { runCommand, temporaryDirectory } from "../support/process.ts";
import { refund } from "../support/proposals.ts";
import { opaPath, projectRoot } from "../support/tools.ts";
import { runJson } from "./run-main.ts";

const EXAMPLES = ["refunds", "files", "deployments", "support"].map((name) =>
  join(projectRoot, "rego", "examples", name),
);
let opa: readonly string[];
beforeAll(() => {
  opa = ["--opa", opaPath()];
});

/** A folder with these files in it. */
function folder(files: Readonly<Record<string, string>>): string {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
  return directory;
}

const CONTRACT = "holdpoint:\n  contracts:\n    ping: {}\n";

describe("policy build", () => {
  test("compiles sources with the library to a bundle that decides, and inspect shows what it holds", async () => {
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    const built = await runJson(["policy", "build", ...EXAMPLES, "-o", out, "--revision", "r-1", ...opa]);
    expect(built).toEqual({
      bundle: out,
      entrypoint: "holdpoint/decision",
      digest: expect.stringMatching(/^sha256:/),
      revision: "r-1",
      contracts: 17,
    });
    const proposal = join(temporaryDirectory(), "p.json");
    writeFileSync(proposal, JSON.stringify(refund(500)));
    expect(await runCommand(["decide", proposal, "--bundle", out])).toMatchObject({ code: 5 });

    const facts = await runJson(["policy", "inspect", out]);
    expect(facts).toMatchObject({
      loads: true,
      refusal: null,
      digest: built.digest,
      revision: "r-1",
      entrypoints: ["holdpoint/decision"],
      builtins: expect.arrayContaining(["sprintf"]),
      bytes: readFileSync(out).length,
    });
    expect(facts.contracts.find((one: { action: string }) => one.action === "fs.delete")).toEqual({
      action: "fs.delete",
      risk: "high",
      mode: null,
      approval: { when: "always", roles: ["ops_operator"], quorum: 2, ttl_seconds: 1800 },
      permit: { required: true, ttl_seconds: 30, audience: "files" },
      thresholds: 0,
    });
    const { code, stdout } = await runCommand(["policy", "inspect", out]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^loads +yes$/m);
    expect(stdout).toMatch(
      /^ISSUE_REFUND +medium +- +threshold: 1 of ops_operator, 2 thresholds +required for payments, 60s$/m,
    );
    expect(stdout).toMatch(/^reader +files\.read$/m);
  });

  test("leaves tests and, where asked, the library out, and takes another entrypoint", async () => {
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    const source = folder({
      "acme/acme.rego": 'package acme\n\ndecision := {"outcome": "deny"}\n',
      "acme/acme_test.rego": "package acme_test\n\ntest_time if time.now_ns() > 0\n",
    });
    const args = ["policy", "build", source, "-o", out, "--no-library", "--entrypoint", "acme/decision", ...opa];
    expect(await runCommand(args)).toMatchObject({ code: 0, stderr: "" });
    const facts = await runJson(["policy", "inspect", out, "--entrypoint", "acme/decision"]);
    expect(facts).toMatchObject({ entrypoints: ["acme/decision"], contracts: [], revision: "" });
    const other = await runCommand(["policy", "inspect", out]);
    expect(other).toMatchObject({ code: 3, stdout: expect.stringMatching(/^loads +NO: bundle_invalid$/m) });
    expect(other.stdout).toContain("entrypoint holdpoint/decision is not in policy.wasm, which has acme/decision");
  });

  test("with the library among the sources does not take it twice, and warns where no contract is found", async () => {
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    const { code, stdout, stderr } = await runCommand([
      "policy",
      "build",
      join(projectRoot, "rego/holdpoint"),
      "-o",
      out,
      ...opa,
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("every action is denied") });
    expect(stdout).toMatch(/: 0 contracts, digest sha256:/);
  });

  test("names every builtin that is refused, answers 1, and leaves an earlier bundle as it was", async () => {
    const directory = temporaryDirectory();
    const out = join(directory, "bundle.tar.gz");
    writeFileSync(out, "the earlier one");
    const rules =
      'package holdpoint.rules.net\n\nimport rego.v1\n\nverdicts contains {"outcome": "deny", "code": "x", "message": "y"} if {\n\thttp.send({"method": "get", "url": "http://x"})\n\trand.intn("a", 2) == 1\n}\n';
    const source = folder({ "rules/net.rego": rules, "data.yaml": CONTRACT });
    const result = await runCommand(["policy", "build", source, "-o", out, "--json", ...opa]);
    expect(result).toMatchObject({ code: 1, stdout: "" });
    const { error } = JSON.parse(result.stderr);
    expect(error.code).toBe("bundle_builtin_refused");
    expect(error.faults).toEqual([
      expect.stringMatching(/net\.rego:\d+: http\.send is no/),
      expect.stringMatching(/net\.rego:\d+: rand\.intn is no/),
    ]);
    expect(readFileSync(out, "utf8")).toBe("the earlier one");
    expect(readdirSync(directory)).toEqual(["bundle.tar.gz"]);
  });

  test("answers 1 with OPA's own words for what does not compile, and 2 for what cannot be begun", async () => {
    const source = folder({ "a.rego": "package a\n\nx := \n" });
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    const runs = await Promise.all([
      runCommand(["policy", "build", source, "-o", out, ...opa]),
      runCommand(["policy", "build", source, "-o", "/nowhere/bundle.tar.gz", ...opa]),
      runCommand(["policy", "build", source, "-o", source, ...opa]),
      runCommand(["policy", "build", "/nowhere/policies", "-o", out, ...opa]),
      runCommand(["policy", "build", source, "-o", out, "--opa", "/nowhere/opa"]),
      runCommand(["policy", "build", source, "-o", out, "--entrypoint", "-x"]),
      runCommand(["policy", "build", source, ...opa]),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([1, 2, 2, 2, 2, 2, 2]);
    expect(runs.map(({ stderr }) => stderr)).toEqual([
      expect.stringMatching(/a\.rego:\d+: rego_parse_error/),
      expect.stringContaining("--output: cannot write there"),
      expect.stringContaining("is no file"),
      expect.stringContaining("There is no /nowhere/policies"),
      expect.stringMatching(/Cannot run \/nowhere\/opa[\s\S]*openpolicyagent\.org[\s\S]*--opa PATH/),
      expect.stringContaining("--entrypoint"),
      expect.stringContaining("Expected --output FILE (-o)"),
    ]);
    expect(existsSync(out)).toBe(false);
  });
});

/** Right in every way but the members and keywords that are named, each in one. */
const MISSPELT = `holdpoint:
  contracts:
    email.send:
      aproval: { when: always }
      permit: { requird: true }
      risk: hgh
      parameters:
        to: { type: string, maxlength: 5 }
        cc: { type: array, items: { type: strng } }
        subject: { type: string, pattern: "(", max_length: "5" }
    ping:
      parameters:
        text: { type: string, required: true, nullable: true, min_length: 2, max_length: 9, pattern: "^a+$" }
        list: { type: array, min_items: 2, max_items: 3, items: { type: integer, minimum: 3, exclusive_maximum: 9 } }
        word: { type: string, allowed: [aa], denied: [b], denied_substrings: [c], denied_prefixes: [d] }
        none: { type: "null", description: nothing }
      limits: [{ key: k, limit: 5, window_seconds: 60 }]
      approval: { when: never }
    pong: []
`;
const MISSPELT_FAULTS = [
  "contract email.send: unknown member aproval, did you mean approval?",
  "contract email.send: member permit: unknown member requird, did you mean required?",
  "contract email.send: member risk is ill-typed",
  "contract email.send: parameter cc: items: keyword type is ill-typed, so no value passes",
  "contract email.send: parameter subject: keyword max_length is ill-typed, so no value passes",
  "contract email.send: parameter subject: keyword pattern is ill-typed, so no value passes",
  "contract email.send: parameter to: unknown keyword maxlength, did you mean max_length?",
  "contract pong: expected an object",
];

describe("contracts that would deny everything", () => {
  test("fail the build by name, and nothing is written", async () => {
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    const source = folder({ "data.yaml": MISSPELT });
    const { code, stdout, stderr } = await runCommand(["policy", "build", source, "-o", out, "--json", ...opa]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(JSON.parse(stderr).error).toMatchObject({ code: "contract_invalid" });
    expect(JSON.parse(stderr).error.faults.sort()).toEqual(MISSPELT_FAULTS.sort());
    expect(readdirSync(join(out, ".."))).toEqual([]);
  });

  test("of a bundle that was built otherwise are what inspect prints, and a fault of the configuration", async () => {
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    const source = folder({ "data.yaml": MISSPELT });
    const capabilities = join(projectRoot, "rego/capabilities.json");
    const library = join(projectRoot, "rego/holdpoint");
    const flags = ["-t", "wasm", "-e", "holdpoint/decision", "--capabilities", capabilities, "--ignore", "*_test.rego"];
    execFileSync(opa[1]!, ["build", ...flags, "-o", out, library, source]);
    const { code, stdout } = await runCommand(["policy", "inspect", out]);
    expect(code).toBe(3);
    for (const fault of MISSPELT_FAULTS) expect(stdout).toContain(`  - ${fault}\n`);
    expect(stdout).toMatch(/^contracts +NOT VALID: 8 faults$/m);
    const json = await runCommand(["policy", "inspect", out, "--json"]);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.stdout)).toMatchObject({ loads: true, faults: expect.arrayContaining(MISSPELT_FAULTS) });
    const config = await runCommand(["config", "check"], { bundle: out, data_dir: temporaryDirectory() });
    expect(config.code).toBe(2);
    expect(config.stderr).toContain(`  - bundle: ${MISSPELT_FAULTS[0]}\n`);
  });

  test("what a policy without the library reads out of its data is its own affair", async () => {
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    const source = folder({
      "data.yaml": MISSPELT,
      "own.rego": 'package holdpoint\n\ndecision := {"outcome": "deny"}\n',
    });
    const built = await runCommand(["policy", "build", source, "-o", out, "--no-library", ...opa]);
    expect(built).toMatchObject({ code: 0, stderr: "" });
  });
});

test("packages that nothing consults are warned of when building, and inspect lists those that are rules", async () => {
  const out = join(temporaryDirectory(), "bundle.tar.gz");
  const verdict = 'verdicts contains {"outcome": "deny", "code": "x", "message": "y"} if';
  const source = folder({
    "data.yaml": CONTRACT,
    "a.rego": `package acme.rules\n\n${verdict} input.a\n`,
    "b.rego": `package holdpoint.rules.night\n\nimport data.acme.lib\n\n${verdict} lib.is_night\n`,
    "c.rego": "package acme.lib\n\nis_night if input.context.hour < 6\n",
    "d.rego": `package holdpoint.rule.day\n\n${verdict} input.d\n`,
    "e.rego": `package holdpoint.rules.too.deep\n\n${verdict} input.e\n`,
  });
  const built = await runCommand(["policy", "build", source, "-o", out, ...opa]);
  expect(built.code).toBe(0);
  const unconsulted = ["acme.rules", "holdpoint.rule.day", "holdpoint.rules.too.deep"];
  expect(built.stderr).toContain(`compiled in and never consulted: ${unconsulted.join(", ")}. Rules that decide`);
  const facts = await runJson(["policy", "inspect", out]);
  expect(facts).toMatchObject({
    unconsulted,
    rules: ["holdpoint.rules.night", "holdpoint.rules.too.deep"],
    faults: [],
  });
  expect((await runCommand(["policy", "inspect", out])).stdout).toMatch(/^rules +holdpoint\.rules\.night, /m);
});

describe("policy test", () => {
  const RULES = {
    "rules.rego":
      'package holdpoint.rules.x\n\nverdicts contains {"outcome": "allow"} if input.action.name == "ping"\n',
    "data.yaml": CONTRACT,
    "rules_test.rego": `package holdpoint.rules.x_test

import data.holdpoint

test_ping_is_allowed if {
	holdpoint.decision.outcome == "allow" with input as {"action": {"name": "ping", "arguments": {}}, "actor": {"id": "a"}}
}

test_pong_is_denied if holdpoint.decision.outcome == "deny" with input as {"action": {"name": "pong", "arguments": {}}}
`,
  };

  test("runs the tests beside the sources with the library, and none of the library's own", async () => {
    const source = folder(RULES);
    const test_ = (...args: string[]) => runCommand(["policy", "test", source, ...args, ...opa]);
    const [all, named, json] = await Promise.all([test_(), test_("--verbose", "--run", "pong"), test_("--json")]);
    expect(all).toMatchObject({ code: 0, stdout: "PASS: 2/2\n" });
    expect(named).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/test_pong_is_denied: PASS[\s\S]*PASS: 1\/1/),
    });
    // OPA runs them side by side, and lists them as they end.
    const names = JSON.parse(json.stdout).map(({ name }: { name: string }) => name);
    expect(names.sort()).toEqual(["test_ping_is_allowed", "test_pong_is_denied"]);
  });

  test("answers 1 where one fails, nothing compiles or there is none, and 2 without OPA", async () => {
    const fails = folder({ "a_test.rego": "package a_test\n\ntest_it if 1 == 2\n" });
    const broken = folder({ "a.rego": "package a\n\nx := \n" });
    const runs = await Promise.all([
      runCommand(["policy", "test", fails, ...opa]),
      runCommand(["policy", "test", broken, ...opa]),
      runCommand(["policy", "test", folder({ "data.yaml": CONTRACT }), ...opa]),
      runCommand(["policy", "test", fails, "--opa", "/nowhere/opa"]),
      runCommand(["policy", "test", "/nowhere/policies", ...opa]),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([1, 1, 1, 2, 2]);
    expect(runs.map(({ stdout, stderr }) => stdout + stderr)).toEqual([
      expect.stringMatching(/test_it: FAIL/),
      expect.stringContaining("rego_parse_error"),
      expect.stringContaining("no tests"),
      expect.stringContaining("Cannot run /nowhere/opa"),
      expect.stringContaining("There is no /nowhere/policies"),
    ]);
  });
});

describe("policy inspect", () => {
  test("of what is no bundle says why, and answers 3; of nothing at all 2", async () => {
    const source = folder({ "bundle.tar.gz": "no archive" });
    const { code, stdout } = await runCommand(["policy", "inspect", join(source, "bundle.tar.gz"), "--json"]);
    expect(code).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({
      loads: false,
      digest: null,
      refusal: { code: "bundle_invalid" },
      contracts: [],
    });
    expect(await runCommand(["policy", "inspect", "/nowhere"])).toMatchObject({ code: 2, stdout: "" });
  });
});

describe("policy verify", () => {
  test("finds no difference in the cases of the examples, the table that opa test reads", async () => {
    const { code, stdout } = await runCommand([
      "policy",
      "verify",
      ...EXAMPLES,
      "--cases",
      join(projectRoot, "rego/cases"),
      ...opa,
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^(\d{2,}) cases: \1 the same, \1 with an expectation, \1 met \(policy sha256:/);
  });

  test("takes proposals and expectations, in YAML too, and answers 3 where one is not met", async () => {
    const proposal = refund(50);
    const input = {
      action: proposal.action,
      actor: proposal.actor,
      entity: proposal.entity,
      context: {},
      tenant: "default",
    };
    const expect_ = { outcome: "deny", reasons: [], contract: "ISSUE_REFUND" };
    const cases = folder({
      "proposals.json": JSON.stringify([proposal]),
      "more.yaml": `- { name: refund is denied, input: ${JSON.stringify(input)}, expect: ${JSON.stringify(expect_)} }\n`,
      "notes.txt": "not a case",
    });
    const verify = (...args: string[]) =>
      runCommand(["policy", "verify", EXAMPLES[0]!, "--cases", cases, ...args, ...opa]);
    const { code, stdout } = await verify();
    expect(code).toBe(3);
    expect(stdout).toMatch(
      /^more\.yaml: refund is denied\n {2}both {6}\{.*"outcome":"allow".*\n {2}expected {2}\{"outcome":"deny"/,
    );
    expect(stdout).toMatch(/^2 cases: 2 the same, 1 with an expectation, 0 met /m);
    const json = await verify("--json");
    expect(json.code).toBe(3);
    expect(JSON.parse(json.stdout)).toMatchObject({
      cases: 2,
      same: 2,
      expectations: 1,
      met: 0,
      differences: [{ name: "more.yaml: refund is denied", kind: "expectation", opa: { kind: "result" } }],
    });
  });

  test("of a proposal compares the members expected, beside the policy's own data, and all of them where exact", async () => {
    const given = { name: "a refund waits", proposal: refund(500) };
    const policy = folder({ "data.yaml": readFileSync(join(EXAMPLES[0]!, "data.yaml"), "utf8") });
    const cases = folder({
      "cases/data.yaml": "holdpoint: {}\n",
      "cases/a.json": JSON.stringify([{ ...given, expect: { outcome: "escalate", approval: { quorum: 1 } } }]),
    });
    const verify = () => runCommand(["policy", "verify", policy, "--cases", join(cases, "cases"), ...opa]);
    const met = await verify();
    expect(met).toMatchObject({ code: 0, stderr: "" });
    expect(met.stdout).toMatch(/^1 case: 1 the same, 1 with an expectation, 1 met /);
    const exact = [{ ...given, expect: { outcome: "escalate" }, exact: true }];
    writeFileSync(join(cases, "cases", "a.json"), JSON.stringify(exact));
    expect(await verify()).toMatchObject({ code: 3, stdout: expect.stringContaining("1 the same, 1 with an exp") });
    writeFileSync(join(cases, "cases", "notes.yaml"), "roles: {}\n");
    expect(await verify()).toMatchObject({ code: 2, stderr: expect.stringMatching(/notes\.yaml: .*case 1/) });
  });

  test("holds a bundle against sources that have changed since, and prints both answers", async () => {
    const source = folder({ "data.yaml": CONTRACT });
    const out = join(temporaryDirectory(), "bundle.tar.gz");
    expect(await runCommand(["policy", "build", source, "-o", out, ...opa])).toMatchObject({ code: 0 });
    const cases = join(temporaryDirectory(), "cases.json");
    const ping = { ...refund(1), id: "ping-1", action: { name: "ping", arguments: {} } };
    writeFileSync(cases, JSON.stringify([ping, { ...ping, id: "pong-1", action: { name: "pong", arguments: {} } }]));
    const verify = () => runCommand(["policy", "verify", source, "--cases", cases, "--bundle", out, ...opa]);
    expect(await verify()).toMatchObject({ code: 0 });
    writeFileSync(join(source, "data.yaml"), CONTRACT.replace("ping:", "pong:"));
    const { code, stdout } = await verify();
    expect(code).toBe(3);
    expect(stdout).toMatch(
      /^cases\.json: ping-1\n {2}opa {7}\{.*unknown_action.*\n {2}compiled {2}\{.*"outcome":"allow"/,
    );
    expect(stdout).toMatch(/^2 cases: 0 the same, 0 with an expectation, 0 met /m);
  });

  test("refuses to find nothing wrong with no cases, and cases that are none", async () => {
    const cases = folder({ "empty.json": "[]" });
    const bad = folder({
      "a.json": '[{"input":{}, "expects": {}}, 5]',
      "b.yaml": "- { name: x, input: 9007199254740993 }\n",
    });
    const proposal = folder({
      "p.json": '[{"id": "a b", "action": {"name": "x", "arguments": {}}, "actor": {"id": "a"}}]',
    });
    const verify = (...args: string[]) => runCommand(["policy", "verify", EXAMPLES[0]!, ...args, ...opa]);
    const [none, wrong, strict, unsaid] = await Promise.all([
      verify("--cases", cases),
      verify("--cases", bad),
      verify("--cases", proposal),
      verify(),
    ]);
    expect([none.code, wrong.code, strict.code, unsaid.code]).toEqual([2, 2, 2, 2]);
    expect(none.stderr).toContain("no cases");
    expect(wrong.stderr).toMatch(/unknown member expects[\s\S]*case 2: expected an object[\s\S]*9007199254740993/);
    expect(strict.stderr).toContain("/id");
    expect(unsaid.stderr).toContain("Expected --cases");
  });
});

test("a bundle of another name is inspected where it lies", async () => {
  const out = join(temporaryDirectory(), "own.bundle");
  const source = folder({ "data.yaml": CONTRACT });
  expect(await runCommand(["policy", "build", source, "-o", out, ...opa])).toMatchObject({ code: 0 });
  const copy = `${out}.copy`;
  copyFileSync(out, copy);
  expect((await runJson(["policy", "inspect", copy])).loads).toBe(true);
});
