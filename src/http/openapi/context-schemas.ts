/** What answers say of events, entities and freezes, to the last member. */
import { z } from "zod";
import { digestText, entity, identifier, jsonObject } from "../../core/schema.ts";
import { FREEZE_KINDS } from "../request-schemas.ts";
import { problem, time, traceId } from "./response-schemas.ts";

const count = z.int().min(0);
const state = identifier.nullable().describe("Null before the first transition");
const version = count.describe("Of the entity: grows with every event that counted");
/** Empty before the first event. */
const chain = z.union([digestText, z.literal("")]).describe("Over every event's text, in order");

export const eventTaken = z.strictObject({
  event_id: identifier,
  source: identifier,
  type: identifier,
  entity,
  sequence: count.min(1).describe("Place in the entity's history"),
  repeated: z.boolean().describe("On record before: this request changed nothing"),
  applied: z.boolean().describe("Whether it counted; it is on record either way"),
  from: state,
  state: state.describe("After it"),
  version: version.describe("Of the entity after it"),
  refusal: z
    .strictObject({ code: z.literal("no_transition"), message: z.string(), current_state: identifier.nullable() })
    .optional()
    .describe("Why it did not count"),
  trace_id: traceId,
});

export const eventsTaken = z.strictObject({
  events: z.array(z.union([eventTaken, problem])).describe("In the order in which they were sent"),
});

export const webhookIgnored = z.strictObject({
  ignored: z.literal(true),
  reason: z.string(),
  trace_id: traceId,
});

const eventRow = z.strictObject({
  sequence: count.min(1),
  received_at: time,
  id: identifier,
  source: identifier,
  type: identifier,
  entity,
  actor: z.strictObject({ id: identifier, type: identifier.optional() }),
  time: z.string().describe("RFC 3339, as the source says; decides nothing"),
  data: jsonObject,
  trace_id: traceId,
  applied: z.boolean().describe("Whether it counted"),
  from: state,
  to: state.describe("After it"),
  version: version.describe("Of the entity after it"),
  policy_digest: digestText.describe("Of the policy whose domain judged it"),
});

const attributes = jsonObject.describe("Folded from the events' data, as the domain says");

const rebuild = z
  .strictObject({
    matches: z.boolean().nullable().describe("Null: not tried, and `reason` says why"),
    events: count.describe("Of the entity, on record"),
    rebuilt: z
      .strictObject({ state, version, attributes, chain })
      .optional()
      .describe("What the events alone give, where that is something else"),
    reason: z.string().optional(),
  })
  .describe("Whether the events alone, through the active domain, give what is kept");

export const entityRead = z.strictObject({
  type: identifier,
  id: identifier,
  state,
  version,
  attributes,
  events: count.describe("On record, those that did not count among them"),
  chain,
  changed_at: time,
  history: z.array(eventRow).describe("Newest first"),
  cursor: count.min(1).nullable().describe("For the page before; null at the history's beginning"),
  rebuild: rebuild.optional(),
});

export const freeze = z.strictObject({
  id: identifier,
  kind: z.enum(FREEZE_KINDS),
  subject: z.string().optional().describe("Id of the actor, `type/id` of the entity, name of the action"),
  reason: z.string(),
  by: identifier.describe("Whose credential set it"),
  at: time,
});

export const freezes = z.strictObject({ freezes: z.array(freeze) });
export const frozen = z.strictObject({ freeze });
export const lifted = z.strictObject({ freeze, lifted_by: identifier });
