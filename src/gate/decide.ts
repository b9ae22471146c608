/**
 * One proposal becomes one recorded decision.
 *
 * Order of effects, and what a crash right after each step leaves behind:
 *   1. evaluate                nothing
 *   2. open or find approval   a pending approval nobody was told of; the same proposal finds it again
 *   3. register the permit     a permit that nobody holds: its signature was not made
 *   4. append to the ledger    a recorded decision nobody was told of; the same proposal id answers it
 *   5. sign and answer
 * INVARIANT (recorded): nothing is answered before step 4 is durable, unless the mode is observe.
 */

import { granters } from "../core/approval-state.ts";
import { authorizeProposal, type Caller, excludedReviewers, isSamePrincipal } from "../core/caller.ts";
import { canonicalData, sha256Digest } from "../core/digest.ts";
import { ConflictError, HoldpointError, NotFoundError, UnavailableError } from "../core/errors.ts";
import { PARTITIONS } from "../core/partition.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { Approval, ApprovalSubject, LoadedPolicy } from "../core/ports.ts";
import type { Proposal } from "../core/proposal.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import type { Digest, Mode, Outcome, Reason } from "../core/types.ts";
import { approvalRule, exactBinding, grantBinding, grantText, satisfies, scopeOf } from "./bind.ts";
import { acceptsArguments } from "./envelope.ts";
import { type Evaluation, evaluate } from "./evaluate.ts";
import { type PermitRequest, permitClaims, registerPermit, signPermit } from "./issue-permit.ts";
import { configuredMode, effectiveMode } from "./options.ts";
import type { GateContext } from "./ports.ts";
import { decisionEntry, decisionText, proposalKey } from "./record.ts";
import { recordApproval } from "./record-approval.ts";

export interface DecideRequest {
  readonly proposal: Proposal;
  readonly caller: Caller;
  readonly traceId: string;
}

export interface DecisionAnswer {
  /** The decision as JSON text, the permit included. */
  readonly text: string;
  readonly outcome: Outcome;
  readonly mode: Mode;
}

/**
 * @throws InvalidRequestError forbidden; ConflictError proposal_conflict; NotFoundError approval_not_found;
 * UnavailableError, none of which ever means allowed
 */
export async function decide(gate: GateContext, request: DecideRequest): Promise<DecisionAnswer> {
  try {
    return await decideOrFail(gate, request);
  } catch (error) {
    if (error instanceof HoldpointError) error.mode = modeNow(gate, request);
    throw error;
  }
}

async function decideOrFail(gate: GateContext, request: DecideRequest): Promise<DecisionAnswer> {
  authorizeProposal(request.caller, request.proposal);
  const recorded = gate.ledger.find(proposalKey(request.caller.tenant, request.proposal.id));
  return recorded === undefined ? decideAnew(gate, request, undefined) : decideAgain(gate, request, recorded.text);
}

// ------------------------------------------------------------------------------------------- a proposal seen before

interface RecordedDecision {
  readonly entry: Reading;
  readonly decision: Reading;
  readonly decisionId: string;
  readonly approvalId: string | undefined;
  readonly outcome: Outcome;
  readonly mode: Mode;
  readonly permit: PermitClaims | undefined;
}

async function decideAgain(gate: GateContext, request: DecideRequest, entryText: string): Promise<DecisionAnswer> {
  const recorded = readRecorded(entryText);
  requireSameContent(request.proposal, recorded);
  const mode = modeNow(gate, request);
  // What observing let through is no answer while enforcing, nor the other way round.
  if (mode !== recorded.mode) {
    return decideAnew(gate, request, { approvalId: undefined, after: `${recorded.decisionId}:${mode}` });
  }
  if (recorded.approvalId === undefined) return repeat(gate, recorded);
  if (recorded.outcome === "escalate") {
    const approval = await gate.store.readApproval(request.caller.tenant, recorded.approvalId);
    if (approval?.status === "pending") return repeat(gate, recorded);
    const after = `${recorded.decisionId}:${approval?.status ?? "expired"}`;
    return decideAnew(gate, request, { approvalId: recorded.approvalId, after });
  }
  const approval = await gate.store.readApproval(request.caller.tenant, recorded.approvalId);
  if (approval?.status === "cancelled" && recorded.outcome === "allow") {
    return decideAnew(gate, request, { approvalId: recorded.approvalId, after: `${recorded.decisionId}:cancelled` });
  }
  const hasLapsed = recorded.permit !== undefined && recorded.permit.exp * 1000 <= gate.clock.now().getTime();
  if (!hasLapsed) return repeat(gate, recorded);
  // The grant outlives a permit that was never used: the approval says whether there is still something to permit.
  return decideAnew(gate, request, { approvalId: recorded.approvalId, after: `${recorded.decisionId}:lapsed` });
}

function readRecorded(entryText: string): RecordedDecision {
  const entry = readJson(entryText, { bytesMax: Number.POSITIVE_INFINITY, depthMax: 128 });
  const decision = entry.members!.get("decision")!;
  const value = decision.value as unknown as {
    decision_id: string;
    outcome: Outcome;
    mode: Mode;
    approval?: { id: string };
  };
  return {
    entry,
    decision,
    decisionId: value.decision_id,
    approvalId: value.approval?.id,
    outcome: value.outcome,
    mode: value.mode,
    permit: entry.members!.get("permit")?.value as unknown as PermitClaims | undefined,
  };
}

/** The same id with other content is a conflict. `approval_id` is not part of the compared content. */
function requireSameContent(proposal: Proposal, recorded: RecordedDecision): void {
  const members = recorded.entry.members!;
  const input = members.get("input")!.members!;
  const action = input.get("action")!.value as { readonly name: string };
  const argumentsText =
    members.get("original_arguments")?.canonical ?? recorded.decision.members!.get("action")!.canonical;
  const proposedText = members.has("original_arguments")
    ? proposal.texts.arguments
    : `{"arguments":${proposal.texts.arguments},"name":${JSON.stringify(proposal.action)}}`;
  const isSame =
    action.name === proposal.action &&
    argumentsText === proposedText &&
    input.get("actor")!.canonical === proposal.texts.actor &&
    input.get("entity")!.canonical === proposal.texts.entity &&
    input.get("context")!.canonical === proposal.texts.context &&
    members.has("permit_requested") === proposal.wantsPermit;
  if (isSame) return;
  throw new ConflictError(
    "proposal_conflict",
    `Proposal ${JSON.stringify(proposal.id)} was decided with other content as ${recorded.decisionId}`,
    { pointer: "/id" },
  );
}

/** The recorded decision once more. Ed25519 is deterministic: the same claims under the same key give the same permit. */
async function repeat(gate: GateContext, recorded: RecordedDecision): Promise<DecisionAnswer> {
  const { outcome, mode, permit, decision } = recorded;
  return { text: await withPermit(gate, decision.canonical, permit, mode), outcome, mode };
}

// ------------------------------------------------------------------------------------------------- a new decision

interface Follows {
  readonly approvalId: string | undefined;
  /** Names the state that was left: racing requests append one follow-up between them. */
  readonly after: string;
}

interface Conclusion {
  readonly evaluation: Evaluation;
  readonly outcome: Outcome;
  readonly reasons: readonly Reason[];
  readonly approval: Approval | undefined;
  /** What a permit for this conclusion is bound to. */
  readonly bindingDigest: Digest;
}

async function decideAnew(
  gate: GateContext,
  request: DecideRequest,
  follows: Follows | undefined,
): Promise<DecisionAnswer> {
  const startedAt = performance.now();
  const { caller, proposal } = request;
  const policy = gate.policy.status().active;
  const decidedAt = gate.clock.now();
  const evaluation = evaluateProposal(gate, request, policy, { approvalText: "null", decidedAt });
  const evaluationSeconds = (performance.now() - startedAt) / 1000;
  const mode = modeOf(gate, request, evaluation);
  const decisionId = `dec_${gate.randomness.ulid()}`;
  const about = { decisionId, request, policy, decidedAt, evaluation, follows };
  const conclusion = mode === "observe" ? unaltered(request, evaluation) : await conclude(gate, about);
  const answer = await record(gate, { ...about, conclusion, mode });
  gate.observer.decided({
    tenant: caller.tenant,
    action: proposal.action,
    outcome: conclusion.outcome,
    mode,
    reasonCodes: conclusion.reasons.map((reason) => reason.code),
    seconds: (performance.now() - startedAt) / 1000,
    evaluationSeconds,
  });
  return answer;
}

function evaluateProposal(
  gate: GateContext,
  request: DecideRequest,
  policy: LoadedPolicy | undefined,
  given: { readonly approvalText: string; readonly decidedAt: Date; readonly instead?: ApprovalSubject },
): Evaluation {
  const { proposal, caller } = request;
  const edited = given.instead === undefined ? undefined : canonicalData(given.instead.arguments);
  return evaluate(policy, gate.results, {
    tenant: caller.tenant,
    action: proposal.action,
    arguments: given.instead?.arguments ?? proposal.arguments,
    texts: edited === undefined ? proposal.texts : { ...proposal.texts, arguments: edited },
    approvalText: given.approvalText,
    time: given.decidedAt.toISOString(),
  });
}

function modeOf(gate: GateContext, request: DecideRequest, evaluation: Evaluation): Mode {
  const configured = configuredMode(gate.options, request.caller.tenant, request.proposal.action);
  return effectiveMode(gate.options, configured, evaluation.result?.mode);
}

function modeNow(gate: GateContext, request: DecideRequest): Mode {
  const given = { approvalText: "null", decidedAt: gate.clock.now() };
  return modeOf(gate, request, evaluateProposal(gate, request, gate.policy.status().active, given));
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
function unaltered(request: DecideRequest, evaluation: Evaluation): Conclusion {
  const bindingDigest = exactBinding(boundBy(request), request.proposal.texts.arguments);
  return { ...byPolicy(request, evaluation), bindingDigest };
}

function outcomeOf(evaluation: Evaluation): Outcome {
  return evaluation.verdict === "allow" && evaluation.isRewritten ? "compute" : evaluation.verdict;
}

interface About {
  readonly decisionId: string;
  readonly request: DecideRequest;
  readonly policy: LoadedPolicy | undefined;
  readonly decidedAt: Date;
  readonly evaluation: Evaluation;
  readonly follows: Follows | undefined;
}

async function conclude(gate: GateContext, about: About): Promise<Conclusion> {
  const { evaluation, request } = about;
  const named = request.proposal.approvalId ?? about.follows?.approvalId;
  // An approval that is named must exist and be this tenant's, also where policy does not ask for one (any more).
  const approval = named === undefined ? undefined : await gate.store.readApproval(request.caller.tenant, named);
  if (request.proposal.approvalId !== undefined && approval === undefined) {
    throw new NotFoundError("approval_not_found", `No approval ${JSON.stringify(named)}`, { pointer: "/approval_id" });
  }
  if (evaluation.verdict !== "escalate") return byPolicy(request, evaluation);
  const binding = grantBinding(boundBy(request), evaluation);
  const scope = scopeOf(boundBy(request), binding, evaluation.result?.approval?.context);
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
    // The store counts by partition, and digests spread evenly.
    pendingMax: Math.ceil(gate.options.pendingApprovalsMax / PARTITIONS),
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

function denied(about: About, code: string, message: string, approval: Approval | undefined): Conclusion {
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

function boundBy(request: DecideRequest) {
  const { proposal, caller } = request;
  return {
    tenant: caller.tenant,
    action: proposal.action,
    actor: proposal.actor,
    entity: proposal.entity,
    context: proposal.context,
  };
}

// ------------------------------------------------------------------------------------------------ record and answer

interface Concluded extends About {
  readonly conclusion: Conclusion;
  readonly mode: Mode;
}

async function record(gate: GateContext, concluded: Concluded): Promise<DecisionAnswer> {
  const { decisionId, request, conclusion, mode, decidedAt, policy, follows } = concluded;
  const { evaluation } = conclusion;
  const { caller, proposal, traceId } = request;
  const outcome = mode === "enforce" ? conclusion.outcome : "allow";
  const permit = await permitFor(gate, concluded);
  const facts = {
    decisionId,
    tenant: caller.tenant,
    traceId,
    decidedAt: decidedAt.toISOString(),
    proposal,
    evaluation,
    policy,
    mode,
    outcome,
    observedOutcome: mode === "observe" ? conclusion.outcome : undefined,
    reasons: conclusion.reasons,
    bindingDigest: conclusion.bindingDigest,
    inputHash: sha256Digest(evaluation.inputText),
    approval: conclusion.approval,
    permit,
    credentialId: caller.credentialId,
    isAuthenticated: caller.isAuthenticated,
  };
  const text = decisionText(facts);
  const appended = await append(gate, mode, decisionEntry(facts, text, follows?.after));
  if (appended?.kind === "duplicate") return decideAgain(gate, request, gate.ledger.read(appended.index)!);
  return { text: await withPermit(gate, text, permit, mode), outcome, mode };
}

/** INVARIANT (transparent): in observe mode a ledger that fails or hangs is told to the observer, not to the caller. */
async function append(gate: GateContext, mode: Mode, draft: Parameters<GateContext["ledger"]["append"]>[0]) {
  const appending = gate.ledger.append(draft);
  if (mode === "enforce") return appending;
  const reported = appending.catch((error: Error) => {
    gate.observer.failed({ what: "record an observed decision", error });
    return undefined;
  });
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, gate.options.observeRecordWaitMs, undefined);
  });
  return Promise.race([reported, timeUp]).finally(() => clearTimeout(timer));
}

async function permitFor(gate: GateContext, concluded: Concluded): Promise<PermitClaims | undefined> {
  const { decisionId, request, conclusion, mode, policy, decidedAt } = concluded;
  const { evaluation, approval, outcome } = conclusion;
  const isAllowed = mode === "observe" || outcome === "allow" || outcome === "compute";
  const isAskedFor =
    approval?.status === "granted" || evaluation.result?.permit?.required === true || request.proposal.wantsPermit;
  if (!isAllowed || !isAskedFor) return undefined;
  const permitRequest: PermitRequest = {
    tenant: request.caller.tenant,
    decisionId,
    traceId: request.traceId,
    proposal: request.proposal,
    evaluation: mode === "observe" ? asProposed(request, evaluation) : evaluation,
    bindingDigest: conclusion.bindingDigest,
    // What policy did not allow is decided again where it is used: enforcing may have begun by then.
    policyDigest: mode === "observe" && outcome !== "allow" ? null : (policy?.digest ?? null),
    approval,
    decidedAt,
  };
  const claims = permitClaims(gate, permitRequest);
  const registering = registerPermit(gate, permitRequest, claims);
  if (mode === "enforce") await registering;
  else registering.catch((error: Error) => gate.observer.failed({ what: "register an observed permit", error }));
  return claims;
}

function asProposed(request: DecideRequest, evaluation: Evaluation): Evaluation {
  const { proposal } = request;
  return { ...evaluation, arguments: proposal.arguments, argumentDigest: evaluation.originalArgumentDigest };
}

/** A decision's text ends in "}" and is never empty, so the permit is its last member. */
async function withPermit(
  gate: GateContext,
  text: string,
  claims: PermitClaims | undefined,
  mode: Mode,
): Promise<string> {
  if (claims === undefined) return text;
  const signing = signPermit(gate, claims);
  const token = await (mode === "enforce"
    ? signing
    : signing.catch((error: Error) => {
        gate.observer.failed({ what: "sign an observed permit", error });
        return undefined;
      }));
  if (token === undefined) return text;
  return `${text.slice(0, -1)},"permit":"${token}","permit_id":"${claims.jti}"}`;
}
