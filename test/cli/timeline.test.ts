import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import { killProcesses, runCommand, type SidecarProcess, startProcess } from "../support/process.ts";
import { freshId, refund } from "../support/proposals.ts";
import { API_KEYS, type Body, KEYS } from "../support/sidecar.ts";
import { runJson } from "./run-main.ts";

const STRIPE = "test-key-stripe";
let sidecar: SidecarProcess;

beforeAll(async () => {
  const stripe = { id: "stripe", sha256: createHash("sha256").update(STRIPE).digest("hex"), scopes: ["ingest"] };
  sidecar = await startProcess({ bundle: examplesBundle(), api_keys: [...API_KEYS, stripe] });
});
afterAll(killProcesses);

const as = (key: string) => ({ key, admin_url: sidecar.adminUrl });

async function event(id: string, type: string, actor = "stripe"): Promise<void> {
  const body = { id: freshId("evt"), source: "stripe", type, entity: { type: "order", id }, actor: { id: actor } };
  const { status, text } = await sidecar.send({ port: "admin", path: "/v1/events", body, key: STRIPE });
  expect(status, text).toBe(200);
}

const onOrder = (id: string, changes: Body = {}): Body => refund(5, { entity: { type: "order", id }, ...changes });

const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/.source;

/** Answers every request with one page. */
async function speaking(page: object): Promise<string> {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify(page));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("timeline", () => {
  test("prints an entity's rows beneath one another, and whether its events give its state", async () => {
    const id = freshId("ord");
    await event(id, "ORDER_PLACED");
    await event(id, "ORDER_PAID");
    await sidecar.decide(onOrder(id));
    const { code, stdout, stderr } = await runCommand(["timeline", "--entity", `order/${id}`], as(KEYS.olivia));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^TIME {2,}KIND {2,}ACTOR {2,}SUMMARY$/);
    const rows = [
      "event_ingested +stripe +ORDER_PLACED",
      "state_changed +stripe +CREATED",
      "event_ingested +stripe +ORDER_PAID",
      "state_changed +stripe +CREATED → PAID",
      "decision_recorded +support-agent +propose ISSUE_REFUND",
      "action_validated +support-agent +ISSUE_REFUND ✓",
    ];
    rows.forEach((row, at) => {
      expect(lines[at + 1]).toMatch(new RegExp(`^${TIME}  ${row}$`));
    });
    expect(new Set(lines.slice(0, 7).map((line) => line.search(/ACTOR|stripe|support-agent/))).size).toBe(1);
    expect(lines.slice(7)).toEqual(["", "rebuild: the events alone give the state that is kept ✓"]);
  });

  test("prints a trace, in full where that is asked for, and tells of one that nobody knows", async () => {
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    const headers = { traceparent: `00-${trace}-00f067aa0ba902b7-01` };
    await sidecar.send({ path: "/v1/decisions", body: onOrder(freshId("ord")), headers });
    const args = ["timeline", "--trace", trace];
    const { stdout } = await runCommand(args, as(KEYS.olivia));
    expect(stdout).toContain("action_validated");
    expect(stdout).not.toContain("rebuild");
    const { rows, trace_id } = await runJson([...args, "--full"], as(KEYS.olivia));
    expect(trace_id).toBe(trace);
    expect(rows.map(({ kind }: Body) => kind)).toEqual(["decision"]);
    const kinds = ["--kind", "action_validated", "--kind", "action_blocked,state_changed"];
    expect((await runJson([...args, ...kinds], as(KEYS.olivia))).rows).toHaveLength(1);
    const until = ["--since", "2020-01-01T00:00:00+02:00", "--until", "2020-01-02T00:00:00Z"];
    expect(await runCommand([...args, ...until], as(KEYS.olivia))).toMatchObject({
      code: 0,
      stdout: "",
      stderr: "holdpoint: no rows\n",
    });
    expect(await runCommand(["timeline", "--trace", "a".repeat(32)], as(KEYS.olivia))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("trace_not_found"),
    });
    expect(await runCommand(args, as(KEYS.otherReviewer))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("trace_not_found"),
    });
  });

  test("goes on page by page up to the limit, and says where it stopped", async () => {
    const id = freshId("ord");
    const body = { proposals: Array.from({ length: 100 }, () => onOrder(id)) };
    for (let at = 0; at < 3; at += 1) await sidecar.send({ path: "/v1/decisions/batch", body: refreshed(body) });
    const args = ["timeline", "--entity", `order/${id}`];
    const whole = await runJson(args, as(KEYS.olivia));
    expect(whole.rows).toHaveLength(600);
    expect(whole.cursor).toBeNull();
    expect(new Set(whole.rows.map(({ index, kind }: Body) => `${index} ${kind}`)).size).toBe(600);
    const part = await runJson([...args, "--limit", "501"], as(KEYS.olivia));
    expect(part.rows).toEqual(whole.rows.slice(0, 501));
    expect(part.rebuild).toBeUndefined();
    const { stdout } = await runCommand([...args, "--limit", "3"], as(KEYS.olivia));
    expect(stdout).toMatch(new RegExp(`\\nThe first 3; --limit N for more, or --since ${TIME}\\.\\n$`));
  });

  const refreshed = ({ proposals }: Body): Body => ({
    proposals: proposals.map((one: Body) => ({ ...one, id: freshId("p") })),
  });

  test("takes ids with slashes, and types with %2F for one", async () => {
    const entity = { type: "order/x", id: "a/b?c#d" };
    await sidecar.decide(refund(5, { entity }));
    const answer = await runJson(["timeline", "--entity", "order%2Fx/a/b?c#d"], as(KEYS.olivia));
    expect(answer).toMatchObject({ entity, rebuild: { matches: null } });
    const { stdout } = await runCommand(["timeline", "--entity", "order%2Fx/a/b?c#d"], as(KEYS.olivia));
    expect(stdout).toMatch(/\nrebuild: not checked: .+\n$/);
  });

  test("lets nothing through to the terminal that would be obeyed by it", async () => {
    const hostile = "\u001b[2Jpay \u202e005\u202c\u009b1m\u200b";
    const row = { index: 0, time: hostile, kind: hostile, actor: hostile, summary: hostile, trace_id: null };
    const page = { rows: [row], cursor: null, rebuild: { matches: false, reason: hostile } };
    const admin_url = await speaking(page);
    const { code, stdout } = await runCommand(["timeline", "--entity", "a/b"], { admin_url });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of these may reach a terminal
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e]/);
    expect(stdout).toContain("\\u001b[2Jpay \\u202e005");
    expect(stdout).toMatch(/\nrebuild: the events do NOT give the state that is kept ✗: .+\n$/);
    expect(code).toBe(3);
  });

  test.each([
    { rows: "none", cursor: null },
    { rows: [{ time: 7 }], cursor: null },
    { rows: [null], cursor: null },
    { rows: [{ time: "t", kind: "k", actor: 7, summary: "s" }], cursor: null },
    { rows: [], cursor: 7 },
    { rows: [], cursor: "1.0" },
  ])("%j is no timeline", async (page) => {
    const admin_url = await speaking(page);
    const result = await runCommand(["timeline", "--trace", "x"], { admin_url });
    expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining("wrong_protocol") });
  });

  test.each([
    [[], "--trace ID or --entity"],
    [["--trace", "x", "--entity", "a/b"], "--trace ID or --entity"],
    [["--entity", "order"], "TYPE/ID"],
    [["--entity", "/b"], "TYPE/ID"],
    [["--entity", "a/"], "TYPE/ID"],
    [["--trace", "x", "--limit", "0"], "--limit"],
    [["--trace", "x", "--limit", "100001"], "--limit"],
  ])("%j is not how it is used", async (args, said) => {
    const result = await runCommand(["timeline", ...args], as(KEYS.olivia));
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining(said) });
  });

  test("passes on what the sidecar says of kinds and times", async () => {
    const args = ["timeline", "--entity", "order/x"];
    const kind = await runCommand([...args, "--kind", "action_blockd"], as(KEYS.olivia));
    expect(kind).toMatchObject({ code: 1, stderr: expect.stringContaining("action_blockd") });
    const since = await runCommand([...args, "--since", "yesterday"], as(KEYS.olivia));
    expect(since).toMatchObject({ code: 1, stderr: expect.stringContaining("since") });
    expect(await runCommand(args, as(KEYS.bot))).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("forbidden"),
    });
  });
});
