/**
 * One after the other, by key: who shares what only one can change at a time does better to wait than to lose and try again.
 * An optimisation and no lock: the store decides who was first, and nobody waits for a turn longer than `TURN_WAIT_MS`.
 */

/** Longer than a step of the store usually takes, and short enough for whoever is behind one that hangs. */
export const TURN_WAIT_MS = 250;

export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** @returns ends the turn; must be called */
  async take(key: string): Promise<() => void> {
    const before = this.#last.get(key);
    let end = (): void => {};
    const mine = new Promise<void>((resolve) => {
      end = resolve;
    });
    const tail = (before ?? Promise.resolve()).then(() => mine);
    this.#last.set(key, tail);
    if (before !== undefined) await waitAtMost(before, TURN_WAIT_MS);
    return () => {
      end();
      if (this.#last.get(key) === tail) this.#last.delete(key);
    };
  }
}

async function waitAtMost(promise: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, timeUp]).finally(() => clearTimeout(timer));
}
