/** The part of the store that holds the shared context. Everything of one tenant here lies in one partition (record 0010). */
import type {
  AppendEvent,
  AppendEventResult,
  EntityRecord,
  Freeze,
  SessionChange,
  SessionRecord,
  Settle,
  SettleResult,
  StoredEvent,
} from "./context.ts";
import type { Digest, EntityRef, Tenant } from "./types.ts";

/** The contract of `Store` holds here, too: one atomic step, the store's clock, no time from the caller, bounded waits. */
export interface ContextStore {
  readEntity(tenant: Tenant, ref: EntityRef): Promise<EntityRecord | undefined>;
  /**
   * Appends an event to its entity's history and replaces the entity's record, if nothing came between. Leaves a fact
   * `event_appended` whose payload is {event, sequence}. Safe to repeat: by source and id an event is appended once, for
   * as long as the entity is kept (for ever).
   */
  appendEvent(tenant: Tenant, event: AppendEvent): Promise<AppendEventResult>;
  /** In order, from sequence `from` (1 or more), at most `limit` (1 to 1,000). */
  readEvents(tenant: Tenant, ref: EntityRef, from: number, limit: number): Promise<readonly StoredEvent[]>;

  readSession(tenant: Tenant, id: Digest): Promise<SessionRecord | undefined>;
  /** Replaces a session's record where it still has the expected version (0: is not on record); else gives what there is. */
  writeSession(
    tenant: Tenant,
    change: SessionChange,
  ): Promise<{ readonly kind: "written" } | { readonly kind: "stale"; readonly session: SessionRecord | undefined }>;

  /**
   * Checks, reserves, locks, appends and registers, all or nothing. In this order: a permit of this id ("repeated"),
   * entity and session ("stale"), limits ("exceeded"), lock ("locked", "queue_full").
   * INVARIANT: over all sidecars, what binding limits have charged and not given back never exceeds them in any window,
   * and at most one unexpired permit holds a lock.
   */
  settle(tenant: Tenant, request: Settle): Promise<SettleResult>;
  /** Gives back what an unconsumed permit reserved, and makes it unusable. False where it was consumed, or is unknown. */
  cancelPermit(tenant: Tenant, jti: string): Promise<boolean>;
  /** Gives up a place in a lock's queue. */
  leaveQueue(tenant: Tenant, lockId: Digest, jti: string): Promise<void>;

  /** Leaves a fact `freeze_set`. False where the tenant has FREEZES_MAX of them. */
  putFreeze(
    tenant: Tenant,
    freeze: Omit<Freeze, "atMs">,
  ): Promise<{ readonly freeze: Freeze; readonly factId: string } | undefined>;
  /** Leaves a fact `freeze_lifted` with payload {freeze, by, reason}. Undefined where there is none of this id. */
  liftFreeze(
    tenant: Tenant,
    lift: { readonly id: string; readonly by: string; readonly reason: string },
  ): Promise<{ readonly freeze: Freeze; readonly factId: string } | undefined>;
  readFreezes(tenant: Tenant): Promise<readonly Freeze[]>;
}
