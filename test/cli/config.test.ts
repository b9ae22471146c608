import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ungovernedActions } from "../../src/cli/check-config.ts";
import { SETTINGS } from "../../src/config/settings.ts";
import { examplesBundle } from "../support/bundles.ts";
import { runCommand, temporaryDirectory } from "../support/process.ts";
import { API_KEYS } from "../support/sidecar.ts";
import { runJson } from "./run-main.ts";

const fileWith = (text: string): string => {
  const path = join(temporaryDirectory(), "holdpoint.yaml");
  writeFileSync(path, text);
  return path;
};

describe("config check", () => {
  test("says what holds and what to think about, and touches nothing", async () => {
    const data_dir = join(temporaryDirectory(), "not", "yet");
    const { code, stdout, stderr } = await runCommand(["config", "check"], { data_dir, bundle: examplesBundle() });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^OK defaults and variables\n/);
    expect(stdout).toMatch(/ {2}bundle: .* loads, sha256:[0-9a-f]{64}\n/);
    expect(stdout).toContain(`data_dir: ${data_dir} can be created`);
    expect(stdout).toContain("warning: auth: callers are NOT authenticated");
    expect(stdout).toContain("warning: api_keys: nobody has the scope review");
    expect(existsSync(data_dir)).toBe(false);
  });

  test("has no warning where everything is as it should be", async () => {
    const settings = { data_dir: temporaryDirectory(), bundle: examplesBundle(), auth: "api_key", api_keys: API_KEYS };
    const { ok, warnings, holds } = await runJson(["config", "check"], settings);
    expect({ ok, warnings }).toEqual({ ok: true, warnings: [] });
    // The examples' refunds are decided here and executed elsewhere: no fault, and said.
    expect(holds.filter((line: string) => line.startsWith("executors: "))).toEqual([
      "executors: refund.issue_refund is not configured: AUTO_REFUND is decided, not executed",
      "executors: refund.issue_refund is not configured: REFUND_ORDER is decided, not executed",
    ]);
    expect(holds).toHaveLength(5);
  });

  test("lists every fault of the settings at once, and exits with 2", async () => {
    const path = fileWith("mode: loose\nworkers: many\nlistn: x\n");
    const { code, stdout, stderr } = await runCommand(["config", "check", "--config", path, "--json"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(JSON.parse(stderr).error).toMatchObject({
      code: "config_invalid",
      faults: [expect.anything(), expect.anything(), expect.anything()],
    });
  });

  test("lists every fault of what they name at once", async () => {
    const directory = temporaryDirectory();
    writeFileSync(join(directory, "file"), "");
    mkdirSync(join(directory, "keys"));
    writeFileSync(join(directory, "keys", "permit-a.json"), "{}");
    const before = readdirSync(directory);
    const { code, stderr } = await runCommand(["config", "check"], {
      bundle: join(directory, "file"),
      data_dir: join(directory, "file"),
      keys_dir: join(directory, "keys"),
      listen: "unix:/nowhere/holdpoint.sock",
    });
    expect(code).toBe(2);
    const settings = [...stderr.matchAll(/^ {2}- (\w+): /gm)].map((match) => match[1]);
    expect([...new Set(settings)]).toEqual(["bundle", "data_dir", "keys_dir", "listen"]);
    expect(readdirSync(directory)).toEqual(before);
  });
});

test.each([
  ["listen", "unix:/nowhere/deep/holdpoint.sock", "the folder /nowhere/deep of the socket does not exist: create it"],
  ["admin_listen", "unix:/nowhere/a.sock", "the folder /nowhere of the socket does not exist: create it"],
])("config check of %s %s says that %s", async (setting, address, sentence) => {
  const settings = { data_dir: temporaryDirectory(), bundle: examplesBundle(), [setting]: address };
  const { code, stderr } = await runCommand(["config", "check"], settings);
  expect(code).toBe(2);
  expect(stderr).toContain(`  - ${setting}: ${sentence}\n`);
});

test("config check warns of an action's mode that no contract answers to, and takes the others", async () => {
  const observe = { mode: "observe" };
  const actions = { "fs.wirte_file": observe, "fs.write_file": observe, "nothing.like.it": observe };
  const settings = { data_dir: temporaryDirectory(), bundle: examplesBundle(), actions };
  const { warnings } = await runJson(["config", "check"], settings);
  expect(warnings.filter((warning: string) => warning.startsWith("actions."))).toEqual([
    "actions.fs.wirte_file: the policy has no contract of this name; did you mean fs.write_file?",
    "actions.nothing.like.it: the policy has no contract of this name",
  ]);
});

test("ungovernedActions() says nothing of a policy that has no contracts", () => {
  expect(ungovernedActions(["a"], [])).toEqual([]);
  expect(ungovernedActions(["a\u202eb"], ["ab"])).toEqual([
    'actions."a\\u202eb": the policy has no contract of this name; did you mean ab?',
  ]);
});

test("config check of a bundle that is a folder of sources says how to build it", async () => {
  const bundle = temporaryDirectory();
  writeFileSync(join(bundle, "rules.rego"), "package holdpoint.rules.x\n");
  const { code, stderr } = await runCommand(["config", "check"], { bundle, data_dir: temporaryDirectory() });
  expect(code).toBe(2);
  expect(stderr).toContain(`holds Rego sources and no policy.wasm`);
  expect(stderr).toContain(`holdpoint policy build ${bundle} -o bundle.tar.gz`);
});

describe("config print", () => {
  const TEXT = `
mode: observe
ledger: { durability: relaxed }
store: redis://user:hunter2@127.0.0.1:6379/0
tenants: { payments: { mode: enforce } }
`;

  test("has every setting with where it came from, and is taken again", async () => {
    const path = fileWith(TEXT);
    const { code, stdout, stderr } = await runCommand(["config", "print", "--config", path], {
      workers: 2,
      bundle: "b.tar.gz",
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const { key } of SETTINGS) expect(stdout).toMatch(new RegExp(`^(# )?${key.replace(".", "\\.")}:`, "m"));
    expect(stdout).toMatch(/^mode: observe {2}# file$/m);
    expect(stdout).toMatch(/^workers: 2 {2}# HOLDPOINT_WORKERS$/m);
    expect(stdout).toMatch(/^ledger\.durability: relaxed {2}# file$/m);
    expect(stdout).toMatch(/^batch_max: 100 {2}# default$/m);
    expect(stdout).not.toContain("hunter2");
    expect(stdout).toMatch(/^store: redis:\/\/user:REDACTED@127\.0\.0\.1:6379\/0 {2}# file; redacted/m);

    const again = await runCommand(["config", "print", "--config", fileWith(stdout)]);
    expect(again.stderr).toBe("");
    expect(parse(again.stdout)).toEqual(parse(stdout));
  });

  test("as JSON, with hashes of keys shortened", async () => {
    const { settings } = await runJson(["config", "print"], { api_keys: API_KEYS, admin_auth: "api_key" });
    const byKey = new Map(settings.map((one: { key: string }) => [one.key, one]));
    expect([...byKey.keys()]).toEqual(SETTINGS.map(({ key }) => key));
    expect(byKey.get("admin_auth")).toEqual({ key: "admin_auth", value: "api_key", source: "variable" });
    expect(byKey.get("bundle")).toEqual({ key: "bundle", value: null, source: "default" });
    const keys = byKey.get("api_keys") as { value: { sha256: string; actors: unknown }[]; redacted: boolean };
    expect(keys.redacted).toBe(true);
    expect(keys.value.map(({ sha256 }) => sha256)).toEqual(API_KEYS.map(({ sha256 }) => `${sha256.slice(0, 8)}…`));
    expect(keys.value.find(({ actors }) => actors === "*")).toBeDefined();
  });

  test("of a configuration with faults lists them, and exits with 2", async () => {
    expect(await runCommand(["config", "print"], { mode: "loose" })).toMatchObject({ code: 2, stdout: "" });
  });
});
