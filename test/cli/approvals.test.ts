import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import {
  killProcesses,
  runCommand,
  type SidecarProcess,
  startProcess,
  temporaryDirectory,
} from "../support/process.ts";
import { refund, writeFile } from "../support/proposals.ts";
import type { Body } from "../support/sidecar.ts";
import { KEYS } from "../support/sidecar.ts";
import { runJson } from "./run-main.ts";

/** One with keys, and one on a socket that asks for none and observes. */
let sidecar: SidecarProcess;
let open: SidecarProcess;
let socket: string;

beforeAll(async () => {
  socket = join(temporaryDirectory(), "admin.sock");
  [sidecar, open] = await Promise.all([
    startProcess({ bundle: examplesBundle() }),
    startProcess({
      bundle: examplesBundle(),
      admin_listen: `unix:${socket}`,
      admin_auth: "none",
      actions: { "fs.write_file": { mode: "observe" } },
    }),
  ]);
});
afterAll(killProcesses);

const as = (key: string) => ({ key, admin_url: sidecar.adminUrl });
const onSocket = () => ({ admin_url: `unix:${socket}` });

async function escalated(changes: Body = {}, by = sidecar): Promise<string> {
  const { body } = await by.decide(refund(500, changes));
  return body.approval.id;
}

const HOSTILE = "\u001b[2Jpay \u202e005\u202c\u009b1m\u200b";
const ESCAPED = "\\u001b[2Jpay \\u202e005\\u202c\\u009b1m\\u200b";
const hostile = (): Body => {
  const proposal = refund(500);
  return { ...proposal, action: { ...proposal.action, arguments: { ...proposal.action.arguments, reason: HOSTILE } } };
};
// biome-ignore lint/suspicious/noControlCharactersInRegex: none of these may reach a terminal
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e]/;

describe("approvals list", () => {
  test("tells where nothing waits, shows what does with its arguments, and later ones by status", async () => {
    const empty = await runCommand(["approvals", "list"], as(KEYS.otherReviewer));
    expect(empty).toMatchObject({ code: 0, stderr: "" });
    expect(empty.stdout).toMatch(/^Nothing waits for a reviewer\.\n.*--status/);

    const id = await escalated(hostile());
    const { code, stdout, stderr } = await runCommand(["approvals", "list"], as(KEYS.olivia));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ID +AGE +ACTION +ACTOR +ENTITY +RISK +EXPIRES IN +NEEDS\n/);
    expect(stdout).toMatch(
      new RegExp(`^${id} +\\d+s +ISSUE_REFUND +support-agent +order/ord-\\S+ +medium +\\d+m +1 of ops_operator$`, "m"),
    );
    expect(stdout).toContain(`    {"amount":500,"currency":"EUR","reason":"${ESCAPED}"}\n`);
    expect(stdout).not.toMatch(UNSAFE);

    const json = await runJson(["approvals", "list"], as(KEYS.olivia));
    expect(json).toEqual({ approvals: expect.any(Array), observations: [] });
    expect(json.approvals.find((one: Body) => one.id === id).action.arguments.reason).toBe(HOSTILE);
    expect((await runCommand(["approvals", "list", "--status", "exhausted"], as(KEYS.olivia))).stdout).toBe(
      "No approval is exhausted.\n",
    );
  });

  test("goes on page by page up to the limit", async () => {
    const ids = await Promise.all(Array.from({ length: 105 }, () => escalated()));
    const { approvals } = await runJson(["approvals", "list", "--limit", "1000"], as(KEYS.olivia));
    const listed = new Set(approvals.map(({ id }: Body) => id));
    expect(listed.size).toBe(approvals.length);
    for (const id of ids) expect(listed).toContain(id);
    expect((await runJson(["approvals", "list", "--limit", "102"], as(KEYS.olivia))).approvals).toHaveLength(102);
  });

  test("beside what waits shows what observe mode would have stopped, grouped; --observed one by one", async () => {
    const none = await runCommand(["approvals", "list", "--observed"], onSocket());
    expect(none).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Observe mode would have stopped nothing so far/),
    });
    for (const path of ["/etc/passwd", `/etc/${HOSTILE}`]) await open.decide(writeFile(path));
    const { body: last } = await open.decide(writeFile("/prod/x"));

    const { stdout } = await runCommand(["approvals", "list"], onSocket());
    expect(stdout).toContain("\nWould have been stopped (observe mode)\n");
    expect(stdout).toMatch(/^fs\.write_file +deny +\S+ +2 +\S+Z +dec_\S+$/m);
    expect(stdout).toMatch(new RegExp(`^fs\\.write_file +compute +\\S+ +1 +\\S+Z +${last.decision_id}$`, "m"));

    const each = await runCommand(["approvals", "list", "--observed"], onSocket());
    expect(each.stdout.trimEnd().split("\n")).toHaveLength(3);
    expect(each.stdout).toContain(`{"content":"hello","path":"/etc/${ESCAPED}"}`);
    expect(each.stdout).not.toMatch(UNSAFE);
    const { observations } = await runJson(["approvals", "list", "--observed", "--limit", "2"], onSocket());
    expect(observations.map((one: Body) => one.observed_outcome)).toEqual(["compute", "deny"]);
  });

  test("refuses a status that there is none of, and --observed with one", async () => {
    const wrong = await runCommand(["approvals", "list", "--status", "grantd"], as(KEYS.olivia));
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("Did you mean granted?") });
    expect(await runCommand(["approvals", "list", "--status", "denied", "--observed"], as(KEYS.olivia))).toMatchObject({
      code: 2,
    });
    expect(await runCommand(["approvals", "list", "--limit", "0"], as(KEYS.olivia))).toMatchObject({ code: 2 });
  });
});

describe("approvals show", () => {
  test("prints exact arguments and digests, and nothing that a terminal would obey", async () => {
    const id = await escalated(hostile());
    const { code, stdout } = await runCommand(["approvals", "show", id], as(KEYS.olivia));
    expect(code).toBe(0);
    expect(stdout).not.toMatch(UNSAFE);
    expect(stdout).toContain(
      `arguments\n  {\n    "amount": 500,\n    "currency": "EUR",\n    "reason": "${ESCAPED}"\n  }\n`,
    );
    const json = await runJson(["approvals", "show", id], as(KEYS.olivia));
    expect(json).toMatchObject({ id, status: "pending", roles: ["ops_operator"], quorum: 1 });
    expect(json.action.arguments.reason).toBe(HOSTILE);
    for (const digest of [json.binding_digest, json.argument_digest, json.policy_digest])
      expect(stdout).toContain(digest);
    expect(stdout).toContain("reviews: none yet");
  });
});

describe("approvals grant", () => {
  test("prints what it grants, is good for what was seen, and is recorded with its reason", async () => {
    const id = await escalated();
    const { code, stdout } = await runCommand(["approvals", "grant", id, "--reason", "checked"], as(KEYS.olivia));
    expect(code).toBe(0);
    expect(stdout).toMatch(
      new RegExp(`^${id} {2}pending\n[\\s\\S]*"amount": 500[\\s\\S]*\nGranted ${id}; to be used until `),
    );
    const shown = await runCommand(["approvals", "show", id], as(KEYS.pierre));
    expect(shown.stdout).toMatch(/grant by olivia: checked\n/);
    const again = await runCommand(["approvals", "grant", id], as(KEYS.pierre));
    expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining("approval_not_pending: ") });
  });

  test("echoes the binding digest that it read, where the sidecar demands an echo", async () => {
    const strict = await startProcess({ bundle: examplesBundle(), require_binding_echo: true });
    const id = await escalated({}, strict);
    const settings = { key: KEYS.olivia, admin_url: strict.adminUrl };
    const { binding_digest } = await runJson(["approvals", "show", id], settings);
    const other = await runCommand(["approvals", "grant", id, "--digest", `sha256:${"0".repeat(64)}`], settings);
    expect(other).toMatchObject({ code: 1, stdout: "" });
    expect(other.stderr).toMatch(/^holdpoint: binding_mismatch: .*\n {2}Nothing was granted/);
    const granted = await runJson(["approvals", "grant", id, "--digest", binding_digest], settings);
    expect(granted.approval).toMatchObject({ id, status: "granted" });
  });

  test("of one that needs two says that it is pending still", async () => {
    const proposal = { ...writeFile("/tmp/x"), action: { name: "fs.delete", arguments: { path: "/tmp/x" } } };
    const { body } = await sidecar.decide(proposal);
    const { stdout } = await runCommand(["approvals", "grant", body.approval.id], as(KEYS.olivia));
    expect(stdout).toMatch(/Your grant of \S+ counts, and it is pending still: 1\/2 of ops_operator\n$/);
  });

  test("without a key names who grants, where the port asks for none", async () => {
    const id = await escalated({}, open);
    const nobody = await runCommand(["approvals", "grant", id], onSocket());
    expect(nobody).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("say who you are with --as ID [--role R]"),
    });
    const { approval } = await runJson(["approvals", "grant", id, "--as", "pat", "--role", "ops_operator"], onSocket());
    expect(approval).toMatchObject({ status: "granted", reviews: [{ reviewer: { id: "pat" }, authenticated: false }] });
    expect(await runCommand(["approvals", "grant", id, "--role", "x"], onSocket())).toMatchObject({ code: 2 });
  });
});

describe("approvals deny and cancel", () => {
  test("end an approval, and say how it ended", async () => {
    const [denied, cancelled] = [await escalated(), await escalated()];
    const deny = await runCommand(["approvals", "deny", denied, "--reason", "no"], as(KEYS.olivia));
    expect(deny).toMatchObject({ code: 0, stdout: `${denied} is denied: ISSUE_REFUND\n` });
    const cancel = await runJson(["approvals", "cancel", cancelled], as(KEYS.olivia));
    expect(cancel.approval).toMatchObject({ id: cancelled, status: "cancelled" });
    const { stdout } = await runCommand(["approvals", "list", "--status", "denied"], as(KEYS.olivia));
    expect(stdout).toContain(denied);
  });
});

describe("a sidecar that refuses or is not there", () => {
  test.each([
    ["without a key", {}, "unauthenticated", /Set HOLDPOINT_KEY/],
    ["with a key that nobody knows", { key: "hp_unknown" }, "unauthenticated", /does not know it/],
    ["with a key of the wrong scope", { key: KEYS.bot }, "forbidden", /lacks a scope/],
  ])("%s ends with 1, the code, and what to do", async (_, key, code, hint) => {
    const result = await runCommand(["approvals", "list"], { admin_url: sidecar.adminUrl, ...key });
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(new RegExp(`^holdpoint: ${code}: `));
    expect(result.stderr).toMatch(hint);
    expect(result.stderr).not.toContain("hp_unknown");
  });

  test("a role that is missing, an id that is unknown, a hostile id", async () => {
    const id = await escalated();
    expect((await runCommand(["approvals", "grant", id], as(KEYS.intern))).stderr).toContain("role_missing: ");
    const unknown = await runCommand(["approvals", "show", "../../metrics?x=\u001b[2J", "--json"], as(KEYS.olivia));
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).not.toMatch(UNSAFE);
    expect(JSON.parse(unknown.stderr).error).toMatchObject({ code: "approval_not_found", hints: [expect.any(String)] });
  });

  test("a token that looks like a JWT is told of issuers, and not of keys", async () => {
    const settings = { admin_url: sidecar.adminUrl, key: "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln" };
    const { code, stderr } = await runCommand(["approvals", "list"], settings);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^holdpoint: unauthenticated: [\s\S]*jwt_issuers/);
    expect(stderr).not.toContain("api_keys");
  });

  test("what the sidecar says stands as it says it, and nothing in it can pass for a line of ours", async () => {
    const detail = '"mailbot" proposed this action\nholdpoint: granted\u202e';
    const talking = createServer((_, response) => {
      response.writeHead(403, { "content-type": "application/problem+json" });
      response.end(JSON.stringify({ code: "self_approval", detail }));
    });
    await new Promise<void>((resolve) => talking.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(talking.address() as AddressInfo).port}`;
    const { stderr } = await runCommand(["approvals", "list", "--admin", url]);
    talking.close();
    expect(stderr.split("\n")[0]).toBe(
      'holdpoint: self_approval: "mailbot" proposed this action\\u000aholdpoint: granted\\u202e',
    );
  });

  test("the key comes from a file, too, and one that no header can carry is refused", async () => {
    const [file, broken] = ["key", "broken"].map((name) => join(temporaryDirectory(), name)) as [string, string];
    writeFileSync(file, `${KEYS.olivia}\nsecond line\n`);
    writeFileSync(broken, "two words\n");
    const settings = { admin_url: sidecar.adminUrl, key: "hp_unknown" };
    expect(await runCommand(["approvals", "list", "--key-file", file], settings)).toMatchObject({ code: 0 });
    const refused = await runCommand(["approvals", "list", "--key-file", broken], settings);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("--key-file: expected a key") });
    expect(await runCommand(["approvals", "list", "--key-file", "/nowhere"], settings)).toMatchObject({ code: 2 });
  });

  test("the address comes from the configuration where nothing else says it", async () => {
    const path = join(temporaryDirectory(), "holdpoint.yaml");
    writeFileSync(path, `admin_listen: ${sidecar.adminUrl.slice("http://".length)}\n`);
    const byFile = await runCommand(["approvals", "list", "--config", path, "--json"], { key: KEYS.olivia });
    expect(byFile).toMatchObject({ code: 0 });
    const byVariable = await runCommand(["approvals", "list", "--json"], {
      key: KEYS.otherReviewer,
      admin_listen: sidecar.adminUrl.slice("http://".length),
    });
    expect(byVariable).toMatchObject({ code: 0 });
    expect((await runCommand(["approvals", "list"], { admin_listen: "127.0.0.1:0" })).stderr).toContain(
      "give --admin URL",
    );
  });

  test.each([
    [
      "http://127.0.0.1:1",
      1,
      /^holdpoint: unreachable: Cannot reach http:\/\/127\.0\.0\.1:1: connection refused\n.*running/,
    ],
    ["unix:/nowhere/admin.sock", 1, /there is no such socket/],
    ["ftp://x", 2, /expected http:\/\//],
    ["unix:relative", 2, /expected http:\/\//],
    ["http://user:secret@127.0.0.1:1", 2, /^(?![\s\S]*secret)/],
  ])("%s ends with %i", async (url, code, message) => {
    const result = await runCommand(["approvals", "list", "--admin", url]);
    expect(result).toMatchObject({ code, stdout: "" });
    expect(result.stderr).toMatch(message);
  });

  test("the decision port, TLS where there is none, and something else altogether are told apart", async () => {
    const elsewhere = createServer((_, response) => response.end("<html>welcome</html>"));
    await new Promise<void>((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
    const { port } = elsewhere.address() as AddressInfo;
    const list = (url: string) => runCommand(["approvals", "list", "--admin", url]);
    const [decision, tls, other] = await Promise.all([
      list(sidecar.decisionUrl),
      list(sidecar.adminUrl.replace("http:", "https:")),
      list(`http://127.0.0.1:${port}`),
    ]);
    elsewhere.close();
    expect(decision.stderr).toMatch(/route_not_found: [\s\S]*Is this the admin port/);
    expect(tls.stderr).toMatch(/unreachable: [\s\S]*try http:\/\/ instead of https:\/\//);
    expect(other.stderr).toMatch(/wrong_protocol: .*answers HTTP 200, and not as a sidecar does/);
    expect([decision.code, tls.code, other.code]).toEqual([1, 1, 1]);
  });

  test("an answer without end is left at a limit", async () => {
    const chunk = Buffer.alloc(1 << 20, " ");
    const endless = createServer((_, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      const more = () => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on("drain", more);
      more();
    });
    await new Promise<void>((resolve) => endless.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(endless.address() as AddressInfo).port}`;
    const result = await runCommand(["approvals", "list", "--admin", url]);
    endless.closeAllConnections();
    endless.close();
    expect(result).toMatchObject({ code: 1, stdout: "" });
    expect(result.stderr).toMatch(/^holdpoint: answer_too_large: The answer is over 64 MiB/);
  });

  test("one that has no observations route lists its approvals all the same", async () => {
    const older = createServer((request, response) => {
      const isKnown = request.url!.startsWith("/v1/approvals");
      response.writeHead(isKnown ? 200 : 404, { "content-type": "application/json" });
      response.end(isKnown ? '{"approvals":[],"cursor":null}' : '{"code":"route_not_found","detail":"No route"}');
    });
    await new Promise<void>((resolve) => older.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(older.address() as AddressInfo).port}`;
    const listed = await runCommand(["approvals", "list", "--admin", url]);
    const observed = await runCommand(["approvals", "list", "--observed", "--admin", url]);
    older.close();
    expect(listed).toMatchObject({ code: 0, stderr: "" });
    expect(observed).toMatchObject({ code: 1, stderr: expect.stringContaining("route_not_found") });
  });
});
