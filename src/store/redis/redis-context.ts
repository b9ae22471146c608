/**
 * The shared context on Redis: everything of a tenant in one slot (record 0010), every change one script. The store
 * puts each of these calls under its deadline.
 */
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
} from "../../core/context.ts";
import type { ContextStore } from "../../core/context-store.ts";
import { InvalidRequestError, UnavailableError } from "../../core/errors.ts";
import { isPermitId, partitionOfId } from "../../core/partition.ts";
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
import { entityHash } from "../context-names.ts";
import { entityOfText, freezeOfText, sortedFreezes } from "../context-text.ts";
import { corrupted } from "../record-text.ts";
import type { StoreOptions } from "../store-options.ts";
import { contextKeysOf, hashOfDigest, keysOf } from "./keys.ts";
import type { RedisLink } from "./redis-link.ts";
import { appendEvent, eventOfRow } from "./scripts/append-event.ts";
import { cancelPermit } from "./scripts/cancel-permit.ts";
import { withHeld } from "./scripts/held.ts";
import { leaveQueue } from "./scripts/leave-queue.ts";
import { liftFreeze } from "./scripts/lift-freeze.ts";
import { putFreeze } from "./scripts/put-freeze.ts";
import { settle } from "./scripts/settle.ts";
import { sessionOfReply, writeSession } from "./scripts/write-session.ts";

/** Runs of "tidied up, ask again" before the answer is "unavailable". */
const SETTLE_ATTEMPTS = 100;

export class RedisContext implements ContextStore {
  readonly #link: RedisLink;
  readonly #options: StoreOptions;

  constructor(link: RedisLink, options: StoreOptions) {
    this.#link = link;
    this.#options = options;
  }

  async readEntity(tenant: Tenant, ref: EntityRef): Promise<EntityRecord | undefined> {
    if (!isTenant(tenant) || !isEntityRef(ref)) return undefined;
    const [text, changed] = await this.#link.fields(contextKeysOf(tenant).entity(entityHash(ref)), "text", "changed");
    if (text === null && changed === null) return undefined;
    return entityOfText(`${text},"changedAtMs":${changed}}`, ref);
  }

  async appendEvent(tenant: Tenant, event: AppendEvent): Promise<AppendEventResult> {
    checkTenant(tenant);
    checkAppendEvent(event, this.#options.subjectBytesMax);
    const keys = contextKeysOf(tenant);
    const result = await appendEvent(this.#link, keys, { tenant, event });
    if (result.kind === "appended" || result.kind === "repeated") {
      const sequence = result.kind === "appended" ? result.sequence : result.event.sequence;
      await this.#link.settle(keys.entity(entityHash(event.after.ref)), "events", (kept) => Number(kept) >= sequence);
    }
    return result;
  }

  async readEvents(tenant: Tenant, ref: EntityRef, from: number, limit: number): Promise<readonly StoredEvent[]> {
    checkReadEvents(from, limit);
    if (!isTenant(tenant) || !isEntityRef(ref)) return [];
    const rows = await this.#link.items(contextKeysOf(tenant).events(entityHash(ref)), from - 1, limit);
    return rows.map((row, index) => eventOfRow(from + index, row));
  }

  async readSession(tenant: Tenant, id: Digest): Promise<SessionRecord | undefined> {
    if (!isTenant(tenant) || !isDigest(id)) return undefined;
    const [version, text] = await this.#link.fields(contextKeysOf(tenant).session(hashOfDigest(id)), "version", "text");
    if (version !== null && text === null) throw corrupted("session");
    return sessionOfReply(version ?? "", text ?? "");
  }

  async writeSession(tenant: Tenant, change: SessionChange): ReturnType<ContextStore["writeSession"]> {
    checkTenant(tenant);
    checkSession(change, this.#options.subjectBytesMax);
    return writeSession(this.#link, contextKeysOf(tenant), change);
  }

  async settle(tenant: Tenant, request: Settle): Promise<SettleResult> {
    checkTenant(tenant);
    checkSettle(tenant, request, this.#options.subjectBytesMax);
    const keys = contextKeysOf(tenant);
    const graceMs = this.#options.permitGraceSeconds * 1000;
    for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt += 1) {
      const result = await settle(this.#link, keys, { tenant, request, graceMs });
      if (result.kind === "tidied") continue;
      const isOnRecord = result.kind === "repeated" || (result.kind === "settled" && request.permit !== undefined);
      if (isOnRecord) await this.#link.settle(keys.permit(request.jti), "uses", () => true);
      return result;
    }
    throw new UnavailableError("store_unavailable", "Store cannot settle: there is too much to tidy up first");
  }

  async cancelPermit(tenant: Tenant, jti: string): Promise<boolean> {
    if (!isTenant(tenant) || !isPermitId(jti)) return false;
    const keys = keysOf(tenant, partitionOfId(jti)!);
    const result = await withHeld(this.#link, { tenant, jti, key: keys.permit(jti) }, (held) =>
      cancelPermit(this.#link, keys, { tenant, jti, held }),
    );
    return result.kind === "cancelled";
  }

  async leaveQueue(tenant: Tenant, lockId: Digest, jti: string): Promise<void> {
    checkTenant(tenant);
    checkDigest("lock id", lockId);
    checkJti(jti);
    await leaveQueue(this.#link, contextKeysOf(tenant), { lock: hashOfDigest(lockId), jti });
  }

  async putFreeze(tenant: Tenant, freeze: Omit<Freeze, "atMs">): ReturnType<ContextStore["putFreeze"]> {
    checkTenant(tenant);
    checkFreeze(freeze);
    const keys = contextKeysOf(tenant);
    const result = await putFreeze(this.#link, keys, { tenant, freeze });
    if (result.kind === "full") return undefined;
    if (result.kind === "other") {
      throw new InvalidRequestError("invalid_request", `Cannot set freeze "${freeze.id}": another one has this id`);
    }
    await this.#link.settle(keys.freezes(), freeze.id, () => true);
    return { freeze: result.freeze, factId: result.factId };
  }

  async liftFreeze(
    tenant: Tenant,
    lift: { readonly id: string; readonly by: string; readonly reason: string },
  ): ReturnType<ContextStore["liftFreeze"]> {
    checkTenant(tenant);
    checkLift(lift);
    if (!isIdentifier(lift.id)) return undefined;
    return liftFreeze(this.#link, contextKeysOf(tenant), { tenant, ...lift });
  }

  async readFreezes(tenant: Tenant): Promise<readonly Freeze[]> {
    if (!isTenant(tenant)) return [];
    const texts = await this.#link.values(contextKeysOf(tenant).freezes());
    return sortedFreezes(texts.map(freezeOfText));
  }
}
