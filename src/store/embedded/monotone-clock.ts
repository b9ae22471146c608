/**
 * The embedded store's clock. It never goes back and never stands still: wall time, but at least the highest time seen
 * (by any process: it is persisted with every change) plus what a monotonic clock has counted since. Setting the
 * computer's clock back therefore extends no deadline; setting it forward ends them early, which is the safe side.
 * What remains: a clock set back while no process runs loses the time that none of them could count.
 */
export interface TimeSource {
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
}

export const SYSTEM_TIME: TimeSource = { wallMs: () => Date.now(), monotonicMs: () => performance.now() };

export class MonotoneClock {
  readonly #source: TimeSource;
  #highestMs = 0;
  #countedMs: number;

  constructor(source: TimeSource = SYSTEM_TIME) {
    this.#source = source;
    this.#countedMs = source.monotonicMs();
  }

  /** @param persistedMs the highest time that any process has written */
  now(persistedMs: number): number {
    const counted = this.#source.monotonicMs();
    const elapsed = Math.max(0, counted - this.#countedMs);
    this.#countedMs = counted;
    this.#highestMs = Math.max(this.#highestMs + elapsed, persistedMs, this.#source.wallMs());
    return Math.floor(this.#highestMs);
  }
}
