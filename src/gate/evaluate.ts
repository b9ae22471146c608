/**
 * One proposal through one policy version, until its arguments stop changing: what policy rewrites is decided again before
 * it is bound (INVARIANTS: bound, atomic). Synchronous, and pure but for the cache.
 */
import { inputText } from "../core/compose.ts";
import { sha256Digest } from "../core/digest.ts";
import type { PolicyResult } from "../core/policy-result.ts";
import type { LoadedPolicy } from "../core/ports.ts";
import type { ProposalTexts } from "../core/proposal.ts";
import type { Digest, JsonObject, Reason, Tenant } from "../core/types.ts";
import type { ResultCache } from "./result-cache.ts";

/** How often rewritten arguments are decided again before policy counts as unable to make up its mind. */
export const COMPUTE_ROUNDS_MAX = 3;

export interface EvaluationRequest {
  readonly tenant: Tenant;
  readonly action: string;
  readonly arguments: JsonObject;
  readonly texts: ProposalTexts;
  /** Canonical text of `input.entity`, where more is known of it than the proposal says. */
  readonly entityText?: string | undefined;
  /** Canonical text of `input.session`; "null" where nothing is said. */
  readonly sessionText?: string | undefined;
  /** Canonical text of `input.approval`: "null", or the grant that this decision may rest on. */
  readonly approvalText: string;
  readonly time: string;
}

/** An earlier round: what policy answered before its rewrite was decided again. */
export interface EvaluationRound {
  readonly argumentDigest: Digest;
  readonly inputHash: Digest;
  readonly outputHash: Digest;
}

export interface Evaluation {
  readonly verdict: "allow" | "deny" | "escalate";
  readonly reasons: readonly Reason[];
  /** Undefined when there was no valid answer; then `verdict` is deny and `reasons` says why. */
  readonly result: PolicyResult | undefined;
  readonly outputHash: Digest | undefined;
  readonly inputText: string;
  /** The arguments that the verdict is about: proposed, or rewritten. */
  readonly arguments: JsonObject;
  readonly argumentsText: string;
  readonly argumentDigest: Digest;
  readonly originalArgumentDigest: Digest;
  readonly isRewritten: boolean;
  readonly rounds: readonly EvaluationRound[];
  /** Whether the answer failed to come, rather than came as a deny. */
  readonly isFault: boolean;
}

export function evaluate(
  policy: LoadedPolicy | undefined,
  results: ResultCache,
  request: EvaluationRequest,
): Evaluation {
  let current = {
    value: request.arguments,
    text: request.texts.arguments,
    digest: sha256Digest(request.texts.arguments),
  };
  const original = current;
  const rounds: EvaluationRound[] = [];
  for (;;) {
    const input = inputOf(request, current.text);
    const about = {
      inputText: input,
      arguments: current.value,
      argumentsText: current.text,
      argumentDigest: current.digest,
      originalArgumentDigest: original.digest,
      isRewritten: current.text !== original.text,
      rounds,
    };
    const answer = readAnswer(policy, results, input);
    if (answer.kind === "fault") return { ...about, ...faulty(answer.code, answer.message) };
    const { result, outputHash } = answer;
    const rewritten = result.rewritten;
    if (rewritten === undefined || (result.outcome === "escalate" && rewritten.text === current.text)) {
      return { ...about, verdict: settled(result), reasons: result.reasons, result, outputHash, isFault: false };
    }
    if (rounds.length === COMPUTE_ROUNDS_MAX || rewritten.text === current.text) {
      return { ...about, ...faulty("compute_unstable", unstable(rounds.length)), result, outputHash };
    }
    rounds.push({ argumentDigest: current.digest, inputHash: sha256Digest(input), outputHash });
    current = { value: rewritten.value, text: rewritten.text, digest: sha256Digest(rewritten.text) };
  }
}

function inputOf(request: EvaluationRequest, argumentsText: string): string {
  const { texts } = request;
  return inputText({
    action: request.action,
    arguments: argumentsText,
    actor: texts.actor,
    approval: request.approvalText,
    context: texts.context,
    entity: request.entityText ?? texts.entity,
    session: request.sessionText ?? "null",
    tenant: request.tenant,
    time: request.time,
  });
}

/** The schema lets `compute` pass only with arguments, so it never settles anything by itself. */
function settled(result: PolicyResult): "allow" | "deny" | "escalate" {
  switch (result.outcome) {
    case "allow":
    case "deny":
    case "escalate":
      return result.outcome;
    case "compute":
      return "deny";
  }
}

function unstable(rounds: number): string {
  return rounds === COMPUTE_ROUNDS_MAX
    ? `Policy still rewrites the arguments after ${COMPUTE_ROUNDS_MAX} rounds`
    : "Policy computes the arguments it was given";
}

type Answer =
  | { readonly kind: "valid"; readonly result: PolicyResult; readonly outputHash: Digest }
  | { readonly kind: "fault"; readonly code: string; readonly message: string };

function readAnswer(policy: LoadedPolicy | undefined, results: ResultCache, input: string): Answer {
  if (policy === undefined) return { kind: "fault", code: "policy_not_loaded", message: "No policy is loaded" };
  const answer = policy.evaluate(input);
  switch (answer.kind) {
    case "fault":
      return answer;
    case "undefined":
      return { kind: "fault", code: "policy_result_invalid", message: "Policy result is undefined" };
    case "result": {
      const read = results.read(answer.text);
      return read.kind === "valid" ? read : { kind: "fault", code: "policy_result_invalid", message: read.message };
    }
  }
}

function faulty(
  code: string,
  message: string,
): Pick<Evaluation, "verdict" | "reasons" | "result" | "outputHash" | "isFault"> {
  return { verdict: "deny", reasons: [{ code, message }], result: undefined, outputHash: undefined, isFault: true };
}
