/**
 * Decide, use the permit, run the action, and say what became of it: for whoever leaves the running to the sidecar.
 *
 * Order of effects, and what a crash right after each step leaves behind:
 *   1. decide                  a recorded decision, and a permit nobody holds
 *   2. consume the permit      an execution with unknown outcome, listed until an operator resolves it
 *   3. call the executor       the same: it is never called a second time for one permit
 *   4. append the event        the entity has moved; the execution is still unknown, and can only be resolved as it was
 *   5. report                  nothing
 * INVARIANT (once): nothing leads back from 2, so a crash never leads to a second call.
 */
import type { Caller } from "../core/caller.ts";
import { actorText, entityText, objectText } from "../core/compose.ts";
import { canonicalData } from "../core/digest.ts";
import type { ExecuteAnswer } from "../core/executor.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { Proposal } from "../core/proposal.ts";
import { readJson } from "../core/read-json.ts";
import type { EntityRef, Json, JsonObject, Outcome, Reason } from "../core/types.ts";
import type { LimitReport } from "./conclude.ts";
import { consumePermit } from "./consume-permit.ts";
import { decide } from "./decide.ts";
import { appendFollowing, type FollowingEvent, OWN_SOURCE } from "./follow-execution.ts";
import type { GateContext } from "./ports.ts";
import { recordEvent } from "./record-event.ts";
import { recordTransition } from "./record-transition.ts";
import { reportExecution } from "./report-execution.ts";

export interface ExecuteActionRequest {
  readonly caller: Caller;
  readonly proposal: Proposal & { readonly entity: EntityRef };
  readonly traceId: string;
  /** Whether nobody waits for the answer any more: then no lock is waited for. What runs is not cut off. */
  readonly isGone?: () => boolean;
}

/** The decision as it was answered, as far as it is needed here. */
export interface ExecutedDecision {
  readonly decision_id: string;
  readonly outcome: Outcome;
  readonly reasons: readonly Reason[];
  readonly approval?: { readonly id: string; readonly status: string };
  readonly action: { readonly name: string; readonly arguments: JsonObject };
  readonly permit?: string;
  readonly permit_id?: string;
  readonly limits?: readonly LimitReport[];
  readonly risk?: string;
}

export type ExecuteActionAnswer =
  | { readonly kind: "not_allowed"; readonly decision: ExecutedDecision }
  /** The contract names no executor, or the configuration does not know the one it names. Nothing was used up. */
  | { readonly kind: "no_executor"; readonly executor: string | undefined }
  | {
      readonly kind: "executed";
      readonly decision: ExecutedDecision;
      readonly executionId: string;
      readonly answer: ExecuteAnswer;
      /** Undefined where the contract names no event, the action did not succeed, or the event could not be appended. */
      readonly event: FollowingEvent | undefined;
    };

/** @throws what decide, consumePermit and reportExecution throw */
export async function executeAction(gate: GateContext, request: ExecuteActionRequest): Promise<ExecuteActionAnswer> {
  const contract = gate.policy.status().active?.domain.actions.get(request.proposal.action);
  const executor = contract?.executor;
  const isConfigured = executor !== undefined && gate.executors.has(executor);
  // An action that nothing would run reserves nothing. One without a contract is policy's to refuse.
  if (contract !== undefined && !isConfigured) return { kind: "no_executor", executor };
  const decision = await decideFirst(gate, request);
  if (decision.outcome !== "allow" && decision.outcome !== "compute") return { kind: "not_allowed", decision };
  if (executor === undefined || decision.permit === undefined) return { kind: "no_executor", executor };
  const use = await useOnce(gate, request, decision, decision.permit);
  const startedAt = performance.now();
  const answer = await gate.executors.execute({
    executor,
    bodyText: bodyText(request, decision, use),
    permit: decision.permit,
    idempotencyKey: use.executionId,
    traceId: request.traceId,
  });
  const seconds = (performance.now() - startedAt) / 1000;
  gate.observer.actionExecuted({ tenant: request.caller.tenant, executor, result: answer.kind, seconds });
  const event = await recordOutcome(gate, request, { decision, use, answer });
  return { kind: "executed", decision, executionId: use.executionId, answer, event };
}

async function decideFirst(gate: GateContext, request: ExecuteActionRequest): Promise<ExecutedDecision> {
  const { caller, traceId, isGone } = request;
  const { text } = await decide(gate, {
    caller,
    traceId,
    isGone,
    proposal: { ...request.proposal, wantsPermit: true },
  });
  return JSON.parse(text) as ExecutedDecision;
}

interface Use {
  readonly executionId: string;
  readonly permitId: string;
  readonly lock: PermitClaims["lock"];
  /** False: observe mode let it pass without a use on record. */
  readonly isRecorded: boolean;
}

async function useOnce(
  gate: GateContext,
  { caller, proposal, traceId }: ExecuteActionRequest,
  { action, permit_id = "" }: ExecutedDecision,
  token: string,
): Promise<Use> {
  const real = {
    action: action.name,
    arguments: action.arguments,
    argumentsText: canonicalData(action.arguments),
    actorId: proposal.actor.id,
    onBehalfOf: proposal.actor.on_behalf_of ?? null,
    entity: proposal.entity,
  };
  // A permit's audience is whoever runs the action, and here that is the executor behind this sidecar.
  const executing = { ...caller, audiences: undefined };
  const use = { caller: executing, token, real, audience: undefined, traceId, isOwn: true };
  const answer = await consumePermit(gate, use);
  if (answer.kind === "observed") {
    // Observing blocks nothing, and does not do twice what was asked for once either.
    if (answer.refusal.code === "already_consumed") throw answer.refusal;
    const executionId = `observed_${permit_id}`;
    return { executionId, permitId: permit_id, lock: undefined, isRecorded: false };
  }
  const { claims, executionId } = answer.use;
  return { executionId: executionId!, permitId: claims.jti, lock: claims.lock, isRecorded: true };
}

function bodyText({ proposal, traceId }: ExecuteActionRequest, { action }: ExecutedDecision, use: Use): string {
  return objectText([
    ["action", `{"arguments":${canonicalData(action.arguments)},"name":${JSON.stringify(action.name)}}`],
    ["actor", actorText(proposal.actor)],
    ["entity", entityText(proposal.entity)],
    ["execution_id", JSON.stringify(use.executionId)],
    ["lock", use.lock === undefined ? undefined : canonicalData(use.lock)],
    ["permit_id", JSON.stringify(use.permitId)],
    ["trace_id", JSON.stringify(traceId)],
  ]);
}

interface Outcomes {
  readonly decision: ExecutedDecision;
  readonly use: Use;
  readonly answer: ExecuteAnswer;
}

/** What is certain is recorded; an unknown outcome stays listed as unknown, and the entity where it was. */
async function recordOutcome(
  gate: GateContext,
  request: ExecuteActionRequest,
  { decision, use, answer }: Outcomes,
): Promise<FollowingEvent | undefined> {
  if (answer.kind === "unknown") return recordUnknown(gate, request, { decision, use, answer });
  const { caller, proposal, traceId } = request;
  const { tenant } = caller;
  const { executionId } = use;
  const isSuccess = answer.kind === "succeeded";
  const { name: action, arguments: args } = decision.action;
  const executed = {
    tenant,
    traceId,
    executionId,
    action,
    arguments: args,
    actor: proposal.actor,
    entity: proposal.entity,
  };
  const following = isSuccess ? await appendFollowing(gate, executed) : undefined;
  if (use.isRecorded) {
    await reportExecution(gate, {
      caller,
      isOwn: true,
      permitId: use.permitId,
      executionId,
      status: isSuccess ? "succeeded" : "failed",
      reason: isSuccess ? undefined : answer.message,
      resultText: isSuccess && answer.result !== undefined ? jsonText(answer.result) : undefined,
    });
  }
  if (following === undefined || following.isRepeated) return following;
  await recordEvent(gate, { tenant, producer: OWN_SOURCE, ...following });
  return following;
}

/** Nobody knows what became of it: said where the operators look, with why. */
async function recordUnknown(
  gate: GateContext,
  { caller, proposal, traceId }: ExecuteActionRequest,
  { decision, use, answer }: Outcomes,
): Promise<undefined> {
  const why = "message" in answer ? answer.message : "";
  const data = {
    permit_id: use.permitId,
    execution_id: use.executionId,
    decision_id: decision.decision_id,
    action: decision.action.name,
    actor: proposal.actor.id,
    entity: proposal.entity,
    reason: why,
  };
  gate.observer.failed({ what: `tell what became of execution ${use.executionId}`, error: new Error(why) });
  const { tenant } = caller;
  await recordTransition(gate, { kind: "execution_unknown", tenant, traceId, factId: undefined, data });
}

/** The executor's answer has been through the strict reader, with limits of its own. */
function jsonText(result: Json): string {
  return readJson(JSON.stringify(result), { bytesMax: Number.POSITIVE_INFINITY, depthMax: 128 }).canonical;
}
