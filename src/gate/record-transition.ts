/** A change of the store as a ledger entry: once, however often it is tried, by whoever caused it or finds its fact. */
import type { Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";
import { factEntry } from "./record.ts";

export interface Transition {
  readonly kind: string;
  readonly tenant: Tenant;
  readonly traceId: string;
  readonly factId: string | undefined;
  readonly data: object;
  readonly keys?: readonly string[];
}

export async function recordTransition(gate: GateContext, transition: Transition): Promise<void> {
  await appendTransition(gate, transition, "");
  dropFact(gate, transition.tenant, transition.factId);
}

/** @param part which of a fact's entries this is, where it has more than one */
export async function appendTransition(gate: GateContext, transition: Transition, part: string): Promise<void> {
  const { kind, tenant, traceId, factId, data, keys } = transition;
  await gate.ledger.append(
    factEntry({
      kind,
      tenant,
      traceId,
      time: gate.clock.now().toISOString(),
      data: factId === undefined ? data : { ...data, fact_id: factId },
      ...(keys === undefined ? {} : { keys }),
      ...(factId === undefined ? {} : { uniqueKey: `fact:${tenant}:${factId}${part}` }),
    }),
  );
}

/** Not awaited: the entry is durable, and a fact that is not dropped is only recorded once more (and found a duplicate). */
export function dropFact(gate: GateContext, tenant: Tenant, factId: string | undefined): void {
  if (factId === undefined) return;
  gate.store
    .dropFacts(tenant, [factId])
    .catch((error: Error) => gate.observer.failed({ what: "drop a recorded fact", error }));
}
