/** What the timeline answers, to the last member. */
import { z } from "zod";
import { entity, identifier } from "../../core/schema.ts";
import * as answers from "./response-schemas.ts";

const cursor = z.string().nullable().describe("For the next page; null where there is none");

export const timelineRow = z.strictObject({
  index: z.int().min(0).describe("Of the ledger's entry; rows of one entry share it"),
  time: answers.time,
  kind: z.string(),
  actor: z.string().nullable().describe("Null for what happens by itself, and where the record does not say"),
  summary: z.string().describe("For people; sentences may change"),
  trace_id: answers.traceId.nullable(),
  decision_id: identifier.optional(),
  approval_id: identifier.optional(),
  recovered: z.literal(true).optional().describe("Recorded late, after a crash: `time` is when it happened"),
});

export const rebuildCheck = z.strictObject({
  matches: z.boolean().nullable().describe("Null: could not be tried, and `reason` says why"),
  events: z.int().min(0).optional().describe("Of the entity, on record"),
  reason: z.string().optional(),
});

const rows = z.array(timelineRow);

export const traceTimeline = z.strictObject({ trace_id: answers.traceId, rows, cursor });

export const entityTimeline = z.strictObject({
  entity,
  rows,
  cursor,
  rebuild: rebuildCheck.optional().describe("On the last page: whether the events alone give the recorded state"),
});
