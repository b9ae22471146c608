/** What an entry of the ledger is about, as tags of the index. Follows from the entry's text and nothing else. */
import { entityTag, traceTag } from "./entry-index.ts";
import { type EntryView, entityAt, objectAt, textAt, viewEntry } from "./entry-view.ts";
import { IDENTIFIER_CHARS_MAX } from "./schema.ts";
import type { EntityRef, Tenant } from "./types.ts";

/** Grows with every change of what an entry's tags are: an index of another version is built anew. */
export const TAGS_VERSION = 1;

export interface EntryTags {
  readonly tags: readonly string[];
  /**
   * Look-up keys of entries before this one: what the first of them that is there is about, this one is about too. Who
   * reports an execution names its permit and its decision, not the entity.
   */
  readonly sharesEntityOf: readonly string[];
}

export const decisionKey = (tenant: Tenant, decisionId: string): string => `decision:${tenant}:${decisionId}`;
export const consumptionKey = (tenant: Tenant, jti: string): string => `consumed:${tenant}:${jti}`;

const NONE: EntryTags = { tags: [], sharesEntityOf: [] };

export function entryTags(text: string): EntryTags {
  const entry = viewEntry(text);
  if (entry === undefined || entry.tenant === "") return NONE;
  const { tenant, traceId } = entry;
  const ofEntities = entitiesOf(entry).map(({ type, id }) => entityTag(tenant, type, id));
  const ofTrace = traceId === undefined ? [] : [traceTag(tenant, traceId)];
  return {
    tags: [...new Set([...ofTrace, ...ofEntities])],
    sharesEntityOf: ofEntities.length > 0 ? [] : causeKeys(entry),
  };
}

/** Of the tags of an entry those that name entities. */
export function entityTags(text: string): readonly string[] {
  return entryTags(text).tags.filter((tag) => tag.startsWith("entity:"));
}

function entitiesOf(entry: EntryView): readonly EntityRef[] {
  const { kind, body, data, payload } = entry;
  const named =
    kind === "decision"
      ? [entityAt(body, "input", "entity")]
      : [
          entityAt(data, "entity"),
          entityAt(data, "approval", "entity"),
          entityAt(data, "event", "entity"),
          entityAt(payload, "approval", "subject", "entity"),
          entityAt(payload, "event", "entity"),
        ];
  return [...named, ...frozenEntities(entry)].filter((one) => one !== undefined);
}

/** Two identifiers and a slash, in UTF-16 units. */
const SUBJECT_CHARS_MAX = 2 * (2 * IDENTIFIER_CHARS_MAX) + 1;

/** Types and ids may hold slashes: whatever the subject of a freeze could mean is stopped by it, and so is about it. */
function frozenEntities({ data, payload }: EntryView): EntityRef[] {
  const freeze = objectAt(textAt(data, "freeze", "kind") === undefined ? payload : data, "freeze");
  const subject = textAt(freeze, "subject") ?? "";
  if (textAt(freeze, "kind") !== "entity" || subject.length > SUBJECT_CHARS_MAX) return [];
  return [...subject.matchAll(/\//g)].map(({ index }) => ({
    type: subject.slice(0, index),
    id: subject.slice(index + 1),
  }));
}

/** Ids that are ours; whatever else may stand there is no key. */
const OWN_ID = /^[\w.-]{1,128}$/;

/** Look-up keys of the decision that an entry follows from, and of the use of its permit; of which one may be elsewhere. */
export function causeKeys({ tenant, data, payload }: EntryView): readonly string[] {
  const decisionId = textAt(data, "decision_id") ?? textAt(payload, "execution", "decisionId") ?? "";
  const jti = textAt(data, "permit_id") ?? textAt(payload, "execution", "jti") ?? "";
  return [
    ...(OWN_ID.test(decisionId) ? [decisionKey(tenant, decisionId)] : []),
    ...(OWN_ID.test(jti) ? [consumptionKey(tenant, jti)] : []),
  ];
}
