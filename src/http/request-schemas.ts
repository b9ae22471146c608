/** What requests may say: these schemas refuse them, and the API's description is generated from them. */
import { z } from "zod";
import type { ApprovalStatus } from "../core/ports.ts";
import { actor, digestText, entity, freeText, identifier, jsonObject, jsonValue, roles } from "../core/schema.ts";

export const batchSchema = z.strictObject({
  proposals: z.array(jsonValue).min(1).describe("Decided each on its own, and answered in this order"),
});

export const usePermitSchema = z.strictObject({
  permit: z.string().min(1).describe("The token, as the decision had it"),
  action: z
    .strictObject({ name: identifier, arguments: jsonObject })
    .describe("What is really about to run, with the arguments it will really run with"),
  actor: actor.describe("On whose behalf it runs; without on_behalf_of, what the permit says of it stands"),
  entity: entity.nullable().optional().describe("What it runs on, as proposed"),
  audience: identifier.optional().describe("Who the executor is, where it answers to more than one name"),
});

export const reportSchema = z.strictObject({
  permit_id: identifier,
  execution_id: identifier.optional().describe("Which use, where the permit has more than one"),
  status: z.enum(["succeeded", "failed"]),
  result: jsonValue.optional().describe("Any JSON value; only its digest is kept"),
});

/** A reviewer speaks for itself: there is no principal behind it. */
export const reviewerActor = z
  .strictObject({ id: identifier, type: identifier.optional(), roles: roles.optional() })
  .describe("Who reviews: needed without authentication; else left out, or naming whom the credential names");

const actFields = { reason: freeText.optional(), actor: reviewerActor.optional() };

export const actSchema = z.strictObject(actFields);

export const grantSchema = z.strictObject({
  ...actFields,
  binding_digest: digestText.optional().describe("binding_digest of what the reviewer saw"),
  arguments: jsonObject.optional().describe("Grant these instead; policy decides them before they are bound"),
});

export const APPROVAL_STATUSES = [
  "pending",
  "granted",
  "denied",
  "expired",
  "cancelled",
  "exhausted",
] as const satisfies readonly ApprovalStatus[];

/** Items of one page: unless asked otherwise, and at most. */
export interface PageSize {
  readonly default: number;
  readonly max: number;
}

/** Each approval may carry arguments as large as a request. */
export const APPROVALS_PAGE: PageSize = { default: 50, max: 100 };
export const EXECUTIONS_PAGE: PageSize = { default: 50, max: 500 };
export const OBSERVATIONS_PAGE: PageSize = { default: 50, max: 500 };
export const ENTRIES_PAGE: PageSize = { default: 100, max: 1_000 };

/** `30s`, `500ms`, `1m`, or a number of seconds. */
export const DURATION = /^([0-9]{1,6})(ms|s|m)?$/;
/** An index into the ledger, as text. */
export const INDEX = /^[0-9]{1,15}$/;
