/** A permit for one allowed decision: planned first, then with the store, then in the record, and signed last. */

import { canonicalData, sha256Digest } from "../core/digest.ts";
import { ConflictError } from "../core/errors.ts";
import { CONTEXT_PARTITION, partitionOfId, partitionOfUnique, permitIdIn } from "../core/partition.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { PolicyResult } from "../core/policy-result.ts";
import type { Approval } from "../core/ports.ts";
import type { Proposal } from "../core/proposal.ts";
import type { Digest, JsonObject, Tenant } from "../core/types.ts";
import type { Evaluation } from "./evaluate.ts";
import type { GateContext } from "./ports.ts";

export interface PermitRequest {
  readonly tenant: Tenant;
  readonly decisionId: string;
  readonly traceId: string;
  readonly proposal: Proposal;
  readonly evaluation: Evaluation;
  readonly bindingDigest: Digest;
  readonly policyDigest: Digest | null;
  readonly approval: Approval | undefined;
  readonly decidedAt: Date;
  /** What this decision follows, where the same proposal was decided before. */
  readonly after: string | undefined;
  /** Whether it rests on the tenant's context: then it lies where that lies. The same on every sidecar of one policy. */
  readonly isContextual: boolean;
  /** Given by observe mode: it reserved nothing, so it is none of those that enforcing counts. */
  readonly isObserved?: boolean;
}

/** How many permits of one proposal may lapse or be cancelled unused before it has to be proposed under another id. */
export const GENERATIONS_MAX = 64;

/** What consumption needs to decide the same proposal again under a newer policy. */
export interface PermitSubject {
  readonly action: string;
  readonly arguments: JsonObject;
  readonly actor: Proposal["actor"];
  readonly entity: Proposal["entity"];
  readonly context: JsonObject;
}

/** What the store is told of a permit. */
export interface PermitPlan {
  readonly jti: string;
  readonly approvalId: string | undefined;
  readonly uses: number;
  /** Seconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly subjectText: string;
}

/** @param generation how many permits of this proposal died unused before */
export function planPermit(gate: GateContext, request: PermitRequest, generation: number): PermitPlan {
  const { proposal, evaluation, approval } = request;
  const unique = proposalUnique(request, generation);
  const spread = request.isContextual ? CONTEXT_PARTITION : partitionOfUnique(unique);
  const partition = approval === undefined ? spread : partitionOfId(approval.id)!;
  const issuedAt = Math.floor(request.decidedAt.getTime() / 1000);
  const subject: PermitSubject = {
    action: proposal.action,
    arguments: evaluation.arguments,
    actor: proposal.actor,
    entity: proposal.entity,
    context: proposal.context,
  };
  return {
    jti: permitIdIn(partition, unique),
    approvalId: approval?.id,
    uses: envelopeOf(request) === undefined ? 1 : approval!.usesLeft,
    issuedAt,
    expiresAt: issuedAt + (evaluation.result?.permit?.ttl_seconds ?? gate.options.permitTtlSeconds),
    subjectText: canonicalData(subject),
  };
}

/** What is charged is charged for one action: under a limit, a lock or a session's sum each use of an envelope is decided. */
function envelopeOf({ approval, evaluation }: PermitRequest) {
  const { result } = evaluation;
  const isMetered = reservedDigest(result) !== undefined || result?.session?.sums !== undefined;
  return approval === undefined || isMetered ? undefined : result?.approval?.envelope;
}

/** What a permit for this is bound to: what was granted, or exactly this where the grant's envelope is not passed on. */
export function permitBinding(request: PermitRequest, exact: Digest): Digest {
  const isNarrowed = request.evaluation.result?.approval?.envelope !== undefined && envelopeOf(request) === undefined;
  return isNarrowed ? exact : request.bindingDigest;
}

/** What a permit says besides: the version it is bound to, the lock it holds. */
export type PermitExtras = Pick<PermitClaims, "entity_version" | "lock" | "reserved">;

/** Undefined where policy asks for neither limits, nor a lock, nor the entity's version. */
export function reservedDigest(result: PolicyResult | undefined): Digest | undefined {
  if (result === undefined) return undefined;
  const { limits, lock = null } = result;
  const binds = result.permit?.bind_entity_version === true;
  if (limits.length === 0 && lock === null && !binds) return undefined;
  return sha256Digest(canonicalData({ limits, lock, binds }));
}

export function permitClaims(
  gate: GateContext,
  request: PermitRequest,
  plan: PermitPlan,
  extras: { readonly binding: Digest; readonly more: PermitExtras },
): PermitClaims {
  const { proposal, evaluation, approval } = request;
  const envelope = envelopeOf(request);
  return {
    iss: gate.options.issuer,
    aud: evaluation.result?.permit?.audience ?? gate.options.permitAudience,
    sub: proposal.actor.id,
    jti: plan.jti,
    iat: plan.issuedAt,
    nbf: plan.issuedAt,
    exp: plan.expiresAt,
    tenant: request.tenant,
    action: proposal.action,
    entity: proposal.entity,
    on_behalf_of: proposal.actor.on_behalf_of ?? null,
    binding_digest: extras.binding,
    argument_digest: envelope === undefined ? evaluation.argumentDigest : null,
    ...(envelope === undefined ? {} : { envelope: envelope.schema }),
    ...extras.more,
    lineage: {
      decision_id: request.decisionId,
      approval_id: approval?.id ?? null,
      policy_digest: request.policyDigest,
      trace_id: request.traceId,
    },
    uses: plan.uses,
  };
}

/** After this the permit can be consumed by whoever holds its signature, which nobody does yet. */
export async function registerPermit(gate: GateContext, request: PermitRequest): Promise<PermitPlan> {
  const { tenant, proposal } = request;
  for (let generation = 0; generation < GENERATIONS_MAX; generation += 1) {
    const plan = planPermit(gate, request, generation);
    const { jti, approvalId, uses, expiresAt, subjectText } = plan;
    const record = { jti, tenant, approvalId, uses, expiresAtMs: expiresAt * 1000, subjectText };
    if (await gate.store.issuePermit(record)) return plan;
    // The same proposal id came to two sidecars, or again after a crash: one permit id, so one use between them.
    const known = await gate.store.readPermit(tenant, jti);
    if (known?.state === "dead") continue;
    requireSameSubject(proposal, plan, known?.subjectText);
    return plan;
  }
  throw tooManyLapsed(proposal);
}

export function tooManyLapsed({ id }: Proposal): ConflictError {
  const message = `Proposal ${JSON.stringify(id)} had ${GENERATIONS_MAX} permits that nobody used: propose it under another id`;
  return new ConflictError("proposal_conflict", message, { pointer: "/id" });
}

/** @throws ConflictError where another action was permitted under this proposal's id */
export function requireSameSubject(proposal: Proposal, plan: PermitPlan, recorded: string | undefined): void {
  if (recorded === plan.subjectText) return;
  throw new ConflictError(
    "proposal_conflict",
    `Proposal ${JSON.stringify(proposal.id)} was decided with other content`,
    {
      pointer: "/id",
    },
  );
}

/**
 * The permit id follows from the proposal's id, and from the approval where there is one: whichever sidecars decide it, and
 * however often, the store charges for it and lets it be used once. How often a grant is used counts the grant.
 */
function proposalUnique(
  { tenant, proposal, after, approval, isObserved = false }: PermitRequest,
  generation: number,
): string {
  const grant = approval === undefined ? null : [approval.id, after ?? null];
  const digest = sha256Digest(JSON.stringify([tenant, proposal.id, grant, generation, isObserved]));
  return digest.slice("sha256:".length, "sha256:".length + 32).toUpperCase();
}

export function signPermit(gate: GateContext, claims: PermitClaims): Promise<string> {
  return gate.signer.sign(claims as unknown as JsonObject);
}
