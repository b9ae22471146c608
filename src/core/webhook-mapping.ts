/**
 * From the JSON of a webhook to an event of ours, by a mapping of JSON Pointers. Pure, and repeatable: the same body gives
 * the same event, since senders deliver one more than once.
 */
import { z } from "zod";
import { InvalidRequestError } from "./errors.ts";
import { parsePointer, resolvePointer } from "./json-pointer.ts";
import { IDENTIFIER, identifier } from "./schema.ts";
import type { EntityRef, Json, JsonObject } from "./types.ts";
import type { WebhookHeaders } from "./webhook-signature.ts";

export interface WebhookEvent {
  readonly id: string;
  readonly type: string;
  readonly entity: EntityRef;
  readonly actor: { readonly id: string; readonly type?: string };
  /** RFC 3339. */
  readonly time: string;
  readonly data: JsonObject;
}

export const DATA_MEMBERS_MAX = 64;
export const MAPPED_TYPES_MAX = 500;

const pointer = z
  .string()
  .refine((text) => parsePointer(text) !== undefined, "expected a JSON Pointer such as /data/object/id");
const headerName = z.string().regex(/^[a-z0-9-]{1,64}$/, "expected the name of a header, in lower case");

const fromPointer = z.strictObject({ pointer });
const source = z.union([fromPointer, z.strictObject({ value: identifier }), z.strictObject({ header: headerName })], {
  error: "expected one of {pointer: …}, {value: …} and {header: …}",
});
const dataMember = z.union(
  [z.strictObject({ pointer, optional: z.boolean().optional() }), z.strictObject({ value: z.string().max(1_024) })],
  { error: "expected {pointer: …}, with optional: true where it may be missing, or {value: …}" },
);

const typeRules = {
  /** From the sender's types to ours. Without it the sender's are ours. */
  map: z
    .record(z.string().min(1).max(256), identifier)
    .refine((map) => Object.keys(map).length <= MAPPED_TYPES_MAX, `expected at most ${MAPPED_TYPES_MAX} types`)
    .optional(),
  /** What becomes of a type that `map` lacks. */
  unmapped: z.enum(["ignore", "refuse"]).optional(),
};

/** What a mapping is in the configuration. */
export const webhookMappingSchema = z.strictObject({
  id: source,
  type: z
    .union(
      [
        z.strictObject({ pointer, ...typeRules }),
        z.strictObject({ header: headerName, ...typeRules }),
        z.strictObject({ value: identifier }),
      ],
      { error: "expected {pointer: …} or {header: …}, with map and unmapped, or {value: …}" },
    )
    .refine((type) => "value" in type || type.unmapped === undefined || type.map !== undefined, {
      path: ["unmapped"],
      error: "says nothing without map",
    }),
  entity: z.strictObject({ type: source, id: source }),
  /** In the body: a time that came with the delivery would differ when it is delivered again. */
  time: fromPointer,
  data: z
    .union([fromPointer, z.record(z.string().min(1).max(256), dataMember)], {
      error: "expected {pointer: …} to an object, or members that are {pointer: …} or {value: …}",
    })
    .refine((data) => Object.keys(data).length <= DATA_MEMBERS_MAX, `expected at most ${DATA_MEMBERS_MAX} members`)
    .default({}),
});

export const webhookActorSchema = z.strictObject({ id: source, type: source.optional() });

export type WebhookMapping = z.infer<typeof webhookMappingSchema>;
export type WebhookActor = z.infer<typeof webhookActorSchema>;
type Source = z.infer<typeof source>;

/** Headers that the mapping reads: with a signature they must be ones that it covers. */
export function headersOfMapping(mapping: WebhookMapping, actor: WebhookActor | undefined): readonly string[] {
  const sources = [mapping.id, mapping.type, mapping.entity.type, mapping.entity.id, actor?.id, actor?.type];
  return [...new Set(sources.flatMap((one) => (one !== undefined && "header" in one ? [one.header] : [])))];
}

export type MappingAnswer =
  | { readonly kind: "event"; readonly event: WebhookEvent }
  | { readonly kind: "ignored"; readonly reason: string }
  | {
      readonly kind: "refused";
      readonly code: "webhook_mapping_failed";
      readonly message: string;
      /** Into the body; undefined where what is wrong is in a header. */
      readonly pointer: string | undefined;
    };

export interface MappingInput {
  readonly body: Json;
  readonly headers: WebhookHeaders;
}

export function mapWebhook(mapping: WebhookMapping, actor: WebhookActor, input: MappingInput): MappingAnswer {
  try {
    const type = typeOf(mapping.type, input);
    if (typeof type !== "string") return { kind: "ignored", reason: type.ignored };
    return { kind: "event", event: eventOf(mapping, actor, { input, type }) };
  } catch (thrown) {
    if (!(thrown instanceof InvalidRequestError)) throw thrown;
    return { kind: "refused", code: "webhook_mapping_failed", message: thrown.message, pointer: thrown.pointer };
  }
}

function unmappable(message: string, at: string | undefined): InvalidRequestError {
  return new InvalidRequestError("webhook_mapping_failed", message, at === undefined ? {} : { pointer: at });
}

function eventOf(
  mapping: WebhookMapping,
  actor: WebhookActor,
  of: { readonly input: MappingInput; readonly type: string },
): WebhookEvent {
  const read = (from: Source, member: string) => nameAt(from, member, of.input);
  return {
    id: read(mapping.id, "id"),
    type: of.type,
    entity: { type: read(mapping.entity.type, "entity.type"), id: read(mapping.entity.id, "entity.id") },
    actor: {
      id: read(actor.id, "actor.id"),
      ...(actor.type === undefined ? {} : { type: read(actor.type, "actor.type") }),
    },
    time: timeAt(mapping.time.pointer, of.input.body),
    data: dataOf(mapping.data, of.input.body),
  };
}

function typeOf(rules: WebhookMapping["type"], input: MappingInput): string | { readonly ignored: string } {
  if ("value" in rules || rules.map === undefined) return nameAt(rules, "type", input);
  const found = textAt(rules, "type", input);
  const mapped = Object.hasOwn(rules.map, found) ? rules.map[found] : undefined;
  if (mapped !== undefined) return mapped;
  const reason = `Type ${shown(found)} is none that the mapping has`;
  if (rules.unmapped === "ignore") return { ignored: reason };
  throw unmappable(reason, "pointer" in rules ? rules.pointer : undefined);
}

/** An id or a name of ours. */
function nameAt(from: Source, member: string, input: MappingInput): string {
  const text = textAt(from, member, input);
  if (IDENTIFIER.test(text)) return text;
  throw unmappable(
    `Expected for ${member} 1 to 256 characters without white space, control or format characters, or braces, found ${shown(text)}`,
    "pointer" in from ? from.pointer : undefined,
  );
}

function textAt(from: Source, member: string, { body, headers }: MappingInput): string {
  if ("value" in from) return from.value;
  if ("header" in from) {
    const value = Object.hasOwn(headers, from.header) ? headers[from.header] : undefined;
    if (typeof value === "string") return value;
    throw unmappable(`There is no header ${from.header}, which the mapping takes for ${member}`, undefined);
  }
  const value = valueAt(from.pointer, member, body);
  if (typeof value === "string") return value;
  // Some senders number what they send. What the strict reader let through is the number that was written.
  if (typeof value === "number" && Number.isSafeInteger(value)) return String(value);
  throw unmappable(`Expected a text or a whole number for ${member}, found ${kindOf(value)}`, from.pointer);
}

function valueAt(at: string, member: string, body: Json): Json {
  const value = resolvePointer(body, parsePointer(at) ?? []);
  if (value !== undefined) return value;
  throw unmappable(`There is nothing at ${shown(at)}, where the mapping looks for ${member}`, at);
}

const RFC_3339 = z.iso.datetime({ offset: true });
/** The last second of the year 9999. Milliseconds of today lie far beyond it. */
const UNIX_SECONDS_MAX = 253_402_300_799;

function timeAt(at: string, body: Json): string {
  const value = valueAt(at, "time", body);
  if (typeof value === "string" && RFC_3339.safeParse(value).success) return value;
  if (typeof value === "number" && value >= 0 && value <= UNIX_SECONDS_MAX)
    return new Date(Math.round(value * 1_000)).toISOString();
  const other = typeof value === "number" || typeof value === "string" ? `another ${typeof value}` : kindOf(value);
  throw unmappable(`Expected an RFC 3339 time or Unix seconds for time, found ${other}`, at);
}

function dataOf(data: WebhookMapping["data"], body: Json): JsonObject {
  if (isWhole(data)) {
    const value = valueAt(data.pointer, "data", body);
    if (isObject(value)) return value;
    throw unmappable(`Expected an object for data, found ${kindOf(value)}`, data.pointer);
  }
  const members = Object.entries(data).flatMap(([name, member]): [string, Json][] => {
    if ("value" in member) return [[name, member.value]];
    if (member.optional === true && resolvePointer(body, parsePointer(member.pointer) ?? []) === undefined) return [];
    return [[name, valueAt(member.pointer, `data.${name}`, body)]];
  });
  return Object.fromEntries(members);
}

/** A member that is named `pointer` holds an object. */
function isWhole(data: WebhookMapping["data"]): data is { pointer: string } {
  return typeof data.pointer === "string";
}

function isObject(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** In messages: a text that an attacker chose may be long, and may hold anything. */
function shown(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

function kindOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return { string: "a text", number: "a number", boolean: "a boolean", object: "an object" }[
    typeof value as "string" | "number" | "boolean" | "object"
  ];
}
