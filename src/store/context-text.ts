/** Records of the shared context as JSON text and back, as record-text.ts does it: what does not hold is an IntegrityError. */
import type { EntityRecord, EventRecord, Freeze, SessionRecord, StoredEvent } from "../core/context.ts";
import type { EntityRef, JsonObject } from "../core/types.ts";
import { isFreezeSubject, isIdentifier } from "./check-context.ts";
import { isDigest } from "./check-request.ts";
import {
  corrupted,
  fits,
  isCount,
  isObject,
  isObjectText,
  isString,
  oneOf,
  parsed,
  type Shape,
} from "./record-shape.ts";

const REF: Shape<EntityRef> = { type: isIdentifier, id: isIdentifier };

const ENTITY: Shape<EntityRecord> = {
  ref: (value) => fits(value, REF),
  state: (value) => value === null || isIdentifier(value),
  version: isCount,
  attributes: isObject,
  events: isCount,
  chain: (value) => value === "" || (typeof value === "string" && isDigest(value)),
  changedAtMs: isCount,
};

const STORED_EVENT: Shape<StoredEvent> = {
  sequence: (value) => isCount(value) && value !== 0,
  atMs: isCount,
  text: isObjectText,
};

const SESSION: Shape<SessionRecord> = { version: (value) => isCount(value) && value !== 0, text: isString };

const FREEZE: Shape<Freeze> = {
  id: isIdentifier,
  kind: oneOf("tenant", "actor", "entity", "action"),
  subject: isString,
  reason: isString,
  by: isIdentifier,
  atMs: isCount,
};

export function entityText({ ref, state, version, attributes, events, chain, changedAtMs }: EntityRecord): string {
  return JSON.stringify({ ref, state, version, attributes, events, chain, changedAtMs });
}

/** @param expected whose record this is: one that lies under another's name is not a record of this program */
export function entityOfText(text: string, expected: EntityRef): EntityRecord {
  const entity = parsed<EntityRecord>("entity", text, ENTITY);
  // Every version stands for an event, and a history that is not empty has a digest.
  if (entity.version > entity.events || (entity.chain === "") !== (entity.events === 0)) throw corrupted("entity");
  if (entity.ref.type !== expected.type || entity.ref.id !== expected.id) throw corrupted("entity");
  return entity;
}

export function storedEventText({ sequence, atMs, text }: StoredEvent): string {
  return JSON.stringify({ sequence, atMs, text });
}

export function storedEventOfText(text: string): StoredEvent {
  return storedEventOf(parsed<StoredEvent>("event", text, STORED_EVENT));
}

/** For what was put together from its parts. @throws IntegrityError where they do not hold */
export function storedEventOf({ sequence, atMs, text }: StoredEvent): StoredEvent {
  if (!fits({ sequence, atMs, text }, STORED_EVENT)) throw corrupted("event");
  return { sequence, atMs, text };
}

export function sessionOf({ version, text }: SessionRecord): SessionRecord {
  if (!fits({ version, text }, SESSION)) throw corrupted("session");
  return { version, text };
}

export function freezeText({ id, kind, subject, reason, by, atMs }: Freeze): string {
  return JSON.stringify({ id, kind, subject, reason, by, atMs });
}

export function freezeOfText(text: string): Freeze {
  const { id, kind, subject, reason, by, atMs } = parsed<Freeze>("freeze", text, FREEZE);
  if (!isFreezeSubject(kind, subject)) throw corrupted("freeze");
  return { id, kind, subject, reason, by, atMs };
}

/** Oldest first. */
export function sortedFreezes(freezes: readonly Freeze[]): readonly Freeze[] {
  return [...freezes].sort((one, next) => one.atMs - next.atMs || (one.id < next.id ? -1 : 1));
}

/** A freeze put twice is one freeze; the same id for something else is nobody's to replace. */
export function isSameFreeze(one: Omit<Freeze, "atMs">, next: Omit<Freeze, "atMs">): boolean {
  return (
    one.id === next.id &&
    one.kind === next.kind &&
    one.subject === next.subject &&
    one.reason === next.reason &&
    one.by === next.by
  );
}

/** The facts' payloads, in one place for both adapters' sake. */
export function eventPayload(eventText: string, sequence: number): JsonObject {
  return { event: JSON.parse(eventText) as EventRecord as unknown as JsonObject, sequence };
}

export function freezePayload(freeze: Freeze, lifted?: { readonly by: string; readonly reason: string }): JsonObject {
  const payload = { freeze: freeze as unknown as JsonObject };
  return lifted === undefined ? payload : { ...payload, by: lifted.by, reason: lifted.reason };
}
