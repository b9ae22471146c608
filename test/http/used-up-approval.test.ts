import { expect, test } from "vitest";
import { useOf } from "../support/proposals.ts";
import { again, escalate, PERMIT, scripted, startScripted } from "../support/scripted.ts";

test("the second permit of a grant that is used up is refused with the approval's name, and not as used itself", async () => {
  const holdpoint = await startScripted();
  try {
    const first = scripted(escalate(), { context: { granted: PERMIT } });
    const second = again(first);
    const answers = [await holdpoint.grant(first), (await holdpoint.decide(second)).body];
    const consume = (proposal: unknown, answer: unknown) =>
      holdpoint.send({ path: "/v1/permits/consume", body: useOf(proposal as never, answer as never) });
    expect((await consume(first, answers[0])).status).toBe(200);
    const { status, body } = await consume(second, answers[1]);
    expect([status, body.code]).toEqual([409, "already_consumed"]);
    expect(body.detail).toMatch(/: the uses of its approval "appr_\w+" are used up$/);
    expect((await consume(first, answers[0])).body.detail).toMatch(/: it has been used$/);
  } finally {
    await holdpoint.close();
  }
});
