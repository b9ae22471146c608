/**
 * What a hundredth of the time may go into: an answer is given again until a hundred times what it took has passed. However
 * often somebody scrapes, deciding goes on at 99 % of its speed.
 */
const SHARE = 0.01;
/** However long it took, an answer is no older than this. */
export const SCRAPE_AGE_MS_MAX = 1_000;

/** @param nowMs monotonic milliseconds */
export function withinBudget<T>(render: () => Promise<T>, nowMs: () => number): () => Promise<T> {
  let kept: { readonly answer: T; readonly untilMs: number } | undefined;
  let running: Promise<T> | undefined;
  const renderAnew = async () => {
    const startedAt = nowMs();
    const answer = await render();
    const endedAt = nowMs();
    kept = { answer, untilMs: endedAt + Math.min((endedAt - startedAt) / SHARE, SCRAPE_AGE_MS_MAX) };
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
