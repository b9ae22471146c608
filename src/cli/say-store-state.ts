/** What the log says of a store that goes away and comes back: once, a reminder now and then, and once that it is back. */
import type { Logger } from "pino";
import type { StoreCall } from "../telemetry/observe-store.ts";

/** How often a store that stays away is told again. */
export const REMIND_MS = 60_000;
/** A connection that was just lost is tried again before this: then it is known why there is none. */
const REASON_WAIT_MS = 1_000;
const REASON_CHARS_MAX = 200;
/** Sentences that are remembered as said. */
const REFUSALS_MAX = 100;

export interface StoreState {
  readonly logger: Pick<Logger, "info" | "warn">;
  /** As `storeAddress` has it. */
  readonly address: string;
  readonly nowMs?: () => number;
  readonly onBack?: () => void;
}

interface Outage {
  readonly startedMs: number;
  lastFailureMs: number;
  failedCalls: number;
  reason: Reason;
  /** Undefined until it was told at all. */
  saidMs: number | undefined;
  timer?: NodeJS.Timeout;
}

/** @returns what every call of the store is told to */
export function sayStoreState(of: StoreState): (call: StoreCall) => void {
  const { logger, address, onBack, nowMs = () => performance.now() } = of;
  let current: Outage | undefined;
  const refusalsSaidMs = new Map<string, number>();
  /** The store answered, and does not do it: too few replicas, too many who wait, a server that may evict. */
  const refused = ({ message }: Error) => {
    const saidMs = refusalsSaidMs.get(message);
    if (saidMs !== undefined && nowMs() - saidMs < REMIND_MS) return;
    if (refusalsSaidMs.size >= REFUSALS_MAX) refusalsSaidMs.clear();
    refusalsSaidMs.set(message, nowMs());
    logger.warn(message);
  };
  const sayAway = (outage: Outage) => {
    clearTimeout(outage.timer);
    if (outage.saidMs === undefined) logger.warn(`Store ${address} is away: ${outage.reason.text}`);
    else {
      const since = secondsOf(nowMs() - outage.startedMs);
      const facts = { failed_calls: outage.failedCalls };
      logger.warn(facts, `Store ${address} is away for ${since} s: ${outage.reason.text}`);
    }
    outage.saidMs = nowMs();
  };
  const failed = (error: Error) => {
    const now = nowMs();
    const reason = reasonOf(error);
    if (current === undefined) {
      const outage: Outage = { startedMs: now, lastFailureMs: now, failedCalls: 1, reason, saidMs: undefined };
      current = outage;
      outage.timer = setTimeout(() => sayAway(outage), REASON_WAIT_MS);
      outage.timer.unref();
    } else {
      current.failedCalls += 1;
      current.lastFailureMs = now;
      if (reason.isKnown || !current.reason.isKnown) current.reason = reason;
    }
    const isDue = current.saidMs === undefined ? current.reason.isKnown : now - current.saidMs >= REMIND_MS;
    if (isDue) sayAway(current);
  };
  return ({ error, seconds }) => {
    if (error !== undefined) return error.cause === undefined ? refused(error) : failed(error);
    // A call that was already under way when another failed says nothing of what came after it.
    if (current === undefined || nowMs() - seconds * 1000 < current.lastFailureMs) return;
    const outage = current;
    current = undefined;
    if (outage.saidMs === undefined) sayAway(outage);
    const facts = { failed_calls: outage.failedCalls };
    logger.info(facts, `Store is back after ${secondsOf(nowMs() - outage.startedMs)} s`);
    onBack?.();
  };
}

const secondsOf = (ms: number) => Math.round(ms / 1000);

/** How a connection ends; why there is no other one is said by the attempt that follows. */
const LOST: ReadonlySet<string> = new Set(["EPIPE", "ECONNRESET"]);

interface Reason {
  readonly text: string;
  /** Whether it is the system's own word for why the server cannot be had. */
  readonly isKnown: boolean;
}

/** The first cause that has the system's word for it (ECONNREFUSED), else the last one's sentence. */
function reasonOf(error: Error): Reason {
  let sentence = error.message;
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; at = at.cause, depth += 1) {
    const { code } = at as NodeJS.ErrnoException;
    const word = /^E[A-Z]{4,}$/.test(String(code)) ? String(code) : /\bE[A-Z]{5,}\b/.exec(at.message)?.[0];
    if (word !== undefined) return { text: word, isKnown: !LOST.has(word) };
    sentence = at.message;
  }
  // Redis repeats the arguments of a command that it does not know.
  const text = sentence.replace(/, with args.*$/s, "").slice(0, REASON_CHARS_MAX);
  return { text, isKnown: false };
}

/** Without user, password and parameters, any of which may be a secret. */
export function storeAddress(url: string): string {
  return url.replace(/^([a-z+]+:\/\/)[^@/?#]*@/i, "$1").replace(/\?.*$/s, "");
}
