import fc from "fast-check";
import { expect, test } from "vitest";
import { createOpenTurns, type Opener } from "../../src/cli/open-turns.ts";

/** Processes that do as they are told, in an order that the test chooses. */
function processes(count: number) {
  const words: { readonly id: number; readonly word: string; readonly turn: number }[] = [];
  let isOwnHeld = false;
  const turns = createOpenTurns(async () => {
    isOwnHeld = true;
    return () => {
      isOwnHeld = false;
    };
  });
  const openers: Opener[] = Array.from({ length: count }, (_, id) => ({
    id,
    send: (word, turn) => words.push({ id, word, turn }),
    end: () => {},
  }));
  return { turns, openers, words, isOwnHeld: () => isOwnHeld };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("createOpenTurns() lets one open once all others hold, and then has them go on", async () => {
  const { turns, openers, words, isOwnHeld } = processes(2);
  turns.asked(openers[0]!);
  await settle();
  expect(words).toEqual([{ id: 0, word: "open", turn: 1 }]);
  expect(isOwnHeld()).toBe(true);
  turns.opened(0);
  expect(isOwnHeld()).toBe(false);
  turns.asked(openers[1]!);
  await settle();
  expect(words.splice(0)).toEqual([
    { id: 0, word: "open", turn: 1 },
    { id: 0, word: "hold", turn: 2 },
  ]);
  // Late word of another hold: this one is not yet in force there.
  turns.held(0, 1);
  await settle();
  expect(words).toEqual([]);
  turns.held(0, 2);
  await settle();
  expect(words.splice(0)).toEqual([{ id: 1, word: "open", turn: 2 }]);
  expect(isOwnHeld()).toBe(true);
  turns.opened(1);
  expect(words).toEqual([{ id: 0, word: "resume", turn: 2 }]);
  expect(isOwnHeld()).toBe(false);
});

test("createOpenTurns() goes on when the one that opens, or one that should hold, is gone", async () => {
  const { turns, openers, words, isOwnHeld } = processes(3);
  turns.asked(openers[0]!);
  await settle();
  turns.gone(0);
  expect(isOwnHeld()).toBe(false);
  turns.asked(openers[1]!);
  await settle();
  turns.opened(1);
  turns.asked(openers[2]!);
  await settle();
  turns.gone(1);
  await settle();
  expect(words.at(-1)).toMatchObject({ id: 2, word: "open" });
});

test("createOpenTurns() never has two open at once, or one open while another writes, whatever happens in which order", async () => {
  const step = fc.record({ id: fc.nat(4), what: fc.constantFrom("asked", "held", "opened", "gone") });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { turns, openers, words, isOwnHeld } = processes(5);
      const state = new Map<number, "new" | "asking" | "opening" | "open" | "held">();
      const of = (id: number) => state.get(id) ?? "new";
      const holds = new Map<number, number>();
      const obey = () => {
        for (const { id, word, turn } of words.splice(0)) {
          if (word === "hold") holds.set(id, turn);
          if (word === "open" && of(id) === "asking") {
            expect(isOwnHeld()).toBe(true);
            expect([...state.values()]).not.toContain("opening");
            expect([...state.values()]).not.toContain("open");
            state.set(id, "opening");
          }
          if (word === "resume" && of(id) === "held") state.set(id, "open");
        }
      };
      for (const { id, what } of steps) {
        if (what === "asked" && of(id) === "new") {
          state.set(id, "asking");
          turns.asked(openers[id]!);
        } else if (what === "held" && of(id) === "open") {
          state.set(id, "held");
          turns.held(id, holds.get(id) ?? 0);
        } else if (what === "opened" && of(id) === "opening") {
          state.set(id, "open");
          turns.opened(id);
        } else if (what === "gone" && of(id) !== "new") {
          state.set(id, "new");
          turns.gone(id);
        }
        await settle();
        obey();
      }
    }),
    { seed: 7, numRuns: 200 },
  );
});

test("createOpenTurns() lets everybody go on where one does not hold in time", async () => {
  const words: string[] = [];
  let releases = 0;
  const turns = createOpenTurns(
    async () => () => {
      releases += 1;
    },
    1,
  );
  const opener = (id: number): Opener => ({ id, send: (word) => words.push(`${id} ${word}`), end: () => {} });
  turns.asked(opener(0));
  await settle();
  turns.opened(0);
  turns.asked(opener(1));
  await new Promise<void>((resolve) => {
    const look = () => (words.includes("0 resume") ? resolve() : void setImmediate(look));
    look();
  });
  expect(words).not.toContain("1 open");
  expect(releases).toBe(2);
  turns.gone(1);
});

test("createOpenTurns() forgets one that ends before it is tried again, and ends one that is let open and does not", async () => {
  const words: string[] = [];
  const turns = createOpenTurns(async () => () => {}, 1, 1);
  const until = (word: string) =>
    new Promise<void>((resolve) => {
      const look = () => (words.includes(word) ? resolve() : void setImmediate(look));
      look();
    });
  const opener = (id: number): Opener => ({
    id,
    send: (word) => words.push(`${id} ${word}`),
    end: () => {
      words.push(`${id} ended`);
      turns.gone(id);
    },
  });
  turns.asked(opener(0));
  await settle();
  turns.opened(0);
  turns.asked(opener(1));
  await until("0 resume");
  turns.gone(1);
  turns.gone(0);
  turns.asked(opener(2));
  await until("2 ended");
  turns.asked(opener(3));
  await until("3 open");
  turns.opened(3);
  expect(words).not.toContain("1 open");
});
