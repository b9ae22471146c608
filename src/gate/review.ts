/**
 * A reviewer's act.
 *
 * Order of effects: the store changes the approval and leaves a fact for the ledger in one step; the ledger records it;
 * the reviewer is answered. A crash after the first step leaves the fact, which the sweep records.
 */
import { granters } from "../core/approval-state.ts";
import { isSamePrincipal, type Reviewer } from "../core/caller.ts";
import { ConflictError, type ErrorCode, InvalidRequestError, NotFoundError } from "../core/errors.ts";
import type { Approval, ReviewApproval, ReviewApprovalResult } from "../core/ports.ts";
import type { Digest, JsonObject } from "../core/types.ts";
import { approvalRule, exactBinding, satisfies, scopeOf } from "./bind.ts";
import { evaluate } from "./evaluate.ts";
import type { GateContext } from "./ports.ts";
import { recordApproval } from "./record-approval.ts";
import { subjectTexts } from "./subject-texts.ts";

export interface ReviewRequest {
  readonly id: string;
  readonly reviewer: Reviewer;
  readonly verdict: "grant" | "deny" | "cancel";
  readonly reason: string;
  /** What the reviewer says it saw. */
  readonly bindingEcho: Digest | undefined;
  readonly edit: { readonly arguments: JsonObject; readonly text: string } | undefined;
}

/** Somebody else may move the approval between our reading and our writing it; a review is tried again this often. */
const ATTEMPTS_MAX = 5;

export async function review(gate: GateContext, request: ReviewRequest): Promise<Approval> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const approval = await gate.store.readApproval(request.reviewer.tenant, request.id);
    if (approval === undefined) throw notFound(request.id);
    requireReviewer(request, approval);
    requireEcho(gate, request, approval);
    const asked = await reviewOf(gate, request, approval);
    requireOtherPerson(asked, approval);
    const result = await gate.store.reviewApproval(asked);
    if (result.kind === "version_changed") continue;
    const reviewed = outcome(request, result);
    await recordApproval(gate, "approval_reviewed", reviewed, result.factId);
    gate.observer.approvalChanged({ tenant: reviewed.tenant, status: reviewed.status });
    return reviewed;
  }
  throw new ConflictError("approval_changed", `Approval ${request.id} keeps changing: read it and try again`);
}

/** INVARIANT (separate). Cancelling one's own request harms nobody; granting and denying are for others. */
function requireReviewer(request: ReviewRequest, approval: Approval): void {
  const { reviewer, verdict } = request;
  const ownIds = reviewer.credentialId === undefined ? [reviewer.id] : [reviewer.id, reviewer.credentialId];
  const { excludedReviewers, actor } = approval.subject;
  // Whoever could have proposed it is no other pair of eyes, whether or not it did.
  const couldPropose = reviewer.actsAs === "any" || reviewer.actsAs.has(actor.id);
  const isOwn = couldPropose || excludedReviewers.some((id) => ownIds.some((own) => isSamePrincipal(own, id)));
  if (isOwn && verdict !== "cancel") {
    throw new InvalidRequestError(
      "self_approval",
      `${JSON.stringify(reviewer.id)} proposed this action, or it was proposed on their behalf: somebody else must review it`,
    );
  }
  const { roles } = approval.rule;
  if (!isOwn && roles.length > 0 && !roles.some((role) => reviewer.roles.includes(role))) {
    throw new InvalidRequestError("role_missing", `Reviewing this approval takes one of the roles ${roles.join(", ")}`);
  }
}

/**
 * A quorum counts people, and one person may have two spellings. The store compares ids as they are written; that nobody
 * granted between this look and the store's step is what `expectedVersion` is for.
 */
function requireOtherPerson(asked: ReviewApproval, approval: Approval): void {
  const dropsGrants = asked.edit !== undefined && asked.edit.bindingDigest !== approval.bindingDigest;
  if (asked.verdict !== "grant" || approval.status !== "pending" || dropsGrants) return;
  const { id } = asked.reviewer;
  if ([...granters(approval.reviews)].some((other) => other !== id && isSamePrincipal(other, id))) {
    throw conflict("already_reviewed", asked, "you granted it before", approval);
  }
}

function requireEcho(gate: GateContext, request: ReviewRequest, approval: Approval): void {
  if (request.verdict !== "grant") return;
  if (request.bindingEcho === undefined) {
    if (!gate.options.requireBindingEcho) return;
    throw new InvalidRequestError("binding_echo_required", "Repeat the binding_digest of what you grant", {
      pointer: "/binding_digest",
    });
  }
  if (request.bindingEcho !== approval.bindingDigest) {
    throw new ConflictError(
      "binding_mismatch",
      `Approval ${approval.id} is bound to ${approval.bindingDigest}, not to the digest you sent`,
      { pointer: "/binding_digest" },
    );
  }
}

async function reviewOf(gate: GateContext, request: ReviewRequest, approval: Approval): Promise<ReviewApproval> {
  const { reviewer, verdict, reason } = request;
  const base = {
    tenant: approval.tenant,
    id: approval.id,
    reviewer: {
      id: reviewer.id,
      type: reviewer.type,
      roles: reviewer.roles,
      isAuthenticated: reviewer.isAuthenticated,
      ...(reviewer.issuer === undefined ? {} : { issuer: reviewer.issuer }),
    },
    verdict,
    reason,
    expectedVersion: approval.version,
  };
  return request.edit === undefined ? base : { ...base, edit: await decideEdit(gate, approval, request.edit) };
}

/** INVARIANT (bound): what a reviewer rewrites is decided by policy before it is bound. */
async function decideEdit(
  gate: GateContext,
  approval: Approval,
  edit: NonNullable<ReviewRequest["edit"]>,
): Promise<NonNullable<ReviewApproval["edit"]>> {
  const { subject } = approval;
  const bound = { ...subject, tenant: approval.tenant };
  const policy = gate.policy.status().active;
  const view = await gate.views.read(policy, bound);
  const evaluation = evaluate(policy, gate.results, {
    tenant: approval.tenant,
    action: subject.action,
    arguments: edit.arguments,
    texts: { ...subjectTexts(subject), arguments: edit.text },
    entityText: view.entity?.text,
    sessionText: view.session?.text,
    approvalText: "null",
    time: gate.clock.now().toISOString(),
  });
  const isEnvelope = approval.bindingDigest !== exactBinding(bound, subjectTexts(subject).arguments);
  const asked = evaluation.result === undefined ? undefined : approvalRule(evaluation.result, gate.options);
  const refusal =
    isEnvelope || evaluation.result?.envelopeSchemaText !== undefined
      ? "an envelope has no arguments to edit"
      : evaluation.verdict === "deny"
        ? `policy denies it: ${evaluation.reasons.map((reason) => reason.code).join(", ")}`
        : evaluation.isRewritten
          ? "policy would rewrite it"
          : evaluation.verdict === "escalate" && !satisfies(approval.rule, asked!)
            ? "policy asks for other reviewers for it"
            : undefined;
  if (refusal !== undefined) {
    throw new ConflictError("edit_refused", `Cannot grant the edited arguments: ${refusal}`, { pointer: "/arguments" });
  }
  // INVARIANT (final): what was denied in this context is not granted by editing something else into it.
  const spoken = await gate.store.findApproval(approval.tenant, scopeOf(bound, evaluation));
  if (spoken?.status === "denied") {
    const message = "Cannot grant the edited arguments: they were denied in this context";
    throw new ConflictError("edit_refused", message, { pointer: "/arguments" });
  }
  return {
    bindingDigest: exactBinding(bound, edit.text),
    argumentDigest: evaluation.argumentDigest,
    subject: { ...subject, arguments: edit.arguments, policyDigest: policy!.digest },
  };
}

function outcome(request: ReviewRequest, result: Exclude<ReviewApprovalResult, { kind: "version_changed" }>): Approval {
  switch (result.kind) {
    case "reviewed":
      return result.approval;
    case "not_found":
      throw notFound(request.id);
    case "not_pending":
      throw conflict("approval_not_pending", request, `it is ${result.approval.status}`, result.approval);
    case "already_reviewed":
      throw conflict("already_reviewed", request, "you granted it before", result.approval);
  }
}

function conflict(
  code: Extract<ErrorCode, "approval_not_pending" | "already_reviewed">,
  request: Pick<ReviewRequest, "id" | "verdict">,
  state: string,
  approval: Approval,
): ConflictError {
  return new ConflictError(code, `Cannot ${request.verdict} approval ${approval.id}: ${state}`, {
    facts: { approval_status: approval.status },
  });
}

function notFound(id: string): NotFoundError {
  return new NotFoundError("approval_not_found", `No approval ${JSON.stringify(id)}`);
}
