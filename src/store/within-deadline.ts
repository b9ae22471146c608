import { HoldpointError, toError, UnavailableError } from "../core/errors.ts";

/**
 * Runs one operation of a backend and answers within `timeoutMs`, whatever the backend does. Whatever it throws becomes
 * UnavailableError("store_unavailable"); what happened to the change is then unknown, and no caller may read it as a yes.
 */
export async function withinDeadline<T>(name: string, timeoutMs: number, operation: () => Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unavailable(name, new Error(`No answer within ${timeoutMs} ms`))), timeoutMs);
  });
  try {
    return await Promise.race([operation(), deadline]);
  } catch (thrown) {
    throw thrown instanceof HoldpointError ? thrown : unavailable(name, toError(thrown));
  } finally {
    clearTimeout(timer);
  }
}

function unavailable(name: string, cause: Error): UnavailableError {
  return new UnavailableError("store_unavailable", `Store cannot ${name}: no usable answer from its backend`, {
    cause,
  });
}
