import { UnavailableError } from "../core/errors.ts";
import type { Store } from "../core/ports.ts";

export interface StoreCall {
  readonly operation: string;
  readonly seconds: number;
  /** Set where the backend failed; a refusal of the store's is an answer. */
  readonly error: UnavailableError | undefined;
}

/** Waits that are long by design, and the end: their times would say nothing of the store. */
const UNTIMED: ReadonlySet<string> = new Set(["waitApproval", "hold", "close"]);

/** The same store, with every call told to `onCall` as it passes. */
export function observeStore(store: Store, onCall: (call: StoreCall) => void): Store {
  const observed = Object.create(store) as Record<string, unknown>;
  const names = new Set([...Object.keys(store), ...Object.getOwnPropertyNames(Object.getPrototypeOf(store))]);
  for (const name of names) {
    const member = (store as unknown as Record<string, unknown>)[name];
    if (name === "constructor" || typeof member !== "function") continue;
    observed[name] = async (...args: unknown[]) => {
      const startedAt = performance.now();
      let error: UnavailableError | undefined;
      try {
        return await (member.apply(store, args) as Promise<unknown>);
      } catch (thrown) {
        if (thrown instanceof UnavailableError) error = thrown;
        throw thrown;
      } finally {
        const seconds = (performance.now() - startedAt) / 1000;
        if (error !== undefined || !UNTIMED.has(name)) onCall({ operation: name, seconds, error });
      }
    };
  }
  return observed as unknown as Store;
}
