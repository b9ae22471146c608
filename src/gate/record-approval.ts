/** Transitions of the store as ledger entries: recorded at once by whoever caused them, or later by whoever finds them. */
import type { EventRecord } from "../core/context.ts";
import type { Approval, StoreFact } from "../core/ports.ts";
import type { GateContext } from "./ports.ts";
import { approvalView } from "./record.ts";
import { recordEvent } from "./record-event.ts";
import { recordTransition } from "./record-transition.ts";

export type ApprovalFactKind = "approval_opened" | "approval_reviewed" | "approval_expired";

/** @throws UnavailableError: then the fact stays with the store, and the sweep records it */
export async function recordApproval(
  gate: GateContext,
  kind: ApprovalFactKind,
  approval: Approval,
  factId: string | undefined,
): Promise<void> {
  await recordTransition(gate, {
    kind,
    tenant: approval.tenant,
    traceId: approval.subject.traceId,
    factId,
    data: { approval: approvalView(approval) },
  });
}

/** A fact that somebody left behind between the store's step and the ledger's: a crash, a full disk, a lost sidecar. */
export async function recordLeftFact(gate: GateContext, fact: StoreFact): Promise<void> {
  const { tenant, factId, payload } = fact;
  if (fact.kind === "event_appended") {
    const { event, sequence } = payload as unknown as { readonly event: EventRecord; readonly sequence: number };
    return recordEvent(gate, { tenant, event, sequence, producer: null, factId });
  }
  await recordTransition(gate, {
    kind: fact.kind,
    tenant: fact.tenant,
    traceId: typeof fact.payload.trace_id === "string" ? fact.payload.trace_id : "0".repeat(32),
    factId: fact.factId,
    data: {
      recovered: true,
      at: new Date(fact.atMs).toISOString(),
      subject_id: fact.subjectId,
      payload: fact.payload,
    },
  });
}
