/**
 * A domain: what entities there are, which events move them between states, and what policy says of actions on them. It
 * is data of the bundle (`data.holdpoint.entities` and `.contracts`), so one digest names policy and domain together.
 *
 * `applyEvent` is the only way a state changes, and is pure: the same events in the same order give the same entity.
 */
import { z } from "zod";
import type { EntityState } from "./context.ts";
import { ANY_STATE, entityTypeFaults } from "./domain-faults.ts";
import { parsePointer, resolvePointer } from "./json-pointer.ts";
import { fromMicros, toMicros } from "./micros.ts";
import { escapePointer } from "./read-json.ts";
import { identifier, schemaFaults } from "./schema.ts";
import type { Json, JsonObject } from "./types.ts";

export const ENTITY_TYPES_MAX = 200;
export const STATES_MAX = 500;
export const TRANSITIONS_MAX = 2_000;
export const ATTRIBUTES_MAX = 64;
/** Characters of one attribute's canonical text, and so of what one event may put into every later decision's input. */
export const ATTRIBUTE_CHARS_MAX = 4_096;

export { ANY_STATE };

export interface Transition {
  readonly on: string;
  /** Empty: an entity that has no state yet. `["*"]`: whatever its state, none included. */
  readonly from: readonly string[];
  readonly to: string;
}

export type FoldOperation = "set" | "first" | "add" | "min" | "max" | "count";

export interface AttributeFold {
  readonly on: readonly string[];
  readonly operation: FoldOperation;
  /** Into the event's data; not used by count. */
  readonly pointer: string;
}

export interface EntityType {
  readonly name: string;
  readonly states: readonly string[];
  readonly events: readonly string[];
  readonly transitions: readonly Transition[];
  readonly attributes: ReadonlyMap<string, readonly AttributeFold[]>;
}

export interface DomainAction {
  readonly name: string;
  readonly entityTypes: readonly string[];
  /** Undefined: whatever the state. */
  readonly allowedStates: readonly string[] | undefined;
  /** Name of the executor in the configuration. */
  readonly executor: string | undefined;
  /** The event that follows its success. */
  readonly event: string | undefined;
  /** Whether it is decided on its session, and recorded in it. */
  readonly keepsSession: boolean;
}

export interface Domain {
  readonly entities: ReadonlyMap<string, EntityType>;
  readonly actions: ReadonlyMap<string, DomainAction>;
  /** Whether all actions are decided on their sessions (`sessions: true`), whatever their contracts say. */
  readonly keepsSessions: boolean;
}

export const NO_DOMAIN: Domain = { entities: new Map(), actions: new Map(), keepsSessions: false };

const pointer = z
  .string()
  .refine((text) => parsePointer(text) !== undefined, "expected a JSON Pointer such as /amount");

const fold = z.strictObject({
  on: z.array(identifier).min(1).max(STATES_MAX),
  operation: z.enum(["set", "first", "add", "min", "max", "count"]),
  pointer: pointer.default(""),
});

export const entityTypeSchema = z.strictObject({
  states: z.array(identifier).max(STATES_MAX).default([]),
  events: z.array(identifier).max(STATES_MAX).default([]),
  transitions: z
    .array(z.strictObject({ on: identifier, from: z.array(identifier).max(STATES_MAX), to: identifier }))
    .max(TRANSITIONS_MAX)
    .default([]),
  attributes: z
    .record(identifier, z.array(fold).min(1).max(64))
    .refine((value) => Object.keys(value).length <= ATTRIBUTES_MAX, `expected at most ${ATTRIBUTES_MAX} attributes`)
    .default({}),
});

/** What the gate reads of a contract; the rest of it is for the policy. */
const contract = z.object({
  entity_types: z.array(identifier).optional(),
  allowed_states: z.array(identifier).optional(),
  executor: identifier.optional(),
  event: identifier.optional(),
  session: z.boolean().optional(),
  classifications: z.array(identifier).optional(),
  session_sums: z.array(identifier).optional(),
});

const domainSchema = z.object({
  entities: z
    .record(identifier, entityTypeSchema)
    .refine((value) => Object.keys(value).length <= ENTITY_TYPES_MAX, `expected at most ${ENTITY_TYPES_MAX} types`)
    .default({}),
});

/**
 * Reads what bundle data says under `holdpoint`. Entities are checked to the last member, and that no name in them
 * stands for nothing: data may be written by hand. Of contracts that are no objects or odd nothing is said here: the
 * policy library denies by them.
 */
export function readDomain(data: Json): Domain | { readonly faults: readonly string[] } {
  const holdpoint = isObject(data) && isObject(data.holdpoint) ? data.holdpoint : {};
  const parsed = domainSchema.safeParse({ entities: holdpoint.entities }, { reportInput: true });
  if (!parsed.success) {
    return {
      faults: schemaFaults(parsed.error).map(({ pointer: at, message }) => `data.holdpoint at ${at}: ${message}`),
    };
  }
  const entities = Object.entries(parsed.data.entities).map(([name, type]): [string, EntityType] => [
    name,
    { name, ...type, attributes: new Map(Object.entries(type.attributes)) },
  ]);
  const faults = entities.flatMap(([name, type]) =>
    entityTypeFaults(type).map(({ path, message }) => faultText(["entities", name, ...path], message)),
  );
  if (faults.length > 0) return { faults };
  const contracts = isObject(holdpoint.contracts) ? Object.entries(holdpoint.contracts) : [];
  return {
    entities: new Map(entities),
    actions: new Map(contracts.map(([name, value]) => [name, actionOf(name, value)])),
    keepsSessions: holdpoint.sessions === true,
  };
}

function faultText(path: readonly (string | number)[], message: string): string {
  return `data.holdpoint at ${path.map((step) => `/${escapePointer(String(step))}`).join("")}: ${message}`;
}

function actionOf(name: string, value: Json): DomainAction {
  const read = contract.safeParse(value);
  const said = read.success ? read.data : {};
  return {
    name,
    entityTypes: said.entity_types ?? [],
    allowedStates: said.allowed_states,
    executor: said.executor,
    event: said.event,
    keepsSession: said.session ?? (said.classifications !== undefined || said.session_sums !== undefined),
  };
}

export const NEW_ENTITY: EntityState = { state: null, version: 0, attributes: {} };

export type AppliedEvent =
  | { readonly kind: "applied"; readonly from: string | null; readonly after: EntityState }
  /** The event is known, and leads nowhere from where the entity stands. `allowedFrom` is where it would. */
  | { readonly kind: "refused"; readonly from: string | null; readonly allowedFrom: readonly string[] }
  /** The event's data are not what an attribute needs. */
  | { readonly kind: "invalid"; readonly pointer: string; readonly message: string };

export function isKnownEvent(type: EntityType, event: string): boolean {
  return type.events.includes(event);
}

/** The first transition that fits is taken; `domain check` refuses domains in which two of one state fit. */
export function applyEvent(
  type: EntityType,
  entity: EntityState,
  event: { readonly type: string; readonly data: JsonObject },
): AppliedEvent {
  const transitions = type.transitions.filter((transition) => transition.on === event.type);
  const taken = transitions.find((transition) => leavesFrom(transition, entity.state));
  if (taken === undefined && transitions.length > 0) {
    return { kind: "refused", from: entity.state, allowedFrom: [...new Set(transitions.flatMap(({ from }) => from))] };
  }
  const folded = foldAttributes(type, entity.attributes, event);
  if ("message" in folded) return { kind: "invalid", ...folded };
  const after = { state: taken?.to ?? entity.state, version: entity.version + 1, attributes: folded.attributes };
  return { kind: "applied", from: entity.state, after };
}

function leavesFrom({ from }: Transition, state: string | null): boolean {
  if (from.length === 0) return state === null;
  return from.includes(ANY_STATE) || (state !== null && from.includes(state));
}

function foldAttributes(
  type: EntityType,
  before: JsonObject,
  event: { readonly type: string; readonly data: JsonObject },
): { readonly attributes: JsonObject } | { readonly pointer: string; readonly message: string } {
  const attributes = new Map(Object.entries(before));
  for (const [name, folds] of type.attributes) {
    for (const { operation, pointer: at } of folds.filter(({ on }) => on.includes(event.type))) {
      const found = operation === "count" ? 1 : resolvePointer(event.data, parsePointer(at) ?? []);
      if (found === undefined) continue;
      const value = folded(operation, attributes.get(name), found);
      if (value === undefined) return { pointer: at, message: `expected a number that can be added up (six decimals)` };
      if (JSON.stringify(value).length > ATTRIBUTE_CHARS_MAX) {
        return { pointer: at, message: `expected at most ${ATTRIBUTE_CHARS_MAX} characters of JSON` };
      }
      attributes.set(name, value);
    }
  }
  return { attributes: Object.fromEntries(attributes) };
}

/** Undefined where the operation takes numbers and there is none, or the sum is too large. */
function folded(operation: FoldOperation, before: Json | undefined, found: Json): Json | undefined {
  if (operation === "set") return found;
  if (operation === "first") return before === undefined ? found : before;
  const micros = typeof found === "number" ? toMicros(found) : undefined;
  if (micros === undefined) return undefined;
  const kept = typeof before === "number" ? toMicros(before) : undefined;
  if (kept === undefined) return fromMicros(micros);
  switch (operation) {
    case "add":
    case "count": {
      const sum = fromMicros(kept + micros);
      return toMicros(sum) === kept + micros ? sum : undefined;
    }
    case "min":
      return fromMicros(Math.min(kept, micros));
    case "max":
      return fromMicros(Math.max(kept, micros));
  }
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
