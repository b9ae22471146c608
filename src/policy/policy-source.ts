/**
 * Keeps the policy that decides up to date with where it comes from. A reload swaps a whole policy in or changes nothing:
 * the last good one keeps serving (INVARIANT: atomic), and what was wrong is in `status()` until a load succeeds.
 */
import { ConfigError, toError } from "../core/errors.ts";
import type { LoadedPolicy, PolicySource, PolicyStatus } from "../core/ports.ts";
import { type LoadPolicy, loadPolicy } from "./load-policy.ts";
import { watchPath } from "./watch-path.ts";

export interface PolicySourceRequest extends LoadPolicy {
  /** Reload when the files change. */
  readonly watch: boolean;
  readonly onLoaded?: (policy: LoadedPolicy) => void;
  /** The policy in force lies there again, unchanged, after something else was refused. */
  readonly onRestored?: (policy: LoadedPolicy) => void;
  readonly onFailed?: (error: ConfigError) => void;
}

export interface ReloadablePolicySource extends PolicySource {
  /** Resolves when a load that began after the call is over; never rejects, see `status().lastError`. */
  reload(): Promise<void>;
  close(): Promise<void>;
}

/** Resolves after the first load, also where it failed: without a policy everything is denied, and a later load may succeed. */
export async function openPolicySource(request: PolicySourceRequest): Promise<ReloadablePolicySource> {
  let status: PolicyStatus = { active: undefined, lastError: undefined };
  let isClosed = false;
  const loadOnce = async (): Promise<void> => {
    if (isClosed) return;
    try {
      const policy = await loadPolicy(request);
      if (isClosed) return;
      // The same bundle again keeps its instance, which is warm.
      const isNew = status.active?.digest !== policy.digest || status.active.revision !== policy.revision;
      const wasRefused = status.lastError !== undefined;
      status = { active: isNew ? policy : status.active, lastError: undefined };
      if (isNew) request.onLoaded?.(policy);
      else if (wasRefused) request.onRestored?.(policy);
    } catch (thrown) {
      const error = asConfigError(thrown);
      status = { active: status.active, lastError: describe(error) };
      request.onFailed?.(error);
    }
  };
  const reload = serialise(loadOnce);
  await reload();
  const watcher = request.watch ? watchPath(request.path, () => void reload()) : undefined;
  return {
    status: () => status,
    reload,
    close: async () => {
      isClosed = true;
      watcher?.close();
    },
  };
}

function asConfigError(thrown: unknown): ConfigError {
  if (thrown instanceof ConfigError) return thrown;
  const { message } = toError(thrown);
  return new ConfigError("bundle_invalid", message, [message], { cause: thrown });
}

function describe(error: ConfigError): PolicyStatus["lastError"] {
  return { code: error.code, message: error.message, at: new Date() };
}

/** One load at a time; calls that come during one share the next, which sees everything that was there when they came. */
function serialise(load: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    running = load().finally(() => {
      running = undefined;
    });
    return running;
  };
  return () => {
    if (running === undefined) return start();
    next ??= running.then(() => {
      next = undefined;
      return start();
    });
    return next;
  };
}
