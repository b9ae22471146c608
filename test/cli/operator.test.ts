import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ContextualSidecar, eventOf, pay, startContextual } from "../support/contextual.ts";
import { killProcesses, runCommand, temporaryDirectory } from "../support/process.ts";
import { freshId } from "../support/proposals.ts";
import { API_KEYS, type Body, KEYS } from "../support/sidecar.ts";
import { runJson, runWithInput } from "./run-main.ts";

const SHOP_KEY = "test-key-shop";

/** One whose admin port asks for keys, and one that asks for none and takes little at once. */
let keyed: ContextualSidecar;
let open: ContextualSidecar;

beforeAll(async () => {
  const shop = { id: "shop", sha256: createHash("sha256").update(SHOP_KEY).digest("hex"), scopes: ["ingest"] };
  [keyed, open] = await Promise.all([
    startContextual({ admin_auth: "api_key", api_keys: [...API_KEYS, shop] }),
    startContextual({ batch_max: 2, body_bytes_max: 4_096 }),
  ]);
});
afterAll(async () => {
  killProcesses();
  await Promise.all([keyed.close(), open.close()]);
});

const as = (key: string) => ({ key, admin_url: keyed.adminUrl });
const openly = () => ({ admin_url: open.adminUrl });

const ALLOW = { outcome: "allow", permit: { required: true } };
const HOSTILE = "\u001b[2Jpay \u202e005\u202c\u009b1m\u200b";
const ESCAPED = "\\u001b[2Jpay \\u202e005\\u202c\\u009b1m\\u200b";
// biome-ignore lint/suspicious/noControlCharactersInRegex: none of these may reach a terminal
const UNSAFE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e]/;

const fileOf = (text: string): string => {
  const path = join(temporaryDirectory(), "events.json");
  writeFileSync(path, text);
  return path;
};

describe("freeze, freezes list and unfreeze", () => {
  test("stop an actor's decisions and permits, show it, and let it go again", async () => {
    const empty = await runCommand(["freezes", "list"], as(KEYS.olivia));
    expect(empty).toMatchObject({ code: 0, stderr: "" });
    expect(empty.stdout).toBe(
      "Nothing is frozen.\nholdpoint freeze actor|entity|action|tenant [SUBJECT] --reason TEXT stops something.\n",
    );
    const proposal = pay(ALLOW, "o", { actor: { id: "hasty-agent" } });
    const permitted = (await keyed.decide(proposal)).body;
    expect(permitted.outcome).toBe("allow");

    const frozen = await runCommand(["freeze", "actor", "hasty-agent", "--reason", "pays twice"], as(KEYS.olivia));
    expect(frozen).toMatchObject({ code: 0, stderr: "" });
    const id = /^Frozen: actor hasty-agent, by olivia \((frz_\S+)\)\n/.exec(frozen.stdout)![1]!;
    expect(frozen.stdout).toContain(`holdpoint unfreeze ${id} --reason TEXT`);
    const stopped = await keyed.decide(pay(ALLOW, "o", { actor: { id: "hasty-agent" } }));
    expect(stopped.body).toMatchObject({ outcome: "deny", reasons: [{ code: "frozen" }] });
    expect(await keyed.consume(proposal, permitted)).toMatchObject({ valid: false, code: "frozen" });
    expect((await keyed.decide(pay(ALLOW, "o"))).body.outcome).toBe("allow");

    const listed = await runCommand(["freezes", "list"], as(KEYS.pierre));
    expect(listed.stdout).toMatch(/^ID +KIND +SUBJECT +AGE +BY +REASON\n/);
    expect(listed.stdout).toMatch(new RegExp(`^${id} +actor +hasty-agent +\\d+s +olivia +pays twice$`, "m"));

    const lifted = await runCommand(["unfreeze", id, "--reason", "corrected"], as(KEYS.olivia));
    expect(lifted).toMatchObject({ code: 0, stdout: `Lifted ${id}: actor hasty-agent is frozen no more by it\n` });
    expect(await keyed.consume(proposal, permitted)).toMatchObject({ valid: true });
    const recorded = keyed.entries().filter(({ kind }) => kind === "freeze_lifted");
    expect(recorded.at(-1).data).toMatchObject({ by: "olivia", reason: "corrected", freeze: { id } });
  });

  test.each<[string[], Body]>([
    [["entity", "order/ord_9"], { kind: "entity", subject: "order/ord_9" }],
    [["action", "PAY.OUT"], { kind: "action", subject: "PAY.OUT" }],
    [["tenant"], { kind: "tenant" }],
  ])("of %j answers as JSON, and by whom --as says where nobody else does", async (words, freeze) => {
    const set = await runJson(["freeze", ...words, "--reason", "stop", "--as", "olga"], openly());
    expect(set.freeze).toMatchObject({ ...freeze, reason: "stop", by: "olga" });
    const { freezes } = await runJson(["freezes", "list"], openly());
    expect(freezes).toEqual([set.freeze]);
    const lifted = await runJson(["unfreeze", set.freeze.id, "--reason", "go on", "--as", "peter"], openly());
    expect(lifted).toEqual({ freeze: set.freeze, lifted_by: "peter" });
  });

  test("of the tenant stops everything", async () => {
    const { stdout } = await runCommand(["freeze", "tenant", "--reason", "incident"], openly());
    expect(stdout).toMatch(/^Frozen: everything of the tenant, by unauthenticated \(frz_/);
    expect((await open.decide(pay(ALLOW, "o"))).body).toMatchObject({ outcome: "deny", reasons: [{ code: "frozen" }] });
    expect((await runCommand(["freezes", "list"], openly())).stdout).toMatch(/^frz_\S+ +tenant +- /m);
    const { freezes } = await runJson(["freezes", "list"], openly());
    await runJson(["unfreeze", freezes[0].id, "--reason", "over"], openly());
    expect((await open.decide(pay(ALLOW, "o"))).body.outcome).toBe("allow");
  });

  test("show reasons without anything that a terminal would obey", async () => {
    const { freeze } = await runJson(["freeze", "action", "X", "--reason", HOSTILE], openly());
    const { stdout } = await runCommand(["freezes", "list"], openly());
    expect(stdout).toContain(`"${ESCAPED}"`);
    expect(stdout).not.toMatch(UNSAFE);
    const tail = await runCommand(["ledger", "tail", "--kind", "freeze_set", "-n", "1"], openly());
    expect(tail.stdout).toMatch(new RegExp(`freeze_set {2}default {2}${freeze.id} action X, by unauthenticated: "`));
    expect(tail.stdout).toContain(ESCAPED);
    await runJson(["unfreeze", freeze.id, "--reason", "over"], openly());
  });

  test("say what to do about an id that is none, a key without the scope, and a name that is not the key's", async () => {
    const unknown = await runCommand(["unfreeze", "frz_none", "--reason", "over"], as(KEYS.olivia));
    expect(unknown).toMatchObject({ code: 1, stdout: "" });
    expect(unknown.stderr).toMatch(/^holdpoint: freeze_not_found: .*\n {2}holdpoint freezes list shows those/);
    const reviewer = await runCommand(["freeze", "tenant", "--reason", "x"], as(KEYS.pierre));
    expect(reviewer).toMatchObject({ code: 1, stderr: expect.stringContaining("lacks the scope operate") });
    const named = await runCommand(["freeze", "tenant", "--reason", "x", "--as", "pierre"], as(KEYS.olivia));
    expect(named).toMatchObject({ code: 1, stderr: expect.stringContaining("Leave --as out") });
    expect((await runJson(["freezes", "list"], as(KEYS.olivia))).freezes).toEqual([]);
  });
});

describe("wrong usage", () => {
  test.each([
    [["freeze", "tenant"], "Say why: --reason TEXT"],
    [["freeze", "tenant", "--reason", " "], "Say why: --reason TEXT"],
    [["unfreeze", "frz_1"], "Say why: --reason TEXT"],
    [["executions", "resolve", "exec_1", "--status", "failed"], "Say why: --reason TEXT"],
    [["executions", "resolve", "exec_1", "--reason", "x"], "--status succeeded or --status failed"],
    [["executions", "resolve", "exec_1", "--status", "unknown", "--reason", "x"], "--status succeeded or --status"],
    [["freeze", "acter", "bot", "--reason", "x"], "Did you mean actor?"],
    [["freeze", "actor", "--reason", "x"], "Expected: holdpoint freeze actor ID"],
    [["freeze", "entity", "ord_2", "--reason", "x"], "An entity is TYPE/ID"],
    [["freeze", "tenant", "other", "--reason", "x"], "leave its name out"],
    [["freeze"], "Expected actor|entity|action|tenant [SUBJECT]"],
    [["freezes"], "freezes needs a second word: list"],
    [["executions", "list", "--limit", "0"], "--limit: expected a number from 1"],
    [["entities", "show", "ord_2"], "Expected TYPE/ID"],
    [["entities", "show", "order/"], "Expected TYPE/ID"],
    [["entities", "show", "order/o", "--history", "501"], "--history: expected a number from 1 to 500"],
    [["entities", "show", "order/o", "--rebuild", "yes"], "--rebuild: expected full or none"],
    [["events", "send", "/nowhere/events.json"], "ENOENT"],
  ])("%j ends with 2 before anything is asked", async (args, message) => {
    const { code, stdout, stderr } = await runCommand(args, { admin_url: "http://127.0.0.1:1" });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });
});

describe("executions list and resolve", () => {
  async function begun(): Promise<string> {
    const proposal = pay(ALLOW, "o");
    const decision = (await open.decide(proposal)).body;
    return (await open.consume(proposal, decision)).execution_id;
  }

  test("tell where nothing is open, show what is, and close it as whoever looked says", async () => {
    const empty = await runCommand(["executions", "list"], openly());
    expect(empty).toMatchObject({ code: 0, stderr: "" });
    expect(empty.stdout).toMatch(/^Every execution was reported: no outcome is unknown\.\n.*POST \/v1\/executions/);
    const [first, second] = [await begun(), await begun()];
    const { stdout } = await runCommand(["executions", "list"], openly());
    expect(stdout).toMatch(new RegExp(`^${first} +\\d+s +PAY +dec_\\S+$`, "m"));
    expect(stdout).toContain("holdpoint executions resolve ID --status succeeded|failed --reason TEXT\n");
    expect((await runCommand(["executions", "list", "--limit", "1"], openly())).stdout).toContain(
      "The first 1; --limit",
    );

    const resolve = (id: string, status: string) => [
      "executions",
      "resolve",
      id,
      "--status",
      status,
      "--reason",
      "in the books",
    ];
    const done = await runCommand([...resolve(first!, "succeeded"), "--as", "olga"], openly());
    expect(done).toMatchObject({ code: 0, stdout: `${first} is succeeded: PAY\n` });
    expect(open.entries().at(-1).data.resolved).toEqual({ by: "olga", reason: "in the books" });
    const tail = await runCommand(["ledger", "tail", "-n", "1"], openly());
    expect(tail.stdout).toContain("(resolved by olga: in the books)");
    expect(await runJson(resolve(second!, "failed"), openly())).toMatchObject({
      execution_id: second,
      status: "failed",
    });
    expect(await runJson(["executions", "list"], openly())).toEqual({ executions: [] });

    const contrary = await runCommand(resolve(first!, "failed"), openly());
    expect(contrary).toMatchObject({ code: 1, stdout: "" });
    expect(contrary.stderr).toMatch(/^holdpoint: execution_conflict: .*as succeeded\n {2}What was reported stands/);
    const unknown = await runCommand(resolve("exec_none", "failed"), openly());
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining("execution_not_found: ") });
  });
});

describe("events send and entities show", () => {
  const send = (text: string, ...args: string[]) => runCommand(["events", "send", fileOf(text), ...args], openly());

  test("move an entity, and tell how it came there", async () => {
    const order = freshId("ord");
    const placed = eventOf("ORDER_PLACED", order, { data: { total: HOSTILE } });
    const one = await send(JSON.stringify(placed, null, 2));
    expect(one).toMatchObject({ code: 0, stdout: "1 event: 1 counted\n", stderr: "" });
    const early = eventOf("ORDER_REFUNDED", order);
    const list = await send(JSON.stringify([early, placed]));
    expect(list).toMatchObject({ code: 0, stderr: "" });
    expect(list.stdout).toBe(
      "2 events: 0 counted, 1 led nowhere, 1 on record before\n" +
        "  event 1: led nowhere: ORDER_REFUNDED leads nowhere: it is CREATED\n",
    );
    const paid = { events: [eventOf("ORDER_PAID", order, { data: { amount: 7 } })] };
    const sent = JSON.parse((await send(JSON.stringify(paid), "--json")).stdout);
    expect(sent).toMatchObject({ total: 1, sent: 1, failed: 0, events: [{ index: 0, state: "PAID", version: 2 }] });

    const { code, stdout, stderr } = await runCommand(["entities", "show", `order/${order}`], openly());
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).not.toMatch(UNSAFE);
    expect(stdout).toMatch(
      new RegExp(`^order/${order} {2}PAID\n\nversion +2\nchanged +\\S+Z \\(\\d+s ago\\)\nevents +3\n`),
    );
    expect(stdout).toContain("rebuild  the 3 events alone give what is kept\n");
    expect(stdout).toMatch(/^attributes\n {2}\{\n(?: {4}.*\n)* {4}"paid": 7/m);
    expect(stdout).toContain(`    "total": "${ESCAPED}"`);
    const rows = stdout.slice(stdout.indexOf("history, newest first\n")).split("\n").slice(2, 5);
    expect(rows[0]).toMatch(/^ {2}3 +\S+Z +ORDER_PAID +stripe +CREATED to PAID +shop +evt-/);
    expect(rows[1]).toMatch(/^ {2}2 +\S+Z +ORDER_REFUNDED +stripe +none: it led nowhere from CREATED +shop +evt-/);
    expect(rows[2]).toMatch(/^ {2}1 +\S+Z +ORDER_PLACED +stripe +\(no state yet\) to CREATED +shop +evt-/);

    const quick = await runCommand(["entities", "show", `order/${order}`, "--rebuild", "none"], openly());
    expect(quick).toMatchObject({ code: 0, stdout: expect.stringContaining("rebuild  not asked for\n") });
    const newest = await runCommand(["entities", "show", `order/${order}`, "--history", "1"], openly());
    expect(newest.stdout).toContain("history, the newest 1 of 3; --history N for more\n");
    const json = await runJson(["entities", "show", `order/${order}`, "--rebuild", "full", "--history", "2"], openly());
    expect(json).toMatchObject({
      state: "PAID",
      attributes: { total: HOSTILE },
      rebuild: { matches: true },
      cursor: 2,
    });
  });

  test("one a line, from a pipe, in batches and with progress; what is wrong is named by its line", async () => {
    const order = freshId("ord");
    const events = [
      eventOf("ORDER_PLACED", order),
      eventOf("ORDER_LOST", order),
      eventOf("NOTED", order, { actor: {} }),
      eventOf("ORDER_PAID", order, { data: { amount: 5 } }),
      eventOf("NOTED", order),
    ];
    const text = events.map((event) => `${JSON.stringify(event)}\r\n`).join("\n");
    const { code, stdout, stderr } = await runWithInput(["events", "send", "-"], text, openly());
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^5 events: 3 counted, 2 refused\n {2}line 3: event_type_unknown at \/type: .*\n {2}line 5: invalid_request at \/actor\/id: .*\n$/,
    );
    expect(stderr).toBe([2, 4, 5].map((count) => `holdpoint: ${count} of 5 events sent\n`).join(""));
    expect(await runJson(["entities", "show", `order/${order}`], openly())).toMatchObject({ state: "PAID", events: 3 });
    const again = await runWithInput(["events", "send", "-", "--json"], text, openly());
    expect(again.code).toBe(1);
    const { failed, events: answers } = JSON.parse(again.stdout);
    expect(failed).toBe(2);
    expect(answers.map((one: Body) => one.code ?? one.repeated)).toEqual([
      true,
      "event_type_unknown",
      "invalid_request",
      true,
      true,
    ]);
    expect(answers[2]).toMatchObject({ index: 2, pointer: "/actor/id" });
  });

  test("of nothing is no fault, and says what was expected", async () => {
    for (const text of ["", "\n\n", "[]"]) {
      const empty = await send(text);
      expect(empty).toMatchObject({ code: 0, stderr: "" });
      expect(empty.stdout).toMatch(/holds no events: nothing was sent\.\nExpected one event, an array/);
    }
    expect(JSON.parse((await send("[]", "--json")).stdout)).toEqual({ total: 0, sent: 0, failed: 0, events: [] });
  });

  test.each([
    ["a number that would be altered", '{"id":"a","data":{"n":9007199254740993}}', "inexact_number", "/data/n"],
    ["a member that stands twice", '[{"id":"a","id":"b"}]', "duplicate_key", "/0/id"],
    ["no JSON", "id: a\n", "malformed_json", "events.json"],
    ["a line that is none", '{"id":"a"}\n{"id":', "malformed_json", "line 2"],
    [
      "an event that is too large",
      JSON.stringify({ id: "a", data: { x: "x".repeat(5_000) } }),
      "body_too_large",
      "4096",
    ],
  ])("refuses a file with %s, and sends nothing of it", async (_, text, errorCode, part) => {
    const before = open.entries().length;
    const { code, stdout, stderr } = await send(text, "--json");
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    const { error } = JSON.parse(stderr);
    expect(error.code).toBe(errorCode);
    expect(error.message).toContain(part);
    expect(open.entries()).toHaveLength(before);
  });

  test("refuses bytes that are no text", async () => {
    const bytes = Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff]), Buffer.from('"}\n{}')]);
    const { code, stderr } = await runWithInput(["events", "send", "-"], bytes, openly());
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: "holdpoint: ill_formed_unicode: Standard input is not UTF-8\n",
    });
  });

  test("fills batches by bytes, too", async () => {
    const order = freshId("ord");
    const events = Array.from({ length: 3 }, () => eventOf("NOTED", order, { data: { x: "ä".repeat(1_500) } }));
    const { code, stdout, stderr } = await send(JSON.stringify(events));
    expect({ code, stdout }).toEqual({ code: 0, stdout: "3 events: 3 counted\n" });
    expect(stderr).toContain("holdpoint: 1 of 3 events sent\n");
  });

  test("asks for the scope ingest, of the key that says who sends", async () => {
    const order = freshId("ord");
    const file = fileOf(JSON.stringify(eventOf("ORDER_PLACED", order)));
    const refused = await runCommand(["events", "send", file], as(KEYS.olivia));
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("The key lacks the scope ingest") });
    expect(await runCommand(["events", "send", file], as(SHOP_KEY))).toMatchObject({ code: 0 });
    const shown = await runCommand(["entities", "show", `order/${order}`], as(KEYS.pierre));
    expect(shown).toMatchObject({ code: 0, stdout: expect.stringContaining(`order/${order}  CREATED\n`) });
    const sender = await runCommand(["entities", "show", `order/${order}`], as(SHOP_KEY));
    expect(sender).toMatchObject({ code: 1, stderr: expect.stringContaining("lacks a scope: operate or review") });
  });

  test("stop where the sidecar lost a part, so that nothing is overtaken", async () => {
    const broken = await startContextual({ batch_max: 2 });
    await broken.sidecar.ledger.close();
    const order = freshId("ord");
    const events = Array.from({ length: 5 }, () => eventOf("NOTED", order));
    const file = fileOf(JSON.stringify(events));
    const { code, stdout } = await runCommand(["events", "send", file], { admin_url: broken.adminUrl });
    await broken.close();
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^2 events: 0 counted, 2 refused\n( {2}event \d: shutting_down: .*\n){2}3 events not sent: .*\nSend the file again/,
    );
  });

  test("say how far they came where the sidecar goes away", async () => {
    let batches = 0;
    const leaving = createServer((request, response) => {
      response.setHeader("content-type", "application/json");
      if (request.url === "/openapi.json")
        return response.end(
          JSON.stringify({ "x-holdpoint-limits": { body_bytes_max: 9_999, batch_max: 2, depth_max: 9 } }),
        );
      batches += 1;
      if (batches > 1) return response.destroy();
      return response.end(JSON.stringify({ events: [{ applied: true }, { code: `odd${HOSTILE}`, detail: HOSTILE }] }));
    });
    await new Promise<void>((resolve) => leaving.listen(0, "127.0.0.1", resolve));
    const admin_url = `http://127.0.0.1:${(leaving.address() as AddressInfo).port}`;
    const events = Array.from({ length: 5 }, () => ({ id: "e" }));
    const gone = await runCommand(["events", "send", fileOf(JSON.stringify(events))], { admin_url });
    expect(gone).toMatchObject({ code: 1, stdout: "" });
    expect(gone.stderr).toMatch(/unreachable: [\s\S]*\n {2}2 of 5 events were sent before\. Send the file again/);
    batches = 0;
    const two = await runCommand(["events", "send", fileOf(JSON.stringify(events.slice(0, 2)))], { admin_url });
    leaving.close();
    expect(two.code).toBe(1);
    expect(two.stdout).toContain(`  event 2: "odd${ESCAPED}": ${ESCAPED}\n`);
    expect(two.stdout).not.toMatch(UNSAFE);
  });

  test("entities show says what to do where nothing is known, and ends with 3 where events say something else", async () => {
    const none = await runCommand(["entities", "show", "order/none"], openly());
    expect(none).toMatchObject({ code: 1, stdout: "" });
    expect(none.stderr).toMatch(/^holdpoint: entity_not_found: .*\n {2}.*holdpoint events send FILE/);
    const odd = await runCommand(["entities", "show", "Order/none"], openly());
    expect(odd).toMatchObject({ code: 1, stderr: expect.stringContaining("entity_type_unknown: ") });
    expect(odd.stderr).toContain("order, for Order in domain.yaml");

    const order = freshId("ord");
    await open.event("ORDER_PLACED", order, { data: { total: 5 } });
    const { store } = open.sidecar;
    const ref = { type: "order", id: order };
    const { changedAtMs: _, ...kept } = (await store.readEntity("default", ref))!;
    const [event] = await store.readEvents("default", ref, 1, 1);
    const forged = await store.appendEvent("default", {
      expectedEvents: 1,
      after: { ...kept, state: "PAID", events: 2 },
      source: "shop",
      eventId: "forged",
      contentDigest: `sha256:${"0".repeat(64)}`,
      eventText: event!.text,
    });
    expect(forged.kind).toBe("appended");
    const { code, stdout, stderr } = await runCommand(["entities", "show", `order/${order}`], openly());
    expect({ code, stderr }).toEqual({ code: 3, stderr: "" });
    expect(stdout).toContain("the 2 events do NOT give what is kept: the events on record are not those");
    expect(stdout).toContain('events alone give CREATED, version 1, attributes {"total":5}\n');
    expect(await runCommand(["entities", "show", `order/${order}`, "--json"], openly())).toMatchObject({ code: 3 });
  });
});
