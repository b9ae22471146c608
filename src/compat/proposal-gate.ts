/**
 * The routes of proposal gates: decide a proposal, execute an action on an entity, open an approval. An adapter over the
 * same gate calls as every other route; its answers have the words and shapes of that protocol, and ours beside them.
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Router } from "express";
import type { z } from "zod";
import type { Caller } from "../core/caller.ts";
import type { EventRecord } from "../core/context.ts";
import { canonicalData } from "../core/digest.ts";
import { HoldpointError } from "../core/errors.ts";
import { type Proposal, parseProposal } from "../core/proposal.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import { parseReading, ROLES_MAX } from "../core/schema.ts";
import type { EntityRef, Json, Outcome, Tenant } from "../core/types.ts";
import type { ExecuteActionAnswer, ExecutedDecision } from "../gate/execute.ts";
import { sourceOf } from "../http/authenticate.ts";
import { type HttpContext, sendJson, traceIdOf } from "../http/exchange.ts";
import { problemOf, sendProblem } from "../http/problem.ts";
import { readBody } from "../http/read-body.ts";
import { proposalGateActionSchema, proposalGateDecideSchema } from "../http/request-schemas.ts";

interface Exchange {
  readonly caller: Caller;
  readonly traceId: string;
  readonly reading: Reading;
  readonly isGone: () => boolean;
}

export function proposalGateRoutes(http: HttpContext): Router {
  const router = Router();
  router.post("/v1/proposals/decide", (request, response) =>
    answer(http, request, response, async (exchange) => {
      const body = parseReading(proposalGateDecideSchema, exchange.reading, "proposal");
      const decision = await decide(http, exchange, decidedProposal(body, exchange.caller));
      return { status: 200, body: decidedView(body.id, decision) };
    }),
  );
  router.post("/v1/entities/:id/actions/:action/execute", (request, response) =>
    answer(http, request, response, async (exchange) => {
      const proposal = actionProposal(exchange, request.params);
      const { caller, traceId, isGone } = exchange;
      const executed = await http.gate.executeAction({ caller, proposal, traceId, isGone });
      return executedView(http, { tenant: caller.tenant, proposal }, executed);
    }),
  );
  router.post("/v1/entities/:id/actions/:action/approvals", (request, response) =>
    answer(http, request, response, async (exchange) => {
      const proposal = actionProposal(exchange, request.params);
      const decision = await decide(http, exchange, proposal);
      // Nobody is told of its permit here, so what it reserved is free again at once.
      if (decision.permit_id !== undefined) await http.gate.withdraw(exchange.caller.tenant, decision.permit_id);
      return approvalView(http, { tenant: exchange.caller.tenant, proposal }, decision);
    }),
  );
  return router;
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

async function answer(
  http: HttpContext,
  request: IncomingMessage,
  response: ServerResponse,
  act: (exchange: Exchange) => Promise<Answer>,
): Promise<void> {
  const traceId = traceIdOf(request);
  let caller: Caller | undefined;
  try {
    caller = await http.authenticator.caller(request);
    const reading = await readBody(request, http.limits);
    const { status, body } = await act({ caller, traceId, reading, isGone: () => response.closed });
    sendJson(response, { ...body, trace_id: traceId }, status);
  } catch (thrown) {
    fail(http, thrown, { caller, request, response, traceId });
  }
}

interface Failed {
  readonly caller: Caller | undefined;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly traceId: string;
}

/** A problem as on every other route, with this protocol's `error` beside it. */
function fail(http: HttpContext, thrown: unknown, { caller, request, response, traceId }: Failed): void {
  http.onProblem(thrown instanceof HoldpointError ? thrown.code : "internal_error");
  if (!(thrown instanceof HoldpointError)) http.onInternalError(thrown as Error);
  else if (thrown.code === "forbidden" && caller !== undefined) http.onOverreach({ caller, source: sourceOf(request) });
  const mode = (thrown instanceof HoldpointError ? thrown.mode : undefined) ?? http.gate.modeOf(caller?.tenant);
  const { status, body } = problemOf(thrown, { mode, traceId });
  sendProblem(response, { status, body: { error: body.title, ...body } });
}

/** Through the one reader of proposals, so that there is one notion of what a proposal may be. */
function proposalOf(value: { readonly [key: string]: unknown }): Proposal {
  return parseProposal(readJson(canonicalData(value), { bytesMax: Number.POSITIVE_INFINITY, depthMax: 256 }));
}

function decidedProposal(body: z.infer<typeof proposalGateDecideSchema>, caller: Caller): Proposal {
  const { id, action_name, parameters = {}, entity_id, entity_type, context, approval_id } = body;
  const entity = entity_id === undefined ? {} : { entity: { type: entity_type, id: entity_id } };
  return proposalOf({
    id,
    action: { name: action_name, arguments: parameters },
    actor: body.actor ?? { id: body.actor_id, ...rolesOf(caller) },
    ...entity,
    ...(context === undefined ? {} : { context }),
    ...(approval_id === undefined ? {} : { approval_id }),
  });
}

/** An actor that is named by its id alone has the roles that its credential lists. */
function rolesOf({ roles }: Caller): object {
  return roles === "any" || roles.size > ROLES_MAX ? {} : { roles: [...roles] };
}

function actionProposal(
  { reading }: Exchange,
  params: Readonly<Record<string, string>>,
): Proposal & { readonly entity: EntityRef } {
  const body = parseReading(proposalGateActionSchema, reading, "action");
  const entity = { type: body.entity_type, id: params.id! };
  const { context, approval_id } = body;
  const proposal = proposalOf({
    id: body.id ?? randomUUID(),
    action: { name: params.action!, arguments: body.parameters ?? {} },
    actor: body.actor,
    entity,
    ...(context === undefined ? {} : { context }),
    ...(approval_id === undefined ? {} : { approval_id }),
  });
  return { ...proposal, entity };
}

async function decide(
  http: HttpContext,
  { caller, traceId, isGone }: Exchange,
  proposal: Proposal,
): Promise<ExecutedDecision> {
  const { text } = await http.gate.decide({ proposal, caller, traceId, isGone });
  return JSON.parse(text) as ExecutedDecision;
}

const OUTCOMES: Readonly<Record<Outcome, string>> = {
  allow: "allowed",
  compute: "allowed",
  escalate: "approval_required",
  deny: "blocked",
};

const MESSAGES: Readonly<Record<Outcome, string>> = {
  allow: "execute the action",
  compute: "execute the action with the arguments given here instead",
  escalate: "request approval before executing",
  deny: "do not execute",
};

function decidedView(proposalId: string, decision: ExecutedDecision): object {
  const { outcome, reasons, decision_id, permit, permit_id, approval, action } = decision;
  return {
    proposal_id: proposalId,
    outcome: OUTCOMES[outcome],
    reasons: outcome === "escalate" ? ["approval_required"] : reasons.map(({ code }) => code),
    message: MESSAGES[outcome],
    details: reasons,
    decision_id,
    ...limitsOf(decision),
    ...(outcome === "compute" ? { parameters: action.arguments } : {}),
    ...(approval === undefined ? {} : { approval_id: approval.id }),
    ...(permit === undefined ? {} : { permit, permit_id }),
  };
}

/** An action on an entity, and whose it is. */
interface Asked {
  readonly tenant: Tenant;
  readonly proposal: Proposal & { readonly entity: EntityRef };
}

function executedView(http: HttpContext, asked: Asked, answer: ExecuteActionAnswer): Answer {
  const { proposal } = asked;
  switch (answer.kind) {
    case "not_allowed":
      return refusedView(http, asked, answer.decision);
    case "no_executor":
      return {
        status: 422,
        body: {
          error: "no executor",
          action: proposal.action,
          message:
            answer.executor === undefined
              ? "the contract names no executor"
              : `the setting executors has no ${JSON.stringify(answer.executor)}`,
        },
      };
    case "executed":
      return ranView(proposal, answer);
  }
}

function ranView(
  { action, entity }: Proposal & { readonly entity: EntityRef },
  { answer, decision, executionId, event }: Extract<ExecuteActionAnswer, { kind: "executed" }>,
): Answer {
  const ids = { decision_id: decision.decision_id, execution_id: executionId };
  if (answer.kind === "succeeded") {
    const state = event === undefined ? {} : followedBy(event.event);
    const result = {
      action_name: action,
      entity_id: entity.id,
      status: "succeeded",
      executed: true,
      message: messageOf(answer.result) ?? `${action} executed`,
      ...(answer.result === undefined ? {} : { output: answer.result }),
    };
    return { status: 200, body: { result: { ...result, ...state, ...ids } } };
  }
  const isUnknown = answer.kind === "unknown";
  return {
    status: isUnknown ? 504 : 502,
    body: {
      error: isUnknown ? "outcome unknown" : "executor failed",
      action,
      entity_id: entity.id,
      status: answer.kind,
      executed: isUnknown ? null : false,
      message: answer.message,
      ...ids,
    },
  };
}

/** An event that leads nowhere from where the entity stands by now: the action ran, and the state does not show it. */
function followedBy({ type, to, version, applied }: EventRecord): object {
  return { event: type, state: to, version, ...(applied ? {} : { applied, refusal: "no_transition" }) };
}

/** What the executor says to people, if it says anything. */
function messageOf(result: Json | undefined): string | undefined {
  const isObject = typeof result === "object" && result !== null && !Array.isArray(result);
  const message = isObject ? (result as { readonly message?: Json }).message : undefined;
  return typeof message === "string" && message.length <= 2_000 ? message : undefined;
}

/** 422 with the words that say what is missing. */
function refusedView(
  http: HttpContext,
  { tenant, proposal: { action, entity } }: Asked,
  decision: ExecutedDecision,
): Answer {
  const { reasons, approval, decision_id, outcome } = decision;
  const codes = reasons.map(({ code }) => code);
  const details = { action, entity_id: entity.id, decision_id, reasons, ...limitsOf(decision) };
  if (outcome === "escalate") {
    return { status: 422, body: { error: "action requires approval", ...details, approval_id: approval?.id } };
  }
  // After a reviewer's denial this protocol says the same as of a state: from here the action is not allowed any more.
  if (codes.includes("state_not_allowed") || codes.includes("approval_denied")) {
    const { current, allowed } = http.gate.stateAt(tenant, decision_id, action);
    const states = { current_state: current, allowed_states: allowed };
    return { status: 422, body: { error: "state not allowed", ...details, ...states } };
  }
  return { status: 422, body: { error: "action blocked", ...details } };
}

/** What is left, and when it resets. */
function limitsOf({ limits }: ExecutedDecision): object {
  return limits === undefined ? {} : { limits };
}

function approvalView(http: HttpContext, asked: Asked, decision: ExecutedDecision): Answer {
  const { action, entity } = asked.proposal;
  const { outcome, approval, decision_id } = decision;
  if (outcome !== "escalate" || approval === undefined) {
    if (outcome === "deny") return refusedView(http, asked, decision);
    return { status: 409, body: { error: "no approval needed", action, entity_id: entity.id, decision_id } };
  }
  return {
    status: 201,
    body: {
      approval: { ...approval, action_name: action, entity_id: entity.id },
      decision_id,
    },
  };
}
