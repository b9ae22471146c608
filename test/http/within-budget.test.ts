import { expect, test } from "vitest";
import { type Budget, withinBudget } from "../../src/http/within-budget.ts";

const BUDGET: Budget = { share: 0.01, ageMsMax: 1_000, freeMs: 1 };

/** Renders in `costMs` by a clock of its own. */
function rendered(costMs: number) {
  let now = 0;
  let renders = 0;
  const scrape = withinBudget(
    async () => {
      now += costMs;
      renders += 1;
      return renders;
    },
    () => now,
    BUDGET,
  );
  return {
    scrape,
    wait: (ms: number) => {
      now += ms;
    },
  };
}

test("withinBudget() answers the same again until it has paid for what it took", async () => {
  const { scrape, wait } = rendered(2);
  expect(await scrape()).toBe(1);
  wait(199);
  expect(await scrape()).toBe(1);
  wait(1);
  expect(await scrape()).toBe(2);
});

test("withinBudget() keeps no answer longer than it may, whatever it cost", async () => {
  const { scrape, wait } = rendered(500);
  expect(await scrape()).toBe(1);
  wait(BUDGET.ageMsMax - 1);
  expect(await scrape()).toBe(1);
  wait(1);
  expect(await scrape()).toBe(2);
});

test("withinBudget() lets fifty who ask at once share one answer", async () => {
  const { scrape } = rendered(1);
  const answers = await Promise.all(Array.from({ length: 50 }, () => scrape()));
  expect(new Set(answers)).toEqual(new Set([1]));
});

test("withinBudget() keeps no failure", async () => {
  let isBroken = true;
  const scrape = withinBudget(
    async () => {
      if (isBroken) throw new Error("not now");
      return "well";
    },
    () => 0,
    BUDGET,
  );
  await expect(scrape()).rejects.toThrow("not now");
  isBroken = false;
  expect(await scrape()).toBe("well");
});

test("withinBudget() keeps nothing that took next to nothing", async () => {
  const { scrape } = rendered(0.5);
  expect([await scrape(), await scrape()]).toEqual([1, 2]);
});
