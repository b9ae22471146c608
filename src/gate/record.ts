/**
 * Facts as ledger entries: canonical JSON, one object per entry, `v` naming the layout and `kind` the fact.
 *
 * A decision's text is written once: the same characters are answered and recorded. Everything that replay needs lies in
 * the entry: the whole policy input, the whole policy result, and the digest of the policy. A permit's claims are
 * recorded, its signature is not: whoever reads the ledger must not be able to use it.
 */
import { objectText } from "../core/compose.ts";
import { canonicalData } from "../core/digest.ts";
import { consumptionKey, decisionKey } from "../core/entry-tags.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { Approval, LedgerEntryDraft, LoadedPolicy } from "../core/ports.ts";
import type { Proposal } from "../core/proposal.ts";
import type { Digest, JsonObject, Mode, Outcome, Reason, Tenant } from "../core/types.ts";
import type { LimitReport, LockReport } from "./conclude.ts";
import type { Evaluation } from "./evaluate.ts";

export const ENTRY_VERSION = 1;

export interface DecisionFacts {
  readonly decisionId: string;
  readonly tenant: Tenant;
  readonly traceId: string;
  readonly decidedAt: string;
  readonly proposal: Proposal;
  readonly evaluation: Evaluation;
  readonly policy: LoadedPolicy | undefined;
  readonly mode: Mode;
  readonly outcome: Outcome;
  /** What policy and approvals said, where the mode answered something else. */
  readonly observedOutcome: Outcome | undefined;
  readonly reasons: readonly Reason[];
  readonly bindingDigest: Digest;
  readonly inputHash: Digest;
  readonly approval: Approval | undefined;
  readonly limits: readonly LimitReport[] | undefined;
  readonly lock: LockReport | undefined;
  /** The version of the entity that was decided on. */
  readonly entityVersion: number | undefined;
  readonly permit: PermitClaims | undefined;
  readonly credentialId: string | undefined;
  /** Of the credential, where it is a JWT. */
  readonly issuer: string | undefined;
  readonly isAuthenticated: boolean;
}

/** The decision as it is answered, canonical; the permit is added to the answer, not to the record. */
export function decisionText(facts: DecisionFacts): string {
  const { evaluation, policy, proposal, approval, mode } = facts;
  const result = evaluation.result;
  const isEnforced = mode === "enforce";
  const isRewritten = evaluation.isRewritten;
  const argumentsText = isEnforced ? evaluation.argumentsText : proposal.texts.arguments;
  return objectText([
    ["action", `{"arguments":${argumentsText},"name":${JSON.stringify(proposal.action)}}`],
    ["approval", approval === undefined ? undefined : approvalText(approval)],
    ["argument_digest", quoted(isEnforced ? evaluation.argumentDigest : evaluation.originalArgumentDigest)],
    ["binding_digest", quoted(facts.bindingDigest)],
    ["contract", optional(result?.contract)],
    ["decided_at", quoted(facts.decidedAt)],
    ["decision_id", quoted(facts.decisionId)],
    ["enforced", String(isEnforced)],
    ["entity_version", facts.entityVersion === undefined ? undefined : String(facts.entityVersion)],
    ["input_hash", quoted(facts.inputHash)],
    ["limits", facts.limits === undefined ? undefined : canonicalData(facts.limits)],
    ["lock", facts.lock === undefined ? undefined : canonicalData(facts.lock)],
    ["mode", quoted(mode)],
    ["obligations", result?.obligationsText ?? "{}"],
    ["observed_argument_digest", !isEnforced && isRewritten ? quoted(evaluation.argumentDigest) : undefined],
    ["observed_outcome", optional(facts.observedOutcome)],
    ["original_argument_digest", isEnforced && isRewritten ? quoted(evaluation.originalArgumentDigest) : undefined],
    ["outcome", quoted(facts.outcome)],
    ["output_hash", evaluation.outputHash === undefined ? "null" : quoted(evaluation.outputHash)],
    ["policy", policyText(policy)],
    ["proposal_id", JSON.stringify(proposal.id)],
    ["reasons", reasonsText(facts.reasons)],
    ["risk", optional(result?.risk)],
    ["rules", result === undefined || result.rules.length === 0 ? undefined : JSON.stringify(result.rules)],
    ["trace_id", quoted(facts.traceId)],
  ]);
}

export const proposalKey = (tenant: Tenant, proposalId: string): string => `proposal:${tenant}:${proposalId}`;
export { consumptionKey, decisionKey };

/** @param after what this decision follows, where the same proposal was decided before: keeps racing follow-ups to one */
export function decisionEntry(facts: DecisionFacts, decision: string, after: string | undefined): LedgerEntryDraft {
  const { evaluation, proposal, tenant } = facts;
  const byProposal = proposalKey(tenant, proposal.id);
  const uniqueKey = after === undefined ? byProposal : `after:${tenant}:${after}`;
  const text = objectText([
    ["caller", callerText(facts)],
    ["decision", decision],
    ["input", evaluation.inputText],
    ["kind", '"decision"'],
    ["original_arguments", evaluation.isRewritten ? proposal.texts.arguments : undefined],
    ["output", evaluation.result?.canonical ?? "null"],
    ["permit", facts.permit === undefined ? undefined : canonicalData(facts.permit)],
    ["permit_requested", proposal.wantsPermit ? "true" : undefined],
    ["reviews", facts.approval === undefined ? undefined : reviewsText(facts.approval)],
    ["rounds", evaluation.rounds.length === 0 ? undefined : roundsText(evaluation)],
    ["tenant", quoted(tenant)],
    ["time", quoted(facts.decidedAt)],
    ["trace_id", quoted(facts.traceId)],
    ["v", String(ENTRY_VERSION)],
  ]);
  const keys = [byProposal, decisionKey(tenant, facts.decisionId)];
  if (after !== undefined) keys.push(uniqueKey);
  return { text, keys, uniqueKey };
}

export interface Fact {
  readonly kind: string;
  readonly tenant: Tenant;
  readonly time: string;
  readonly traceId: string;
  /** Members of this kind of entry. */
  readonly data: object;
  readonly keys?: readonly string[];
  readonly uniqueKey?: string;
}

/** Every other kind of entry. */
export function factEntry(fact: Fact): LedgerEntryDraft {
  const text = canonicalData({
    data: fact.data,
    kind: fact.kind,
    tenant: fact.tenant,
    time: fact.time,
    trace_id: fact.traceId,
    v: ENTRY_VERSION,
  });
  const keys = [...(fact.keys ?? []), ...(fact.uniqueKey === undefined ? [] : [fact.uniqueKey])];
  return fact.uniqueKey === undefined ? { text, keys } : { text, keys, uniqueKey: fact.uniqueKey };
}

/** An approval as it is answered and recorded: what the reviewer decides on, in full. */
export function approvalView(approval: Approval): JsonObject {
  const { subject } = approval;
  return JSON.parse(
    JSON.stringify({
      id: approval.id,
      status: approval.status,
      tenant: approval.tenant,
      action_name: subject.action,
      entity_id: subject.entity?.id,
      reviewed_by: approval.reviews.at(-1)?.reviewer.id,
      reviewed_at: approval.reviews.length === 0 ? undefined : isoTime(approval.reviews.at(-1)!.atMs),
      action: { name: subject.action, arguments: subject.arguments },
      actor: subject.actor,
      entity: subject.entity,
      context: subject.context,
      reasons: subject.reasons,
      risk: subject.risk,
      argument_digest: approval.argumentDigest,
      original_argument_digest:
        subject.originalArgumentDigest === approval.argumentDigest ? undefined : subject.originalArgumentDigest,
      binding_digest: approval.bindingDigest,
      policy_digest: subject.policyDigest,
      proposal_id: subject.proposalId,
      decision_id: subject.decisionId,
      trace_id: subject.traceId,
      authenticated: subject.credentialId !== "",
      // Under an envelope the arguments are one example; what is granted is whatever its schema accepts.
      binding: subject.envelope === null ? "exact" : "envelope",
      envelope: subject.envelope ?? undefined,
      roles: approval.rule.roles,
      quorum: approval.rule.quorum,
      uses_left: approval.usesLeft,
      reviews: approval.reviews.map(reviewView),
      created_at: isoTime(approval.createdAtMs),
      expires_at: isoTime(approval.expiresAtMs),
      version: approval.version,
    }),
  );
}

function reviewView(review: Approval["reviews"][number]): object {
  return {
    reviewer: {
      id: review.reviewer.id,
      type: review.reviewer.type,
      roles: review.reviewer.roles,
      issuer: review.reviewer.issuer,
    },
    authenticated: review.reviewer.isAuthenticated,
    verdict: review.verdict,
    reason: review.reason,
    binding_digest: review.bindingDigest,
    at: isoTime(review.atMs),
  };
}

export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

function approvalText(approval: Approval): string {
  return `{"expires_at":"${isoTime(approval.expiresAtMs)}","id":"${approval.id}","status":"${approval.status}"}`;
}

function reviewsText(approval: Approval): string | undefined {
  return approval.reviews.length === 0 ? undefined : canonicalData(approval.reviews.map(reviewView));
}

function roundsText(evaluation: Evaluation): string {
  return canonicalData(
    evaluation.rounds.map((round) => ({
      argument_digest: round.argumentDigest,
      input_hash: round.inputHash,
      output_hash: round.outputHash,
    })),
  );
}

function callerText(facts: DecisionFacts): string {
  const credential = facts.credentialId === undefined ? "null" : JSON.stringify(facts.credentialId);
  const issuer = facts.issuer === undefined ? "" : `,"issuer":${JSON.stringify(facts.issuer)}`;
  return `{"authenticated":${facts.isAuthenticated},"credential":${credential}${issuer}}`;
}

function policyText(policy: LoadedPolicy | undefined): string {
  if (policy === undefined) return "null";
  return `{"digest":"${policy.digest}","entrypoint":${JSON.stringify(policy.entrypoint)},"revision":${JSON.stringify(policy.revision)}}`;
}

function reasonsText(reasons: readonly Reason[]): string {
  if (reasons.length === 0) return "[]";
  return `[${reasons
    .map((reason) => `{"code":${JSON.stringify(reason.code)},"message":${JSON.stringify(reason.message)}}`)
    .join(",")}]`;
}

function optional(text: string | undefined): string | undefined {
  return text === undefined ? undefined : JSON.stringify(text);
}

function quoted(text: string): string {
  return `"${text}"`;
}
