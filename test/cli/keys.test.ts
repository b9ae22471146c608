import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { apiKeySchema } from "../../src/config/settings.ts";
import { examplesBundle } from "../support/bundles.ts";
import { killProcesses, runCommand, startProcess, temporaryDirectory } from "../support/process.ts";
import { refund, useOf, writeFile } from "../support/proposals.ts";
import { until } from "../support/redis.ts";
import { runJson } from "./run-main.ts";

afterEach(killProcesses);

const kidOf = (permit: string): string => JSON.parse(Buffer.from(permit.split(".")[0]!, "base64url").toString()).kid;

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

  test("takes tenant, scopes, roles and actors, and as JSON gives key and entry apart", async () => {
    const options = [
      "--id",
      "olivia",
      "--tenant",
      "payments",
      "--scopes",
      "review, operate",
      "--roles",
      "ops_operator",
    ];
    const { key, entry } = await runJson(["api-key", ...options]);
    expect(entry).toEqual({
      id: "olivia",
      sha256: createHash("sha256").update(key).digest("hex"),
      tenant: "payments",
      scopes: ["review", "operate"],
      actors: [],
      roles: ["ops_operator"],
    });
    const any = await runCommand(["api-key", "--actors", "*", "--roles", "*"]);
    expect(parse(any.stdout)).toMatchObject([{ id: "my-key", actors: "*", roles: "*", tenant: "default" }]);
  });

  test("takes type, audiences and on whose behalf, and the entry says so", async () => {
    const options = ["--type", "agent", "--audiences", "payments, files", "--on-behalf-of", "ann,ben"];
    const members = { type: "agent", audiences: ["payments", "files"], on_behalf_of: ["ann", "ben"] };
    expect((await runJson(["api-key", ...options])).entry).toMatchObject(members);
    const { stdout } = await runCommand(["api-key", ...options]);
    expect(parse(stdout)).toMatchObject([members]);
    expect(apiKeySchema.parse(parse(stdout)[0])).toMatchObject(members);
    expect(parse((await runCommand(["api-key", "--on-behalf-of", "*"])).stdout)).toMatchObject([{ on_behalf_of: "*" }]);
  });

  test.each([
    [["--type", "a b"], "--type"],
    [["--audiences", "a,,b"], "--audiences"],
    [["--on-behalf-of", "a b"], "--on-behalf-of"],
    [["--id", "two words"], "--id"],
    [["--id", ""], "--id"],
    [["--id", "a{b}"], "--id"],
    [["--id", "x".repeat(257)], "--id"],
    [["--tenant", "Payments"], "--tenant"],
    [["--scopes", "decide,rule"], "--scopes"],
    [["--roles", "a,,b"], "--roles"],
    [["--actors", "a b"], "--actors"],
  ])("refuses %j, which no configuration takes", async (args, option) => {
    const { code, stdout, stderr } = await runCommand(["api-key", ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(new RegExp(`^ {2}- ${option}: `, "m"));
  });
});

describe("keys rotate", () => {
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

  test("rotates the keys of a directory that is named", async () => {
    const keys_dir = join(temporaryDirectory(), "keys");
    const { kid: first } = await runJson(["keys", "new", "--keys-dir", keys_dir]);
    const { kid } = await runJson(["keys", "rotate", "--keys-dir", keys_dir], { keys_dir: "/nowhere" });
    expect(readdirSync(keys_dir).sort()).toEqual([`permit-${first}.json`, `permit-${kid}.json`].sort());
  });

  test("answers 2 where it cannot write", async () => {
    const file = join(temporaryDirectory(), "file");
    writeFileSync(file, "");
    for (const command of ["rotate", "new"]) {
      const { code, stderr } = await runCommand(["keys", command], { keys_dir: join(file, "keys") });
      expect(code).toBe(2);
      expect(stderr).toContain("keys_dir");
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });
});

describe("keys new", () => {
  test("makes the first key, which a sidecar then signs with, and never a second", async () => {
    const keys_dir = join(temporaryDirectory(), "keys");
    const { kid, jwk, file } = await runJson(["keys", "new", "--keys-dir", keys_dir]);
    expect(jwk).toEqual({ kty: "OKP", crv: "Ed25519", x: expect.stringMatching(/^[\w-]{43}$/), kid });
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({ ...jwk, d: expect.any(String) });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const again = await runCommand(["keys", "new"], { keys_dir });
    expect(again).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("holdpoint keys rotate") });
    expect(readdirSync(keys_dir)).toEqual([`permit-${kid}.json`]);
    const sidecar = await startProcess({ bundle: examplesBundle(), keys_dir });
    expect(kidOf((await sidecar.decide(refund(50))).body.permit)).toBe(kid);
  });

  test("prints the public key alone", async () => {
    const keys_dir = temporaryDirectory();
    const { stdout } = await runCommand(["keys", "new"], { keys_dir });
    const [file] = readdirSync(keys_dir);
    const { d, x } = JSON.parse(readFileSync(join(keys_dir, file!), "utf8"));
    expect(stdout).toContain(x);
    expect(stdout).not.toContain(d);
  });
});
