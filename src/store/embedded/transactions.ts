/**
 * How anything in the embedded store reads and writes: one snapshot or one transaction, within a deadline, by its clock.
 *
 * INVARIANT: whatever a change depends on is read inside the write transaction that makes it. LMDB has one writer at a
 * time across processes, so that is all the atomicity needs. lmdb-js runs many queued changes in one transaction and
 * one fsync; each is a child transaction of its own, so that one which throws leaves nothing of itself behind and does
 * not take the others with it. A promise resolves after the fsync.
 */
import type { Key, RootDatabase } from "lmdb";
import { toError } from "../../core/errors.ts";
import type { Tenant } from "../../core/types.ts";
import { withinDeadline } from "../within-deadline.ts";
import type { MonotoneClock } from "./monotone-clock.ts";
import { type Rows, Tables } from "./tables.ts";

const CLOCK: Key = ["clock"];

type Work<T> = (tables: Tables, nowMs: number) => T;

export class Transactions {
  readonly #database: RootDatabase<string, Key>;
  readonly #clock: MonotoneClock;
  readonly #timeoutMs: number;
  /** While somebody holds: writes wait for it. */
  #held: Promise<void> | undefined;
  /** Each resolves when a write that runs has ended, well or not. */
  readonly #running = new Set<Promise<void>>();

  constructor(database: RootDatabase<string, Key>, clock: MonotoneClock, timeoutMs: number) {
    this.#database = database;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
  }

  write<T>(name: string, tenant: Tenant, change: Work<T>): Promise<T> {
    return withinDeadline(name, this.#timeoutMs, () => this.#commit(tenant, change));
  }

  /**
   * As `write`, in as many transactions as the change asks for: each does a bounded part, and the last one answers.
   * @param change answers undefined for "committed, and there is more to do first"
   */
  writeInParts<T>(name: string, tenant: Tenant, change: Work<T | undefined>): Promise<T> {
    let isOver = false;
    const run = async (): Promise<T> => {
      for (;;) {
        const result = await this.#commit(tenant, change);
        if (result !== undefined) return result;
        if (isOver) throw new Error("The time is over");
      }
    };
    return withinDeadline(name, this.#timeoutMs, run).finally(() => {
      isOver = true;
    });
  }

  read<T>(name: string, tenant: Tenant, read: Work<T>): Promise<T> {
    return withinDeadline(name, this.#timeoutMs, async () => {
      // lmdb-js keeps a snapshot for the rest of the event turn: what another process committed meanwhile must be seen.
      this.#database.resetReadTxn();
      return read(new Tables(this.#database, tenant), this.#now());
    });
  }

  /** As Store.hold. */
  async hold(): Promise<() => void> {
    let resolve = (): void => {};
    const released = new Promise<void>((done) => {
      resolve = done;
    });
    this.#held = released;
    await Promise.all(this.#running);
    return () => {
      // A later hold is not ended by the release of an earlier one.
      if (this.#held === released) this.#held = undefined;
      resolve();
    };
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  async #commit<T>(tenant: Tenant, change: Work<T>): Promise<T> {
    const rows: Rows = this.#database;
    while (this.#held !== undefined) await this.#held;
    let ended = (): void => {};
    const running = new Promise<void>((resolve) => {
      ended = resolve;
    });
    this.#running.add(running);
    try {
      return await rows.childTransaction(() => {
        const nowMs = this.#now();
        rows.put(CLOCK, String(nowMs));
        return change(new Tables(rows, tenant), nowMs);
      });
    } catch (thrown) {
      throw settled(thrown);
    } finally {
      this.#running.delete(running);
      ended();
    }
  }

  #now(): number {
    return this.#clock.now(Number(this.#database.get(CLOCK) ?? 0));
  }
}

/** A failed commit carries a second promise that rejects on its own; unheard, it would end the process. */
function settled(thrown: unknown): Error {
  const error = toError(thrown) as Error & { commitError?: Promise<unknown> };
  error.commitError?.catch(() => {});
  return error;
}
