/**
 * An index over the ledger in an LMDB environment of its own: by trace and by entity, in the ledger's order.
 *
 * It follows from the ledger, which it reads like anybody else and never opens. It is brought up to date in the background
 * and once more before each answer. Keys and the position they go up to change in one transaction, so a process that is
 * killed leaves an index that is behind, and not one with holes; one that cannot be believed is thrown away and built anew.
 * One process at a time may open it.
 */
import { setImmediate as nextTurn, setTimeout as wait } from "node:timers/promises";
import type { EntryIndex, FindEntries } from "../core/entry-index.ts";
import { entityTags, entryTags } from "../core/entry-tags.ts";
import { HoldpointError, toError, UnavailableError } from "../core/errors.ts";
import type { Ledger } from "../core/ports.ts";
import {
  closeIndexFiles,
  digestOf,
  entryKey,
  type IndexFiles,
  indexOfKey,
  type OpenIndex,
  openIndexFiles,
  type Position,
  putBatch,
} from "./entry-index-files.ts";
import { distrust } from "./entry-index-trust.ts";
import { commitCause } from "./open-ledger.ts";

export interface EntryIndexOptions {
  /** Created if absent: `data.mdb`, `lock.mdb` and a mark. Nothing else may be in it. */
  readonly directory: string;
  readonly ledger: Ledger;
  /** How often the background looks for new entries. */
  readonly intervalMs?: number;
  /** How long one answer may wait for entries that are not indexed yet. */
  readonly waitMs?: number;
  /** Told once of what fails in the background and goes on failing; whoever asks is told by the answer. Must not throw. */
  readonly onFailed?: (error: Error) => void;
}

const DEFAULTS = { intervalMs: 1_000, waitMs: 10_000, onFailed: () => {} } as const;

/** Entries and characters of one transaction. */
const BATCH_ENTRIES = 1_024;
const BATCH_CHARS = 8 * 1024 * 1024;
/** Read in one go, between which others have their turn; entries may be as large as a request. */
const READ_AT_ONCE = 16;
/** Between two readings while nobody waits: requests come first. */
const PAUSE_MS = 1;

export const FIND_MAX = 1_000;

/** Opens nothing yet: that is the background's, so that a start does not wait for it. */
export function openEntryIndex(options: EntryIndexOptions): EntryIndex {
  return new LmdbEntryIndex({ ...DEFAULTS, ...options });
}

class LmdbEntryIndex implements EntryIndex {
  readonly #options: Required<EntryIndexOptions>;
  readonly #timer: NodeJS.Timeout;
  #open: OpenIndex | undefined;
  /** A batch, or the opening; one at a time. */
  #running: Promise<void> | undefined;
  #isFollowing = false;
  #isFailing = false;
  #finding = 0;
  /** What was opened is not to be used again. */
  #isDamaged = false;
  #isClosed = false;

  constructor(options: Required<EntryIndexOptions>) {
    this.#options = options;
    this.#timer = setInterval(() => void this.#follow(), options.intervalMs).unref();
  }

  async find({ tag, from, limit }: FindEntries): Promise<readonly number[]> {
    if (!(Number.isSafeInteger(limit) && limit >= 1 && limit <= FIND_MAX))
      throw new RangeError(`Cannot find ${limit} entries: expected 1 to ${FIND_MAX}`);
    if (!(Number.isSafeInteger(from) && from >= 0)) throw new RangeError(`Cannot find entries from ${from}`);
    this.#finding += 1;
    try {
      const { files } = await this.#caughtUp();
      return this.#reading(() => indexesOf(files, { tag, from, limit }));
    } finally {
      this.#finding -= 1;
    }
  }

  /** With everything that was committed before the call. @throws UnavailableError past `waitMs` */
  async #caughtUp(): Promise<OpenIndex> {
    const { waitMs, ledger } = this.#options;
    const giveUpAt = performance.now() + waitMs;
    this.#requireOpen();
    const { size } = ledger.head();
    for (;;) {
      const open = this.#openUpTo(size);
      if (open !== undefined) return open;
      const isInTime = await within(this.#advance(), giveUpAt - performance.now());
      if (!isInTime) throw this.#behind(size);
    }
  }

  #openUpTo(size: number): OpenIndex | undefined {
    const open = this.#isDamaged ? undefined : this.#open;
    return open !== undefined && open.position.next >= size ? open : undefined;
  }

  #behind(size: number): UnavailableError {
    const done = this.#open?.position.next ?? 0;
    return new UnavailableError("overloaded", `The index is being built: ${done} of ${size} entries are in it`);
  }

  async #follow(): Promise<void> {
    if (this.#isFollowing || this.#isClosed) return;
    this.#isFollowing = true;
    try {
      while (!this.#isClosed && this.#openUpTo(this.#options.ledger.head().size) === undefined) await this.#advance();
      this.#isFailing = false;
    } catch (thrown) {
      this.#tell(thrown);
    } finally {
      this.#isFollowing = false;
    }
  }

  /** Once, however often it is tried, until it has worked again. */
  #tell(thrown: unknown): void {
    if (!this.#isFailing && !this.#isClosed) this.#options.onFailed(toError(thrown));
    this.#isFailing = true;
  }

  /** One batch further, or open at all. */
  #advance(): Promise<void> {
    this.#requireOpen();
    if (this.#running === undefined) {
      this.#running = this.#step().finally(() => {
        this.#running = undefined;
      });
      // Whoever waits for it is told; nobody may be left who does.
      this.#running.catch(() => {});
    }
    return this.#running;
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new UnavailableError("shutting_down", "Cannot use the index: it is closed");
  }

  async #step(): Promise<void> {
    const { directory, ledger } = this.#options;
    try {
      if (this.#isDamaged) await this.#throwAway();
      this.#open ??= await openIndexFiles(directory, ledger);
      await this.#indexBatch(this.#open);
    } catch (thrown) {
      throw this.#failure(thrown);
    }
  }

  async #indexBatch(open: OpenIndex): Promise<void> {
    const batch = await this.#readBatch(open.position);
    if (batch.to.next === open.position.next) return;
    const isWritten = await putBatch(open.files, { from: open.position, ...batch }).catch(async (error: unknown) => {
      throw await commitCause(error);
    });
    if (!isWritten) throw new Damage("Somebody else moved the index's position");
    this.#open = { files: open.files, position: batch.to };
  }

  async #readBatch(from: Position): Promise<{ readonly to: Position; readonly keys: readonly Buffer[] }> {
    const { ledger } = this.#options;
    const keys: Buffer[] = [];
    let next = from.next;
    let chars = 0;
    let last: string | undefined;
    while (next - from.next < BATCH_ENTRIES && chars < BATCH_CHARS && !this.#isClosed) {
      const entries = ledger.entries(next, READ_AT_ONCE);
      for (const { index, text } of entries) {
        for (const tag of this.#tagsOf(text)) keys.push(entryKey(tag, index));
        next = index + 1;
        chars += text.length;
        last = text;
      }
      if (entries.length < READ_AT_ONCE) break;
      await (this.#finding > 0 ? nextTurn() : wait(PAUSE_MS));
    }
    return { to: last === undefined ? from : { next, lastDigest: digestOf(last) }, keys };
  }

  #tagsOf(text: string): readonly string[] {
    const { tags, sharesEntityOf } = entryTags(text);
    for (const key of sharesEntityOf) {
      const cause = this.#options.ledger.find(key);
      const shared = cause === undefined ? [] : entityTags(cause.text);
      if (shared.length > 0) return [...tags, ...shared];
    }
    return tags;
  }

  #reading<T>(read: () => T): T {
    try {
      return read();
    } catch (thrown) {
      throw this.#failure(thrown);
    }
  }

  #failure(thrown: unknown): HoldpointError {
    if (thrown instanceof HoldpointError) return thrown;
    const cause = toError(thrown);
    if (!isDamage(cause))
      return new UnavailableError("ledger_unavailable", "Cannot use the index at the moment", { cause });
    this.#isDamaged = true;
    return new UnavailableError("ledger_unavailable", "The index is damaged: it will be built anew", { cause });
  }

  /** Only within a step: nothing else uses the files then. The next opening makes others. */
  async #throwAway(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    distrust(this.#options.directory);
    await open?.files.root.close();
    this.#isDamaged = false;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#running?.catch(() => {}); // it was told to whoever waited for it
    try {
      if (this.#isDamaged) await this.#throwAway();
      else if (this.#open !== undefined) await closeIndexFiles(this.#options.directory, this.#open.files);
    } catch (thrown) {
      // Nothing is lost: it is found as it is left, or built anew.
      this.#options.onFailed(toError(thrown));
    }
  }
}

class Damage extends Error {}

/** LMDB's codes for what it found and cannot be: page not found, corrupted, panic, version mismatch, invalid. */
const DAMAGE_CODES: ReadonlySet<unknown> = new Set([-30_797, -30_796, -30_795, -30_794, -30_793]);

function isDamage(error: Error & { readonly code?: unknown }): boolean {
  return error instanceof Damage || DAMAGE_CODES.has(error.code);
}

function indexesOf(files: IndexFiles, { tag, from, limit }: FindEntries): number[] {
  files.root.resetReadTxn();
  const end = entryKey(tag, Number.MAX_SAFE_INTEGER);
  const keys = files.tags.getKeys({ start: entryKey(tag, from), end, inclusiveEnd: true, limit });
  return [...keys.map(indexOfKey)];
}

/** @returns false where the time was up before */
async function within(done: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, ms), false);
  });
  return Promise.race([done.then(() => true), timeUp]).finally(() => clearTimeout(timer));
}
