/**
 * What nobody asks for and must happen anyway: approvals whose time is over are recorded as expired, and facts that a
 * crash left with the store reach a ledger. The same at start as at any other time: recovery has no code of its own.
 */
import { toError } from "../core/errors.ts";
import type { Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";
import { recordApproval, recordLeftFact } from "./record-approval.ts";

export const SWEEP_BATCH_MAX = 200;

/** A fact younger than this is probably being recorded by whoever caused it. */
export const LEFT_FACT_AGE_MS = 30_000;

/** Never throws: a store that is away is told to the observer and swept next time. */
export async function sweep(
  gate: GateContext,
  tenants: readonly Tenant[],
  leftFactAgeMs: number = LEFT_FACT_AGE_MS,
): Promise<void> {
  for (const tenant of tenants) {
    try {
      await sweepTenant(gate, tenant, leftFactAgeMs);
    } catch (thrown) {
      gate.observer.failed({ what: "sweep the store", error: toError(thrown) });
    }
  }
}

async function sweepTenant(gate: GateContext, tenant: Tenant, leftFactAgeMs: number): Promise<void> {
  for (const { approval, factId } of await gate.store.expireApprovals(tenant, SWEEP_BATCH_MAX)) {
    await recordApproval(gate, "approval_expired", approval, factId);
    gate.observer.approvalChanged({ tenant, status: "expired" });
  }
  for (const fact of await gate.store.takeFacts(tenant, leftFactAgeMs, SWEEP_BATCH_MAX)) {
    await recordLeftFact(gate, fact);
  }
}
