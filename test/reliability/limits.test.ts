/** A budget of ten that a hundred contend for through sidecars that are killed: ten in the end, and never more. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { contextualBundle, pay } from "../support/contextual.ts";
import { killProcesses, type SidecarProcess, startProcess } from "../support/process.ts";
import { freshId } from "../support/proposals.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import type { Body } from "../support/sidecar.ts";

vi.setConfig({ testTimeout: 120_000 });

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterEach(killProcesses);
afterAll(() => redis.dispose());

async function spend(sidecar: SidecarProcess, proposal: Body): Promise<boolean> {
  const { body: decision } = await sidecar.decide(proposal);
  if (decision.permit === undefined) return false;
  const use = {
    permit: decision.permit,
    action: proposal.action,
    actor: { id: proposal.actor.id },
    entity: proposal.entity,
  };
  return (await sidecar.send({ path: "/v1/permits/consume", body: use })).body.valid === true;
}

test.each([1, 2, 3])("round %i", async () => {
  const limits = [{ key: freshId("budget"), limit: 10, window_seconds: 3_600 }];
  const now = { outcome: "allow", permit: { required: true, ttl_seconds: 1 }, limits };
  const settings = { bundle: contextualBundle(), store: redis.url, admin_auth: "none" };
  let spent = 0;
  const contend = (sidecar: SidecarProcess) =>
    Promise.all(
      Array.from({ length: 50 }, async () => {
        // One that was killed answers nobody; what it had spent by then is in the store.
        if (await spend(sidecar, pay(now, "o")).catch(() => false)) spent += 1;
      }),
    );
  const [doomed, other] = [await startProcess(settings), await startProcess(settings)];
  const contending = [contend(doomed), contend(other)];
  await Promise.race(contending);
  await doomed.stop("SIGKILL");
  await Promise.all(contending);
  expect(spent).toBeLessThanOrEqual(10);
  // What died unused comes back when its permit expires: the rest is spent by who is left, and then it is over.
  const consumed = async () =>
    (await other.send({ method: "GET", port: "admin", path: "/v1/executions?limit=500" })).body.executions.length;
  await expect
    .poll(async () => [await spend(other, pay(now, "o")), await consumed()][1], { timeout: 30_000 })
    .toBeGreaterThanOrEqual(10);
  expect((await other.decide(pay(now, "o"))).body).toMatchObject({
    outcome: "deny",
    reasons: [{ code: "limit_exceeded" }],
  });
  expect(await consumed()).toBe(10);
  await redis.admin.flushall();
});
