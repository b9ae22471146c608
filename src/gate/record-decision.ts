/** A conclusion becomes a recorded decision: permit registered, entry durable, permit signed, text answered. */
import { sha256Digest } from "../core/digest.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { Mode, Outcome } from "../core/types.ts";
import { exactBinding } from "./bind.ts";
import { type About, boundBy, type Conclusion } from "./conclude.ts";
import {
  type PermitRequest,
  permitBinding,
  permitClaims,
  planPermit,
  registerPermit,
  reservedDigest,
  signPermit,
} from "./issue-permit.ts";
import type { GateContext } from "./ports.ts";
import { decisionEntry, decisionText } from "./record.ts";
import { bindsVersion, isPermitAskedFor, permitRequest } from "./settle-decision.ts";

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
    limits: conclusion.limits,
    lock: conclusion.lock,
    entityVersion: concluded.view.entity?.state.version,
    permit,
    credentialId: caller.credentialId,
    issuer: caller.issuer,
    isAuthenticated: caller.isAuthenticated,
  };
  const text = decisionText(facts);
  // What was taken for an entry that is not written stays with its proposal: sent again it finds it, and else it lapses.
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
  const { conclusion, mode, view } = concluded;
  const { outcome } = conclusion;
  const isAllowed = mode === "observe" || outcome === "allow" || outcome === "compute";
  if (!isAllowed || !isPermitAskedFor(concluded, conclusion)) return undefined;
  const asked = permitRequest(concluded, conclusion);
  const request = mode === "observe" ? asObserved(asked, concluded) : asked;
  const { lock, evaluation } = conclusion;
  const reserved = mode === "enforce" ? reservedDigest(evaluation.result) : undefined;
  const binds = mode === "enforce" && bindsVersion(evaluation.result, view);
  const exact = exactBinding(boundBy(concluded.request), evaluation.argumentsText);
  const extras = {
    binding: mode === "observe" ? request.bindingDigest : permitBinding(request, exact),
    more: {
      ...(binds ? { entity_version: view.entity!.state.version } : {}),
      ...(reserved === undefined ? {} : { reserved }),
      ...(lock === undefined ? {} : { lock }),
    },
  };
  if (conclusion.permit !== undefined) return permitClaims(gate, request, conclusion.permit, extras);
  if (mode === "enforce") return permitClaims(gate, request, await registerPermit(gate, request), extras);
  registerPermit(gate, request).catch((error: Error) =>
    gate.observer.failed({ what: "register an observed permit", error }),
  );
  return permitClaims(gate, request, planPermit(gate, request, 0), extras);
}

/** A permit of what was proposed. What policy did not allow is decided again where it is used: enforcing may have begun. */
function asObserved(asked: PermitRequest, { request, conclusion, policy }: Concluded): PermitRequest {
  const { evaluation, outcome } = conclusion;
  const { proposal } = request;
  const proposed = { ...evaluation, arguments: proposal.arguments, argumentDigest: evaluation.originalArgumentDigest };
  // What enforcing would have reserved was not, so this is another permit than enforcing gives, and none of its kind.
  const isObserved = reservedDigest(evaluation.result) !== undefined;
  const isAsDecided = outcome === "allow" && !isObserved;
  return {
    ...asked,
    evaluation: proposed,
    policyDigest: isAsDecided ? (policy?.digest ?? null) : null,
    isObserved,
  };
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
