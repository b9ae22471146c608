/**
 * Canonical texts built from canonical parts: each part is canonicalised once, by whoever read it, and joined here in the
 * order of RFC 8785. `JSON.stringify` of a well-formed string is its canonical form (section 3.2.2.2).
 *
 * INVARIANT: what these functions return equals canonicalText of the value it denotes.
 */
import type { ActorRef, EntityRef, Tenant } from "./types.ts";

export interface InputTexts {
  readonly action: string;
  readonly arguments: string;
  readonly actor: string;
  /** "null" unless an approval has been granted. */
  readonly approval: string;
  readonly context: string;
  readonly entity: string;
  readonly session: string;
  readonly tenant: Tenant;
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string;
}

/** The policy input. */
export function inputText(of: InputTexts): string {
  return (
    `{"action":{"arguments":${of.arguments},"name":${JSON.stringify(of.action)}},"actor":${of.actor},` +
    `"approval":${of.approval},"context":${of.context},"entity":${of.entity},"session":${of.session},` +
    `"tenant":"${of.tenant}","time":"${of.time}"}`
  );
}

export interface BindingParts {
  readonly tenant: Tenant;
  readonly actorId: string;
  readonly onBehalfOf: ActorRef | null;
  readonly action: string;
  readonly entity: EntityRef | null;
  /** Canonical text of the exact arguments. */
  readonly argumentsText: string;
}

/** What the binding digest is taken over. */
export function bindingText(of: BindingParts): string {
  return (
    `{"action":${JSON.stringify(of.action)},"actor":${JSON.stringify(of.actorId)},"arguments":${of.argumentsText},` +
    `"entity":${entityText(of.entity)},"on_behalf_of":${actorText(of.onBehalfOf)},"tenant":"${of.tenant}"}`
  );
}

/**
 * The same for a bounded envelope, where a JSON Schema stands in the place of the arguments. Exact bindings have no member
 * `envelope` and an object under `arguments`, so no arguments can be mistaken for an envelope.
 */
export function envelopeBindingText(of: Omit<BindingParts, "argumentsText">, schemaText: string): string {
  return (
    `{"action":${JSON.stringify(of.action)},"actor":${JSON.stringify(of.actorId)},"arguments":null,` +
    `"entity":${entityText(of.entity)},"envelope":${schemaText},"on_behalf_of":${actorText(of.onBehalfOf)},` +
    `"tenant":"${of.tenant}"}`
  );
}

export function entityText(entity: EntityRef | null): string {
  return entity === null ? "null" : `{"id":${JSON.stringify(entity.id)},"type":${JSON.stringify(entity.type)}}`;
}

export function actorText(actor: ActorRef | null): string {
  if (actor === null) return "null";
  let text = `{"id":${JSON.stringify(actor.id)}`;
  if (actor.on_behalf_of !== undefined) text += `,"on_behalf_of":${actorText(actor.on_behalf_of)}`;
  if (actor.roles !== undefined) text += `,"roles":${JSON.stringify(actor.roles)}`;
  if (actor.type !== undefined) text += `,"type":${JSON.stringify(actor.type)}`;
  return `${text}}`;
}

/** An object from members whose keys are ASCII and given in ascending order; undefined members are left out. */
export function objectText(members: readonly (readonly [key: string, canonical: string | undefined])[]): string {
  let text = "";
  for (const [key, canonical] of members) {
    if (canonical !== undefined) text += `${text === "" ? "" : ","}"${key}":${canonical}`;
  }
  return `{${text}}`;
}
