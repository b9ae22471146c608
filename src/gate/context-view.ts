/**
 * What a decision sees of the shared context: its entity and its session. Read from the store once and remembered; a
 * decision made on what was remembered counts only after the store has confirmed it, in the step that also reserves
 * (settle), so that remembering saves a round trip and never freshness.
 */
import type { EntityRecord, EntityState, SessionRecord } from "../core/context.ts";
import { canonicalData, sha256Digest } from "../core/digest.ts";
import { NEW_ENTITY } from "../core/domain.ts";
import { InvalidRequestError } from "../core/errors.ts";
import type { LoadedPolicy, Store } from "../core/ports.ts";
import { IDENTIFIER } from "../core/schema.ts";
import { newSession, readSession, type Session, sessionInput } from "../core/session.ts";
import type { ActorRef, Digest, EntityRef, JsonObject, Tenant } from "../core/types.ts";
import { RecentMap } from "./recent-map.ts";

/** Entities and sessions that one process remembers. */
const REMEMBERED_MAX = 10_000;

/** Of a proposal, or of what a permit was given for. */
export interface ViewSubject {
  readonly tenant: Tenant;
  readonly action: string;
  readonly actor: ActorRef;
  readonly entity: EntityRef | null;
  readonly context: JsonObject;
}

export interface EntityView {
  readonly ref: EntityRef;
  readonly state: EntityState;
  /** Canonical text of `input.entity`. */
  readonly text: string;
}

export interface SessionView {
  /** What the store knows it by. */
  readonly id: Digest;
  readonly session: Session;
  /** Canonical text of `input.session`. */
  readonly text: string;
}

export interface ContextView {
  /** Undefined where the domain does not know the entity's type. */
  readonly entity: EntityView | undefined;
  /** Undefined where the context names none, or the bundle keeps none. */
  readonly session: SessionView | undefined;
  /** Read for this decision, rather than remembered. */
  readonly isFresh: boolean;
}

export const NO_VIEW: ContextView = { entity: undefined, session: undefined, isFresh: true };

/** What the store said, read again only where it changed. */
interface Remembered {
  readonly entity?: EntityView;
  readonly session?: SessionView;
}

export class ContextViews {
  readonly #store: Store;
  readonly #remembered = new RecentMap<Remembered>(REMEMBERED_MAX);

  constructor(store: Store) {
    this.#store = store;
  }

  /** As remembered, else as read. No promise where nothing is to be read. @throws UnavailableError, IntegrityError */
  open(policy: LoadedPolicy | undefined, of: ViewSubject): ContextView | Promise<ContextView> {
    const needs = needsOf(policy, of);
    if (needs === undefined) return NO_VIEW;
    return this.#recall(of, needs) ?? this.#read(of, needs);
  }

  /** As the store has it now. */
  read(policy: LoadedPolicy | undefined, of: ViewSubject): ContextView | Promise<ContextView> {
    const needs = needsOf(policy, of);
    return needs === undefined ? NO_VIEW : this.#read(of, needs);
  }

  /** As remembered, and nothing where it is not. */
  peek(policy: LoadedPolicy | undefined, of: ViewSubject): ContextView {
    const needs = needsOf(policy, of);
    return (needs === undefined ? undefined : this.#recall(of, needs)) ?? NO_VIEW;
  }

  /** What a settle or an event said of them. */
  learn(
    policy: LoadedPolicy | undefined,
    of: ViewSubject,
    found: { readonly entity: EntityRecord | undefined; readonly session: SessionRecord | undefined },
  ): ContextView {
    const needs = needsOf(policy, of);
    return needs === undefined ? NO_VIEW : this.#learn(of, needs, found);
  }

  learnEntity(tenant: Tenant, ref: EntityRef, state: EntityState): void {
    this.#remembered.set(entityKey(tenant, ref), { entity: viewOf(ref, state) });
  }

  learnSession(tenant: Tenant, id: Digest, session: Session): void {
    this.#remembered.set(sessionKey(tenant, id), { session: { id, session, text: sessionInput(session) } });
  }

  forgetSession(tenant: Tenant, id: Digest): void {
    this.#remembered.set(sessionKey(tenant, id), {});
  }

  #recall(of: ViewSubject, needs: Needs): ContextView | undefined {
    const entity =
      needs.entity === undefined ? undefined : this.#remembered.get(entityKey(of.tenant, needs.entity))?.entity;
    const session =
      needs.session === undefined ? undefined : this.#remembered.get(sessionKey(of.tenant, needs.session.id))?.session;
    const isWhole =
      (needs.entity === undefined || entity !== undefined) && (needs.session === undefined || session !== undefined);
    return isWhole ? { entity, session, isFresh: false } : undefined;
  }

  async #read(of: ViewSubject, needs: Needs): Promise<ContextView> {
    const [entity, session] = await Promise.all([
      needs.entity === undefined ? undefined : this.#store.readEntity(of.tenant, needs.entity),
      needs.session === undefined ? undefined : this.#store.readSession(of.tenant, needs.session.id),
    ]);
    return this.#learn(of, needs, { entity, session });
  }

  #learn(
    of: ViewSubject,
    needs: Needs,
    found: { readonly entity: EntityRecord | undefined; readonly session: SessionRecord | undefined },
  ): ContextView {
    if (needs.entity !== undefined) this.learnEntity(of.tenant, needs.entity, found.entity ?? NEW_ENTITY);
    if (needs.session !== undefined) {
      const { id, name } = needs.session;
      const session = found.session === undefined ? newSession(name) : readSession(found.session);
      this.learnSession(of.tenant, id, session);
    }
    return { ...this.#recall(of, needs)!, isFresh: true };
  }
}

interface Needs {
  readonly entity: EntityRef | undefined;
  readonly session: { readonly id: Digest; readonly name: string } | undefined;
}

function needsOf(policy: LoadedPolicy | undefined, of: ViewSubject): Needs | undefined {
  if (policy === undefined) return undefined;
  const isKnown = of.entity !== null && policy.domain.entities.has(of.entity.type);
  const entity = isKnown ? of.entity! : undefined;
  const session = keepsSession(policy, of.action) ? sessionOf(of) : undefined;
  return entity === undefined && session === undefined ? undefined : { entity, session };
}

/** Work for one person shows nothing of work for another. */
function principalsOf(actor: ActorRef): string[] {
  const ids: string[] = [];
  for (let one: ActorRef | undefined = actor; one !== undefined; one = one.on_behalf_of) ids.push(one.id);
  return ids;
}

export function keepsSession({ domain }: LoadedPolicy, action: string): boolean {
  return domain.keepsSessions || domain.actions.get(action)?.keepsSession === true;
}

/** A session is one actor's: naming another's shows nothing of it. */
export function sessionOf(of: ViewSubject): { readonly id: Digest; readonly name: string } | undefined {
  const name = of.context.session;
  if (name === undefined || name === null) return undefined;
  if (typeof name !== "string" || !IDENTIFIER.test(name)) {
    throw new InvalidRequestError("invalid_request", "Invalid proposal: a session's name is an identifier", {
      pointer: "/context/session",
    });
  }
  return { id: sha256Digest(canonicalData([...principalsOf(of.actor), name])), name };
}

function viewOf(ref: EntityRef, { state, version, attributes }: EntityState): EntityView {
  const { type, id } = ref;
  return { ref, state: { state, version, attributes }, text: canonicalData({ attributes, id, state, type, version }) };
}

const entityKey = (tenant: Tenant, ref: EntityRef): string => `${tenant} ${JSON.stringify([ref.type, ref.id])}`;
const sessionKey = (tenant: Tenant, id: Digest): string => `${tenant} ${id}`;
