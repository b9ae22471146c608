// Five endings of an agent's actions, over HTTP as any agent, reviewer and event source would: `make demo`.
// The sidecar is one of its own, on free ports and with data that is thrown away. Exit code 1 where an ending is not as expected.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startExecutor } from "./executor.mjs";

const [program = "holdpoint", ...words] = process.argv.slice(2);
const AGENT = { id: "assistant", type: "agent", roles: ["assistant"] };
const LEAD = { id: "olivia", roles: ["lead"] };
let isAsExpected = true;

const executor = await startExecutor();
const dataDir = mkdtempSync(join(tmpdir(), "holdpoint-demo-"));
let sidecar;
try {
  sidecar = await startSidecar();
  await endings();
} catch (error) {
  isAsExpected = false;
  console.error(error);
} finally {
  await sidecar?.stop();
  executor.stop();
  rmSync(dataDir, { recursive: true, force: true });
}
console.log(isAsExpected ? "\nFive endings, all as expected" : "\nNOT as expected");
process.exitCode = isAsExpected ? 0 : 1;

async function endings() {
  title("(1) Executed: policy allows it, the executor runs it, its event moves the task");
  await tell("TASK_OPENED", "task-1", { label: "chore" });
  await execute("task-1", "ASSIGN_TASK", { assignee: "dana" });
  const closed = await execute("task-1", "CLOSE_TASK", { note: "swept" });
  expect("the task is DONE", closed.status === 200 && closed.body.result.state === "DONE");
  await timeline("task-1");

  title("(2) Held: deleting is for a human to agree to");
  await tell("TASK_OPENED", "task-2", { label: "chore" });
  const held = await execute("task-2", "DELETE_TASK", { reason: "opened twice" });
  expect("nothing ran", held.status === 422 && held.body.error === "action requires approval" && ran() === 2);
  await timeline("task-2");

  title("(3) Granted and executed: the very same call, once a lead has agreed");
  await review(held.body.approval_id, "grant", "it is a duplicate");
  const approval = { approval_id: held.body.approval_id };
  const deleted = await execute("task-2", "DELETE_TASK", { reason: "opened twice" }, approval);
  expect("the task is DELETED", deleted.status === 200 && deleted.body.result.state === "DELETED" && ran() === 3);
  await timeline("task-2");

  title("(4) Denied: it never runs, however often it is tried");
  await tell("TASK_OPENED", "task-3", { label: "chore" });
  const disputed = await execute("task-3", "DELETE_TASK", { reason: "looks old" });
  await review(disputed.body.approval_id, "deny", "we still need it");
  const retried = await execute("task-3", "DELETE_TASK", { reason: "looks old" });
  expect("the retry is refused", retried.status === 422 && codeOf(retried) === "approval_denied" && ran() === 3);
  await timeline("task-3");

  title("(5) Blocked by state: a task that is given to nobody is not closed");
  await tell("TASK_OPENED", "task-4", { label: "chore" });
  const early = await execute("task-4", "CLOSE_TASK", {});
  const { current_state, allowed_states } = early.body;
  expect("nothing ran", early.status === 422 && codeOf(early) === "state_not_allowed" && ran() === 3);
  expect("it says which state it needs", `${current_state} → ${allowed_states}` === "OPEN → ASSIGNED");
  await timeline("task-4");
}

/** An event, as the task board tells it on the admin port. */
async function tell(type, task, data) {
  const event = { id: `${task}:${type}`, source: "task-board", type, entity: { type: "task", id: task } };
  const { body } = await post(sidecar.admin, "/v1/events", { ...event, actor: { id: "task-board" }, data });
  say(`board tells ${type} of ${task} → ${body.state ?? body.detail}`);
}

/** The agent asks; Holdpoint decides and, where it may, has the executor run it. */
async function execute(task, action, parameters, more = {}) {
  const path = `/v1/entities/${task}/actions/${action}/execute`;
  const answer = await post(sidecar.decisions, path, { entity_type: "task", actor: AGENT, parameters, ...more });
  const { result, error } = answer.body;
  say(`agent asks for ${action} on ${task} → ${answer.status} ${result?.message ?? `${error} (${codeOf(answer)})`}`);
  return answer;
}

async function review(approvalId, verdict, reason) {
  const { body } = await post(sidecar.admin, `/v1/approvals/${approvalId}/${verdict}`, { reason, actor: LEAD });
  say(`${LEAD.id}: ${verdict}, “${reason}” → ${body.approval?.status ?? body.detail}`);
}

/** What the ledger says of a task, and whether its events alone give the state it has. */
async function timeline(task) {
  const { body } = await send(`${sidecar.admin}/v1/entities/task/${task}/timeline`);
  for (const { time, kind, actor, summary } of body.rows ?? []) {
    console.log(`      │ ${time.slice(11, 23)} ${kind.padEnd(18)} ${String(actor).padEnd(11)} ${summary}`);
  }
  expect("rebuilt from its events alone, it is the same", body.rebuild?.matches === true);
}

function post(base, path, body) {
  const headers = { "content-type": "application/json" };
  return send(base + path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function send(url, init = {}) {
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(30_000) });
  return { status: response.status, body: await response.json() };
}

function codeOf({ body }) {
  return body.reasons?.[0]?.code ?? body.code ?? body.message;
}

function ran() {
  return executor.runs.size;
}

function title(text) {
  console.log(`\n${text}`);
}

function say(text) {
  console.log(`    ${text}`);
}

function expect(what, holds) {
  if (!holds) isAsExpected = false;
  say(`${holds ? "✓" : "✗ NOT:"} ${what}`);
}

/** Told everything by variables, and nothing by holdpoint.yaml: whatever that says, the demo touches no data but its own. */
async function startSidecar() {
  const env = {
    PATH: process.env.PATH,
    HOLDPOINT_LISTEN: "127.0.0.1:0",
    HOLDPOINT_ADMIN_LISTEN: "127.0.0.1:0",
    HOLDPOINT_ADMIN_AUTH: "none",
    HOLDPOINT_BUNDLE: ".build/bundle.tar.gz",
    HOLDPOINT_DATA_DIR: dataDir,
    HOLDPOINT_EXECUTORS: JSON.stringify({ "tasks.api": { url: executor.url } }),
  };
  const child = spawn(program, [...words, "serve"], { env, stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  exited.catch(() => {}); // that it cannot be started is told below
  process.once("exit", () => child.kill("SIGKILL"));
  const found = await listeners(child);
  const stop = async () => {
    child.kill("SIGTERM");
    await exited;
  };
  return { ...found, stop };
}

/** Its log says where it listens, and when it is up. */
function listeners(child) {
  return new Promise((resolve, reject) => {
    const lines = [];
    const fail = (why) => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      reject(new Error(`The sidecar did not start: ${why}\n${lines.join("\n")}`));
    };
    const timer = setTimeout(() => fail("nothing for 60 s"), 60_000);
    child.once("error", ({ message }) => fail(message));
    child.once("close", (code) => fail(`exit code ${code}`));
    const found = {};
    createInterface({ input: child.stderr }).on("line", (line) => {
      lines.push(line);
      const [, port, address] = /"msg":"(Decisions|Admin) on ([^"]+)"/.exec(line) ?? [];
      if (port !== undefined) found[port.toLowerCase()] = `http://${address}`;
      if (!line.includes('"msg":"Holdpoint is up"')) return;
      clearTimeout(timer);
      resolve(found);
    });
  });
}
