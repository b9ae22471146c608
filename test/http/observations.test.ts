/** What observe mode would have stopped, read back on the admin port. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ALLOW, escalate, scripted, scriptedBundle } from "../support/scripted.ts";
import { API_KEYS, type Body, KEYS, startSidecar, type TestSidecar } from "../support/sidecar.ts";

let holdpoint: TestSidecar;

beforeAll(async () => {
  const api_keys = [...API_KEYS];
  holdpoint = await startSidecar({ bundle: scriptedBundle("now"), mode: "observe", auth: "api_key", api_keys });
});
afterAll(() => holdpoint.close());

const observations = async (query = "", key: string = KEYS.olivia): Promise<Body> =>
  (await holdpoint.send({ port: "admin", path: `/v1/observations${query}`, key })).body;

test("GET /v1/observations lists, newest first, what was let pass and what policy said of it", async () => {
  const denied = scripted({ outcome: "deny", reasons: [{ code: "no_way", message: "never" }] });
  await holdpoint.decide(scripted(ALLOW), KEYS.bot);
  const first = await holdpoint.decide(denied, KEYS.bot);
  const second = await holdpoint.decide(scripted(escalate()), KEYS.bot);
  expect(first.body).toMatchObject({ outcome: "allow", observed_outcome: "deny", enforced: false });
  const body = await observations();
  expect(body.cursor).toBeNull();
  expect(body.observations.map((one: Body) => [one.decision_id, one.observed_outcome])).toEqual([
    [second.body.decision_id, "escalate"],
    [first.body.decision_id, "deny"],
  ]);
  expect(body.observations[1]).toMatchObject({
    proposal_id: denied.id,
    action: { name: denied.action.name, arguments: denied.action.arguments },
    actor: { id: "support-agent" },
    entity: denied.entity,
    reasons: [{ code: "no_way", message: "never" }],
  });
});

test("GET /v1/observations goes on where the page before ended", async () => {
  const all = (await observations()).observations;
  let cursor: string | null = "";
  const paged: Body[] = [];
  while (cursor !== null) {
    const page: Body = await observations(`?limit=1${cursor === "" ? "" : `&cursor=${cursor}`}`);
    expect(page.observations.length).toBeLessThanOrEqual(1);
    paged.push(...page.observations);
    cursor = page.cursor;
  }
  expect(paged).toEqual(all);
});

test("GET /v1/observations shows a tenant its own alone", async () => {
  await holdpoint.decide(scripted({ outcome: "deny", reasons: [{ code: "theirs", message: "" }] }), KEYS.other);
  expect((await observations()).observations.some((one: Body) => one.reasons[0].code === "theirs")).toBe(false);
  const { observations: theirs } = await observations("", KEYS.otherReviewer);
  expect(theirs.map((one: Body) => one.reasons[0].code)).toEqual(["theirs"]);
});

test.each(["?limit=0", "?limit=501", "?cursor=x", "?cursor=1&cursor=2", "?cursor=-1"])(
  "GET /v1/observations%s is refused",
  async (query) => {
    expect(await observations(query)).toMatchObject({ status: 400, code: "invalid_request" });
  },
);

test("GET /v1/observations takes a reviewer or an operator", async () => {
  expect(await observations("", KEYS.bot)).toMatchObject({ status: 403, code: "forbidden" });
  expect((await holdpoint.send({ port: "admin", path: "/v1/observations" })).status).toBe(401);
  expect((await holdpoint.send({ path: "/v1/observations", key: KEYS.olivia })).status).toBe(404);
});
