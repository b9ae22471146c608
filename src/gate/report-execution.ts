/** What became of a consumed permit. Until it is said, the outcome is unknown, and is listed as such. */
import type { Caller } from "../core/caller.ts";
import { sha256Digest } from "../core/digest.ts";
import { ConflictError, InvalidRequestError, NotFoundError, toError } from "../core/errors.ts";
import { executionIdOf, isPermitId, permitOfExecution } from "../core/partition.ts";
import type { Execution } from "../core/ports.ts";
import { appendToSession, hasOutcome } from "../core/session.ts";
import type { Tenant } from "../core/types.ts";
import { OWN_CONSUMER } from "./consume-permit.ts";
import { keepsSession } from "./context-view.ts";
import { appendFollowing, OWN_SOURCE } from "./follow-execution.ts";
import type { PermitSubject } from "./issue-permit.ts";
import type { GateContext } from "./ports.ts";
import { recordEvent } from "./record-event.ts";
import { recordTransition } from "./record-transition.ts";
import { sessionChange } from "./settle-decision.ts";

export interface ReportRequest {
  readonly caller: Caller;
  /** This sidecar ran the action itself. */
  readonly isOwn?: boolean;
  readonly permitId: string;
  readonly executionId: string | undefined;
  readonly status: "succeeded" | "failed";
  /** Canonical text of the result; only its digest is kept. */
  readonly resultText: string | undefined;
  /** Why it failed, where this sidecar ran it. */
  readonly reason?: string | undefined;
}

export async function reportExecution(gate: GateContext, request: ReportRequest): Promise<Execution> {
  const { tenant } = request.caller;
  if (isPermitId(request.permitId)) await requireConsumer(gate, request);
  const resultDigest = request.resultText === undefined ? undefined : sha256Digest(request.resultText);
  const report = {
    tenant,
    jti: request.permitId,
    executionId: request.executionId,
    status: request.status,
    resultDigest,
  };
  const result = await gate.store.reportExecution(report);
  switch (result.kind) {
    case "not_found":
      throw new NotFoundError("permit_not_found", `No permit ${JSON.stringify(request.permitId)}`, {
        pointer: "/permit_id",
      });
    case "not_consumed":
      throw new ConflictError("execution_not_consumed", "Nothing ran under this permit: it was never consumed");
    case "conflict":
      throw reportedBefore(result.execution);
    case "repeated":
      return result.execution;
    case "reported":
      await recordReport(gate, request, result.execution, result.factId);
      gate.observer.executionReported({ tenant, status: request.status });
      await noteInSession(gate, result.execution);
      return result.execution;
  }
}

/** Attempts at a session that others write at the same time. */
const SESSION_ATTEMPTS = 8;

/**
 * Prior actions are seen with their outcomes. What a crash or an outage keeps from the session stays there as decided,
 * which is the stricter reading: its sums are not taken back.
 */
async function noteInSession(gate: GateContext, execution: Execution): Promise<void> {
  const { active } = gate.policy.status();
  if (active === undefined || !keepsSession(active, execution.action)) return;
  try {
    await appendOutcome(gate, execution);
  } catch (thrown) {
    gate.observer.failed({ what: "note an outcome in its session", error: toError(thrown) });
  }
}

async function appendOutcome(gate: GateContext, execution: Execution): Promise<void> {
  const { tenant, jti, decisionId, status } = execution;
  const permit = await gate.store.readPermit(tenant, jti);
  if (permit === undefined || status === "unknown") return;
  const subject = JSON.parse(permit.subjectText) as PermitSubject;
  for (let attempt = 0; attempt < SESSION_ATTEMPTS; attempt += 1) {
    const view = await gate.views.read(gate.policy.status().active, { ...subject, tenant });
    if (view.session === undefined || hasOutcome(view.session.session, decisionId)) return;
    const at = gate.clock.now().toISOString();
    const entry = { kind: "outcome", decision_id: decisionId, status, at } as const;
    const after = appendToSession(view.session.session, entry, gate.options.sessionWindowMax);
    const written = await gate.store.writeSession(tenant, sessionChange(gate, { view }, after));
    if (written.kind === "written") return gate.views.learnSession(tenant, view.session.id, after);
  }
  throw new Error(`A session was written by others ${SESSION_ATTEMPTS} times in a row`);
}

export interface ResolveRequest {
  readonly tenant: Tenant;
  readonly executionId: string;
  readonly status: "succeeded" | "failed";
  readonly reason: string;
  readonly by: string;
}

/**
 * An operator says what became of an execution that nobody reported. @throws NotFoundError execution_not_found;
 * ConflictError execution_conflict where it was reported as something else
 */
export async function resolveExecution(gate: GateContext, request: ResolveRequest): Promise<Execution> {
  const { tenant, executionId, status, reason, by } = request;
  const use = permitOfExecution(executionId);
  const unknown = new NotFoundError("execution_not_found", `No execution ${JSON.stringify(executionId)}`);
  if (use === undefined) throw unknown;
  const report = { tenant, jti: use.jti, executionId, status, resultDigest: undefined };
  const result = await gate.store.reportExecution(report);
  switch (result.kind) {
    case "not_found":
    case "not_consumed":
      throw unknown;
    case "conflict":
      throw reportedBefore(result.execution);
    case "repeated":
      return result.execution;
    case "reported": {
      const { execution, factId } = result;
      const data = { ...executionData(execution), resolved: { by, reason } };
      await recordTransition(gate, { kind: "execution_reported", tenant, traceId: execution.traceId, factId, data });
      gate.observer.executionReported({ tenant, status });
      await noteInSession(gate, execution);
      if (status === "succeeded") await followResolved(gate, execution);
      return execution;
    }
  }
}

/**
 * An action that this sidecar should have run, and that did run, moves its entity now. Where nothing is left of what was
 * permitted, whoever knows has to send the event.
 */
async function followResolved(gate: GateContext, execution: Execution): Promise<void> {
  const { tenant, traceId, executionId, action, jti } = execution;
  if (gate.policy.status().active?.domain.actions.get(action)?.executor === undefined) return;
  const permit = await gate.store.readPermit(tenant, jti);
  if (permit === undefined) return;
  const { arguments: args, actor, entity } = JSON.parse(permit.subjectText) as PermitSubject;
  const following = await appendFollowing(gate, {
    tenant,
    traceId,
    executionId,
    action,
    arguments: args,
    actor,
    entity,
  });
  if (following === undefined || following.isRepeated) return;
  await recordEvent(gate, { tenant, producer: OWN_SOURCE, ...following });
}

function reportedBefore(execution: Execution): ConflictError {
  return new ConflictError("execution_conflict", `The execution was reported before, as ${execution.status}`, {
    facts: { execution_status: execution.status },
  });
}

/** INVARIANT (once): who runs an action says what became of it; whoever proposed it cannot have its reservation back. */
async function requireConsumer(gate: GateContext, request: ReportRequest): Promise<void> {
  const { permitId, executionId = executionIdOf(permitId, 1) } = request;
  const execution = await gate.store.readExecution(request.caller.tenant, executionId);
  if (execution?.consumer === undefined) return;
  const reporter = request.isOwn === true ? OWN_CONSUMER : (request.caller.credentialId ?? "");
  if (execution.consumer === reporter) return;
  const message =
    execution.consumer === OWN_CONSUMER
      ? "This execution is the sidecar's own: where its outcome is unknown, an operator resolves it"
      : "Only the credential that consumed the permit may report its execution";
  throw new InvalidRequestError("forbidden", message);
}

async function recordReport(
  gate: GateContext,
  request: ReportRequest,
  execution: Execution,
  factId: string | undefined,
): Promise<void> {
  await recordTransition(gate, {
    kind: "execution_reported",
    tenant: execution.tenant,
    traceId: execution.traceId,
    factId,
    data: {
      ...executionData(execution),
      ...(request.reason === undefined ? {} : { reason: request.reason }),
      caller: request.caller.credentialId ?? null,
      authenticated: request.caller.isAuthenticated,
    },
  });
}

function executionData(execution: Execution): object {
  return {
    permit_id: execution.jti,
    execution_id: execution.executionId,
    decision_id: execution.decisionId,
    action: execution.action,
    status: execution.status,
    result_digest: execution.resultDigest ?? null,
  };
}

export function executionView(execution: Execution): object {
  return {
    permit_id: execution.jti,
    execution_id: execution.executionId,
    decision_id: execution.decisionId,
    trace_id: execution.traceId,
    action: execution.action,
    status: execution.status,
    result_digest: execution.resultDigest ?? null,
    consumed_at: new Date(execution.consumedAtMs).toISOString(),
    reported_at: execution.reportedAtMs === undefined ? null : new Date(execution.reportedAtMs).toISOString(),
  };
}
