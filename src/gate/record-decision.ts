/** A conclusion becomes a recorded decision: permit registered, entry durable, permit signed, text answered. */
import { sha256Digest } from "../core/digest.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { Mode, Outcome } from "../core/types.ts";
import type { About, Conclusion, DecideRequest } from "./conclude.ts";
import type { Evaluation } from "./evaluate.ts";
import { type PermitRequest, permitClaims, registerPermit, signPermit } from "./issue-permit.ts";
import type { GateContext } from "./ports.ts";
import { decisionEntry, decisionText } from "./record.ts";

export interface DecisionAnswer {
  /** The decision as JSON text, the permit included. */
  readonly text: string;
  readonly outcome: Outcome;
  readonly mode: Mode;
}

export interface Concluded extends About {
  readonly conclusion: Conclusion;
  readonly mode: Mode;
}

/** The decision as answered, or the entry of whoever recorded one for this proposal first. */
export async function recordDecision(
  gate: GateContext,
  concluded: Concluded,
): Promise<DecisionAnswer | { readonly recordedAt: number }> {
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
    issuer: caller.issuer,
    isAuthenticated: caller.isAuthenticated,
  };
  const text = decisionText(facts);
  const appended = await append(gate, mode, decisionEntry(facts, text, follows?.after));
  if (appended?.kind === "duplicate") return { recordedAt: appended.index };
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
    after: concluded.follows?.after,
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
export async function withPermit(
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
