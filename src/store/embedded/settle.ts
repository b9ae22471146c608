/** One decision's whole effect on the shared context. Runs inside one write transaction; checks first, writes last. */
import type { LimitUse, PermitState, SessionRecord, Settle, SettleResult } from "../../core/context.ts";
import type { Tenant } from "../../core/types.ts";
import { LIMITS } from "../limits.ts";
import type { KeptPermit } from "../record-text.ts";
import type { Charge, Reservation, WeighedLimit } from "./limit-rows.ts";
import type { HeldLock } from "./lock-rows.ts";
import type { Budget } from "./purge-rows.ts";
import type { Tables } from "./tables.ts";

export interface SettleAt {
  readonly tenant: Tenant;
  readonly nowMs: number;
  readonly graceMs: number;
}

/** Undefined: nothing is decided yet, for there was more to tidy up than one transaction may. Commit, and ask again. */
export function settle(tables: Tables, request: Settle, at: SettleAt): SettleResult | undefined {
  const refusal = repeated(tables, request, at) ?? stale(tables, request, at.nowMs);
  if (refusal !== undefined) return refusal;
  const budget: Budget = { left: LIMITS.purge };
  if (!request.limits.every((limit) => tables.limits.tidy(limit, at.nowMs, budget))) return undefined;
  const weighed = request.limits.map((limit) => tables.limits.weigh(limit, at.nowMs));
  return exceeded(weighed) ?? locked(tables, request, at.nowMs) ?? apply(tables, { request, weighed, at });
}

function repeated(tables: Tables, { jti, lock }: Settle, at: SettleAt): SettleResult | undefined {
  const permit = tables.livePermit(jti, at.nowMs, at.graceMs);
  if (permit === undefined) return undefined;
  const { subjectText } = permit;
  const held = lock === undefined ? undefined : tables.locks.heldBy(lock.id, jti, at.nowMs);
  return { kind: "repeated", subjectText, state: permitState(permit, at.nowMs), lock: held };
}

export function permitState({ isCancelled, uses, usesLeft, expiresAtMs }: KeptPermit, nowMs: number): PermitState {
  if (isCancelled === true) return "dead";
  if (usesLeft < uses) return "used";
  return expiresAtMs <= nowMs ? "dead" : "live";
}

function stale(tables: Tables, { entity, session }: Settle, nowMs: number): SettleResult | undefined {
  const entityNow = entity === undefined ? undefined : tables.context.entity(entity.ref);
  const sessionNow: SessionRecord | undefined =
    session === undefined ? undefined : tables.context.session(session.id, nowMs);
  const isSame =
    (entity === undefined || entity.version === (entityNow?.version ?? 0)) &&
    (session === undefined || session.expectedVersion === (sessionNow?.version ?? 0));
  return isSame ? undefined : { kind: "stale", entity: entityNow, session: sessionNow };
}

function exceeded(weighed: readonly WeighedLimit[]): SettleResult | undefined {
  if (!weighed.some(({ isRefused }) => isRefused)) return undefined;
  return { kind: "exceeded", limits: weighed.map(({ use }) => use) };
}

function locked(tables: Tables, { lock, jti }: Settle, nowMs: number): SettleResult | undefined {
  return lock === undefined ? undefined : tables.locks.refusal(lock, jti, nowMs);
}

function apply(
  tables: Tables,
  {
    request,
    weighed,
    at,
  }: { readonly request: Settle; readonly weighed: readonly WeighedLimit[]; readonly at: SettleAt },
): SettleResult {
  const { jti, lock, session, limits } = request;
  const reservation = reservationOf(request);
  const charges = limits.map((limit) => tables.limits.charge(limit, at.nowMs, reservation));
  const untilMs = at.nowMs + (lock?.ttlMs ?? 0);
  // Until the permit is used, its lock ends with it.
  const endsAtMs = Math.min(untilMs, request.permit?.expiresAtMs ?? untilMs);
  const holder = lock === undefined ? undefined : tables.locks.take(lock.id, { jti, endsAtMs }, at.nowMs);
  if (session !== undefined) tables.context.putSession(session, at.nowMs);
  const held = lock === undefined || holder === undefined ? undefined : { id: lock.id, fence: holder.fence, untilMs };
  registerPermit(tables, request, { at, charges: reservation === undefined ? [] : charges, held });
  const uses = limits.map(
    (limit, index): LimitUse => ({
      ...weighed[index]!.use,
      usedMicros: weighed[index]!.afterMicros,
      resetsAtMs: tables.limits.resetsAtMs(limit, at.nowMs),
    }),
  );
  const taken = holder === undefined ? undefined : { fence: holder.fence, expiresAtMs: untilMs };
  return { kind: "settled", limits: uses, lock: taken, atMs: at.nowMs };
}

/** Undefined: what is charged stays. */
function reservationOf({ isReservation, jti, permit }: Settle): Reservation | undefined {
  return isReservation && permit !== undefined ? { jti, expiresAtMs: permit.expiresAtMs } : undefined;
}

function registerPermit(
  tables: Tables,
  { jti, permit }: Settle,
  of: { readonly at: SettleAt; readonly charges: readonly Charge[]; readonly held: HeldLock | undefined },
): void {
  if (permit === undefined) return;
  const { approvalId, uses, expiresAtMs, subjectText } = permit;
  const record = { jti, tenant: of.at.tenant, approvalId, uses, usesLeft: uses, expiresAtMs, subjectText };
  tables.putPermit(record, expiresAtMs + of.at.graceMs);
  const returnable = of.charges.filter(({ micros }) => micros > 0);
  tables.holdings.open({ jti, expiresAtMs, uses }, returnable, of.held);
}
