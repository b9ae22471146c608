/**
 * What a share of the time may go into, however often it is asked for: an answer is given again until it has paid for what it
 * took, or is too old.
 */
export interface Budget {
  readonly share: number;
  /** However long it took, an answer is no older than this. */
  readonly ageMsMax: number;
  /** What took less is not kept. */
  readonly freeMs: number;
}

/** Sending what was rendered comes on top: scraped ten times a second, both are under a hundredth. */
export const SCRAPE_BUDGET: Budget = { share: 0.002, ageMsMax: 1_000, freeMs: 0 };
/** A page with many large arguments takes long; it is asked for every ten seconds by those who look at it. */
export const PAGE_BUDGET: Budget = { share: 0.1, ageMsMax: 10_000, freeMs: 50 };

/** @param nowMs monotonic milliseconds */
export function withinBudget<T>(render: () => Promise<T>, nowMs: () => number, budget: Budget): () => Promise<T> {
  let kept: { readonly answer: T; readonly untilMs: number } | undefined;
  let running: Promise<T> | undefined;
  const renderAnew = async () => {
    const startedAt = nowMs();
    const answer = await render();
    const endedAt = nowMs();
    const tookMs = endedAt - startedAt;
    const keepMs = tookMs < budget.freeMs ? 0 : Math.min(tookMs / budget.share, budget.ageMsMax);
    kept = { answer, untilMs: endedAt + keepMs };
    return answer;
  };
  return () => {
    if (kept !== undefined && nowMs() < kept.untilMs) return Promise.resolve(kept.answer);
    running ??= renderAnew().finally(() => {
      running = undefined;
    });
    return running;
  };
}
