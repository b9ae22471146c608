import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { examplesBundle } from "../support/bundles.ts";
import {
  killProcesses,
  runCommand,
  type SidecarProcess,
  startProcess,
  temporaryDirectory,
} from "../support/process.ts";
import { freshId, refund, useOf, writeFile } from "../support/proposals.ts";
import { until } from "../support/redis.ts";
import { KEYS } from "../support/sidecar.ts";

afterEach(killProcesses);

describe("usage", () => {
  test.each([[["help"]], [["--help"]], [["-h"]], [["serve", "--help"]]])("%o explains every command", async (args) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const command of ["serve", "ledger verify", "keys rotate", "api-key"]) {
      expect(stdout).toContain(`holdpoint ${command}`);
    }
    expect(stdout).toContain("Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the ledger does not verify.");
  });

  test.each([
    [[], "Expected a command"],
    [["sreve"], "Unknown command: sreve"],
    [["serve", "now"], "Unknown command: serve now"],
    [["ledger"], "Unknown command: ledger"],
    [["serve", "--port", "1"], "--port"],
    [["serve", "--config"], "--config"],
    [["ledger", "verify", "--json=yes"], "--json"],
  ])("%o is refused with the help", async (args, part) => {
    const { code, stdout, stderr } = await runCommand(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(part);
    expect(stderr).toContain("holdpoint serve [--config FILE]");
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe("api-key", () => {
  test("prints an entry that works when it is pasted", async () => {
    const { code, stdout } = await runCommand(["api-key", "--id", "my-agent"]);
    expect(code).toBe(0);
    const key = /#\s+(hp_[A-Za-z0-9_-]{43})\n/.exec(stdout)![1]!;
    const path = join(temporaryDirectory(), "holdpoint.yaml");
    writeFileSync(path, `auth: api_key\napi_keys:\n${stdout}`);
    expect(parse(stdout)).toMatchObject([{ id: "my-agent", scopes: ["decide"], actors: ["my-agent"] }]);
    const sidecar = await startProcess({ config: path, bundle: examplesBundle(), api_keys: undefined });
    const proposal = { ...writeFile("/tmp/a"), actor: { id: "my-agent", type: "agent" } };
    const post = (bearer: string) => sidecar.send({ path: "/v1/decisions", body: proposal, key: bearer });
    expect((await post(key)).status).toBe(200);
    expect(await post(`${key}x`)).toMatchObject({ status: 401, body: { code: "unauthenticated", outcome: "deny" } });
    expect((await runCommand(["api-key"])).stdout).not.toContain(key);
  });

  test.each(["two words", "", "a{b}", "x".repeat(257)])(
    "refuses the name %j, which no configuration takes",
    async (id) => {
      const { code, stdout, stderr } = await runCommand(["api-key", "--id", id]);
      expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
      expect(stderr).toContain("--id");
    },
  );
});

describe("keys rotate", () => {
  const kidOf = (permit: string): string => JSON.parse(Buffer.from(permit.split(".")[0]!, "base64url").toString()).kid;

  test("adds a key that a running sidecar signs with after SIGHUP, and the old permits still hold", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle() });
    const before = refund(50);
    const { body: old } = await sidecar.decide(before);
    const { code, stdout } = await runCommand(["keys", "rotate"], { data_dir: sidecar.dataDir });
    expect(code).toBe(0);
    const files = readdirSync(join(sidecar.dataDir, "keys"));
    expect(files).toHaveLength(2);
    const kid = /New permit signing key (\S+) in/.exec(stdout)![1]!;
    expect(files).toContain(`permit-${kid}.json`);
    expect(kidOf(old.permit)).not.toBe(kid);
    sidecar.child.kill("SIGHUP");
    await until(async () => kidOf((await sidecar.decide(refund(50))).body.permit) === kid, "the new key signs");
    const jwks = await sidecar.send({ path: "/.well-known/jwks.json" });
    expect(jwks.body.keys.map((key: { kid: string }) => key.kid).sort()).toEqual([kid, kidOf(old.permit)].sort());
    expect(jwks.text).not.toContain('"d"');
    const used = await sidecar.send({ path: "/v1/permits/consume", body: useOf(before, old) });
    expect(used).toMatchObject({ status: 200, body: { valid: true } });
  });

  test("answers 2 where it cannot write", async () => {
    const file = join(temporaryDirectory(), "file");
    writeFileSync(file, "");
    const { code, stderr } = await runCommand(["keys", "rotate"], { keys_dir: join(file, "keys") });
    expect(code).toBe(2);
    expect(stderr).toContain("keys_dir");
    expect(stderr).not.toMatch(/\n\s+at /);
  });
});

describe("ledger verify", () => {
  const verify = (dataDir: string, ...args: string[]) =>
    runCommand(["ledger", "verify", "--data-dir", dataDir, ...args]);
  const checkpointOf = async (sidecar: SidecarProcess, path: string) => {
    const { text } = await sidecar.send({ port: "admin", path: "/v1/ledger/checkpoint", key: KEYS.olivia });
    writeFileSync(path, text);
    return path;
  };

  /** A ledger of some entries, a copy of its directory, and more entries after that; with a checkpoint from each time. */
  async function twoAges() {
    const settings = { bundle: examplesBundle(), data_dir: temporaryDirectory() };
    const young = temporaryDirectory();
    const first = await startProcess(settings);
    const path = `/tmp/${freshId("v")}`;
    await first.decide(writeFile(path));
    for (let index = 0; index < 30; index += 1) await first.decide(writeFile(`/tmp/${freshId("v")}`));
    const before = await checkpointOf(first, join(young, "before.txt"));
    await first.stop();
    cpSync(join(settings.data_dir, "ledger"), join(young, "ledger"), { recursive: true });
    const second = await startProcess(settings);
    for (let index = 0; index < 30; index += 1) await second.decide(writeFile(`/tmp/${freshId("v")}`));
    const after = await checkpointOf(second, join(young, "after.txt"));
    const live = await verify(settings.data_dir);
    expect(live).toMatchObject({ code: 0 });
    await second.stop();
    return { old: settings.data_dir, young, before, after, path };
  }

  test("holds, also against an earlier checkpoint; and finds a log cut short, a foreign checkpoint and a flipped byte", async () => {
    const { old, young, before, after, path } = await twoAges();
    const good = await verify(old);
    expect(good).toMatchObject({ code: 0, stderr: "" });
    expect(good.stdout).toMatch(/^VERIFIED .*: \d+ entries, root \S+, log holdpoint\/[0-9a-f]{16}\n$/);
    expect(await verify(old, "--checkpoint", before)).toMatchObject({ code: 0 });
    expect(await verify(old, "--checkpoint", after)).toMatchObject({ code: 0 });

    // Cut short: the copy is whole in itself, and only the later checkpoint says what is missing.
    expect(await verify(young)).toMatchObject({ code: 0 });
    const cut = await verify(young, "--checkpoint", after);
    expect(cut.code).toBe(3);
    expect(cut.stdout).toMatch(/^DOES NOT VERIFY .*: first fault at checkpoint/);

    const text = readFileSync(after, "utf8");
    const forged = join(young, "forged.txt");
    writeFileSync(
      forged,
      text.replace(/^\d+$/m, (size) => String(Number(size) - 1)),
    );
    expect((await verify(old, "--checkpoint", forged)).code).toBe(3);

    const json = JSON.parse((await verify(old, "--json")).stdout);
    expect(json).toMatchObject({ entries: expect.any(Number), root: expect.any(String), origin: expect.any(String) });
    expect(json.fault).toBeUndefined();

    const data = join(young, "ledger", "data.mdb");
    const bytes = readFileSync(data);
    // LMDB leaves copies of a page behind: the byte is flipped wherever this entry's text lies.
    for (let place = bytes.indexOf(path); place >= 0; place = bytes.indexOf(path, place + 1)) bytes[place + 2]! ^= 1;
    writeFileSync(data, bytes);
    const flipped = await verify(young);
    expect(flipped.code).toBe(3);
    expect(flipped.stdout).toMatch(/^DOES NOT VERIFY .*: first fault at entry \d+\n {2}expected .*\n {2}found .*\n$/);
    const faulty = await verify(young, "--json");
    expect(faulty.code).toBe(3);
    expect(JSON.parse(faulty.stdout).fault).toMatchObject({ kind: "entry", index: expect.any(Number) });
  });

  test("with a key wants a checkpoint that the key signed", async () => {
    const data_dir = temporaryDirectory();
    const sidecar = await startProcess({ bundle: examplesBundle(), data_dir });
    await sidecar.decide(writeFile("/tmp/a"));
    // Killed before it ever signed one: nothing but the log itself vouches for this log.
    await sidecar.stop("SIGKILL");
    const own = readFileSync(join(data_dir, "ledger", "checkpoint-key.pub"), "utf8").trim();
    expect(await verify(data_dir)).toMatchObject({ code: 0 });
    expect(await verify(data_dir, "--vkey", own)).toMatchObject({ code: 3 });
    expect((await verify(data_dir, "--vkey", "garbage")).stdout).toMatch(/first fault at checkpoint/);
    const again = await startProcess({ bundle: examplesBundle(), data_dir });
    await again.stop();
    expect(await verify(data_dir, "--vkey", own)).toMatchObject({ code: 0 });
    expect(await verify(data_dir, "--vkey", "garbage")).toMatchObject({ code: 3 });
  });

  test("says so where there is no ledger, and where the checkpoint cannot be read", async () => {
    const empty = await verify(temporaryDirectory());
    expect(empty.code).toBe(3);
    expect(empty.stdout).toMatch(/first fault at file/);
    const { code, stderr } = await verify(temporaryDirectory(), "--checkpoint", "/nowhere/checkpoint");
    expect(code).toBe(2);
    expect(stderr).toContain("--checkpoint: ENOENT");
  });
});
