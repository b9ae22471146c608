/** The event that follows from an action that succeeded: its contract names it, and it moves the entity. */
import { toError } from "../core/errors.ts";
import type { ActorRef, EntityRef, JsonObject, Tenant } from "../core/types.ts";
import { appendEvent } from "./ingest-event.ts";
import type { GateContext } from "./ports.ts";

/** The source of events that follow from executions here; nobody else may use it. */
export const OWN_SOURCE = "holdpoint";

export interface Executed {
  readonly tenant: Tenant;
  readonly traceId: string;
  /** Of the execution; the event's id, so that it is appended once however often it is tried. */
  readonly executionId: string;
  readonly action: string;
  readonly arguments: JsonObject;
  readonly actor: ActorRef;
  readonly entity: EntityRef | null;
}

export type FollowingEvent = Awaited<ReturnType<typeof appendEvent>>;

/**
 * Undefined where the contract names no event, or the store does not take it: the action ran, so that is told to the
 * observer, and is not the caller's error.
 */
export async function appendFollowing(gate: GateContext, executed: Executed): Promise<FollowingEvent | undefined> {
  const { tenant, traceId, executionId, action, actor, entity } = executed;
  const type = gate.policy.status().active?.domain.actions.get(action)?.event;
  if (type === undefined || entity === null) return undefined;
  const event = {
    id: executionId,
    source: OWN_SOURCE,
    type,
    entity,
    actor: actor.type === undefined ? { id: actor.id } : { id: actor.id, type: actor.type },
    time: undefined,
    data: executed.arguments,
  };
  try {
    return await appendEvent(gate, { tenant, traceId, producer: OWN_SOURCE, expectedVersion: undefined, event });
  } catch (thrown) {
    gate.observer.failed({ what: "append the event of an executed action", error: toError(thrown) });
    return undefined;
  }
}
