import { expect, test } from "vitest";
import { SCRAPE_AGE_MS_MAX, withinBudget } from "../../src/http/scrape-budget.ts";

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
  );
  return {
    scrape,
    wait: (ms: number) => {
      now += ms;
    },
  };
}

test("withinBudget() answers the same again until a hundred times the cost has passed", async () => {
  const { scrape, wait } = rendered(2);
  expect(await scrape()).toBe(1);
  wait(199);
  expect(await scrape()).toBe(1);
  wait(1);
  expect(await scrape()).toBe(2);
});

test("withinBudget() keeps no answer longer than a second, whatever it cost", async () => {
  const { scrape, wait } = rendered(500);
  expect(await scrape()).toBe(1);
  wait(SCRAPE_AGE_MS_MAX - 1);
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
  );
  await expect(scrape()).rejects.toThrow("not now");
  isBroken = false;
  expect(await scrape()).toBe("well");
});
