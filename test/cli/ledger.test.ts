import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, test } from "vitest";
import { ENTRY_KINDS, ledgerLine } from "../../src/cli/ledger-line.ts";
import { examplesBundle } from "../support/bundles.ts";
import {
  environmentOf,
  killProcesses,
  mainPath,
  runCommand,
  type SidecarProcess,
  startProcess,
  temporaryDirectory,
} from "../support/process.ts";
import { freshId, refund, useOf, writeFile } from "../support/proposals.ts";
import { KEYS } from "../support/sidecar.ts";
import { projectRoot } from "../support/tools.ts";
import { runAndHangUp } from "./run-main.ts";

afterEach(killProcesses);

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
    await again.decide(writeFile("/tmp/b"));
    await again.stop();
    const signed = await verify(data_dir, "--vkey", own);
    expect(signed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^VERIFIED/) });
    expect(await verify(data_dir, "--vkey", "garbage")).toMatchObject({ code: 3 });
  });

  test("says so where there is no ledger, and where the checkpoint cannot be read", async () => {
    for (const [command, directory] of [
      ["verify", temporaryDirectory()],
      ["verify", "/nowhere"],
      ["tail", "/nowhere"],
    ] as const) {
      const none = await runCommand(["ledger", command, "--data-dir", directory]);
      expect(none).toMatchObject({ code: 2, stdout: "" });
      expect(none.stderr).toMatch(new RegExp(`^holdpoint: There is no ledger in ${directory}\n`));
    }
    // A ledger that lost its file is another matter.
    const emptied = temporaryDirectory();
    mkdirSync(join(emptied, "ledger"));
    expect(await verify(emptied)).toMatchObject({ code: 3, stdout: expect.stringMatching(/first fault at file/) });
    const { code, stderr } = await verify(emptied, "--checkpoint", "/nowhere/checkpoint");
    expect(code).toBe(2);
    expect(stderr).toContain("--checkpoint: ENOENT");
  });
});

test.each([
  [
    "an error answer",
    '{"type":"about:blank","status":401,"code":"unauthenticated"}',
    "an error answer, unauthenticated",
  ],
  ["nothing", "", "is no checkpoint: "],
  ["a page", "<html>\n\nwelcome</html>\n", "is no checkpoint: "],
  ["a note of another kind", `a\nb\n\n\u2014 name ${Buffer.alloc(68).toString("base64")}\n`, "no size and root"],
])("ledger verify with %s saved for a checkpoint says so, and does not blame the ledger", async (_, text, part) => {
  const directory = temporaryDirectory();
  mkdirSync(join(directory, "ledger"));
  const file = join(directory, "checkpoint");
  writeFileSync(file, text);
  const { code, stdout, stderr } = await runCommand([
    "ledger",
    "verify",
    "--data-dir",
    directory,
    "--checkpoint",
    file,
  ]);
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(`--checkpoint: ${file} is no checkpoint`);
  expect(stderr).toContain(part);
});

test("ENTRY_KINDS has every kind that the sources record", () => {
  const sources = ["cli", "gate", "store"].flatMap((folder) =>
    readdirSync(join(projectRoot, "src", folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => readFileSync(join(projectRoot, "src", folder, name), "utf8")),
  );
  const calls =
    /\b(?:record(?:Once|Quietly|Event)?|recordApproval|recordTransition|factEntry)\([^"()]*?"([a-z]+_[a-z_]+)"|\{ kind: "([a-z]+_[a-z_]+)", tenant\b/g;
  const found = new Set(sources.flatMap((text) => [...text.matchAll(calls)].map((match) => match[1] ?? match[2]!)));
  expect(found.size).toBeGreaterThan(14);
  expect([...found].filter((kind) => !(ENTRY_KINDS as readonly string[]).includes(kind))).toEqual([]);
});

describe("ledgerLine()", () => {
  const ORDER = { type: "order", id: "ord_1" };
  const line = (kind: string, data: object) =>
    ledgerLine({ index: 7, entry: { kind, tenant: "t", time: "T", data: data as never } });

  test.each([
    ["policy_activated", { digest: "sha256:a", revision: "r1", entrypoint: "e" }, "sha256:a revision r1 e"],
    ["policy_refused", { code: "bundle_invalid", message: "it is none" }, "bundle_invalid: it is none"],
    ["configuration_changed", { applied: ["mode", "actions"], mode: "observe" }, "applied mode, actions, mode observe"],
    ["configuration_refused", { faults: 3 }, "3 faults: the configuration before stays"],
    [
      "credentials_refused",
      { count: 5, by_reason: { missing: 2, unknown: 3 }, sources: ["10.0.0.9"], credentials: [] },
      "5 refused: missing 2, unknown 3 from 10.0.0.9",
    ],
    [
      "permit_refused",
      { code: "permit_mismatch", action: "pay\u202e", actor: "bot", mode: "observe" },
      'permit_mismatch "pay\\u202e" by bot (observed, not enforced)',
    ],
    [
      "event_ingested",
      {
        event: { id: "evt_1", source: "shop", type: "ORDER_PAID", entity: ORDER, actor: { id: "stripe" } },
        applied: true,
        from: "CREATED",
        to: "PAID",
      },
      "ORDER_PAID of order/ord_1 by stripe shop evt_1",
    ],
    [
      "event_ingested",
      {
        event: { id: "evt\u202e", source: "shop", type: "ORDER_PAID", entity: ORDER, actor: { id: "stripe" } },
        applied: false,
        from: null,
      },
      'ORDER_PAID of order/ord_1 by stripe, leads nowhere from no state shop "evt\\u202e"',
    ],
    [
      "state_changed",
      { entity: ORDER, event: "ORDER_PLACED", from: null, to: "CREATED", version: 1 },
      "order/ord_1 no state to CREATED by ORDER_PLACED, version 1",
    ],
    [
      "freeze_set",
      { freeze: { id: "frz_1", kind: "actor", subject: "bot", reason: "pays\ntwice", by: "olivia" } },
      'frz_1 actor bot, by olivia: "pays\\ntwice"',
    ],
    [
      "freeze_lifted",
      { freeze: { id: "frz_1", kind: "tenant", reason: "stop", by: "olivia" }, by: "pierre", reason: "over" },
      "frz_1 tenant, by pierre: over",
    ],
    [
      "freeze_set",
      {
        recovered: true,
        subject_id: "frz_2",
        payload: { freeze: { id: "frz_2", kind: "tenant", subject: "", reason: "stop", by: "olivia" } },
      },
      "recovered: frz_2 tenant, by olivia: stop",
    ],
    ["permit_consumed", { recovered: true, subject_id: "perm_1", payload: { a: 1 } }, 'recovered: perm_1 {"a":1}'],
    [
      "execution_reported",
      {
        permit_id: "perm_1",
        action: "PAY",
        status: "failed",
        execution_id: "exec_1",
        resolved: { by: "olivia", reason: "not in the books" },
      },
      "perm_1 PAY failed exec_1 (resolved by olivia: not in the books)",
    ],
    ["something_new", { a: 1 }, '{"a":1}'],
  ])("of %s is a sentence", (kind, data, summary) => {
    expect(line(kind, data)).toBe(`T  #7  ${kind}  t  ${summary}`);
  });
});

describe("ledger tail", () => {
  const settingsOf = (sidecar: SidecarProcess, key: string = KEYS.olivia) => ({ admin_url: sidecar.adminUrl, key });
  const linesOf = (text: string) => text.trimEnd().split("\n");

  test("prints the last entries in order, of one kind too, and as they were recorded", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle() });
    await sidecar.decide(writeFile("/tmp/\u202ea", { id: "first" }));
    const { body } = await sidecar.decide(refund(500, { id: "second" }));
    await sidecar.review(body.approval.id, "grant", {});
    await sidecar.decide({ ...writeFile("/tmp/b"), action: { name: "no\u0000ne", arguments: {} } });

    const { code, stdout, stderr } = await runCommand(["ledger", "tail", "-n", "4"], settingsOf(sidecar));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = linesOf(stdout);
    expect(lines).toHaveLength(4);
    expect(lines[0]).toMatch(/^\S+Z {2}#\d+ {2}decision {2}default {2}allow fs\.write_file by support-agent dec_\S+$/);
    expect(lines[1]).toMatch(/approval_opened {2}default {2}appr_\S+ pending ISSUE_REFUND$/);
    expect(lines[2]).toMatch(/escalate ISSUE_REFUND by support-agent \(approval_required\) dec_/);
    expect(lines[3]).toMatch(/approval_reviewed {2}default {2}appr_\S+ granted \(grant by olivia\) ISSUE_REFUND$/);

    const decisions = await runCommand(["ledger", "tail", "--kind", "decision", "--json"], settingsOf(sidecar));
    const recorded = linesOf(decisions.stdout);
    expect(recorded.map((line) => JSON.parse(line).decision.proposal_id)).toEqual(["first", "second"]);
    // To the byte: what the ledger hashes.
    const all = await sidecar.send({ port: "admin", path: "/v1/ledger/entries?limit=100", key: KEYS.olivia });
    for (const line of recorded) expect(all.text).toContain(line);

    const expired = ["ledger", "tail", "--kind", "approval_expired"];
    const none = await runCommand(expired, settingsOf(sidecar));
    expect(none).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("kind approval_expired") });
    const other = await runCommand(["ledger", "tail", "--kind", "decision"], settingsOf(sidecar, KEYS.otherReviewer));
    expect(other).toMatchObject({ code: 0, stdout: "" });

    // The files say the same, beside the running sidecar.
    const files = await runCommand(["ledger", "tail", "-n", "4", "--data-dir", sidecar.dataDir]);
    expect(files).toMatchObject({ code: 0, stdout });
    expect(await runCommand(["ledger", "tail"], settingsOf(sidecar, KEYS.bot))).toMatchObject({ code: 1, stdout: "" });
    const data = join(sidecar.dataDir, "ledger", "data.mdb");
    await sidecar.stop();
    const bytes = readFileSync(data);
    for (let at = bytes.indexOf("second"); at >= 0; at = bytes.indexOf("second", at + 1)) bytes[at]! ^= 1;
    writeFileSync(data, bytes);
    const broken = await runCommand(["ledger", "tail", "--data-dir", sidecar.dataDir]);
    expect(broken).toMatchObject({ code: 3, stderr: expect.stringMatching(/first fault at entry\n {2}- expected /) });
  });

  test("says which permit was used, for what, and with what result", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle() });
    const proposal = refund(50);
    const { body } = await sidecar.decide(proposal);
    const used = await sidecar.send({ path: "/v1/permits/consume", body: useOf(proposal, body) });
    const report = { execution_id: used.body.execution_id, permit_id: body.permit_id, status: "succeeded" };
    expect(await sidecar.send({ path: "/v1/executions", body: report })).toMatchObject({ status: 200 });
    await sidecar.send({ path: "/v1/permits/consume", body: useOf(proposal, body) });
    const { stdout } = await runCommand(["ledger", "tail", "-n", "3"], settingsOf(sidecar));
    const [consumed, reported, refused] = linesOf(stdout);
    expect(consumed).toMatch(
      new RegExp(`permit_consumed  default  ${body.permit_id} ISSUE_REFUND by support-agent, \\d uses left \\S+$`),
    );
    expect(reported).toMatch(new RegExp(`execution_reported  default  ${body.permit_id} ISSUE_REFUND succeeded \\S+$`));
    expect(refused).toMatch(/permit_refused {2}default {2}already_consumed ISSUE_REFUND by support-agent$/);
  });

  test("follows what comes until it is interrupted", async () => {
    const sidecar = await startProcess({ bundle: examplesBundle() });
    const child = spawn(process.execPath, [mainPath(), "ledger", "tail", "-n", "1", "--follow", "--kind", "decision"], {
      env: environmentOf(settingsOf(sidecar)),
      stdio: ["ignore", "pipe", "pipe"],
    });
    const closed = once(child, "close");
    const input = createInterface({ input: child.stdout });
    const lines: string[] = [];
    const line = async () => {
      const [text] = (await once(input, "line")) as [string];
      lines.push(text);
    };
    // It says on standard error that there is nothing yet: from then on it follows.
    await once(child.stderr, "data");
    await Promise.all([line(), sidecar.decide(writeFile("/tmp/a"))]);
    await Promise.all([line(), sidecar.decide(writeFile("/etc/b"))]);
    child.kill("SIGINT");
    expect(await closed).toEqual([0, null]);
    expect(lines).toEqual([
      expect.stringMatching(/ allow fs\.write_file /),
      expect.stringMatching(/ deny fs\.write_file /),
    ]);
  });

  test("ends quietly when its reader goes away, and is not cut short for one that stays", async () => {
    const data_dir = temporaryDirectory();
    const sidecar = await startProcess({ bundle: examplesBundle(), data_dir });
    const content = "x".repeat(20_000);
    for (let index = 0; index < 20; index += 1) {
      const proposal = writeFile("/tmp/a");
      await sidecar.decide({ ...proposal, action: { ...proposal.action, arguments: { path: "/tmp/a", content } } });
    }
    const args = ["ledger", "tail", "-n", "1000", "--json"];
    const { code, first, stderr } = await runAndHangUp(args, settingsOf(sidecar));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(first.length).toBeLessThan(800_000);
    const whole = await runCommand(args, settingsOf(sidecar));
    const entries = linesOf(whole.stdout).map((line) => JSON.parse(line));
    expect(entries.filter(({ kind }) => kind === "decision")).toHaveLength(20);
    expect(whole.stdout.length).toBeGreaterThan(800_000);
  });

  test.each([
    [["--data-dir", "x", "--follow"], "--data-dir reads files"],
    [["-n", "0"], "--number: expected a number from 1"],
    [["--kind", "permit_consume"], "Did you mean permit_consumed?"],
    [["--kind", "nope"], "Kinds: decision, approval_opened"],
  ])("%j is wrong usage", async (args, part) => {
    expect(await runCommand(["ledger", "tail", ...args])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(part),
    });
  });
});
