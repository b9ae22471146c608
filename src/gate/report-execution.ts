/** What became of a consumed permit. Until it is said, the outcome is unknown, and is listed as such. */
import type { Caller } from "../core/caller.ts";
import { sha256Digest } from "../core/digest.ts";
import { ConflictError, InvalidRequestError, NotFoundError } from "../core/errors.ts";
import type { Execution } from "../core/ports.ts";
import type { GateContext } from "./ports.ts";
import { consumptionKey } from "./record.ts";
import { recordTransition } from "./record-approval.ts";

export interface ReportRequest {
  readonly caller: Caller;
  readonly permitId: string;
  readonly executionId: string | undefined;
  readonly status: "succeeded" | "failed";
  /** Canonical text of the result; only its digest is kept. */
  readonly resultText: string | undefined;
}

export async function reportExecution(gate: GateContext, request: ReportRequest): Promise<Execution> {
  const { tenant } = request.caller;
  requireConsumer(gate, request);
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
      throw new ConflictError(
        "execution_conflict",
        `The execution was reported before, as ${result.execution.status}`,
        {
          facts: { execution_status: result.execution.status },
        },
      );
    case "repeated":
      return result.execution;
    case "reported":
      await recordReport(gate, request, result.execution, result.factId);
      gate.observer.executionReported({ tenant, status: request.status });
      return result.execution;
  }
}

/** Where this sidecar saw who consumed the permit, nobody else closes the record. */
function requireConsumer(gate: GateContext, request: ReportRequest): void {
  const consumed = gate.ledger.find(consumptionKey(request.caller.tenant, request.permitId));
  if (consumed === undefined) return;
  const { data } = JSON.parse(consumed.text) as { data: { caller: string | null; execution_id: string } };
  const isAsked = request.executionId === undefined || request.executionId === data.execution_id;
  if (isAsked && data.caller !== (request.caller.credentialId ?? null)) {
    throw new InvalidRequestError("forbidden", "Only the credential that consumed the permit may report its execution");
  }
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
      permit_id: execution.jti,
      execution_id: execution.executionId,
      decision_id: execution.decisionId,
      action: execution.action,
      status: execution.status,
      result_digest: execution.resultDigest ?? null,
      caller: request.caller.credentialId ?? null,
      authenticated: request.caller.isAuthenticated,
    },
  });
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
