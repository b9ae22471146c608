/**
 * From what policy says to what is answered: an escalation finds or opens its approval, and only a grant leads on, through
 * policy once more.
 */
import { granters } from "../core/approval-state.ts";
import { type Caller, excludedReviewers, isSamePrincipal } from "../core/caller.ts";
import { canonicalData } from "../core/digest.ts";
import { NotFoundError, UnavailableError } from "../core/errors.ts";
import type { Approval, ApprovalSubject, LoadedPolicy } from "../core/ports.ts";
import type { Proposal } from "../core/proposal.ts";
import type { Digest, Mode, Outcome, Reason } from "../core/types.ts";
import { approvalRule, exactBinding, grantBinding, grantText, satisfies, scopeOf } from "./bind.ts";
import type { ContextView, ViewSubject } from "./context-view.ts";
import { acceptsArguments } from "./envelope.ts";
import { type Evaluation, evaluate } from "./evaluate.ts";
import type { Freezable } from "./freezes.ts";
import type { PermitPlan } from "./issue-permit.ts";
import { configuredMode, effectiveMode } from "./options.ts";
import type { GateContext } from "./ports.ts";
import { recordApproval } from "./record-approval.ts";

export interface DecideRequest {
  readonly proposal: Proposal;
  readonly caller: Caller;
  readonly traceId: string;
  /** Whether nobody waits for the answer any more: then nothing is waited for, either. */
  readonly isGone?: (() => boolean) | undefined;
}

export interface About {
  readonly decisionId: string;
  readonly request: DecideRequest;
  readonly policy: LoadedPolicy | undefined;
  readonly decidedAt: Date;
  readonly evaluation: Evaluation;
  /** What the evaluation saw of entity and session. */
  readonly view: ContextView;
  readonly follows: Follows | undefined;
}

export interface Conclusion {
  readonly evaluation: Evaluation;
  readonly outcome: Outcome;
  readonly reasons: readonly Reason[];
  readonly approval: Approval | undefined;
  /** What a permit for this conclusion is bound to. */
  readonly bindingDigest: Digest;
  /** What the store charged, or would not charge (settle-decision.ts). */
  readonly limits?: readonly LimitReport[];
  readonly lock?: LockReport;
  /** Registered with the store, in the step that charged. */
  readonly permit?: PermitPlan;
}

/** A limit as it is answered. */
export interface LimitReport {
  readonly key: string;
  readonly limit: number;
  readonly used: number;
  readonly remaining: number;
  readonly window_seconds: number;
  readonly resets_at: string;
}

export interface LockReport {
  readonly key: string;
  /** Grows with every holder: what is behind the lock refuses a smaller one than it has seen. */
  readonly fence: number;
  readonly expires_at: string;
}

export interface Follows {
  readonly approvalId: string | undefined;
  /** Names the state that was left: racing requests append one follow-up between them. */
  readonly after: string;
}

export function evaluateProposal(
  gate: GateContext,
  request: DecideRequest,
  policy: LoadedPolicy | undefined,
  given: {
    readonly approvalText: string;
    readonly decidedAt: Date;
    readonly view: ContextView;
    readonly instead?: ApprovalSubject;
  },
): Evaluation {
  const { proposal, caller } = request;
  const edited = given.instead === undefined ? undefined : canonicalData(given.instead.arguments);
  return evaluate(policy, gate.results, {
    tenant: caller.tenant,
    action: proposal.action,
    arguments: given.instead?.arguments ?? proposal.arguments,
    texts: edited === undefined ? proposal.texts : { ...proposal.texts, arguments: edited },
    entityText: given.view.entity?.text,
    sessionText: given.view.session?.text,
    approvalText: given.approvalText,
    time: given.decidedAt.toISOString(),
  });
}

export function freezable({ caller, proposal }: DecideRequest): Freezable {
  const { action, actor, entity } = proposal;
  return { caller, action, actor, entity };
}

export function viewSubject({ proposal, caller }: DecideRequest): ViewSubject {
  const { action, actor, entity, context } = proposal;
  return { tenant: caller.tenant, action, actor, entity, context };
}

export function modeOf(gate: GateContext, request: DecideRequest, evaluation: Evaluation): Mode {
  const configured = configuredMode(gate.options, request.caller.tenant, request.proposal.action);
  return effectiveMode(gate.options, configured, evaluation.result?.mode);
}

export function modeNow(gate: GateContext, request: DecideRequest): Mode {
  const policy = gate.policy.status().active;
  const view = gate.views.peek(policy, viewSubject(request));
  const given = { approvalText: "null", decidedAt: gate.clock.now(), view };
  return modeOf(gate, request, evaluateProposal(gate, request, policy, given));
}

/** What policy alone says. Observe mode ends here: approvals are not opened, looked up or used in it. */
function byPolicy(request: DecideRequest, evaluation: Evaluation): Conclusion {
  return {
    evaluation,
    outcome: outcomeOf(evaluation),
    reasons: evaluation.reasons,
    approval: undefined,
    bindingDigest: exactBinding(boundBy(request), evaluation.argumentsText),
  };
}

/** INVARIANT (transparent): observe mode rewrites nothing; digest, binding and permit are those of what was proposed. */
export function unaltered(request: DecideRequest, evaluation: Evaluation): Conclusion {
  const bindingDigest = exactBinding(boundBy(request), request.proposal.texts.arguments);
  return { ...byPolicy(request, evaluation), bindingDigest };
}

function outcomeOf(evaluation: Evaluation): Outcome {
  return evaluation.verdict === "allow" && evaluation.isRewritten ? "compute" : evaluation.verdict;
}

export async function conclude(gate: GateContext, about: About): Promise<Conclusion> {
  const { evaluation, request } = about;
  const named = request.proposal.approvalId ?? about.follows?.approvalId;
  // An approval that is named must exist and be this tenant's, also where policy does not ask for one (any more).
  const approval = named === undefined ? undefined : await gate.store.readApproval(request.caller.tenant, named);
  if (request.proposal.approvalId !== undefined && approval === undefined) {
    throw new NotFoundError("approval_not_found", `No approval ${JSON.stringify(named)}`, { pointer: "/approval_id" });
  }
  if (evaluation.verdict === "deny") return byPolicy(request, evaluation);
  if (evaluation.verdict === "allow") return concludeAllowed(gate, about, { named, approval });
  return concludeEscalation(gate, about, { named, approval });
}

/**
 * INVARIANT (final): what people were asked about and did not grant is not allowed because policy has stopped asking, or a
 * limit has come free, under the same proposal; and what they denied in this context not under any.
 */
async function concludeAllowed(
  gate: GateContext,
  about: About,
  { named, approval }: { readonly named: string | undefined; readonly approval: Approval | undefined },
): Promise<Conclusion> {
  const { evaluation, request } = about;
  if (named !== undefined && approval === undefined)
    return denied(about, "approval_expired", "The approval is no longer on record", undefined);
  const asks = evaluation.result?.limits.some((limit) => limit.on_exceed === "escalate") === true;
  const spoken =
    approval ??
    (asks ? await gate.store.findApproval(request.caller.tenant, scopeOf(boundBy(request), evaluation)) : undefined);
  const isOwn = approval !== undefined && (spoken?.status === "expired" || spoken?.status === "cancelled");
  return spoken?.status === "denied" || isOwn ? concludeWith(gate, about, spoken!) : byPolicy(request, evaluation);
}

/** Policy would allow it, and a limit sends it to a human: the same way from here on. */
export async function concludeExceeded(gate: GateContext, about: About, reason: Reason): Promise<Conclusion> {
  const { evaluation, request } = about;
  const named = request.proposal.approvalId ?? about.follows?.approvalId;
  const approval = named === undefined ? undefined : await gate.store.readApproval(request.caller.tenant, named);
  const escalated: Evaluation = { ...evaluation, verdict: "escalate", reasons: [reason, ...evaluation.reasons] };
  return concludeEscalation(gate, { ...about, evaluation: escalated }, { named, approval });
}

async function concludeEscalation(
  gate: GateContext,
  about: About,
  { named, approval }: { readonly named: string | undefined; readonly approval: Approval | undefined },
): Promise<Conclusion> {
  const { evaluation, request } = about;
  const binding = grantBinding(boundBy(request), evaluation);
  const scope = scopeOf(boundBy(request), evaluation);
  if (named === undefined) return concludeByScope(gate, about, { binding, scope });
  if (approval === undefined)
    return denied(about, "approval_expired", "The approval is no longer on record", undefined);
  if (approval.scopeDigest !== scope) {
    return denied(
      about,
      "approval_mismatch",
      "The approval named is for another action, arguments, entity, actor or context",
      undefined,
    );
  }
  return concludeWith(gate, about, approval);
}

async function concludeByScope(
  gate: GateContext,
  about: About,
  digests: { readonly binding: Digest; readonly scope: Digest },
): Promise<Conclusion> {
  const { request, evaluation } = about;
  const opened = await gate.store.openApproval({
    tenant: request.caller.tenant,
    scopeDigest: digests.scope,
    bindingDigest: digests.binding,
    argumentDigest: evaluation.argumentDigest,
    rule: approvalRule(evaluation.result!, gate.options),
    subject: approvalSubject(about),
    pendingMax: gate.options.pendingApprovalsMax,
  });
  if (opened.kind === "full") {
    throw new UnavailableError("overloaded", "Too many approvals are pending", {
      facts: { limit: gate.options.pendingApprovalsMax },
    });
  }
  if (opened.kind === "opened") {
    await recordApproval(gate, "approval_opened", opened.approval, opened.factId);
    gate.observer.approvalChanged({ tenant: request.caller.tenant, status: "pending" });
  }
  return concludeWith(gate, about, opened.approval);
}

/** Exhaustive over the states of an approval; only a grant leads on, and it leads through policy again. */
function concludeWith(gate: GateContext, about: About, approval: Approval): Conclusion {
  switch (approval.status) {
    case "pending":
      return { ...byPolicy(about.request, about.evaluation), approval, bindingDigest: approval.bindingDigest };
    case "denied":
      return denied(about, "approval_denied", "A reviewer denied this action", approval);
    case "expired":
      return denied(
        about,
        "approval_expired",
        "Nobody granted this action in time, or the grant was not used in time",
        approval,
      );
    case "cancelled":
      return denied(about, "approval_cancelled", "The approval was cancelled", approval);
    case "exhausted":
      return denied(about, "approval_exhausted", "The grant has been used", approval);
    case "granted":
      return concludeGranted(gate, about, approval);
  }
}

/** Decided again with the grant in the input, on the arguments that were granted, which a reviewer may have edited. */
function concludeGranted(gate: GateContext, about: About, approval: Approval): Conclusion {
  const { request } = about;
  const ownIds = excludedReviewers(request.proposal.actor, request.caller.credentialId);
  const isOwnGrant = [...granters(approval.reviews)].some((id) => ownIds.some((own) => isSamePrincipal(own, id)));
  // Another's proposal of the same binding may have been granted by the credential that asks now (INVARIANT (separate)).
  if (isOwnGrant) return denied(about, "self_approval", "Who grants an action does not propose it", approval);
  const isEnvelope = about.evaluation.result?.envelopeSchemaText !== undefined;
  const evaluation = evaluateProposal(gate, request, about.policy, {
    approvalText: grantText(approval),
    decidedAt: about.decidedAt,
    view: about.view,
    ...(isEnvelope ? {} : { instead: approval.subject }),
  });
  const marked = markEdit(evaluation, about.evaluation);
  const again = { ...about, evaluation: marked };
  if (marked.verdict === "deny") return { ...byPolicy(request, marked), approval };
  const binding = marked.verdict === "escalate" ? grantBinding(boundBy(request), marked) : approval.bindingDigest;
  const isBound = binding === approval.bindingDigest && isWithinGrant(request, marked, approval);
  const isSatisfied =
    marked.verdict === "allow" || satisfies(approval.rule, approvalRule(marked.result!, gate.options));
  if (!isBound || !isSatisfied) {
    return denied(again, "approval_insufficient", "Policy now asks for more than what was granted", approval);
  }
  const reasons = [{ code: "approval_granted", message: grantedBy(approval) }, ...marked.reasons];
  return { evaluation: marked, outcome: "allow", reasons, approval, bindingDigest: approval.bindingDigest };
}

/** Under an exact grant the arguments must be the granted ones to the letter; an envelope's schema must accept them. */
function isWithinGrant(request: DecideRequest, evaluation: Evaluation, approval: Approval): boolean {
  const envelope = evaluation.result?.approval?.envelope;
  if (envelope !== undefined) return acceptsArguments(envelope.schema, evaluation.arguments) === undefined;
  return exactBinding(boundBy(request), evaluation.argumentsText) === approval.bindingDigest;
}

/** The evaluation started from the granted arguments; against what was proposed they may be a rewrite. */
function markEdit(granted: Evaluation, proposed: Evaluation): Evaluation {
  const originalArgumentDigest = proposed.originalArgumentDigest;
  return { ...granted, originalArgumentDigest, isRewritten: granted.argumentDigest !== originalArgumentDigest };
}

function grantedBy(approval: Approval): string {
  return `Granted by ${[...granters(approval.reviews)].join(", ")}`;
}

export function denied(about: About, code: string, message: string, approval: Approval | undefined): Conclusion {
  const base = byPolicy(about.request, about.evaluation);
  return { ...base, outcome: "deny", reasons: [{ code, message }, ...about.evaluation.reasons], approval };
}

function approvalSubject(about: About): ApprovalSubject {
  const { request, evaluation } = about;
  const { proposal, caller } = request;
  return {
    decisionId: about.decisionId,
    proposalId: proposal.id,
    traceId: request.traceId,
    excludedReviewers: excludedReviewers(proposal.actor, caller.credentialId),
    action: proposal.action,
    actor: proposal.actor,
    entity: proposal.entity,
    context: proposal.context,
    arguments: evaluation.arguments,
    originalArgumentDigest: evaluation.originalArgumentDigest,
    envelope: evaluation.result?.approval?.envelope?.schema ?? null,
    policyDigest: about.policy!.digest,
    reasons: evaluation.reasons.map(({ code, message }) => ({ code, message })),
    risk: evaluation.result!.risk,
    credentialId: caller.credentialId ?? "",
  };
}

export function boundBy(request: DecideRequest) {
  const { proposal, caller } = request;
  return {
    tenant: caller.tenant,
    action: proposal.action,
    actor: proposal.actor,
    entity: proposal.entity,
    context: proposal.context,
  };
}
