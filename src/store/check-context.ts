/** As check-request.ts, for the shared context: what a request must be before any of it gets into a key or a record. */
import type {
  AppendEvent,
  Freeze,
  LimitCharge,
  LockRequest,
  SessionChange,
  Settle,
  SettledPermit,
} from "../core/context.ts";
import { InvalidRequestError } from "../core/errors.ts";
import { CONTEXT_PARTITION, isApprovalId, isPermitId, partitionOfId } from "../core/partition.ts";
import type { ConsumePermit } from "../core/ports.ts";
import { IDENTIFIER, IDENTIFIER_CHARS_MAX, REASON_CHARS_MAX } from "../core/schema.ts";
import type { EntityRef } from "../core/types.ts";
import { checkDigest, checkLimit, checkPermitRecord, checkTextBytes } from "./check-request.ts";
import { isObject, isObjectText } from "./record-shape.ts";

const LIMITS_PER_SETTLE_MAX = 32;
const WINDOW_MS_MIN = 1_000;
const WINDOW_MS_MAX = 30 * 24 * 3600 * 1000;
const LOCK_TTL_MS_MAX = 3_600_000;
const SESSION_TTL_MS_MAX = 366 * 24 * 3600 * 1000;
/** Different values that a limit on them keeps at a time. One more is over the limit, whatever the limit says. */
export const DISTINCT_VALUES_MAX = 10_000;
export const EVENTS_READ_MAX = 1_000;

/** Two identifiers, a character of which may be a surrogate pair, and a slash. */
const ENTITY_NAME_CHARS_MAX = 4 * IDENTIFIER_CHARS_MAX + 1;

const FREEZE_KINDS: ReadonlySet<string> = new Set(["tenant", "actor", "entity", "action"]);

export function isIdentifier(value: unknown): value is string {
  return typeof value === "string" && IDENTIFIER.test(value);
}

export function isEntityRef(ref: EntityRef): boolean {
  return isIdentifier(ref.type) && isIdentifier(ref.id);
}

export function isContextPermitId(jti: string): boolean {
  return isPermitId(jti) && partitionOfId(jti) === CONTEXT_PARTITION;
}

/** @throws InvalidRequestError as all checks of this file */
export function checkEntityRef(ref: EntityRef): void {
  checkIdentifier("entity type", ref.type);
  checkIdentifier("entity id", ref.id);
}

export function checkReadEvents(from: number, limit: number): void {
  checkCount("sequence", from, { min: 1 });
  checkLimit(limit, EVENTS_READ_MAX);
}

export function checkAppendEvent(event: AppendEvent, bytesMax: number): void {
  const { after, expectedEvents } = event;
  checkEntityRef(after.ref);
  checkIdentifier("event source", event.source);
  checkIdentifier("event id", event.eventId);
  checkDigest("content digest", event.contentDigest);
  checkDigest("chain", after.chain);
  checkCount("number of expected events", expectedEvents);
  if (after.events !== expectedEvents + 1) refuse("number of events", after.events);
  checkCount("entity version", after.version, { max: after.events });
  if (after.state !== null) checkIdentifier("state", after.state);
  if (!isObject(after.attributes)) refuse("attributes", typeof after.attributes);
  checkTextBytes("an entity", JSON.stringify(after), bytesMax);
  checkTextBytes("an event", event.eventText, bytesMax);
  if (!isObjectText(event.eventText)) refuse("event text", event.eventText);
}

export function checkSession(change: SessionChange, bytesMax: number): void {
  checkDigest("session id", change.id);
  checkCount("expected session version", change.expectedVersion);
  // A version that stayed would let two writers both be the one who was expected.
  checkCount("session version", change.after.version, { min: change.expectedVersion + 1 });
  checkCount("session validity", change.ttlMs, { min: 1, max: SESSION_TTL_MS_MAX });
  checkTextBytes("a session", change.after.text, bytesMax);
}

export function checkSettle(tenant: string, request: Settle, bytesMax: number): void {
  const { jti, entity, session, limits, lock, permit } = request;
  checkJti(jti);
  if (entity !== undefined) {
    checkEntityRef(entity.ref);
    checkCount("entity version", entity.version);
  }
  if (session !== undefined) checkSession(session, bytesMax);
  if (limits.length > LIMITS_PER_SETTLE_MAX) refuse("number of limits", limits.length);
  if (new Set(limits.map(({ id }) => id)).size < limits.length) refuse("limits", "the same one twice");
  for (const limit of limits) checkCharge(limit);
  if (lock !== undefined) checkLock(lock);
  if (permit !== undefined) checkSettledPermit(tenant, jti, permit, bytesMax);
  else if (lock !== undefined || limits.some(({ isBinding }) => isBinding || request.isReservation)) {
    refuse("permit", "none, and a reservation, a binding limit or a lock needs one");
  }
}

function checkCharge(charge: LimitCharge): void {
  checkDigest("limit id", charge.id);
  checkCount("limit", charge.limitMicros);
  checkCount("cost", charge.costMicros);
  checkCount("window", charge.windowMs, { min: WINDOW_MS_MIN, max: WINDOW_MS_MAX });
  if (charge.value !== undefined) checkDigest("value", charge.value);
}

function checkLock(lock: LockRequest): void {
  checkDigest("lock id", lock.id);
  checkCount("lock validity", lock.ttlMs, { min: 1, max: LOCK_TTL_MS_MAX });
}

function checkSettledPermit(tenant: string, jti: string, permit: SettledPermit, bytesMax: number): void {
  if (permit.approvalId !== undefined && !isApprovalId(permit.approvalId)) refuse("approval id", permit.approvalId);
  checkPermitRecord({ ...permit, jti, tenant });
  checkTextBytes("a permit's subject", permit.subjectText, bytesMax);
}

/** What rests on the context lies with it: the one step that consumes must reach both. */
export function checkJti(jti: string): void {
  if (!isContextPermitId(jti)) refuse("permit id", jti);
}

/** A permit that is bound to what is no entity, or is not where entities are, was never ours. */
export function isConsumable({ jti, entity }: ConsumePermit): boolean {
  return entity === undefined ? isPermitId(jti) : isContextPermitId(jti) && isEntityRef(entity.ref);
}

export function checkFreeze(freeze: Omit<Freeze, "atMs">): void {
  const { id, kind, subject, reason, by } = freeze;
  checkIdentifier("freeze id", id);
  if (!FREEZE_KINDS.has(kind)) refuse("kind of freeze", kind);
  if (!isFreezeSubject(kind, subject)) refuse("subject of a freeze", subject);
  checkReason(reason);
  checkIdentifier("actor id", by);
}

export function isFreezeSubject(kind: Freeze["kind"], subject: string): boolean {
  if (kind === "tenant") return subject === "";
  return kind === "entity" ? isEntityName(subject) : isIdentifier(subject);
}

/** `<type>/<id>`. Either may hold a slash, so any cut that leaves two identifiers will do. */
function isEntityName(subject: string): boolean {
  if (typeof subject !== "string" || subject.length > ENTITY_NAME_CHARS_MAX) return false;
  const parts = subject.split("/");
  return parts.some(
    (_, cut) => isIdentifier(parts.slice(0, cut).join("/")) && isIdentifier(parts.slice(cut).join("/")),
  );
}

export function checkLift({ by, reason }: { readonly by: string; readonly reason: string }): void {
  checkReason(reason);
  checkIdentifier("actor id", by);
}

function checkReason(reason: string): void {
  // In characters, as the schemas of requests count: one may be a surrogate pair.
  if (typeof reason !== "string" || [...reason].length > REASON_CHARS_MAX) refuse("reason", reason);
}

function checkIdentifier(name: string, value: string): void {
  if (!isIdentifier(value)) refuse(name, value);
}

function checkCount(name: string, value: number, { min = 0, max = Number.MAX_SAFE_INTEGER } = {}): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) refuse(name, value);
}

function refuse(name: string, value: unknown): never {
  const shown = JSON.stringify(typeof value === "string" ? value.slice(0, 80) : value);
  throw new InvalidRequestError("invalid_request", `Invalid ${name} ${shown}`);
}
