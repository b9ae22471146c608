/** The shared context in the embedded store. */
import {
  type AppendEvent,
  type AppendEventResult,
  type EntityRecord,
  FREEZES_MAX,
  type Freeze,
  type SessionChange,
  type SessionRecord,
  type Settle,
  type SettleResult,
  type StoredEvent,
} from "../../core/context.ts";
import type { ContextStore } from "../../core/context-store.ts";
import { InvalidRequestError } from "../../core/errors.ts";
import { isPermitId } from "../../core/partition.ts";
import type { StoreFact } from "../../core/ports.ts";
import type { Digest, EntityRef, Tenant } from "../../core/types.ts";
import {
  checkAppendEvent,
  checkFreeze,
  checkJti,
  checkLift,
  checkReadEvents,
  checkSession,
  checkSettle,
  isEntityRef,
  isIdentifier,
} from "../check-context.ts";
import { checkDigest, checkTenant, isDigest, isTenant } from "../check-request.ts";
import { eventFactId, freezeFactId } from "../context-names.ts";
import { eventPayload, freezePayload, isSameFreeze, sortedFreezes } from "../context-text.ts";
import type { StoreOptions } from "../store-options.ts";
import { settle } from "./settle.ts";
import type { Tables } from "./tables.ts";
import type { Transactions } from "./transactions.ts";

type FreezeChange = { readonly freeze: Freeze; readonly factId: string };

export class EmbeddedContext implements ContextStore {
  readonly #transactions: Transactions;
  readonly #options: StoreOptions;

  constructor(transactions: Transactions, options: StoreOptions) {
    this.#transactions = transactions;
    this.#options = options;
  }

  async readEntity(tenant: Tenant, ref: EntityRef): Promise<EntityRecord | undefined> {
    if (!isTenant(tenant) || !isEntityRef(ref)) return undefined;
    return this.#transactions.read("read an entity", tenant, ({ context }) => context.entity(ref));
  }

  async appendEvent(tenant: Tenant, event: AppendEvent): Promise<AppendEventResult> {
    checkTenant(tenant);
    checkAppendEvent(event, this.#options.subjectBytesMax);
    return this.#transactions.write("append an event", tenant, (tables, nowMs) => {
      const claimed = tables.context.claimed(event);
      if (claimed === "conflict") return { kind: "conflict" };
      if (claimed !== undefined) return { kind: "repeated", event: claimed.event };
      const { ref, events: sequence } = event.after;
      const entity = tables.context.entity(ref);
      if ((entity?.events ?? 0) !== event.expectedEvents) return { kind: "changed", entity };
      tables.context.append(event, nowMs);
      const factId = eventFactId(ref, sequence);
      const payload = eventPayload(event.eventText, sequence);
      tables.putFact({ factId, tenant, kind: "event_appended", atMs: nowMs, subjectId: event.eventId, payload });
      return { kind: "appended", sequence, atMs: nowMs, factId };
    });
  }

  async readEvents(tenant: Tenant, ref: EntityRef, from: number, limit: number): Promise<readonly StoredEvent[]> {
    checkReadEvents(from, limit);
    if (!isTenant(tenant) || !isEntityRef(ref)) return [];
    return this.#transactions.read("read events", tenant, ({ context }) => context.events(ref, from, limit));
  }

  async readSession(tenant: Tenant, id: Digest): Promise<SessionRecord | undefined> {
    if (!isTenant(tenant) || !isDigest(id)) return undefined;
    return this.#transactions.read("read a session", tenant, ({ context }, nowMs) => context.session(id, nowMs));
  }

  async writeSession(tenant: Tenant, change: SessionChange): ReturnType<ContextStore["writeSession"]> {
    checkTenant(tenant);
    checkSession(change, this.#options.subjectBytesMax);
    return this.#transactions.write("write a session", tenant, ({ context }, nowMs) => {
      const session = context.session(change.id, nowMs);
      if ((session?.version ?? 0) !== change.expectedVersion) return { kind: "stale", session };
      context.putSession(change, nowMs);
      return { kind: "written" };
    });
  }

  async settle(tenant: Tenant, request: Settle): Promise<SettleResult> {
    checkTenant(tenant);
    checkSettle(tenant, request, this.#options.subjectBytesMax);
    return this.#transactions.writeInParts("settle a decision", tenant, (tables, nowMs) =>
      settle(tables, request, { tenant, nowMs, graceMs: this.#graceMs }),
    );
  }

  async cancelPermit(tenant: Tenant, jti: string): Promise<boolean> {
    if (!isTenant(tenant) || !isPermitId(jti)) return false;
    return this.#transactions.write("cancel a permit", tenant, (tables, nowMs) => {
      const permit = tables.livePermit(jti, nowMs, this.#graceMs);
      if (permit === undefined) return false;
      if (permit.isCancelled === true) return true;
      if (permit.usesLeft < permit.uses) return false;
      tables.putPermit({ ...permit, usesLeft: 0, isCancelled: true });
      tables.holdings.cancelled(jti);
      return true;
    });
  }

  async leaveQueue(tenant: Tenant, lockId: Digest, jti: string): Promise<void> {
    checkTenant(tenant);
    checkDigest("lock id", lockId);
    checkJti(jti);
    const isQueued = ({ locks }: Tables): boolean => locks.isQueued(lockId, jti);
    if (!(await this.#transactions.read("look into a queue", tenant, isQueued))) return;
    await this.#transactions.write("leave a queue", tenant, ({ locks }) => locks.leave(lockId, jti));
  }

  async putFreeze(tenant: Tenant, freeze: Omit<Freeze, "atMs">): Promise<FreezeChange | undefined> {
    checkTenant(tenant);
    checkFreeze(freeze);
    return this.#transactions.write("set a freeze", tenant, (tables, nowMs) => {
      const kept = tables.context.freeze(freeze.id);
      if (kept !== undefined) return againOf(kept, freeze);
      if (tables.context.freezeCount(FREEZES_MAX) >= FREEZES_MAX) return undefined;
      const { id, kind, subject, reason, by } = freeze;
      const put: Freeze = { id, kind, subject, reason, by, atMs: nowMs };
      tables.context.putFreeze(put);
      return { freeze: put, factId: putFact(tables, tenant, { freeze: put, atMs: nowMs }) };
    });
  }

  async liftFreeze(
    tenant: Tenant,
    lift: { readonly id: string; readonly by: string; readonly reason: string },
  ): Promise<FreezeChange | undefined> {
    checkTenant(tenant);
    checkLift(lift);
    if (!isIdentifier(lift.id)) return undefined;
    return this.#transactions.write("lift a freeze", tenant, (tables, nowMs) => {
      const freeze = tables.context.freeze(lift.id);
      if (freeze === undefined) return undefined;
      tables.context.removeFreeze(lift.id);
      return { freeze, factId: putFact(tables, tenant, { freeze, lift, atMs: nowMs }) };
    });
  }

  async readFreezes(tenant: Tenant): Promise<readonly Freeze[]> {
    if (!isTenant(tenant)) return [];
    return this.#transactions.read("read the freezes", tenant, ({ context }) =>
      sortedFreezes(context.freezes(FREEZES_MAX)),
    );
  }

  get #graceMs(): number {
    return this.#options.permitGraceSeconds * 1000;
  }
}

/** Putting it once more is safe; another freeze under its id would lift it unseen. */
function againOf(kept: Freeze, freeze: Omit<Freeze, "atMs">): FreezeChange {
  if (isSameFreeze(kept, freeze)) return { freeze: kept, factId: freezeFactId(kept.id, kept.atMs, "set") };
  throw new InvalidRequestError("invalid_request", `Cannot set freeze "${freeze.id}": another one has this id`);
}

function putFact(
  tables: Tables,
  tenant: Tenant,
  of: {
    readonly freeze: Freeze;
    readonly lift?: { readonly by: string; readonly reason: string };
    readonly atMs: number;
  },
): string {
  const { freeze, lift, atMs } = of;
  const factId = freezeFactId(freeze.id, freeze.atMs, lift === undefined ? "set" : "lifted");
  const kind: StoreFact["kind"] = lift === undefined ? "freeze_set" : "freeze_lifted";
  tables.putFact({ factId, tenant, kind, atMs, subjectId: freeze.id, payload: freezePayload(freeze, lift) });
  return factId;
}
