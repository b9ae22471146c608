/** Entities with their histories, sessions and freezes. */
import type { Key } from "lmdb";
import type {
  AppendEvent,
  EntityRecord,
  Freeze,
  SessionChange,
  SessionRecord,
  StoredEvent,
} from "../../core/context.ts";
import type { Digest, EntityRef, Tenant } from "../../core/types.ts";
import { isDigest } from "../check-request.ts";
import { entityHash, eventHash, freezeHash } from "../context-names.ts";
import {
  entityOfText,
  entityText,
  freezeOfText,
  freezeText,
  sessionOf,
  storedEventOfText,
  storedEventText,
} from "../context-text.ts";
import { corrupted, isCount, isString, parsed, type Shape } from "../record-shape.ts";
import type { PurgeRows } from "./purge-rows.ts";
import type { Rows } from "./tables.ts";

/** Whose place in which history a source's id has. */
interface Claim {
  readonly contentDigest: Digest;
  readonly entity: string;
  readonly sequence: number;
}

interface KeptSession extends SessionRecord {
  readonly expiresAtMs: number;
}

const CLAIM: Shape<Claim> = {
  contentDigest: (value) => typeof value === "string" && isDigest(value),
  entity: isString,
  sequence: isCount,
};
const SESSION: Shape<KeptSession> = { version: isCount, text: isString, expiresAtMs: isCount };
/** Sorts after every number and hash. */
const LAST = "\uffff";

export class ContextRows {
  readonly #rows: Rows;
  readonly #tenant: Tenant;
  readonly #purge: PurgeRows;

  constructor(rows: Rows, tenant: Tenant, purge: PurgeRows) {
    this.#rows = rows;
    this.#tenant = tenant;
    this.#purge = purge;
  }

  entity(ref: EntityRef): EntityRecord | undefined {
    const text = this.#rows.get(["entity", this.#tenant, entityHash(ref)]);
    return text === undefined ? undefined : entityOfText(text, ref);
  }

  /** What is on record under this id of this source; undefined where nothing is. */
  claimed(event: AppendEvent): { readonly event: StoredEvent } | "conflict" | undefined {
    const text = this.#rows.get(this.#claimKey(event));
    if (text === undefined) return undefined;
    const { contentDigest, entity, sequence } = parsed<Claim>("event claim", text, CLAIM);
    if (contentDigest !== event.contentDigest || entity !== entityHash(event.after.ref)) return "conflict";
    const stored = this.#rows.get(["event", this.#tenant, entity, sequence]);
    if (stored === undefined) throw corrupted("event claim");
    return { event: storedEventOfText(stored) };
  }

  append(event: AppendEvent, atMs: number): void {
    const { after, contentDigest, eventText } = event;
    const [entity, sequence] = [entityHash(after.ref), after.events];
    const claim: Claim = { contentDigest, entity, sequence };
    this.#rows.put(this.#claimKey(event), JSON.stringify(claim));
    this.#rows.put(["event", this.#tenant, entity, sequence], storedEventText({ sequence, atMs, text: eventText }));
    this.#rows.put(["entity", this.#tenant, entity], entityText({ ...after, changedAtMs: atMs }));
  }

  events(ref: EntityRef, from: number, limit: number): readonly StoredEvent[] {
    const history: Key[] = ["event", this.#tenant, entityHash(ref)];
    const range = this.#rows.getRange({ start: [...history, from], end: [...history, LAST], limit });
    return Array.from(range, ({ value }) => storedEventOfText(value));
  }

  session(id: Digest, nowMs: number): SessionRecord | undefined {
    const kept = this.#session(id);
    return kept === undefined || kept.expiresAtMs <= nowMs ? undefined : sessionOf(kept);
  }

  putSession({ id, after, ttlMs }: SessionChange, nowMs: number): void {
    const before = this.#session(id);
    const kept: KeptSession = { version: after.version, text: after.text, expiresAtMs: nowMs + ttlMs };
    if (before !== undefined) this.#purge.remove(before.expiresAtMs, "session", id);
    this.#purge.put(kept.expiresAtMs, "session", id);
    this.#rows.put(this.#sessionKey(id), JSON.stringify(kept));
  }

  purgeSession(id: Digest, nowMs: number): void {
    if (this.session(id, nowMs) === undefined) this.#rows.remove(this.#sessionKey(id));
  }

  freeze(id: string): Freeze | undefined {
    const text = this.#rows.get(this.#freezeKey(id));
    return text === undefined ? undefined : freezeOfText(text);
  }

  freezes(limit: number): readonly Freeze[] {
    const range = this.#rows.getRange({ start: ["freeze", this.#tenant], end: ["freeze", this.#tenant, LAST], limit });
    return Array.from(range, ({ value }) => freezeOfText(value));
  }

  freezeCount(limit: number): number {
    return this.#rows.getKeysCount({ start: ["freeze", this.#tenant], end: ["freeze", this.#tenant, LAST], limit });
  }

  putFreeze(freeze: Freeze): void {
    this.#rows.put(this.#freezeKey(freeze.id), freezeText(freeze));
  }

  removeFreeze(id: string): void {
    this.#rows.remove(this.#freezeKey(id));
  }

  #session(id: Digest): KeptSession | undefined {
    const text = this.#rows.get(this.#sessionKey(id));
    return text === undefined ? undefined : parsed<KeptSession>("session", text, SESSION);
  }

  #claimKey(event: AppendEvent): Key {
    return ["claim", this.#tenant, eventHash(event)];
  }

  #sessionKey(id: Digest): Key {
    return ["session", this.#tenant, id];
  }

  #freezeKey(id: string): Key {
    return ["freeze", this.#tenant, freezeHash(id)];
  }
}
