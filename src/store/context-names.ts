/**
 * Names under which both adapters keep the context, and the ids of its facts: fixed in length, and without anything in
 * them that a caller chose.
 */
import { sha256Digest } from "../core/digest.ts";
import type { EntityRef } from "../core/types.ts";

/** 64 hexadecimal digits. Identifiers hold no line break, so that no two lists of them have one text. */
function hashOf(...identifiers: readonly string[]): string {
  return sha256Digest(identifiers.join("\n")).slice("sha256:".length);
}

export function entityHash({ type, id }: EntityRef): string {
  return hashOf(type, id);
}

/** Of what claims an event's place: its source's id for it, in one tenant. */
export function eventHash({ source, eventId }: { readonly source: string; readonly eventId: string }): string {
  return hashOf(source, eventId);
}

export function freezeHash(freezeId: string): string {
  return hashOf(freezeId);
}

/** Unique for ever: an entity's sequence never goes back. */
export function eventFactId(ref: EntityRef, sequence: number): string {
  return `event:${entityHash(ref)}:${sequence}`;
}

/** @param setAtMs when it was set: an id that was lifted may be set again */
export function freezeFactId(freezeId: string, setAtMs: number, what: "set" | "lifted"): string {
  return `freeze:${freezeHash(freezeId)}:${setAtMs}:${what}`;
}
