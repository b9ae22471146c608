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
  /** Whether it rests on the tenant's context: then it lies where that lies. */
  readonly isContextual: boolean;
}

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

export function planPermit(gate: GateContext, request: PermitRequest): PermitPlan {
  const { proposal, evaluation, approval } = request;
  const unique = proposalUnique(request);
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

function envelopeOf({ approval, evaluation }: PermitRequest) {
  return approval === undefined ? undefined : evaluation.result?.approval?.envelope;
}

/** What a permit says besides: the version it is bound to, the lock it holds. */
export type PermitExtras = Pick<PermitClaims, "entity_version" | "lock" | "reserved">;

/** Undefined where policy asks for neither limits nor a lock. */
export function reservedDigest(result: PolicyResult | undefined): Digest | undefined {
  if (result === undefined || (result.limits.length === 0 && result.lock === undefined)) return undefined;
  return sha256Digest(canonicalData({ limits: result.limits, lock: result.lock ?? null }));
}

export function permitClaims(
  gate: GateContext,
  request: PermitRequest,
  plan: PermitPlan,
  extras: PermitExtras,
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
    binding_digest: request.bindingDigest,
    argument_digest: envelope === undefined ? evaluation.argumentDigest : null,
    ...(envelope === undefined ? {} : { envelope: envelope.schema }),
    ...extras,
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
export async function registerPermit(gate: GateContext, request: PermitRequest, plan: PermitPlan): Promise<void> {
  const { jti, approvalId, uses, expiresAt, subjectText } = plan;
  const { tenant } = request;
  const isNew = await gate.store.issuePermit({
    jti,
    tenant,
    approvalId,
    uses,
    expiresAtMs: expiresAt * 1000,
    subjectText,
  });
  if (isNew) return;
  // The same proposal id came to two sidecars, or again after a crash: one permit id, so one use between them.
  requireSameSubject(request.proposal, plan, (await gate.store.readPermit(tenant, jti))?.subjectText);
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
function proposalUnique({ tenant, proposal, after, approval }: PermitRequest): string {
  const digest = sha256Digest(JSON.stringify([tenant, proposal.id, after ?? null, approval?.id ?? null]));
  return digest.slice("sha256:".length, "sha256:".length + 32).toUpperCase();
}

export function signPermit(gate: GateContext, claims: PermitClaims): Promise<string> {
  return gate.signer.sign(claims as unknown as JsonObject);
}
