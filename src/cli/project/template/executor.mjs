// What acts. Holdpoint calls it for actions that were allowed, and for no others: call your own systems from here.
// It asks nobody for a password. Where others can reach it, give it one (`headers` of the executor in holdpoint.yaml),
// or have it check the signed permit in the header holdpoint-permit.
import { realpathSync } from "node:fs";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const BODY_CHARS_MAX = 1_000_000;
const RUNS_MAX = 1_000;

const ACTIONS = {
  ASSIGN_TASK: async (task, { assignee }) => `${task} is given to ${assignee}`,
  CLOSE_TASK: async (task) => `${task} is closed`,
  DELETE_TASK: async (task) => `${task} is deleted`,
};

/** @param port 0: a free one */
export async function startExecutor(port = 0) {
  const runs = new Map(); // by idempotency-key: the same one again is answered, and not run again
  const server = createServer(async (request, response) => {
    // 4xx says that the action certainly did not run, anything else but 2xx that nobody knows.
    const { status, body = {} } = await answer(request, runs).catch(() => ({ status: 500 }));
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, runs, stop: () => server.close() };
}

async function answer(request, runs) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > BODY_CHARS_MAX) return { status: 413 };
  }
  const key = request.headers["idempotency-key"];
  const { action, entity } = parsed(text);
  if (key === undefined || !Object.hasOwn(ACTIONS, action?.name)) return { status: 400 };
  if (!runs.has(key)) runs.set(key, ACTIONS[action.name](entity.id, action.arguments));
  if (runs.size > RUNS_MAX) runs.delete(runs.keys().next().value);
  return { status: 200, body: { message: await runs.get(key) } };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  console.log(`Executor on ${(await startExecutor(Number(process.argv[2] ?? 8284))).url}`);
}
