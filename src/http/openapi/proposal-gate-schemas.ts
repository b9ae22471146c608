/** What the routes of proposal gates answer, to the last member. */
import { z } from "zod";
import { identifier, jsonObject, jsonValue } from "../../core/schema.ts";
import { approvalStatus, limit, problem, reason, time, traceId } from "./response-schemas.ts";

const limits = z.array(limit).describe("What is left of each, and when it resets");

const trace = { trace_id: traceId };
const asked = { action: identifier.describe("Its name"), entity_id: identifier };

export const gateDecision = z.strictObject({
  proposal_id: identifier,
  outcome: z.enum(["allowed", "approval_required", "blocked"]),
  reasons: z.array(identifier).describe("Codes"),
  message: z.string().describe("What to do now"),
  details: z.array(reason),
  decision_id: identifier,
  limits: limits.optional(),
  parameters: jsonObject.optional().describe("Run the action with these instead"),
  approval_id: identifier.optional(),
  permit: z.string().optional().describe("Compact JWS: shown where the action runs, to be consumed"),
  permit_id: identifier.optional(),
  ...trace,
});

export const actionExecuted = z.strictObject({
  result: z.strictObject({
    action_name: identifier,
    entity_id: identifier,
    status: z.literal("succeeded"),
    executed: z.literal(true),
    message: z.string().describe("The executor's, where it says one"),
    output: jsonValue.optional().describe("What the executor answered"),
    event: identifier.optional().describe("That followed, where the contract names one"),
    state: identifier.nullable().optional().describe("Of the entity after it"),
    version: z.int().min(0).optional().describe("Of the entity after it"),
    applied: z.literal(false).optional().describe("The event led nowhere from where the entity stood by then"),
    refusal: z.literal("no_transition").optional(),
    decision_id: identifier,
    execution_id: identifier,
  }),
  ...trace,
});

const outcome = { ...asked, message: z.string(), decision_id: identifier, execution_id: identifier, ...trace };

export const actionFailed = z.strictObject({
  error: z.literal("executor failed"),
  status: z.literal("failed"),
  executed: z.literal(false),
  ...outcome,
});

export const actionUnknown = z.strictObject({
  error: z.literal("outcome unknown"),
  status: z.literal("unknown"),
  executed: z.null(),
  ...outcome,
});

const refused = {
  ...asked,
  decision_id: identifier,
  reasons: z.array(reason),
  limits: limits.optional(),
  ...trace,
};

const blocked = z.strictObject({ error: z.literal("action blocked"), ...refused });

const wrongState = z.strictObject({
  error: z.literal("state not allowed"),
  current_state: identifier.nullable().describe("Of the entity, as it was decided on"),
  allowed_states: z.array(identifier),
  ...refused,
});

const undecided = z.strictObject({
  error: z.literal("action requires approval"),
  approval_id: identifier,
  ...refused,
});

const nobodyRuns = z.strictObject({
  error: z.literal("no executor"),
  action: asked.action,
  message: z.string(),
  ...trace,
});

export const actionRefused = z.union([blocked, wrongState, undecided, nobodyRuns]);

export const approvalRefused = z.union([blocked, wrongState]);

export const approvalOpened = z.strictObject({
  approval: z.strictObject({
    id: identifier,
    status: approvalStatus,
    expires_at: time,
    action_name: identifier,
    entity_id: identifier,
  }),
  decision_id: identifier,
  ...trace,
});

export const noApprovalNeeded = z.strictObject({
  error: z.literal("no approval needed"),
  ...asked,
  decision_id: identifier,
  ...trace,
});

/** What goes wrong before a route of these is found has no `error`. */
export const gateProblem = problem.extend({ error: z.string().optional().describe("As `title`") });
