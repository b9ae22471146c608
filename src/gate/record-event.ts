/** Events as ledger entries: what came, and, where the entity moved, from where to where. */
import type { EventRecord } from "../core/context.ts";
import type { Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";
import { appendTransition, dropFact, type Transition } from "./record-transition.ts";

export interface RecordedEvent {
  readonly tenant: Tenant;
  readonly event: EventRecord;
  readonly sequence: number;
  /** The credential or adapter that brought it; null where it is not known (any more). */
  readonly producer: string | null;
  readonly factId: string | undefined;
}

/** @throws UnavailableError: then the fact stays with the store, and the sweep records it */
export async function recordEvent(gate: GateContext, recorded: RecordedEvent): Promise<void> {
  // Appended in one go: nothing comes between the two in the ledger of a sidecar with one process.
  await Promise.all([
    appendTransition(gate, ingested(recorded), ""),
    isMove(recorded.event) ? appendTransition(gate, changed(recorded), ":state") : undefined,
  ]);
  dropFact(gate, recorded.tenant, recorded.factId);
}

function isMove({ applied, from, to }: EventRecord): boolean {
  return applied && from !== to;
}

function ingested({ tenant, event, sequence, producer, factId }: RecordedEvent): Transition {
  const { trace_id, applied, from, to, version, policy_digest, ...came } = event;
  const data = { event: came, sequence, applied, from, to, version, policy_digest, producer };
  return { kind: "event_ingested", tenant, traceId: trace_id, factId, data };
}

function changed({ tenant, event, factId }: RecordedEvent): Transition {
  const { entity, id, source, type, actor, from, to, version, trace_id } = event;
  const data = { entity, event_id: id, source, event: type, actor, from, to, version };
  return { kind: "state_changed", tenant, traceId: trace_id, factId, data };
}
