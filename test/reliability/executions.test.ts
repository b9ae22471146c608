/** Actions that the sidecar runs itself, while it is killed: nothing runs twice, and what is not known is said to be so. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { contextualBundle, eventOf } from "../support/contextual.ts";
import { killProcesses, type SidecarProcess, startProcess, temporaryDirectory } from "../support/process.ts";
import { freshId } from "../support/proposals.ts";
import { type RedisServer, startRedis, until } from "../support/redis.ts";
import type { Body } from "../support/sidecar.ts";

vi.setConfig({ testTimeout: 120_000 });

let executor: Server;
let calls: string[];
/** Answers that are held back; undefined: everybody is answered at once. */
let held: ServerResponse[] | undefined;
let redis: RedisServer;

beforeAll(async () => {
  redis = await startRedis();
  executor = createServer((request, response) => {
    calls.push(String(request.headers["idempotency-key"]));
    request.resume().on("end", () => {
      if (held === undefined) response.writeHead(200, { "content-type": "application/json" }).end("{}");
      else held.push(response);
    });
  });
  await new Promise<void>((resolve) => executor.listen(0, "127.0.0.1", resolve));
});
afterAll(async () => {
  executor.closeAllConnections();
  executor.close();
  await redis.dispose();
});
beforeEach(() => {
  calls = [];
  held = undefined;
});
afterEach(killProcesses);

const settingsOn = (store: string) => ({
  bundle: contextualBundle(),
  data_dir: temporaryDirectory(),
  store,
  admin_auth: "none",
  executors: { runner: { url: `http://127.0.0.1:${(executor.address() as AddressInfo).port}/`, timeout_ms: 20_000 } },
});

async function paidOrder(sidecar: SidecarProcess): Promise<string> {
  const order = freshId("ord");
  const events = ["ORDER_PLACED", "ORDER_PAID"].map((type) => eventOf(type, order));
  await sidecar.send({ port: "admin", path: "/v1/events", body: { events } });
  return order;
}

const execute = (sidecar: SidecarProcess, order: string, id: string) =>
  sidecar.send({
    path: `/v1/entities/${order}/actions/RUN/execute`,
    body: {
      id,
      entity_type: "order",
      actor: { id: "ops-agent" },
      context: { now: { outcome: "allow", permit: { required: true, bind_entity_version: true } }, states: ["PAID"] },
    },
  });

const stateOf = async (sidecar: SidecarProcess, order: string): Promise<Body> =>
  (await sidecar.send({ method: "GET", port: "admin", path: `/v1/entities/order/${order}` })).body;

const unknown = async (sidecar: SidecarProcess): Promise<Body[]> =>
  (await sidecar.send({ method: "GET", port: "admin", path: "/v1/executions?status=unknown&limit=500" })).body
    .executions;

test.each(["embedded", "redis"])(
  "killed while the executor works, %s: unknown, listed, never called again, resolvable",
  async (kind) => {
    const settings = settingsOn(kind === "redis" ? redis.url : "embedded");
    held = [];
    const first = await startProcess(settings);
    const order = await paidOrder(first);
    const answer = execute(first, order, "run-1").catch(() => undefined);
    await until(() => held!.length === 1, "the executor is called");
    await first.stop("SIGKILL");
    await answer;
    held = undefined;
    const second = await startProcess(settings);
    const [left] = await unknown(second);
    expect(left).toMatchObject({ execution_id: calls[0], status: "unknown", action: "RUN" });
    expect(await execute(second, order, "run-1")).toMatchObject({
      status: 409,
      body: { code: "already_consumed", outcome: "deny" },
    });
    expect(calls).toHaveLength(1);
    expect(await stateOf(second, order)).toMatchObject({ state: "PAID" });
    const path = `/v1/executions/${left.execution_id}/resolve`;
    await second.send({
      port: "admin",
      path,
      body: { status: "succeeded", reason: "the bank says so", actor: { id: "olivia" } },
    });
    expect(await stateOf(second, order)).toMatchObject({ state: "REFUNDED", rebuild: { matches: true } });
    expect(await unknown(second)).toEqual([]);
  },
);

test("killed at any moment, an order is refunded once or its outcome is unknown", async () => {
  const settings = settingsOn("embedded");
  const orders = new Map<string, string>();
  let rounds = 0;
  for (const killAfter of [1, 7, 15, 24, 40]) {
    const sidecar = await startProcess(settings);
    const before = calls.length;
    let isOver = false;
    const clients = Array.from({ length: 6 }, async () => {
      while (!isOver) {
        try {
          const order = await paidOrder(sidecar);
          orders.set(order, `run-${order}`);
          await execute(sidecar, order, `run-${order}`);
        } catch {
          return;
        }
      }
    });
    await until(() => calls.length >= before + killAfter, "actions were run");
    await sidecar.stop("SIGKILL");
    isOver = true;
    await Promise.all(clients);
    rounds += 1;
  }
  expect(rounds).toBe(5);
  const sidecar = await startProcess(settings);
  const open = new Set((await unknown(sidecar)).map(({ execution_id }) => execution_id as string));
  for (const [order, id] of orders) {
    await execute(sidecar, order, id);
    const { state, rebuild } = await stateOf(sidecar, order);
    if (state !== null) expect({ order, matches: rebuild.matches }).toEqual({ order, matches: true });
  }
  // However often each was asked for, every execution reached the executor once.
  expect(calls).toHaveLength(new Set(calls).size);
  const states = await Promise.all([...orders.keys()].map((order) => stateOf(sidecar, order)));
  const refunded = states.filter(({ state }) => state === "REFUNDED").length;
  const unresolved = calls.filter((id) => open.has(id)).length;
  // An action that ran moved its order, or is among those that somebody has to look at; a crash between the two is both.
  expect(refunded + unresolved).toBeGreaterThanOrEqual(calls.length);
  expect(refunded).toBeLessThanOrEqual(calls.length);
});
