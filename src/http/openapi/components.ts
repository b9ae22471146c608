/** Names for the schemas that validate requests and describe answers, and what becomes of them in JSON Schema. */
import { z } from "zod";
import { proposalSchema } from "../../core/proposal.ts";
import { actorsByDepth, DELEGATION_DEPTH_MAX, digestText, entity, identifier } from "../../core/schema.ts";
import {
  actSchema,
  batchSchema,
  eventSchema,
  eventsSchema,
  freezeSchema,
  grantSchema,
  liftSchema,
  operatorActor,
  proposalGateActionSchema,
  proposalGateDecideSchema,
  reportSchema,
  resolveSchema,
  reviewerActor,
  usePermitSchema,
} from "../request-schemas.ts";
import * as context from "./context-schemas.ts";
import { EXAMPLES } from "./examples.ts";
import * as gate from "./proposal-gate-schemas.ts";
import * as answers from "./response-schemas.ts";
import * as timeline from "./timeline-schemas.ts";

const NAMED = {
  // requests
  Proposal: [proposalSchema, "What an actor wants to do"],
  PermitUse: [usePermitSchema, "A permit, and what is really about to run"],
  ExecutionReport: [reportSchema, "How an execution ended"],
  Grant: [grantSchema, "A reviewer's grant"],
  DenialOrCancellation: [actSchema, "A reviewer's denial, or a cancellation"],
  ReviewerActor: [reviewerActor, "Who reviews, where no credential says so"],
  Event: [eventSchema, "What happened to an entity"],
  Webhook: [z.unknown(), "What another system sends, as it sends it"],
  FreezeRequest: [freezeSchema, "What to stop, and why"],
  FreezeLift: [liftSchema, "Why it may go on"],
  Resolution: [resolveSchema, "What became of an execution"],
  OperatorActor: [operatorActor, "Who operates, where no credential says so"],
  GateProposal: [proposalGateDecideSchema, "What an actor wants to do, in the words of proposal gates"],
  GateAction: [proposalGateActionSchema, "With which arguments an actor wants to act on the entity in the path"],
  // answers
  Decision: [answers.decision, "What may happen, and why"],
  Decisions: [answers.decisions, "Answers to a batch"],
  PermitVerified: [answers.permitVerified, "A permit that holds for what is about to run"],
  PermitConsumed: [answers.permitConsumed, "A permit that held, one use of which is now spent"],
  PermitObserved: [answers.permitObserved, "A permit that does not hold, in observe mode"],
  PermitVerifiedOrObserved: [z.union([answers.permitVerified, answers.permitObserved]), "Answer to a verification"],
  PermitConsumedOrObserved: [z.union([answers.permitConsumed, answers.permitObserved]), "Answer to a consumption"],
  Execution: [answers.execution, "One use of a permit, and what became of it"],
  ExecutionPage: [answers.executions, "One page of executions"],
  Approval: [answers.approval, "What reviewers decide on, in full"],
  ApprovalPage: [answers.approvals, "One page of approvals"],
  Reviewed: [answers.reviewed, "The approval after the reviewer's act"],
  Review: [answers.review, "What one reviewer said"],
  EventTaken: [context.eventTaken, "An event that is on record, and what became of it"],
  EventsTaken: [context.eventsTaken, "Answers to several events"],
  EventOrEventsTaken: [z.union([context.eventTaken, context.eventsTaken]), "Answer to one event, or to several"],
  WebhookIgnored: [context.webhookIgnored, "A webhook that is genuine, and none of ours"],
  WebhookTaken: [z.union([context.eventTaken, context.webhookIgnored]), "Answer to a webhook"],
  EntityRead: [context.entityRead, "Where an entity stands, and how it came there"],
  Freeze: [context.freeze, "What is stopped, by whom and why"],
  Freezes: [context.freezes, "What is frozen"],
  Frozen: [context.frozen, "The freeze that was set"],
  FreezeLifted: [context.lifted, "The freeze that was lifted"],
  GateDecision: [gate.gateDecision, "What may happen, in the words of proposal gates"],
  ActionExecuted: [gate.actionExecuted, "An action that ran"],
  ActionRefused: [gate.actionRefused, "An action that may not run, or that nobody would run"],
  ActionFailed: [gate.actionFailed, "An action that did not run"],
  ActionUnknown: [gate.actionUnknown, "An action of which nobody knows whether it ran"],
  ApprovalOpened: [gate.approvalOpened, "An approval that people decide"],
  ApprovalRefused: [gate.approvalRefused, "An action that no approval would allow"],
  NoApprovalNeeded: [gate.noApprovalNeeded, "An action that may run without"],
  TimelineRow: [timeline.timelineRow, "One thing that happened"],
  TraceTimeline: [timeline.traceTimeline, "What happened in one trace"],
  EntityTimeline: [timeline.entityTimeline, "What happened to one entity"],
  Observation: [answers.observation, "What observe mode let pass"],
  ObservationPage: [answers.observations, "One page of observations"],
  LedgerEntry: [answers.ledgerEntry, "A fact; further members are those of its kind"],
  IndexedEntry: [answers.indexedEntry, "An entry and its place"],
  LedgerPage: [answers.ledgerPage, "One page of the ledger"],
  Policy: [answers.policy, "The active policy, and the modes"],
  Health: [answers.health, "The process answers"],
  Readiness: [answers.readiness, "Whether the sidecar can decide"],
  Keys: [answers.jwks, "JWK Set (RFC 7517)"],
  Description: [z.looseObject({ openapi: z.string() }), "OpenAPI 3.1"],
  Problem: [answers.problem, "Problem details (RFC 9457)"],
  GateProblem: [gate.gateProblem, "Problem details (RFC 9457), with what proposal gates call it"],
  ProblemCode: [answers.problemCode, "Stable; new ones may come"],
  // parts
  Identifier: [
    identifier,
    "An id or a name: 1 to 256 characters, none of them white space, a control or format character, or a brace",
  ],
  Digest: [digestText, "SHA-256 over the canonical form (RFC 8785)"],
  Time: [answers.time, "RFC 3339, in UTC"],
  TraceId: [answers.traceId, "W3C Trace Context"],
  Entity: [entity, "What is acted on"],
  Action: [answers.action, "A name, and arguments"],
  Reason: [answers.reason, "Why"],
  Mode: [answers.mode, "Observing blocks nothing"],
  Outcome: [answers.outcome, "What policy says"],
  ApprovalStatus: [answers.approvalStatus, "The state of an approval"],
} as const satisfies Readonly<Record<string, readonly [z.ZodType, string]>>;

export type SchemaName = keyof typeof NAMED | "Batch" | "Events" | "EventOrEvents";

export type JsonSchema = Record<string, unknown>;

const PREFIX = "#/components/schemas/";

export const schemaRef = (name: SchemaName): { readonly $ref: string } => ({ $ref: `${PREFIX}${name}` });

interface NamedSchema {
  readonly id: string;
  readonly schema: z.ZodType;
  readonly description: string;
}

/** @param batchMax of this sidecar */
export function describeSchemas(batchMax: number): Readonly<Record<string, JsonSchema>> {
  const others = Object.entries(NAMED).map(([id, [schema, description]]) => ({ id, schema, description }));
  const all: readonly NamedSchema[] = [...others, ...actors(), batch(batchMax), ...events(batchMax)];
  const registry = z.registry<{ id: string }>();
  for (const { id, schema } of all) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { uri: (id) => `${PREFIX}${id}`, unrepresentable: "any" });
  return Object.fromEntries(all.map((named) => [named.id, component(named, schemas[named.id] as JsonSchema)]));
}

/** Each level refers to the one below, and the last has nobody behind it: so the depth is told exactly, and once. */
function actors(): readonly NamedSchema[] {
  return actorsByDepth.map((schema, depth) =>
    depth === DELEGATION_DEPTH_MAX
      ? { id: "Actor", schema, description: "Who acts, and on whose behalf" }
      : { id: `Principal${depth}`, schema, description: `A principal, with at most ${depth} behind it` },
  );
}

/** The route looks at each proposal on its own, so that a malformed one fails alone. */
function batch(batchMax: number): NamedSchema {
  const schema = batchSchema.extend({ proposals: z.array(proposalSchema).min(1).max(batchMax) });
  return { id: "Batch", schema, description: "Proposals, each decided on its own" };
}

/** As a batch of proposals. */
function events(batchMax: number): readonly NamedSchema[] {
  const several = eventsSchema.extend({ events: z.array(eventSchema).min(1).max(batchMax) });
  return [
    { id: "Events", schema: several, description: "Events, each taken on its own" },
    { id: "EventOrEvents", schema: z.union([eventSchema, several]), description: "One event, or several" },
  ];
}

/** In a document of OpenAPI the dialect is the document's, and names are places in it. */
function component({ id, description }: NamedSchema, { $schema, $id, ...schema }: JsonSchema): JsonSchema {
  const example = EXAMPLES[id as SchemaName];
  return { ...schema, description, ...(example === undefined ? {} : { examples: [example] }) };
}
