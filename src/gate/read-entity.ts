/** An entity as it is read: where it stands, how it came there, and whether its events alone say the same. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { EntityRecord, EntityState, EventRecord, StoredEvent } from "../core/context.ts";
import { canonicalData, sha256Digest } from "../core/digest.ts";
import { applyEvent, type EntityType, NEW_ENTITY } from "../core/domain.ts";
import { InvalidRequestError, NotFoundError, UnavailableError } from "../core/errors.ts";
import type { EntityRef, Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";

export interface ReadEntityRequest {
  readonly tenant: Tenant;
  readonly ref: EntityRef;
  /** Events of the history to give, 1 to 500. */
  readonly limit: number;
  /** Give those before this sequence; the newest where nothing is said. */
  readonly before: number | undefined;
}

export interface EntityAnswer {
  readonly entity: EntityRecord;
  /** Newest first. */
  readonly history: readonly (EventRecord & { readonly sequence: number; readonly received_at: string })[];
  /** Where the history goes on; undefined at its beginning. */
  readonly cursor: number | undefined;
}

/** @throws InvalidRequestError entity_type_unknown; NotFoundError entity_not_found; UnavailableError */
export async function readEntity(gate: GateContext, request: ReadEntityRequest): Promise<EntityAnswer> {
  const { tenant, ref, limit, before } = request;
  requireType(gate, ref);
  const entity = await requireEntity(gate, tenant, ref);
  const end = Math.min(before ?? Number.POSITIVE_INFINITY, entity.events + 1);
  const start = Math.max(1, end - limit);
  const events = end > start ? await gate.store.readEvents(tenant, ref, start, end - start) : [];
  return { entity, history: events.map(historyRow).reverse(), cursor: start > 1 ? start : undefined };
}

async function requireEntity(gate: GateContext, tenant: Tenant, ref: EntityRef): Promise<EntityRecord> {
  const entity = await gate.store.readEntity(tenant, ref);
  if (entity !== undefined) return entity;
  throw new NotFoundError("entity_not_found", `No event has reached ${ref.type} ${JSON.stringify(ref.id)}`);
}

function requireType(gate: GateContext, ref: EntityRef): EntityType {
  const { active } = gate.policy.status();
  if (active === undefined) throw new UnavailableError("policy_not_loaded", "No policy is loaded");
  const type = active.domain.entities.get(ref.type);
  if (type !== undefined) return type;
  const message = `The domain knows no entity type ${JSON.stringify(ref.type)}`;
  throw new InvalidRequestError("entity_type_unknown", message);
}

function historyRow({ sequence, atMs, text }: StoredEvent): EntityAnswer["history"][number] {
  return { ...(JSON.parse(text) as EventRecord), sequence, received_at: new Date(atMs).toISOString() };
}

export interface Rebuild {
  /** Null: not tried, because it has too many events for one request. */
  readonly matches: boolean | null;
  readonly events: number;
  /** What the events alone give, where that is something else. */
  readonly rebuilt?: EntityState & { readonly chain: string };
  readonly reason?: string;
}

/** Events read at once; between them others have their turn. */
const PAGE = 500;

/** Rebuilds that run at once, and those that may wait for their turn: each reads and hashes for as long as there are events. */
export const REBUILDS_AT_ONCE = 4;
export const REBUILDS_WAITING_MAX = 256;

/** @throws UnavailableError("overloaded") from the returned function, past REBUILDS_WAITING_MAX */
export function createRebuilder(
  gate: GateContext,
): (tenant: Tenant, ref: EntityRef, isFull: boolean) => Promise<Rebuild> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (tenant, ref, isFull) => {
    if (running >= REBUILDS_AT_ONCE) {
      if (waiting.length >= REBUILDS_WAITING_MAX) {
        throw new UnavailableError("overloaded", `${waiting.length} entities wait to be rebuilt already`);
      }
      // Whoever ends hands its turn on, so `running` stays as it is.
      await new Promise<void>((resolve) => waiting.push(resolve));
    } else running += 1;
    try {
      const eventsMax = isFull ? Number.POSITIVE_INFINITY : gate.options.rebuildEventsMax;
      return await rebuildEntity(gate, { tenant, ref, eventsMax });
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

/**
 * Replays the events of an entity through the domain that is active, and compares with what is kept.
 * @param eventsMax events up to which it is tried
 */
async function rebuildEntity(
  gate: GateContext,
  of: { readonly tenant: Tenant; readonly ref: EntityRef; readonly eventsMax: number },
): Promise<Rebuild> {
  const { tenant, ref, eventsMax } = of;
  const type = requireType(gate, ref);
  const kept = await requireEntity(gate, tenant, ref);
  const { events } = kept;
  if (events > eventsMax) {
    return { matches: null, events, reason: `it has more than ${eventsMax} events: ask for it with rebuild=full` };
  }
  const replay = new Replay(type);
  for (let from = 1; from <= events; from += PAGE) {
    const page = await gate.store.readEvents(tenant, ref, from, Math.min(PAGE, events - from + 1));
    for (const event of page) replay.add(event);
    if (page.length === PAGE) await nextTurn();
  }
  return compared(kept, replay);
}

class Replay {
  state: EntityState = NEW_ENTITY;
  chain = "";
  count = 0;
  /** Policies under whose domains the events were judged. */
  readonly policies = new Set<string>();
  readonly #type: EntityType;

  constructor(type: EntityType) {
    this.#type = type;
  }

  add({ text }: StoredEvent): void {
    const event = JSON.parse(text) as EventRecord;
    const applied = applyEvent(this.#type, this.state, event);
    if (applied.kind === "applied") this.state = applied.after;
    this.chain = sha256Digest(`${this.chain}\n${text}`);
    this.count += 1;
    this.policies.add(event.policy_digest);
  }
}

function compared(kept: EntityRecord, { state, chain, count, policies }: Replay): Rebuild {
  const isSame =
    count === kept.events &&
    chain === kept.chain &&
    canonicalData(state) === canonicalData({ state: kept.state, version: kept.version, attributes: kept.attributes });
  if (isSame) return { matches: true, events: count };
  const reason =
    count !== kept.events
      ? `${kept.events} events are counted, and ${count} are on record`
      : chain !== kept.chain
        ? "the events on record are not those that were appended"
        : policies.size > 1
          ? "the domain has changed since some of the events"
          : "the active domain gives another state";
  return { matches: false, events: count, rebuilt: { ...state, chain }, reason };
}
