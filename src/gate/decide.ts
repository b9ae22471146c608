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
import { authorizeProposal } from "../core/caller.ts";
import { ConflictError, HoldpointError } from "../core/errors.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { Proposal } from "../core/proposal.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import type { Mode, Outcome } from "../core/types.ts";
import {
  conclude,
  type DecideRequest,
  evaluateProposal,
  type Follows,
  modeNow,
  modeOf,
  unaltered,
} from "./conclude.ts";
import type { GateContext } from "./ports.ts";
import { proposalKey } from "./record.ts";
import { type DecisionAnswer, recordDecision, withPermit } from "./record-decision.ts";

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
  const answer = await recordDecision(gate, { ...about, conclusion, mode });
  gate.observer.decided({
    tenant: caller.tenant,
    action: proposal.action,
    outcome: conclusion.outcome,
    mode,
    reasonCodes: conclusion.reasons.map((reason) => reason.code),
    seconds: (performance.now() - startedAt) / 1000,
    evaluationSeconds,
  });
  return "recordedAt" in answer ? decideAgain(gate, request, gate.ledger.read(answer.recordedAt)!) : answer;
}
