/** Transitions of the store as ledger entries: recorded at once by whoever caused them, or later by whoever finds them. */
import type { Approval, StoreFact } from "../core/ports.ts";
import type { Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";
import { approvalView, factEntry } from "./record.ts";

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

export interface Transition {
  readonly kind: string;
  readonly tenant: Tenant;
  readonly traceId: string;
  readonly factId: string | undefined;
  readonly data: object;
  readonly keys?: readonly string[];
}

export async function recordTransition(gate: GateContext, transition: Transition): Promise<void> {
  const { kind, tenant, traceId, factId, data, keys } = transition;
  await gate.ledger.append(
    factEntry({
      kind,
      tenant,
      traceId,
      time: gate.clock.now().toISOString(),
      data: factId === undefined ? data : { ...data, fact_id: factId },
      ...(keys === undefined ? {} : { keys }),
      ...(factId === undefined ? {} : { uniqueKey: factKey(tenant, factId) }),
    }),
  );
  // Not awaited: the entry is durable, and a fact that is not dropped is only recorded once more (and found a duplicate).
  if (factId !== undefined) dropFact(gate, tenant, factId);
}

/** A fact that somebody left behind between the store's step and the ledger's: a crash, a full disk, a lost sidecar. */
export async function recordLeftFact(gate: GateContext, fact: StoreFact): Promise<void> {
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

const factKey = (tenant: Tenant, factId: string): string => `fact:${tenant}:${factId}`;

function dropFact(gate: GateContext, tenant: Tenant, factId: string): void {
  gate.store
    .dropFacts(tenant, [factId])
    .catch((error: Error) => gate.observer.failed({ what: "drop a recorded fact", error }));
}
