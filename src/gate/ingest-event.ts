/**
 * A fact that happened reaches its entity: the only way a state changes.
 *
 * Order of effects: the store appends the event, replaces the entity and leaves a fact, in one step; the ledger records
 * `event_ingested` and `state_changed`; the source is answered. After a crash in between the sweep records the fact, and
 * the source's retry is answered with what is on record.
 */
import type { AppendEvent, EntityRecord, EventRecord, StoredEvent } from "../core/context.ts";
import { canonicalData, sha256Digest } from "../core/digest.ts";
import { type AppliedEvent, applyEvent, type EntityType, isKnownEvent, NEW_ENTITY } from "../core/domain.ts";
import { ConflictError, InvalidRequestError, UnavailableError } from "../core/errors.ts";
import type { LoadedPolicy } from "../core/ports.ts";
import { suggest } from "../core/suggest.ts";
import type { ActorRef, EntityRef, JsonObject, Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";
import { recordEvent } from "./record-event.ts";

/** Characters of one event's record: it is kept for ever, and read again by every rebuild. */
export const EVENT_CHARS_MAX = 64 * 1024;

/** How often others may come first before an event is given back to its source. */
const APPEND_ATTEMPTS = 64;

export interface IncomingEvent {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly entity: EntityRef;
  readonly actor: ActorRef;
  /** RFC 3339; the sidecar's where the source says none. Not part of what makes an event the same one again, then. */
  readonly time: string | undefined;
  readonly data: JsonObject;
}

export interface IngestRequest {
  readonly tenant: Tenant;
  readonly event: IncomingEvent;
  /** The entity's version that the source knows; undefined where it does not care. */
  readonly expectedVersion: number | undefined;
  readonly traceId: string;
  /** The credential, or the webhook adapter, that brought it; undefined without authentication. */
  readonly producer: string | undefined;
}

export interface IngestAnswer {
  readonly event: EventRecord;
  readonly sequence: number;
  /** On record before: nothing was changed by this request. */
  readonly isRepeated: boolean;
}

/**
 * @throws InvalidRequestError entity_type_unknown, event_type_unknown, event_data_invalid, body_too_large; ConflictError
 * event_conflict, version_conflict; UnavailableError
 */
export async function ingestEvent(gate: GateContext, request: IngestRequest): Promise<IngestAnswer> {
  const appended = await appendEvent(gate, request);
  const { tenant, producer = null } = request;
  if (!appended.isRepeated) await recordEvent(gate, { tenant, producer, ...appended });
  return appended;
}

/** The store's part of it: on record, and recovered if the ledger never hears of it. */
export async function appendEvent(
  gate: GateContext,
  request: IngestRequest,
): Promise<IngestAnswer & { readonly factId: string | undefined }> {
  const { tenant, event } = request;
  const policy = activePolicy(gate);
  const type = typeOf(policy, event);
  let entity = await gate.store.readEntity(tenant, event.entity);
  for (let attempt = 0; attempt < APPEND_ATTEMPTS; attempt += 1) {
    const planned = planEvent(request, { policy, type, entity, now: gate.clock.now() });
    const result = await gate.store.appendEvent(tenant, planned.append);
    switch (result.kind) {
      case "appended": {
        gate.views.learnEntity(tenant, event.entity, planned.append.after);
        gate.observer.eventIngested({ tenant, result: planned.record.applied ? "applied" : "refused" });
        return { event: planned.record, sequence: result.sequence, isRepeated: false, factId: result.factId };
      }
      case "repeated":
        gate.observer.eventIngested({ tenant, result: "repeated" });
        return { ...recorded(result.event), isRepeated: true, factId: undefined };
      case "conflict":
        throw new ConflictError(
          "event_conflict",
          `Event ${JSON.stringify(event.id)} of ${JSON.stringify(event.source)} is on record with other content`,
          { pointer: "/id" },
        );
      case "changed":
        if (planned.fault !== undefined && planned.append.expectedEvents === NEVER) throw planned.fault;
        entity = result.entity;
    }
  }
  throw new UnavailableError("overloaded", "Too many events for this entity at once");
}

function recorded({ sequence, text }: StoredEvent): { readonly event: EventRecord; readonly sequence: number } {
  return { sequence, event: JSON.parse(text) as EventRecord };
}

function activePolicy(gate: GateContext): LoadedPolicy {
  const { active } = gate.policy.status();
  if (active !== undefined) return active;
  throw new UnavailableError("policy_not_loaded", "No policy is loaded, so no domain says what an event means");
}

function typeOf({ domain }: LoadedPolicy, { entity, type }: IncomingEvent): EntityType {
  const found = domain.entities.get(entity.type);
  if (found === undefined) {
    const known = [...domain.entities.keys()];
    throw new InvalidRequestError(
      "entity_type_unknown",
      `The domain knows no entity type ${JSON.stringify(entity.type)}${meant(entity.type, known)}`,
      { pointer: "/entity/type" },
    );
  }
  if (!isKnownEvent(found, type)) {
    throw new InvalidRequestError(
      "event_type_unknown",
      `${found.name} knows no event ${JSON.stringify(type)}${meant(type, found.events)}`,
      { pointer: "/type" },
    );
  }
  return found;
}

function meant(word: string, known: readonly string[]): string {
  const near = suggest(word, known);
  return near === undefined ? "" : `; did you mean ${JSON.stringify(near)}?`;
}

/** No entity ever has so many events: only what is on record already is answered. */
const NEVER = Number.MAX_SAFE_INTEGER - 1;

interface Planned {
  readonly append: AppendEvent;
  readonly record: EventRecord;
  /** Why it may not be appended. It may be on record from before, so the store is asked all the same. */
  readonly fault: ConflictError | InvalidRequestError | undefined;
}

function planEvent(
  request: IngestRequest,
  known: {
    readonly policy: LoadedPolicy;
    readonly type: EntityType;
    readonly entity: EntityRecord | undefined;
    readonly now: Date;
  },
): Planned {
  const { event, traceId } = request;
  const { time = known.now.toISOString(), ...rest } = event;
  const before = known.entity ?? { ...NEW_ENTITY, ref: event.entity, events: 0, chain: "" as const };
  const applied = applyEvent(known.type, before, event);
  const after = applied.kind === "applied" ? applied.after : before;
  const record: EventRecord = {
    ...rest,
    time,
    trace_id: traceId,
    applied: applied.kind === "applied",
    from: before.state,
    to: after.state,
    version: after.version,
    policy_digest: known.policy.digest,
  };
  const eventText = canonicalData(record);
  const fault = faultOf(request, before, { applied, eventText });
  const expectedEvents = fault === undefined ? before.events : NEVER;
  return {
    record,
    fault,
    append: {
      expectedEvents,
      after: {
        ref: event.entity,
        state: after.state,
        version: after.version,
        attributes: after.attributes,
        events: expectedEvents + 1,
        chain: sha256Digest(`${before.chain}\n${eventText}`),
      },
      source: event.source,
      eventId: event.id,
      contentDigest: sha256Digest(canonicalData(event)),
      eventText,
    },
  };
}

function faultOf(
  { expectedVersion }: IngestRequest,
  before: { readonly version: number; readonly state: string | null },
  { applied, eventText }: { readonly applied: AppliedEvent; readonly eventText: string },
): Planned["fault"] {
  if (expectedVersion !== undefined && expectedVersion !== before.version) {
    const message = `Expected the entity at version ${expectedVersion}, found it at ${before.version}`;
    const facts = { current_version: before.version, current_state: before.state ?? "" };
    return new ConflictError("version_conflict", message, { pointer: "/expected_version", facts });
  }
  if (applied.kind === "invalid") {
    const pointer = `/data${applied.pointer}`;
    return new InvalidRequestError("event_data_invalid", `Invalid event: ${applied.message}`, { pointer });
  }
  if (eventText.length > EVENT_CHARS_MAX) {
    const message = `Event of ${eventText.length} characters, expected at most ${EVENT_CHARS_MAX}`;
    return new InvalidRequestError("body_too_large", message, { pointer: "/data", facts: { limit: EVENT_CHARS_MAX } });
  }
  return undefined;
}
