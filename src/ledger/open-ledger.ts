/**
 * The ledger's writer: group commit over LMDB.
 *
 * A batch is planned on a snapshot (hashes, tiles, keys, head) and written under one condition: the head still has the
 * size that was planned for. LMDB's write thread checks that inside its transaction, so several processes can share a
 * directory and the main thread never waits while it holds the write lock. A batch that loses the race is planned again;
 * after a few losses in a row it takes the lock for itself.
 *
 * A crash at any point leaves either the whole batch or nothing of it, and the next open simply goes on from the head.
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { type Checkpoint, formatCheckpoint, parseCheckpoint } from "../core/checkpoint.ts";
import {
  ConfigError,
  HoldpointError,
  IntegrityError,
  InvalidRequestError,
  toError,
  UnavailableError,
} from "../core/errors.ts";
import { EMPTY_ROOT, HASH_BYTES, hashPrefixedLeafInto } from "../core/merkle.ts";
import type { AppendResult, Ledger, LedgerEntryDraft, LedgerHead } from "../core/ports.ts";
import { parseNote } from "../core/signed-note.ts";
import { type Environment, openEnvironment } from "./environment.ts";
import {
  CHECKPOINT_KEY,
  ENTRY_BYTES_MAX,
  encodeEntry,
  encodeHead,
  FORMAT,
  HEAD_KEY,
  KEY_BYTES_MAX,
  KEYS_MAX,
  LEAF_PREFIX_OFFSET,
  ORIGIN_KEY,
} from "./layout.ts";
import { findIndex, type Pending, type PlannedBatch, planBatch, writeBatch } from "./plan-batch.ts";
import { readEntries } from "./read-entries.ts";
import { loadTree, readHead, type TreeState } from "./tree-state.ts";

export interface LedgerOptions {
  /** Created if absent. One LMDB environment: data.mdb and lock.mdb. */
  readonly directory: string;
  /** First line of checkpoints; fixed when the ledger is created. */
  readonly origin: string;
  /** Turns a checkpoint's text into a signed note. */
  readonly signNote: (text: string) => string;
  /**
   * "durable": an append answers after fsync. "relaxed": it answers from the queue, so a crash may lose what was
   * answered in the last moments, and its index is a forecast where several processes append.
   */
  readonly durability?: "durable" | "relaxed";
  /** Appends that may wait, the running commit included; past it "overloaded". */
  readonly queueMax?: number;
  /** Entries in one commit. */
  readonly batchMax?: number;
  /** A commit that takes longer is reported as ledger_unavailable, and so is every append until it ends. */
  readonly commitTimeoutMs?: number;
  /** Address space reserved for the file; it grows past this at the cost of a new mapping. */
  readonly mapBytes?: number;
  /** Bytes of the file past which appends are refused; the file never shrinks. */
  readonly bytesMax?: number;
  /** Told of every commit, for metrics. Must not throw. */
  readonly onCommit?: (commit: LedgerCommit) => void;
}

export interface LedgerCommit {
  readonly entries: number;
  readonly durationMs: number;
  /** From the append of the oldest entry to the end of this commit. */
  readonly lagMs: number;
  /** Set where nothing of it was written. */
  readonly error: Error | undefined;
}

type FullOptions = Required<LedgerOptions>;

const DEFAULTS = {
  durability: "durable",
  queueMax: 10_000,
  batchMax: 1_024,
  commitTimeoutMs: 10_000,
  mapBytes: 2 ** 36,
  bytesMax: Number.POSITIVE_INFINITY,
  onCommit: () => {},
} as const;

/** Lost races before a batch takes the write lock on the main thread: starvation then ends, at the cost of blocking. */
const RACES_MAX = 4;
/** How long acknowledged entries (relaxed) wait after a failed write before they are tried without a new append. */
const RETRY_MS = 1_000;

export async function openLedger(given: LedgerOptions): Promise<Ledger> {
  const options: FullOptions = { ...DEFAULTS, ...given };
  const env = openOrFail(options);
  try {
    prepare(env, options);
    return new LmdbLedger(env, options);
  } catch (error) {
    await env.root.close();
    throw error instanceof HoldpointError
      ? error
      : new IntegrityError("integrity_failure", `Cannot open ledger in ${options.directory}`, {
          cause: toError(error),
        });
  }
}

function openOrFail(options: FullOptions): Environment {
  try {
    return openEnvironment(options);
  } catch (error) {
    throw new UnavailableError("ledger_unavailable", `Cannot open ledger in ${options.directory}`, {
      cause: toError(error),
    });
  }
}

/** First opening writes an empty head; later ones check that this is the same log and that it was not cut. */
function prepare(env: Environment, { origin, directory }: FullOptions): void {
  env.root.transactionSync(() => {
    if (env.state.getBinary(ORIGIN_KEY) !== undefined) return;
    const name = Buffer.from(`${FORMAT}\n${origin}`);
    env.state.put(ORIGIN_KEY, name, 0);
    env.state.put(HEAD_KEY, encodeHead({ size: 0, root: EMPTY_ROOT, nodes: Buffer.alloc(0) }), 0);
  });
  const found = Buffer.from(env.state.getBinary(ORIGIN_KEY) ?? []).toString("utf8");
  if (found !== `${FORMAT}\n${origin}`) {
    const fault = `ledger in ${directory} is ${JSON.stringify(found)}, not ${JSON.stringify(`${FORMAT}\n${origin}`)}`;
    throw new ConfigError("config_invalid", `Cannot open ledger: ${fault}`, [fault]);
  }
  const { size } = loadTree(env);
  const signed = storedCheckpoint(env)?.size ?? 0;
  if (signed > size) {
    throw new IntegrityError(
      "integrity_failure",
      `Ledger in ${directory} has ${size} entries, and signed a checkpoint over ${signed}`,
    );
  }
}

export function storedCheckpoint(env: Environment): Checkpoint | undefined {
  const bytes = env.state.getBinary(CHECKPOINT_KEY);
  if (bytes === undefined) return undefined;
  const note = parseNote(bytes);
  return "fault" in note ? undefined : parseCheckpoint(note.text);
}

class LmdbLedger implements Ledger {
  readonly origin: string;
  readonly #env: Environment;
  readonly #options: FullOptions;
  #queue: Pending[] = [];
  /** When the oldest entry of the queue came. */
  #waitingSince: number | undefined;
  /** Entries of the running commit, which count against the queue too. */
  #inFlight = 0;
  /** Keys of acknowledged entries that are not committed yet, with their forecast index (relaxed only). */
  readonly #forecast = new Map<string, number>();
  #size: number;
  #tree: TreeState | undefined;
  #running: Promise<void> | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  /** While somebody holds: appends wait in the queue. */
  #held: Promise<void> | undefined;
  #isWritable = true;
  #isStalled = false;
  #isFull: boolean;
  /** Takes no more entries. */
  #isClosing = false;
  #isClosed = false;
  #signed: { readonly size: number; readonly note: string } | undefined;
  #storedSize = -1;
  /** Size of the checkpoint that the running commit carries, or the last one did. */
  #writtenSize = -1;

  constructor(env: Environment, options: FullOptions) {
    this.#env = env;
    this.#options = options;
    this.origin = options.origin;
    this.#size = readHead(env).size;
    this.#isFull = this.#hasFullSize();
    this.#isWritable = !this.#isFull;
  }

  #hasFullSize(): boolean {
    const { bytesMax, directory } = this.#options;
    return bytesMax !== Number.POSITIVE_INFINITY && statSync(join(directory, "data.mdb")).size >= bytesMax;
  }

  append(draft: LedgerEntryDraft): Promise<AppendResult> {
    const refusal = this.#refusal(draft);
    if (refusal !== undefined) return Promise.reject(refusal);
    if (this.#options.durability === "relaxed" && this.#isWritable) return this.#appendRelaxed(draft);
    return new Promise((resolve, reject) => this.#enqueue(draft, { isAcknowledged: false, resolve, reject }));
  }

  waiting(): number {
    return this.#queue.length + this.#inFlight;
  }

  #refusal(draft: LedgerEntryDraft): HoldpointError | undefined {
    if (this.#isClosing) return new UnavailableError("shutting_down", "Cannot append: ledger is closed");
    if (this.#isFull) return new UnavailableError("ledger_unavailable", "Cannot append: the ledger has its full size");
    if (this.#isStalled)
      return new UnavailableError("ledger_unavailable", "Cannot append: the last commit has not ended");
    if (this.#queue.length + this.#inFlight >= this.#options.queueMax) {
      return new UnavailableError("overloaded", `Cannot append: ${this.#options.queueMax} entries are waiting`);
    }
    return draftFault(draft);
  }

  #appendRelaxed(draft: LedgerEntryDraft): Promise<AppendResult> {
    const { uniqueKey } = draft;
    const taken = uniqueKey === undefined ? undefined : (this.#forecast.get(uniqueKey) ?? this.#freshIndex(uniqueKey));
    if (taken !== undefined) return Promise.resolve({ kind: "duplicate", index: taken });
    const index = this.#size + this.#inFlight + this.#queue.length;
    for (const key of draft.keys) this.#forecast.set(key, index);
    // Without its unique key: what was answered is recorded, even if another process took the key meanwhile.
    this.#enqueue(
      { text: draft.text, keys: draft.keys },
      { isAcknowledged: true, resolve: () => {}, reject: () => {} },
    );
    return Promise.resolve({ kind: "appended", index });
  }

  #enqueue(draft: LedgerEntryDraft, answer: Pick<Pending, "isAcknowledged" | "resolve" | "reject">): void {
    const entry = encodeEntry(draft.text);
    // Hashed here, while the write thread is busy with the batch before.
    const leafHash = Buffer.allocUnsafe(HASH_BYTES);
    hashPrefixedLeafInto(leafHash, 0, entry.subarray(LEAF_PREFIX_OFFSET));
    this.#queue.push({ entry, leafHash, keys: draft.keys, uniqueKey: draft.uniqueKey, ...answer });
    this.#waitingSince ??= performance.now();
    this.#start();
  }

  /** Waits for the event turn to end, so that the requests of one poll share the first commit too. */
  #start(): void {
    if (this.#held !== undefined) return;
    this.#running ??= new Promise<void>((resolve) => setImmediate(resolve)).then(() => this.#drain());
  }

  async #drain(): Promise<void> {
    let isRetryable = true;
    while (isRetryable && this.#held === undefined && this.#hasWork()) isRetryable = await this.#commitNext();
    this.#running = undefined;
    if (!isRetryable) this.#retryLater();
  }

  #hasWork(): boolean {
    return this.#queue.length > 0 || this.#hasCheckpointToStore();
  }

  async hold(): Promise<() => void> {
    let resolve = (): void => {};
    const released = new Promise<void>((done) => {
      resolve = done;
    });
    this.#held = released;
    await this.#running;
    return () => {
      // A later hold is not ended by the release of an earlier one.
      if (this.#held === released) this.#held = undefined;
      resolve();
      if (this.#hasWork()) this.#start();
    };
  }

  #hasCheckpointToStore(): boolean {
    return this.#signed !== undefined && this.#signed.size > this.#storedSize;
  }

  /** False when acknowledged entries went back into the queue: trying at once again would only spin. */
  async #commitNext(): Promise<boolean> {
    const batch = this.#queue.splice(0, this.#options.batchMax);
    this.#inFlight = batch.length;
    const started = performance.now();
    const since = this.#waitingSince ?? started;
    let failure: Error | undefined;
    this.#waitingSince = this.#queue.length > 0 ? started : undefined;
    try {
      const answers = await this.#withinTimeout(this.#commit(batch), batch);
      this.#isFull = this.#hasFullSize();
      this.#isWritable = !this.#isFull;
      this.#settle(batch, answers);
      return true;
    } catch (error) {
      this.#isWritable = false;
      failure = toError(error);
      return this.#fail(batch, failure);
    } finally {
      this.#isStalled = false;
      const ended = performance.now();
      this.#options.onCommit({
        entries: batch.length,
        durationMs: ended - started,
        lagMs: ended - since,
        error: failure,
      });
    }
  }

  #settle(batch: readonly Pending[], answers: readonly AppendResult[]): void {
    this.#inFlight = 0;
    for (const pending of batch) if (pending.isAcknowledged) this.#forget(pending);
    batch.forEach((pending, at) => {
      pending.resolve(answers[at]!);
    });
  }

  #forget(pending: Pending): void {
    // Keys that a later, still queued entry carries as well keep their forecast until that one is committed.
    for (const key of pending.keys) if ((this.#forecast.get(key) ?? 0) < this.#size) this.#forecast.delete(key);
  }

  #fail(batch: readonly Pending[], cause: Error): boolean {
    this.#inFlight = 0;
    this.#tree = undefined;
    const kept = batch.filter((pending) => pending.isAcknowledged);
    const error = new UnavailableError("ledger_unavailable", "Cannot append: the ledger could not be written", {
      cause,
    });
    for (const pending of batch) if (!pending.isAcknowledged) pending.reject(error);
    // Others get their own try, and so does a stored checkpoint with them, unless acknowledged entries have to come first.
    if (kept.length === 0) return this.#queue.length > 0;
    for (const pending of this.#queue) if (!pending.isAcknowledged) pending.reject(error);
    this.#queue = [...kept, ...this.#queue.filter((pending) => pending.isAcknowledged)];
    return false;
  }

  #retryLater(): void {
    if (this.#isClosing || this.#queue.length === 0) return;
    this.#retryTimer ??= setTimeout(() => {
      this.#retryTimer = undefined;
      this.#start();
    }, RETRY_MS).unref();
  }

  /**
   * A stuck disk must not hang callers. Past the time they are told so, and the commit is still waited for: it may yet
   * succeed, so those entries may be in the ledger although their appends failed (as after any lost answer).
   */
  async #withinTimeout<T>(commit: Promise<T>, batch: readonly Pending[]): Promise<T> {
    const timer = setTimeout(() => {
      this.#isStalled = true;
      this.#isWritable = false;
      const error = new UnavailableError(
        "ledger_unavailable",
        `Commit has not ended after ${this.#options.commitTimeoutMs} ms`,
      );
      for (const pending of [...batch, ...this.#queue]) if (!pending.isAcknowledged) pending.reject(error);
      this.#queue = this.#queue.filter((pending) => pending.isAcknowledged);
    }, this.#options.commitTimeoutMs);
    try {
      return await commit;
    } finally {
      clearTimeout(timer);
    }
  }

  async #commit(batch: readonly Pending[]): Promise<readonly AppendResult[]> {
    for (let race = 0; race < RACES_MAX; race += 1) {
      this.#env.root.resetReadTxn();
      this.#noteStoredCheckpoint();
      const plan = this.#plan(batch);
      if (plan.bundles.length === 0 && !this.#hasCheckpointToStore()) return plan.answers;
      if (await this.#writeIfHeadStands(plan)) return this.#committed(plan);
      this.#tree = undefined;
    }
    return this.#committed(this.#env.root.transactionSync(() => this.#planAndWrite(batch)));
  }

  #plan(batch: readonly Pending[]): PlannedBatch {
    const { size } = readHead(this.#env);
    if (this.#tree?.size !== size) this.#tree = loadTree(this.#env);
    return planBatch(this.#env, this.#tree, batch);
  }

  /** Another process may have stored a newer one, which must not be replaced. */
  #noteStoredCheckpoint(): void {
    if (!this.#hasCheckpointToStore()) return;
    this.#storedSize = Math.max(this.#storedSize, this.#env.state.getEntry(CHECKPOINT_KEY)?.version ?? -1);
  }

  #planAndWrite(batch: readonly Pending[]): PlannedBatch {
    this.#tree = loadTree(this.#env);
    const plan = planBatch(this.#env, this.#tree, batch);
    this.#write(plan);
    return plan;
  }

  async #writeIfHeadStands(plan: PlannedBatch): Promise<boolean> {
    try {
      return await this.#env.state.ifVersion(HEAD_KEY, plan.baseSize, () => this.#write(plan));
    } catch (error) {
      throw await commitCause(error);
    }
  }

  #write(plan: PlannedBatch): void {
    if (plan.bundles.length > 0) writeBatch(this.#env, plan);
    const signed = this.#signed;
    if (signed === undefined || signed.size <= this.#storedSize) return;
    this.#env.state.put(CHECKPOINT_KEY, Buffer.from(signed.note), signed.size);
    this.#writtenSize = signed.size;
  }

  #committed(plan: PlannedBatch): readonly AppendResult[] {
    this.#size = plan.head.size;
    // Not the last one signed: that may have come while this commit was under way.
    this.#storedSize = Math.max(this.#storedSize, this.#writtenSize);
    return plan.answers;
  }

  #freshIndex(key: string): number | undefined {
    this.#env.root.resetReadTxn();
    return findIndex(this.#env, key);
  }

  find(key: string): { readonly index: number; readonly text: string } | undefined {
    return this.#reading(() => {
      const index = findIndex(this.#env, key);
      return index === undefined ? undefined : readEntries(this.#env, index, 1)[0];
    });
  }

  read(index: number): string | undefined {
    if (!isIndex(index)) return undefined;
    const entry = this.#reading(() => readEntries(this.#env, index, 1)[0]);
    return entry?.text;
  }

  entries(start: number, limit: number): readonly { readonly index: number; readonly text: string }[] {
    return isIndex(start) ? this.#reading(() => readEntries(this.#env, start, limit)) : [];
  }

  head(): LedgerHead {
    const { size, root } = this.#reading(() => readHead(this.#env));
    return { size, rootHash: root.toString("base64") };
  }

  checkpoint(): string {
    const { size, root } = this.#reading(() => readHead(this.#env));
    if (this.#signed?.size === size) return this.#signed.note;
    const note = this.#options.signNote(formatCheckpoint({ origin: this.origin, size, root, extensions: [] }));
    this.#signed = { size, note };
    if (!this.#isClosed) this.#start();
    return note;
  }

  /** One snapshot, newer than every commit so far, this process's and others'. */
  #reading<T>(read: () => T): T {
    if (this.#isClosed) throw new UnavailableError("shutting_down", "Cannot read: ledger is closed");
    try {
      this.#env.root.resetReadTxn();
      return read();
    } catch (error) {
      throw new IntegrityError("integrity_failure", "Cannot read the ledger", { cause: toError(error) });
    }
  }

  isWritable(): boolean {
    return this.#isWritable;
  }

  /** Commits what waits, stores a last checkpoint, closes. Rejects when acknowledged entries could not be written. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    clearTimeout(this.#retryTimer);
    while (this.#held !== undefined) await this.#held;
    await this.#running;
    if (this.#queue.length > 0) await this.#drain();
    // Over everything that came in, and stored by the commit that signing starts.
    this.#signLast();
    await this.#running;
    this.#isClosed = true;
    const lost = this.#queue.length;
    await this.#env.root.close();
    if (lost > 0)
      throw new UnavailableError("ledger_unavailable", `Closed with ${lost} acknowledged entries unwritten`);
  }

  /** Best effort: a ledger that cannot sign or read any more must still close. */
  #signLast(): void {
    try {
      this.checkpoint();
    } catch {
      // The checkpoint before it stays; entries are complete without it.
    }
  }
}

function isIndex(index: number): boolean {
  return Number.isSafeInteger(index) && index >= 0;
}

function draftFault({ text, keys, uniqueKey }: LedgerEntryDraft): InvalidRequestError | undefined {
  // Length in UTF-16 units is at most the length in bytes and at least a third of it.
  if (text.length * 3 > ENTRY_BYTES_MAX && Buffer.byteLength(text) > ENTRY_BYTES_MAX)
    return invalid(`entry is over ${ENTRY_BYTES_MAX} bytes`);
  if (keys.length > KEYS_MAX) return invalid(`entry has ${keys.length} keys, at most ${KEYS_MAX}`);
  for (const key of keys) {
    if (key.length === 0 || (key.length * 3 > KEY_BYTES_MAX && Buffer.byteLength(key) > KEY_BYTES_MAX)) {
      return invalid(`key ${JSON.stringify(key.slice(0, 80))} is empty or over ${KEY_BYTES_MAX} bytes`);
    }
  }
  return uniqueKey === undefined || keys.includes(uniqueKey) ? undefined : invalid("uniqueKey is not one of the keys");
}

function invalid(fault: string): InvalidRequestError {
  return new InvalidRequestError("invalid_request", `Cannot append: ${fault}`);
}

/** lmdb-js rejects with a general Error whose `commitError` is a promise that rejects with the reason; unheld, it ends the process. */
export async function commitCause(error: unknown): Promise<Error> {
  const reason = (error as { commitError?: Promise<unknown> }).commitError;
  if (reason === undefined) return toError(error);
  return reason.then(
    () => toError(error),
    (cause: unknown) => toError(cause),
  );
}
