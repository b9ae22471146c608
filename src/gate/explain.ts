/**
 * What the gate would decide on a proposal, without deciding it: nothing is recorded, no approval is looked for or opened,
 * no permit is issued. The evaluation, the bindings and the modes are those of `decide`.
 */
import { UNAUTHENTICATED_CALLER } from "../core/caller.ts";
import { sha256Digest } from "../core/digest.ts";
import type { PolicyResult } from "../core/policy-result.ts";
import type { ApprovalRule, LoadedPolicy } from "../core/ports.ts";
import type { Proposal } from "../core/proposal.ts";
import type { Digest, JsonObject, Mode, Outcome, Reason, Tenant } from "../core/types.ts";
import { approvalRule, exactBinding, grantBinding } from "./bind.ts";
import { unaltered } from "./conclude.ts";
import { type Evaluation, type EvaluationRequest, evaluate } from "./evaluate.ts";
import { configuredMode, effectiveMode, type GateOptions } from "./options.ts";
import { createResultCache } from "./result-cache.ts";

export interface ExplainRequest {
  readonly proposal: Proposal;
  readonly tenant: Tenant;
  readonly time: Date;
}

export interface Explanation {
  /** What policy says, and enforcing would answer; observing answers allow. */
  readonly outcome: Outcome;
  readonly mode: Mode;
  readonly reasons: readonly (Reason & { readonly rule?: string })[];
  readonly contract: string | undefined;
  readonly rules: readonly string[];
  readonly risk: string | undefined;
  readonly proposedArguments: JsonObject;
  /** Differ from the proposed ones where policy rewrote. */
  readonly arguments: JsonObject;
  /** What an approval would ask for, where policy escalates. */
  readonly approval: (ApprovalRule & { readonly envelope: JsonObject | undefined }) | undefined;
  /** The permit that would be issued, once allowed. */
  readonly permit: { readonly audience: string; readonly ttlSeconds: number } | undefined;
  readonly obligationsText: string;
  readonly digests: {
    readonly argument: Digest;
    readonly originalArgument: Digest;
    readonly binding: Digest;
    readonly input: Digest;
    readonly output: Digest | undefined;
    readonly policy: Digest | undefined;
  };
}

/** Pure: the caller says what time it is, and options are complete. */
export function explainDecision(
  policy: LoadedPolicy | undefined,
  options: GateOptions,
  request: ExplainRequest,
): Explanation {
  const evaluation = evaluate(policy, createResultCache(), evaluationRequest(request));
  const { result } = evaluation;
  const { outcome, reasons } = unaltered(decideRequest(request), evaluation);
  const configured = configuredMode(options, request.tenant, request.proposal.action);
  return {
    outcome,
    mode: effectiveMode(options, configured, result?.mode),
    reasons,
    contract: result?.contract,
    rules: result?.rules ?? [],
    risk: result?.risk,
    proposedArguments: request.proposal.arguments,
    arguments: evaluation.arguments,
    approval: outcome === "escalate" ? approvalOf(result!, options) : undefined,
    permit: permitOf(request.proposal, outcome, result, options),
    obligationsText: result?.obligationsText ?? "{}",
    digests: digestsOf(request, evaluation, policy),
  };
}

/** The policy input of a proposal's first round, canonical. */
export function policyInputText(request: ExplainRequest): string {
  return evaluate(undefined, createResultCache(), evaluationRequest(request)).inputText;
}

function evaluationRequest({ proposal, tenant, time }: ExplainRequest): EvaluationRequest {
  return {
    tenant,
    action: proposal.action,
    arguments: proposal.arguments,
    texts: proposal.texts,
    approvalText: "null",
    time: time.toISOString(),
  };
}

function decideRequest({ proposal, tenant }: ExplainRequest) {
  return { proposal, caller: { ...UNAUTHENTICATED_CALLER, tenant }, traceId: "" };
}

function approvalOf(result: PolicyResult, options: GateOptions) {
  return { ...approvalRule(result, options), envelope: result.approval?.envelope?.schema };
}

function permitOf(proposal: Proposal, outcome: Outcome, result: PolicyResult | undefined, options: GateOptions) {
  if (result === undefined || outcome === "deny") return undefined;
  const isDue = outcome === "escalate" || result.permit?.required === true || proposal.wantsPermit;
  if (!isDue) return undefined;
  return {
    audience: result.permit?.audience ?? options.permitAudience,
    ttlSeconds: result.permit?.ttl_seconds ?? options.permitTtlSeconds,
  };
}

function digestsOf({ proposal, tenant }: ExplainRequest, evaluation: Evaluation, policy: LoadedPolicy | undefined) {
  const { action, actor, entity, context } = proposal;
  const bound = { tenant, action, actor, entity, context };
  return {
    argument: evaluation.argumentDigest,
    originalArgument: evaluation.originalArgumentDigest,
    binding:
      evaluation.verdict === "escalate"
        ? grantBinding(bound, evaluation)
        : exactBinding(bound, evaluation.argumentsText),
    input: sha256Digest(evaluation.inputText),
    output: evaluation.outputHash,
    policy: policy?.digest,
  };
}
