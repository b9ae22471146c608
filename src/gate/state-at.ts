/** What a decision on an entity's state rested on, from its record. */
import type { EntityState } from "../core/context.ts";
import type { Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";
import { decisionKey } from "./record.ts";

export interface StateAt {
  readonly current: string | null;
  readonly allowed: readonly string[];
}

export function stateAt(
  gate: GateContext,
  of: { readonly tenant: Tenant; readonly decisionId: string; readonly action: string },
): StateAt {
  const entry = gate.ledger.find(decisionKey(of.tenant, of.decisionId));
  const input = entry === undefined ? undefined : (JSON.parse(entry.text) as Recorded).input;
  const allowed = gate.policy.status().active?.domain.actions.get(of.action)?.allowedStates ?? [];
  return { current: input?.entity?.state ?? null, allowed };
}

interface Recorded {
  readonly input?: { readonly entity?: Partial<EntityState> | null };
}
