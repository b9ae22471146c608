/**
 * Who and what is frozen. Every sidecar keeps each tenant's list, and nothing is allowed by a list that is older than
 * `freezeAgeMaxMs`: then it is read again first, and a store that cannot say what is frozen allows nothing.
 */
import { type Caller, isSamePrincipal } from "../core/caller.ts";
import type { Freeze } from "../core/context.ts";
import type { Store } from "../core/ports.ts";
import type { ActorRef, EntityRef, Tenant } from "../core/types.ts";

export interface Freezable {
  readonly caller: Caller;
  readonly action: string;
  readonly actor: ActorRef;
  readonly entity: EntityRef | null;
}

interface Known {
  freezes: readonly Freeze[];
  /** performance.now() when the reading began that they come from. */
  readAt: number;
  reading: Promise<void> | undefined;
}

export class FreezeWatch {
  readonly #store: Store;
  readonly #ageMaxMs: number;
  readonly #known = new Map<Tenant, Known>();

  constructor(store: Store, ageMaxMs: number) {
    this.#store = store;
    this.#ageMaxMs = ageMaxMs;
  }

  /** The freeze that stops this, if any. No promise where the list is young enough. @throws UnavailableError */
  find(about: Freezable): Freeze | undefined | Promise<Freeze | undefined> {
    const known = this.#knownOf(about.caller.tenant);
    const ageMs = performance.now() - known.readAt;
    if (ageMs <= this.#ageMaxMs) {
      // Read ahead, so that a busy sidecar never waits for it.
      if (ageMs > this.#ageMaxMs / 2) void this.#read(about.caller.tenant, known).catch(() => {});
      return matching(known.freezes, about);
    }
    return this.#read(about.caller.tenant, known).then(() => matching(known.freezes, about));
  }

  /** As far as this sidecar knows, without asking. */
  peek(about: Freezable): Freeze | undefined {
    return matching(this.#knownOf(about.caller.tenant).freezes, about);
  }

  /** A change made here counts at once. */
  forget(tenant: Tenant): void {
    this.#known.delete(tenant);
  }

  #knownOf(tenant: Tenant): Known {
    let known = this.#known.get(tenant);
    if (known === undefined) {
      known = { freezes: [], readAt: Number.NEGATIVE_INFINITY, reading: undefined };
      this.#known.set(tenant, known);
    }
    return known;
  }

  #read(tenant: Tenant, known: Known): Promise<void> {
    const startedAt = performance.now();
    known.reading ??= this.#store
      .readFreezes(tenant)
      .then((freezes) => {
        known.freezes = freezes;
        known.readAt = startedAt;
      })
      .finally(() => {
        known.reading = undefined;
      });
    return known.reading;
  }
}

function matching(freezes: readonly Freeze[], about: Freezable): Freeze | undefined {
  return freezes.length === 0 ? undefined : freezes.find((freeze) => matches(freeze, about));
}

function matches({ kind, subject }: Freeze, { caller, action, actor, entity }: Freezable): boolean {
  switch (kind) {
    case "tenant":
      return true;
    case "action":
      return action === subject;
    case "entity":
      return entity !== null && `${entity.type}/${entity.id}` === subject;
    case "actor":
      return principals(actor, caller).some((id) => isSamePrincipal(id, subject));
  }
}

/** The actor, everybody it acts for, and the credential that speaks for them. */
function principals(actor: ActorRef, caller: Caller): string[] {
  const ids = caller.credentialId === undefined ? [] : [caller.credentialId];
  for (let one: ActorRef | undefined = actor; one !== undefined; one = one.on_behalf_of) ids.push(one.id);
  return ids;
}
