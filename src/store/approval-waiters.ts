/**
 * Long-polls on approvals, for both adapters. However many wait, one notification costs one read, and the safety
 * re-read costs at most `REREADS` reads per tick: a lost notification delays an answer, nothing else.
 */
import { UnavailableError } from "../core/errors.ts";
import type { Approval, Store } from "../core/ports.ts";
import type { Tenant } from "../core/types.ts";
import type { StoreOptions } from "./store-options.ts";

type WaitRequest = Parameters<Store["waitApproval"]>[0];
type ReadApproval = (tenant: Tenant, id: string) => Promise<Approval | undefined>;

interface Waiter {
  readonly version: number;
  readonly settle: (approval: Approval | undefined) => void;
  readonly fail: (error: Error) => void;
}

interface Watched {
  readonly tenant: Tenant;
  readonly id: string;
  readonly waiters: Set<Waiter>;
  /** A read is under way; a change that comes meanwhile asks for one more after it. */
  reading: "no" | "yes" | "again";
}

export type WaiterOptions = Pick<StoreOptions, "waitersMax" | "waitersPerTenantMax" | "rereadMs">;

/** Approvals re-read per tick, in turn. */
const REREADS = 64;

export class ApprovalWaiters {
  readonly #read: ReadApproval;
  readonly #options: WaiterOptions;
  readonly #watched = new Map<string, Watched>();
  /** Waiters by tenant; a tenant without any has no entry. */
  readonly #counts = new Map<Tenant, number>();
  #count = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(read: ReadApproval, options: WaiterOptions) {
    this.#read = read;
    this.#options = options;
  }

  async wait(request: WaitRequest): Promise<Approval | undefined> {
    if (this.#isClosed) throw closedError();
    this.#enter(request.tenant);
    try {
      return await this.#waitCounted(request);
    } finally {
      this.#leave(request.tenant);
    }
  }

  /** INVARIANT (isolated): a tenant whose agents wait in thousands takes none of the room of others. */
  #enter(tenant: Tenant): void {
    const { waitersMax, waitersPerTenantMax } = this.#options;
    const own = this.#counts.get(tenant) ?? 0;
    if (this.#count >= waitersMax || own >= waitersPerTenantMax) {
      throw new UnavailableError(
        "overloaded",
        `Cannot wait for an approval: ${own} others of this tenant already wait`,
      );
    }
    this.#count += 1;
    this.#counts.set(tenant, own + 1);
  }

  #leave(tenant: Tenant): void {
    this.#count -= 1;
    const left = this.#counts.get(tenant)! - 1;
    if (left === 0) this.#counts.delete(tenant);
    else this.#counts.set(tenant, left);
  }

  /** Somebody changed this approval: whoever waits for it gets to see it. */
  changed(tenant: Tenant, id: string): void {
    const watched = this.#watched.get(keyOf(tenant, id));
    if (watched !== undefined) void this.#reread(watched);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#timer);
    for (const watched of this.#watched.values()) {
      for (const waiter of watched.waiters) waiter.fail(closedError());
    }
  }

  /** Registered before the first read: a change between the two is then noticed by one or the other. */
  async #waitCounted(request: WaitRequest): Promise<Approval | undefined> {
    const { tenant, id, version, waitMs, signal } = request;
    let waiter: Waiter | undefined;
    let timer: NodeJS.Timeout | undefined;
    let wake = (): void => {};
    const change = new Promise<{ readonly approval: Approval | undefined } | undefined>((resolve, reject) => {
      wake = () => resolve(undefined);
      waiter = { version, settle: (approval) => resolve({ approval }), fail: reject };
    });
    change.catch(() => {}); // a close() before anybody awaits it must not be an unhandled rejection
    const watched = this.#add(tenant, id, waiter as unknown as Waiter);
    try {
      const now = await this.#read(tenant, id);
      if (now === undefined || now.version > version || signal.aborted || waitMs <= 0) return now;
      signal.addEventListener("abort", wake, { once: true });
      timer = setTimeout(wake, Math.min(waitMs, 2 ** 31 - 1));
      const changed = await change;
      if (changed !== undefined) return changed.approval;
      return signal.aborted ? now : await this.#read(tenant, id);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", wake);
      this.#remove(watched, waiter as unknown as Waiter);
    }
  }

  #add(tenant: Tenant, id: string, waiter: Waiter): Watched {
    const key = keyOf(tenant, id);
    const watched = this.#watched.get(key) ?? { tenant, id, waiters: new Set<Waiter>(), reading: "no" };
    watched.waiters.add(waiter);
    this.#watched.set(key, watched);
    this.#timer ??= setInterval(() => this.#tick(), this.#options.rereadMs).unref();
    return watched;
  }

  #remove(watched: Watched, waiter: Waiter): void {
    watched.waiters.delete(waiter);
    if (watched.waiters.size > 0) return;
    const key = keyOf(watched.tenant, watched.id);
    if (this.#watched.get(key) === watched) this.#watched.delete(key);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** The first REREADS of the map, moved to its end: everybody's turn comes. */
  #tick(): void {
    for (const [key, watched] of [...this.#watched].slice(0, REREADS)) {
      this.#watched.delete(key);
      this.#watched.set(key, watched);
      void this.#reread(watched);
    }
  }

  async #reread(watched: Watched): Promise<void> {
    if (watched.reading !== "no") {
      watched.reading = "again";
      return;
    }
    do {
      watched.reading = "yes";
      try {
        const approval = await this.#read(watched.tenant, watched.id);
        for (const waiter of watched.waiters) {
          if (approval === undefined || approval.version > waiter.version) waiter.settle(approval);
        }
      } catch {
        // The backend is out: the waiters stay, the next tick asks again, and their own last read says so.
      }
    } while ((watched.reading as Watched["reading"]) === "again" && watched.waiters.size > 0);
    watched.reading = "no";
  }
}

function keyOf(tenant: Tenant, id: string): string {
  return `${tenant} ${id}`;
}

function closedError(): UnavailableError {
  return new UnavailableError("shutting_down", "Cannot wait for an approval: the store is closing");
}
