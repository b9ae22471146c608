/** Freezes: an operator stops an actor, an entity, an action or everything of a tenant, and lets it go again. */
import type { Freeze, FreezeKind } from "../core/context.ts";
import { FREEZES_MAX } from "../core/context.ts";
import { NotFoundError, UnavailableError } from "../core/errors.ts";
import type { Tenant } from "../core/types.ts";
import type { GateContext } from "./ports.ts";
import { recordTransition } from "./record-transition.ts";

export interface FreezeRequest {
  readonly tenant: Tenant;
  readonly kind: FreezeKind;
  readonly subject: string;
  readonly reason: string;
  readonly by: string;
  readonly traceId: string;
}

/** In force on this sidecar when it resolves, on every other within `freezeAgeMaxMs`. @throws UnavailableError */
export async function freeze(gate: GateContext, request: FreezeRequest): Promise<Freeze> {
  const { tenant, kind, subject, reason, by, traceId } = request;
  const id = `frz_${gate.randomness.ulid()}`;
  const put = await gate.store.putFreeze(tenant, { id, kind, subject, reason, by });
  if (put === undefined) {
    throw new UnavailableError("overloaded", `This tenant has ${FREEZES_MAX} freezes: lift some, or freeze the tenant`);
  }
  gate.freezes.forget(tenant);
  const data = { freeze: freezeView(put.freeze), ...entityOf(put.freeze) };
  await recordTransition(gate, { kind: "freeze_set", tenant, traceId, factId: put.factId, data });
  return put.freeze;
}

export interface LiftRequest {
  readonly tenant: Tenant;
  readonly id: string;
  readonly reason: string;
  readonly by: string;
  readonly traceId: string;
}

/** @throws NotFoundError freeze_not_found; UnavailableError */
export async function liftFreeze(gate: GateContext, request: LiftRequest): Promise<Freeze> {
  const { tenant, id, reason, by, traceId } = request;
  const lifted = await gate.store.liftFreeze(tenant, { id, by, reason });
  if (lifted === undefined) throw new NotFoundError("freeze_not_found", `No freeze ${JSON.stringify(id)}`);
  gate.freezes.forget(tenant);
  const data = { freeze: freezeView(lifted.freeze), ...entityOf(lifted.freeze), by, reason };
  await recordTransition(gate, { kind: "freeze_lifted", tenant, traceId, factId: lifted.factId, data });
  return lifted.freeze;
}

export function freezeView({ id, kind, subject, reason, by, atMs }: Freeze): object {
  return { id, kind, ...(kind === "tenant" ? {} : { subject }), reason, by, at: new Date(atMs).toISOString() };
}

/** So that an entity's timeline shows it. */
function entityOf({ kind, subject }: Freeze): object {
  const slash = subject.indexOf("/");
  if (kind !== "entity" || slash === -1) return {};
  return { entity: { type: subject.slice(0, slash), id: subject.slice(slash + 1) } };
}
