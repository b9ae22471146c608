import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { compileBundle, examplesBundle } from "../support/bundles.ts";
import { killProcesses, runCommand, startProcess, temporaryDirectory } from "../support/process.ts";
import { refund, writeFile } from "../support/proposals.ts";
import { runJson, runWithInput } from "./run-main.ts";

afterEach(killProcesses);

const fileOf = (value: unknown): string => {
  const path = join(temporaryDirectory(), "proposal.json");
  writeFileSync(path, typeof value === "string" ? value : JSON.stringify(value));
  return path;
};

const decide = (proposal: unknown, args: readonly string[] = [], settings: Record<string, unknown> = {}) =>
  runCommand(["decide", fileOf(proposal), ...args], { bundle: examplesBundle(), ...settings });

describe("decide", () => {
  test("answers 0 and what a permit would be, where policy allows", async () => {
    const { code, stdout, stderr } = await decide(refund(50));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ALLOW {2}ISSUE_REFUND\n/);
    expect(stdout).toContain("for payments, 60s");
    expect(stdout).toContain("Nothing was recorded, and nobody was asked.");
  });

  test("answers 0 and what was rewritten, where policy computes", async () => {
    const { code, stdout } = await decide(writeFile("/prod/a.txt"));
    expect(code).toBe(0);
    expect(stdout).toMatch(/^COMPUTE {2}fs\.write_file\n/);
    expect(stdout).toContain('  /path\n    - "/prod/a.txt"\n    + "/sandbox/prod/a.txt"\n');
  });

  test("answers 4 and why, where policy denies", async () => {
    const { code, stdout } = await decide({ ...refund(50), action: { name: "db.drop", arguments: { t: "a\u202eb" } } });
    expect(code).toBe(4);
    expect(stdout).toMatch(/^DENY {2}db\.drop\n {2}unknown_action: /);
    expect(stdout).toContain('"a\\u202eb"');
  });

  test("answers 5 and what an approval would need, where policy escalates", async () => {
    const { code, stdout } = await decide(refund(500));
    expect(code).toBe(5);
    expect(stdout).toMatch(/^ESCALATE {2}ISSUE_REFUND\n {2}approval_required: refund above 100\n/);
    expect(stdout).toContain("1 of role ops_operator, within 60m; a grant holds 15m, for these exact arguments");
  });

  test("from standard input, as JSON, agrees with a sidecar on every digest, and leaves nothing behind", async () => {
    const bundle = examplesBundle();
    const proposal = refund(500);
    const data_dir = join(temporaryDirectory(), "data");
    const { code, stdout } = await runWithInput(["decide", "-", "--json"], JSON.stringify(proposal), {
      bundle,
      data_dir,
    });
    expect(code).toBe(5);
    const explained = JSON.parse(stdout);
    expect(existsSync(data_dir)).toBe(false);
    const sidecar = await startProcess({ bundle });
    const { body } = await sidecar.decide(proposal);
    for (const member of [
      "outcome",
      "mode",
      "argument_digest",
      "binding_digest",
      "output_hash",
      "reasons",
      "rules",
      "contract",
    ])
      expect(explained[member], member).toEqual(body[member]);
    expect(explained.policy.digest).toBe(body.policy.digest);
    expect(explained).toMatchObject({
      recorded: false,
      answered: "escalate",
      tenant: "default",
      proposal_id: proposal.id,
      argument_changes: [],
      approval: { roles: ["ops_operator"], quorum: 1, ttl_seconds: 3600, grant_ttl_seconds: 900, uses: 1 },
      permit: { audience: "payments", ttl_seconds: 60 },
    });
  });

  test("tells the mode that the configuration gives, and keeps the exit code of what policy says", async () => {
    const settings = { tenants: { payments: { mode: "observe" } } };
    const explained = JSON.parse((await decide(refund(500), ["--tenant", "payments", "--json"], settings)).stdout);
    expect(explained).toMatchObject({ outcome: "escalate", mode: "observe", answered: "allow", tenant: "payments" });
    const observed = await decide(refund(500), ["--tenant", "payments"], settings);
    expect(observed.code).toBe(5);
    expect(observed.stdout).toContain("observe: the sidecar would answer allow");
  });

  test("a policy that gives no valid result denies, as it does when serving", async () => {
    const bundle = compileBundle("default decision := 5");
    const { code, stdout } = await decide(refund(50), ["--bundle", bundle]);
    expect(code).toBe(4);
    expect(stdout).toContain("policy_result_invalid");
  });

  test.each([
    ['{"id":"a","id":"b"}', "duplicate_key", /"id" stands twice/],
    [{ ...refund(5), more: 1 }, "invalid_request", /at \/more/],
    ["", "malformed_json", /proposal\.json/],
    [`{"id":"a","n":${"[".repeat(70)}${"]".repeat(70)}}`, "depth_exceeded", /proposal\.json/],
  ])("reads the proposal as strictly as the decision port: %j", async (proposal, errorCode, part) => {
    const { code, stdout, stderr } = await decide(proposal, ["--json"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    const { error } = JSON.parse(stderr);
    expect(error.code).toBe(errorCode);
    expect(error.message).toMatch(part);
  });

  test("refuses what it cannot begin with: no policy, no file, no tenant's name, a bundle that does not load", async () => {
    const file = fileOf(refund(5));
    const runs = await Promise.all([
      runCommand(["decide", file]),
      runCommand(["decide", "/nowhere/proposal.json", "--bundle", examplesBundle()]),
      runCommand(["decide", file, "--bundle", examplesBundle(), "--tenant", "A B"]),
      runCommand(["decide", file, "--bundle", file]),
    ]);
    expect(runs.map(({ code, stdout }) => ({ code, stdout }))).toEqual(runs.map(() => ({ code: 2, stdout: "" })));
    expect(runs.map(({ stderr }) => stderr)).toEqual([
      expect.stringContaining("--bundle PATH"),
      expect.stringContaining("ENOENT"),
      expect.stringContaining("--tenant"),
      expect.stringContaining("Cannot load bundle"),
    ]);
  });
});

test("config print and decide of one file agree on the policy", async () => {
  const path = join(temporaryDirectory(), "holdpoint.yaml");
  writeFileSync(path, `bundle: ${examplesBundle()}\n`);
  const { settings } = await runJson(["config", "print", "--config", path]);
  const bundle = settings.find(({ key }: { key: string }) => key === "bundle");
  expect(bundle).toEqual({ key: "bundle", value: examplesBundle(), source: "file" });
  expect(readdirSync(join(path, ".."))).toEqual(["holdpoint.yaml"]);
  expect((await runJson(["decide", fileOf(refund(5)), "--config", path])).outcome).toBe("allow");
});
