import { UnavailableError } from "../core/errors.ts";
import type { Store } from "../core/ports.ts";

/** The same store, with every failure of its backend told to `onFailure` as it passes. */
export function observeStore(store: Store, onFailure: (error: UnavailableError) => void): Store {
  const told = (error: unknown): never => {
    if (error instanceof UnavailableError) onFailure(error);
    throw error;
  };
  return new Proxy(store, {
    get(target, name) {
      const member = Reflect.get(target, name) as unknown;
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        const result: unknown = member.apply(target, args);
        return result instanceof Promise ? result.catch(told) : result;
      };
    },
  });
}
