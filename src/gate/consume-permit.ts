/**
 * The check where the action runs.
 *
 * Order of effects: the store marks the use as spent and leaves a fact; the ledger records it; the executor is told it may
 * run. A crash after the first step leaves a spent use with unknown outcome, which is listed until somebody reports it.
 * INVARIANT (once): no path leads back from spent, so a crash, a retry or a lost answer never leads to a second run.
 */
import { createHash } from "node:crypto";
import type { Caller } from "../core/caller.ts";
import { actorText, entityText } from "../core/compose.ts";
import type { EntityState } from "../core/context.ts";
import { sha256Digest } from "../core/digest.ts";
import { HoldpointError, PermitError, UnavailableError } from "../core/errors.ts";
import {
  checkClaims,
  PERMIT_CHARS_MAX,
  type PermitClaims,
  permitClaimsSchema,
  type RealAction,
} from "../core/permit.ts";
import type { ConsumePermit, ConsumePermitResult } from "../core/ports.ts";
import type { JsonObject, Mode } from "../core/types.ts";
import { approvalRule, exactBinding, grantBinding, grantText, satisfies } from "./bind.ts";
import { acceptsArguments } from "./envelope.ts";
import { evaluate } from "./evaluate.ts";
import { type PermitSubject, reservedDigest } from "./issue-permit.ts";
import { configuredMode, effectiveMode } from "./options.ts";
import type { GateContext } from "./ports.ts";
import { consumptionKey, factEntry } from "./record.ts";
import { recordTransition } from "./record-transition.ts";
import { subjectTexts } from "./subject-texts.ts";

export interface UsePermitRequest {
  readonly caller: Caller;
  readonly token: string;
  readonly real: RealAction & { readonly arguments: JsonObject };
  /** The audience that the executor says it is, where it says so. */
  readonly audience: string | undefined;
  readonly traceId: string;
  /** This sidecar runs the action itself: nobody reports for it. */
  readonly isOwn?: boolean;
}

export interface PermitUse {
  readonly claims: PermitClaims;
  readonly usesLeft: number;
  /** Only a consumption has one. */
  readonly executionId: string | undefined;
}

export type PermitAnswer =
  | { readonly kind: "valid"; readonly mode: Mode; readonly use: PermitUse }
  /** Observe mode: what enforce mode would have refused. */
  | { readonly kind: "observed"; readonly mode: "observe"; readonly refusal: HoldpointError };

/** Checks, and uses up nothing. @throws PermitError, UnavailableError */
export function verifyPermit(gate: GateContext, request: UsePermitRequest): Promise<PermitAnswer> {
  return underMode(gate, request, false, async () => {
    const claims = await checkPermit(gate, request);
    return { claims, usesLeft: await requireUnused(gate, claims), executionId: undefined };
  });
}

/** Checks and uses up one use. @throws PermitError, UnavailableError */
export function consumePermit(gate: GateContext, request: UsePermitRequest): Promise<PermitAnswer> {
  return underMode(gate, request, true, async () => {
    const claims = await checkPermit(gate, request);
    requireUnrecorded(gate, claims);
    return spend(gate, request, claims);
  });
}

async function underMode(
  gate: GateContext,
  request: UsePermitRequest,
  isConsumption: boolean,
  act: () => Promise<PermitUse>,
): Promise<PermitAnswer> {
  const { tenant } = request.caller;
  const mode = modeOf(gate, request);
  try {
    const use = await (mode === "enforce" ? act() : withinBound(gate, act()));
    gate.observer.permitChecked({ tenant, result: "valid", isConsumption });
    return { kind: "valid", mode, use };
  } catch (error) {
    if (!(error instanceof HoldpointError)) throw error;
    error.mode = mode;
    gate.observer.permitChecked({ tenant, result: error.code, isConsumption });
    const recording = isConsumption ? recordRefusal(gate, request, mode, error) : undefined;
    if (mode === "enforce") {
      await recording;
      throw error;
    }
    return { kind: "observed", mode, refusal: error };
  }
}

/** INVARIANT (transparent): what observing waits for is bounded; what comes later is still done, and recorded. */
function withinBound(gate: GateContext, acting: Promise<PermitUse>): Promise<PermitUse> {
  const { observeRecordWaitMs } = gate.options;
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      const message = `No answer from store or ledger within ${observeRecordWaitMs} ms`;
      reject(new UnavailableError("store_unavailable", message));
    }, observeRecordWaitMs);
    acting.then(resolve, (error: Error) => {
      if (isLate) gate.observer.failed({ what: "use a permit that is only observed", error });
      else reject(error);
    });
    acting.finally(() => clearTimeout(timer)).catch(() => {});
  });
}

/** As for the decision: configuration first, and policy where it may say something else. */
function modeOf(gate: GateContext, request: UsePermitRequest): Mode {
  const configured = configuredMode(gate.options, request.caller.tenant, request.real.action);
  const isPolicyAsked = configured === "observe" || gate.options.policyMayObserve;
  return isPolicyAsked ? effectiveMode(gate.options, configured, policyMode(gate, request)) : configured;
}

/** What policy says of the mode of what is about to run. */
function policyMode(gate: GateContext, request: UsePermitRequest): Mode | undefined {
  const { real, caller } = request;
  return evaluate(gate.policy.status().active, gate.results, {
    tenant: caller.tenant,
    action: real.action,
    arguments: real.arguments,
    texts: {
      arguments: real.argumentsText,
      actor: actorText({ id: real.actorId }),
      entity: entityText(real.entity),
      context: "{}",
    },
    approvalText: "null",
    time: gate.clock.now().toISOString(),
  }).result?.mode;
}

/** Every check up to "unused", in the order of PERMIT_CODES. */
async function checkPermit(gate: GateContext, request: UsePermitRequest): Promise<PermitClaims> {
  const claims = await readClaims(gate, request.token);
  const nowSeconds = Math.floor(gate.clock.now().getTime() / 1000);
  const { tenant } = request.caller;
  checkClaims(claims, request.real, { nowSeconds, tenant, audiences: audiencesOf(request) });
  checkEnvelope(claims, request.real.arguments);
  await checkFreezes(gate, request, claims);
  await checkLineage(gate, request, claims);
  return claims;
}

/** Whose the lock is only the store knows, and says where the permit is used; that its time is over can be seen. */
function checkLock(gate: GateContext, { jti, lock }: PermitClaims): void {
  if (lock === undefined || Date.parse(lock.expires_at) > gate.clock.now().getTime()) return;
  throw new PermitError("lock_lost", `Cannot use permit "${jti}": its lock ended at ${lock.expires_at}`);
}

async function checkFreezes(gate: GateContext, { caller }: UsePermitRequest, claims: PermitClaims): Promise<void> {
  const { action, entity, sub, on_behalf_of } = claims;
  const actor = on_behalf_of === null ? { id: sub } : { id: sub, on_behalf_of };
  const freeze = await gate.freezes.find({ caller, action, actor, entity });
  if (freeze === undefined) return;
  throw new PermitError("frozen", `Cannot use permit "${claims.jti}": frozen (${freeze.id}): ${freeze.reason}`);
}

async function readClaims(gate: GateContext, token: string): Promise<PermitClaims> {
  if (token.length > PERMIT_CHARS_MAX)
    throw new PermitError("bad_signature", "Permit is longer than any permit of ours");
  const verification = await gate.verifier.verify(token);
  if (verification.kind === "refused") throw new PermitError(verification.code, verification.message);
  const parsed = permitClaimsSchema.safeParse(verification.claims);
  if (!parsed.success)
    throw new PermitError("wrong_type", "Permit is signed, but its claims are not those of a permit");
  return parsed.data as unknown as PermitClaims;
}

function audiencesOf(request: UsePermitRequest): ReadonlySet<string> | undefined {
  const { audience, caller } = request;
  if (audience === undefined) return caller.audiences;
  if (caller.audiences !== undefined && !caller.audiences.has(audience)) return new Set();
  return new Set([audience]);
}

function checkEnvelope(claims: PermitClaims, args: JsonObject): void {
  if (claims.envelope === undefined) return;
  const fault = acceptsArguments(claims.envelope, args);
  if (fault !== undefined) {
    throw new PermitError("arguments_rejected", `Permit "${claims.jti}" does not cover these arguments: ${fault}`);
  }
}

/** A policy that changed since the decision decides again (INVARIANT: final). */
async function checkLineage(gate: GateContext, request: UsePermitRequest, claims: PermitClaims): Promise<void> {
  const policy = gate.policy.status().active;
  if (policy === undefined) {
    throw new UnavailableError("policy_not_loaded", "No policy is loaded, so nothing may run");
  }
  if (claims.lineage.policy_digest === policy.digest) return;
  const { tenant } = request.caller;
  const { approval_id } = claims.lineage;
  const approval = approval_id === null ? undefined : await gate.store.readApproval(tenant, approval_id);
  // Whether the grant has been used up is asked last, by the store.
  if (approval_id !== null && approval?.status !== "granted" && approval?.status !== "exhausted") {
    throw revoked(claims, approval?.status ?? "absent");
  }
  const record = await gate.store.readPermit(tenant, claims.jti);
  if (record === undefined) throw unknownPermit(claims);
  const subject = JSON.parse(record.subjectText) as PermitSubject;
  const view = await gate.views.read(policy, { ...subject, tenant });
  const evaluation = evaluate(policy, gate.results, {
    tenant,
    action: subject.action,
    arguments: request.real.arguments,
    texts: { ...subjectTexts(subject), arguments: request.real.argumentsText },
    entityText: view.entity?.text,
    sessionText: view.session?.text,
    approvalText: approval === undefined ? "null" : grantText(approval),
    time: gate.clock.now().toISOString(),
  });
  const bound = { ...subject, tenant };
  // A grant covers what it is bound to: the exact action, or the very envelope that policy draws now.
  const binding =
    claims.envelope === undefined ? exactBinding(bound, evaluation.argumentsText) : grantBinding(bound, evaluation);
  const isGrantEnough =
    evaluation.verdict === "escalate" &&
    approval !== undefined &&
    satisfies(approval.rule, approvalRule(evaluation.result!, gate.options)) &&
    binding === approval.bindingDigest;
  const isAllowed = !evaluation.isRewritten && (evaluation.verdict === "allow" || isGrantEnough);
  if (isAllowed && reservedDigest(evaluation.result) !== claims.reserved) {
    throw new PermitError(
      "policy_changed",
      "Policy asks for limits, a lock or a version that this permit does not have",
    );
  }
  if (isAllowed) return;
  const codes = evaluation.reasons.map((reason) => reason.code).join(", ");
  throw new PermitError(
    "policy_changed",
    `Policy changed since the decision, and no longer allows this action: ${codes}`,
  );
}

async function requireUnused(gate: GateContext, claims: PermitClaims): Promise<number> {
  requireUnrecorded(gate, claims);
  const record = await gate.store.readPermit(claims.tenant, claims.jti);
  if (record === undefined) throw unknownPermit(claims);
  if (record.usesLeft === 0) throw alreadyConsumed(claims);
  const { approval_id } = claims.lineage;
  if (approval_id !== null) {
    const approval = await gate.store.readApproval(claims.tenant, approval_id);
    if (approval?.status === "exhausted") throw usedUp(claims);
    if (approval?.status !== "granted") throw revoked(claims, approval?.status ?? "absent");
  }
  checkLock(gate, claims);
  await checkVersion(gate, claims);
  return record.usesLeft;
}

async function checkVersion(gate: GateContext, claims: PermitClaims): Promise<void> {
  const bound = boundEntity(claims);
  if (bound === undefined) return;
  const entity = await gate.store.readEntity(claims.tenant, bound.ref);
  if ((entity?.version ?? 0) !== bound.version) throw stateChanged(claims, entity);
}

/** What this sidecar recorded as used stays used, whatever a store that lost its last writes says (failover, restore). */
function requireUnrecorded(gate: GateContext, claims: PermitClaims): void {
  if (claims.uses === 1 && gate.ledger.find(consumptionKey(claims.tenant, claims.jti)) !== undefined) {
    throw alreadyConsumed(claims);
  }
}

async function spend(gate: GateContext, request: UsePermitRequest, claims: PermitClaims): Promise<PermitUse> {
  const { tenant } = claims;
  const { approval_id, decision_id, trace_id } = claims.lineage;
  const result = await gate.store.consumePermit({
    tenant,
    jti: claims.jti,
    approvalId: approval_id ?? undefined,
    action: claims.action,
    decisionId: decision_id,
    traceId: trace_id,
    consumer: consumerOf(request),
    entity: boundEntity(claims),
  });
  if (result.kind !== "consumed") throw refusalOf(claims, result);
  await recordTransition(gate, {
    kind: "permit_consumed",
    tenant,
    traceId: trace_id,
    factId: result.factId,
    data: {
      permit_id: claims.jti,
      execution_id: result.executionId,
      decision_id,
      approval_id,
      action: claims.action,
      actor: claims.sub,
      entity: claims.entity,
      binding_digest: claims.binding_digest,
      argument_digest: sha256Digest(request.real.argumentsText),
      uses_left: result.usesLeft,
      caller: request.caller.credentialId ?? null,
      authenticated: request.caller.isAuthenticated,
    },
    keys: [consumptionKey(tenant, claims.jti)],
  });
  return { claims, usesLeft: result.usesLeft, executionId: result.executionId };
}

/** Of executions that this sidecar runs. No credential has such an id. */
export const OWN_CONSUMER = "(executor)";

function consumerOf({ isOwn = false, caller }: UsePermitRequest): string {
  return isOwn ? OWN_CONSUMER : (caller.credentialId ?? "");
}

function boundEntity({ entity, entity_version }: PermitClaims): ConsumePermit["entity"] {
  return entity === null || entity_version === undefined ? undefined : { ref: entity, version: entity_version };
}

function refusalOf(claims: PermitClaims, result: Exclude<ConsumePermitResult, { kind: "consumed" }>): PermitError {
  switch (result.kind) {
    case "already_consumed":
      return alreadyConsumed(claims);
    case "expired":
      return new PermitError("expired", `Cannot use permit "${claims.jti}": it expired by the store's clock`);
    case "approval_revoked":
      return result.status === "exhausted" ? usedUp(claims) : revoked(claims, result.status);
    case "state_changed":
      return stateChanged(claims, result.entity);
    case "lock_lost":
      return new PermitError("lock_lost", `Cannot use permit "${claims.jti}": its lock is not its own any more`);
    case "unknown_permit":
      return unknownPermit(claims);
  }
}

function stateChanged(claims: PermitClaims, entity: EntityState | undefined): PermitError {
  return new PermitError(
    "state_changed",
    `Cannot use permit "${claims.jti}": its entity changed since the decision; propose the action again`,
    { facts: { current_state: entity?.state ?? "", current_version: entity?.version ?? 0 } },
  );
}

function alreadyConsumed(claims: PermitClaims): PermitError {
  return new PermitError("already_consumed", `Cannot use permit "${claims.jti}": it has been used`);
}

function usedUp(claims: PermitClaims): PermitError {
  return new PermitError(
    "already_consumed",
    `Cannot use permit "${claims.jti}": the uses of its approval "${claims.lineage.approval_id}" are used up`,
  );
}

function revoked(claims: PermitClaims, status: string): PermitError {
  return new PermitError("approval_revoked", `Cannot use permit "${claims.jti}": its approval is ${status}`);
}

function unknownPermit(claims: PermitClaims): PermitError {
  return new PermitError("unknown_permit", `Cannot use permit "${claims.jti}": the store does not know it`);
}

/** The attempt itself is evidence. A ledger that cannot take it changes nothing about the refusal. */
async function recordRefusal(
  gate: GateContext,
  request: UsePermitRequest,
  mode: Mode,
  error: HoldpointError,
): Promise<void> {
  const entry = factEntry({
    kind: "permit_refused",
    tenant: request.caller.tenant,
    traceId: request.traceId,
    time: gate.clock.now().toISOString(),
    data: {
      code: error.code,
      mode,
      token_digest: `sha256:${createHash("sha256").update(request.token).digest("hex")}`,
      action: request.real.action,
      actor: request.real.actorId,
      entity: request.real.entity,
      argument_digest: sha256Digest(request.real.argumentsText),
      caller: request.caller.credentialId ?? null,
      authenticated: request.caller.isAuthenticated,
    },
  });
  try {
    await gate.ledger.append(entry);
  } catch (failure) {
    gate.observer.failed({ what: "record a refused permit", error: failure as Error });
  }
}
