/** Good credentials: what they claim too much, and how one key follows another. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../support/redis.ts";
import { ALLOW, PERMIT, scripted, startScripted } from "../support/scripted.ts";
import { API_KEYS, type Body, KEYS, type TestSidecar } from "../support/sidecar.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
const bot = API_KEYS.find(({ id }) => id === "bot")!;

let holdpoint: TestSidecar;

beforeAll(async () => {
  const rotating = { ...bot, id: "rotating", sha256: [sha256("the-old-key"), sha256("the-new-key")] };
  holdpoint = await startScripted({ auth: "api_key", api_keys: [...API_KEYS, rotating] });
});
afterAll(() => holdpoint.close());

test("a proposal that claims more than its credential allows is recorded, with whose it was", async () => {
  for (const actor of [{ id: "root" }, { id: "support-agent", roles: ["admin"] }]) {
    const refused = await holdpoint.decide(scripted(ALLOW, { actor }), KEYS.bot);
    expect(refused).toMatchObject({ status: 403, body: { code: "forbidden", outcome: "deny" } });
  }
  const batch = { proposals: [scripted(ALLOW), scripted(ALLOW, { actor: { id: "root" } })] };
  const answer = await holdpoint.send({ path: "/v1/decisions/batch", body: batch, key: KEYS.bot });
  expect(answer.body.decisions[1]).toMatchObject({ code: "forbidden" });
  const recorded = () => holdpoint.entries().filter(({ kind }) => kind === "credentials_refused");
  await until(() => recorded().length > 0, "it is recorded");
  expect(recorded()).toEqual([
    expect.objectContaining({
      tenant: "default",
      data: expect.objectContaining({
        count: 3,
        by_reason: { claims_too_much: 3 },
        credentials: ["bot"],
        by_port: { decision: 3 },
      }),
    }),
  ]);
});

test("two keys of one entry are one credential: what the old one consumed the new one reports", async () => {
  const proposal = scripted(PERMIT);
  const { body: decision } = await holdpoint.decide(proposal, "the-old-key");
  const { action, actor, entity } = proposal;
  const use: Body = { permit: decision.permit, action, actor, entity };
  const consumed = await holdpoint.send({ path: "/v1/permits/consume", body: use, key: "the-old-key" });
  expect(consumed.status).toBe(200);
  const report = { permit_id: consumed.body.permit_id, status: "succeeded" };
  const reported = await holdpoint.send({ path: "/v1/executions", body: report, key: "the-new-key" });
  expect(reported.status).toBe(200);
});
