/** A permit for one allowed decision: claims first, so that the record can hold them; then the store; then the signature. */

import { canonicalData, sha256Digest } from "../core/digest.ts";
import { ConflictError } from "../core/errors.ts";
import { partitionOfId, partitionOfUnique, permitIdIn } from "../core/partition.ts";
import type { PermitClaims } from "../core/permit.ts";
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
}

/** What consumption needs to decide the same proposal again under a newer policy. */
export interface PermitSubject {
  readonly action: string;
  readonly arguments: JsonObject;
  readonly actor: Proposal["actor"];
  readonly entity: Proposal["entity"];
  readonly context: JsonObject;
}

export function permitClaims(gate: GateContext, request: PermitRequest): PermitClaims {
  const { proposal, evaluation, approval } = request;
  const asked = evaluation.result?.permit;
  const unique = approval === undefined ? proposalUnique(request) : gate.randomness.ulid();
  const partition = approval === undefined ? partitionOfUnique(unique) : partitionOfId(approval.id)!;
  const issuedAt = Math.floor(request.decidedAt.getTime() / 1000);
  const envelope = approval === undefined ? undefined : evaluation.result?.approval?.envelope;
  return {
    iss: gate.options.issuer,
    aud: asked?.audience ?? gate.options.permitAudience,
    sub: proposal.actor.id,
    jti: permitIdIn(partition, unique),
    iat: issuedAt,
    nbf: issuedAt,
    exp: issuedAt + (asked?.ttl_seconds ?? gate.options.permitTtlSeconds),
    tenant: request.tenant,
    action: proposal.action,
    entity: proposal.entity,
    on_behalf_of: proposal.actor.on_behalf_of ?? null,
    binding_digest: request.bindingDigest,
    argument_digest: envelope === undefined ? evaluation.argumentDigest : null,
    ...(envelope === undefined ? {} : { envelope: envelope.schema }),
    lineage: {
      decision_id: request.decisionId,
      approval_id: approval?.id ?? null,
      policy_digest: request.policyDigest,
      trace_id: request.traceId,
    },
    uses: envelope === undefined ? 1 : approval!.usesLeft,
  };
}

/** After this the permit can be consumed by whoever holds its signature, which nobody does yet. */
export async function registerPermit(gate: GateContext, request: PermitRequest, claims: PermitClaims): Promise<void> {
  const { proposal, evaluation } = request;
  const subject: PermitSubject = {
    action: proposal.action,
    arguments: evaluation.arguments,
    actor: proposal.actor,
    entity: proposal.entity,
    context: proposal.context,
  };
  const isNew = await gate.store.issuePermit({
    jti: claims.jti,
    tenant: request.tenant,
    approvalId: request.approval?.id,
    uses: claims.uses,
    expiresAtMs: claims.exp * 1000,
    subjectText: canonicalData(subject),
  });
  if (isNew) return;
  // The same proposal id came to two sidecars, or again after a crash: one permit id, so one use between them.
  const known = await gate.store.readPermit(request.tenant, claims.jti);
  if (known?.subjectText === canonicalData(subject)) return;
  throw new ConflictError(
    "proposal_conflict",
    `Proposal ${JSON.stringify(proposal.id)} was decided with other content`,
    {
      pointer: "/id",
    },
  );
}

/**
 * The permit id of a proposal that nobody had to approve follows from the proposal's id: whichever sidecars decide it, and
 * however often, the store lets it be used once. Under an approval it is the grant that counts uses.
 */
function proposalUnique(request: PermitRequest): string {
  const { tenant, proposal, after } = request;
  const digest = sha256Digest(JSON.stringify([tenant, proposal.id, after ?? null]));
  return digest.slice("sha256:".length, "sha256:".length + 32).toUpperCase();
}

export function signPermit(gate: GateContext, claims: PermitClaims): Promise<string> {
  return gate.signer.sign(claims as unknown as JsonObject);
}
