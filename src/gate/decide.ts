/**
 * One proposal becomes one recorded decision.
 *
 * Order of effects, and what a crash right after each step leaves behind:
 *   1. evaluate                nothing
 *   2. open or find approval   a pending approval nobody was told of; the same proposal finds it again
 *   3. settle or register      limits, a lock, a permit that nobody holds: they come back when the permit expires
 *   4. append to the ledger    a recorded decision nobody was told of; the same proposal id answers it
 *   5. sign and answer
 * INVARIANT (recorded): nothing is answered before step 4 is durable, unless the mode is observe.
 */
import { authorizeProposal } from "../core/caller.ts";
import { entityText } from "../core/compose.ts";
import type { Freeze } from "../core/context.ts";
import { ConflictError, HoldpointError, UnavailableError } from "../core/errors.ts";
import type { PermitClaims } from "../core/permit.ts";
import type { LoadedPolicy } from "../core/ports.ts";
import type { Proposal } from "../core/proposal.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import type { EntityRef, Mode, Outcome, Reason } from "../core/types.ts";
import {
  type About,
  type Conclusion,
  conclude,
  type DecideRequest,
  denied,
  evaluateProposal,
  type Follows,
  freezable,
  modeNow,
  modeOf,
  unaltered,
  viewSubject,
} from "./conclude.ts";
import { type ContextView, keepsSession, NO_VIEW } from "./context-view.ts";
import { observeLimits, viewWhileObserving, withinObserving } from "./observe-context.ts";
import { configuredMode } from "./options.ts";
import type { GateContext } from "./ports.ts";
import { proposalKey } from "./record.ts";
import { type DecisionAnswer, recordDecision, withPermit } from "./record-decision.ts";
import { frozenMessage, type Settlement, settleConclusion } from "./settle-decision.ts";

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

/**
 * What changed around a recorded decision so that it is no answer any more: a freeze that came or went, or the entity
 * whose version its permit is bound to. Undefined where it still stands.
 */
async function whyOutdated(
  gate: GateContext,
  request: DecideRequest,
  recorded: RecordedDecision,
): Promise<string | undefined> {
  const { firstReason } = recorded;
  // Policy may have a reason of this code, too; a freeze of ours is named.
  const wasFrozen = firstReason?.code === "frozen" && /\(frz_[0-9A-Z]{26}\)/.test(firstReason.message);
  if (recorded.outcome === "deny" && !wasFrozen) return undefined;
  const freeze = await gate.freezes.find(freezable(request));
  if (freeze !== undefined) return wasFrozen ? undefined : `frozen:${freeze.id}`;
  if (wasFrozen) return "lifted";
  const bound = recorded.permit?.entity_version;
  if (bound === undefined || request.proposal.entity === null) return undefined;
  const entity = await gate.store.readEntity(request.caller.tenant, request.proposal.entity);
  const version = entity?.version ?? 0;
  // One that was used stays the answer to its proposal: what changed may be what it did.
  const isOver = version !== bound && (await gate.store.cancelPermit(request.caller.tenant, recorded.permit!.jti));
  return isOver ? `version:${version}` : undefined;
}

interface RecordedDecision {
  readonly entry: Reading;
  readonly decision: Reading;
  readonly decisionId: string;
  readonly approvalId: string | undefined;
  readonly outcome: Outcome;
  readonly mode: Mode;
  readonly permit: PermitClaims | undefined;
  readonly firstReason: Reason | undefined;
}

async function decideAgain(gate: GateContext, request: DecideRequest, entryText: string): Promise<DecisionAnswer> {
  const recorded = readRecorded(entryText);
  requireSameContent(request.proposal, recorded);
  const mode = modeNow(gate, request);
  // What observing let through is no answer while enforcing, nor the other way round.
  if (mode !== recorded.mode) {
    return decideAnew(gate, request, { approvalId: undefined, after: `${recorded.decisionId}:${mode}` });
  }
  const outdated = mode === "enforce" ? await whyOutdated(gate, request, recorded) : undefined;
  if (outdated !== undefined) {
    return decideAnew(gate, request, { approvalId: recorded.approvalId, after: `${recorded.decisionId}:${outdated}` });
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
    reasons: readonly Reason[];
  };
  return {
    entry,
    decision,
    decisionId: value.decision_id,
    approvalId: value.approval?.id,
    outcome: value.outcome,
    mode: value.mode,
    firstReason: value.reasons[0],
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
    entityText(input.get("entity")!.value as EntityRef | null) === entityText(proposal.entity) &&
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

/** How often entity or session may change under a decision before it is given up. */
const CONTEXT_ROUNDS_MAX = 16;

interface Decided extends About {
  readonly conclusion: Conclusion;
  readonly mode: Mode;
}

async function decideAnew(
  gate: GateContext,
  request: DecideRequest,
  follows: Follows | undefined,
): Promise<DecisionAnswer> {
  const startedAt = performance.now();
  const { caller, proposal } = request;
  const decidedAt = gate.clock.now();
  const policy = gate.policy.status().active;
  const decisionId = `dec_${gate.randomness.ulid()}`;
  let evaluationSeconds = 0;
  const aboutIn = (view: ContextView): About => {
    const evaluatedAt = performance.now();
    const evaluation = evaluateProposal(gate, request, policy, { approvalText: "null", decidedAt, view });
    evaluationSeconds += (performance.now() - evaluatedAt) / 1000;
    return { decisionId, request, policy, decidedAt, evaluation, view, follows };
  };
  const decided = await inTurn(gate, { request, policy }, () => decideInContext(gate, { request, policy }, aboutIn));
  const answer = await recordDecision(gate, decided);
  const { conclusion, mode } = decided;
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

/** Decisions of one session follow one another here, instead of making one another start again. */
async function inTurn<T>(
  gate: GateContext,
  { request, policy }: { readonly request: DecideRequest; readonly policy: LoadedPolicy | undefined },
  decideNow: () => Promise<T>,
): Promise<T> {
  const { action, context, actor } = request.proposal;
  const isObserved = configuredMode(gate.options, request.caller.tenant, action) === "observe";
  if (policy === undefined || context.session === undefined || isObserved || !keepsSession(policy, action)) {
    return decideNow();
  }
  const end = await gate.turns.take(JSON.stringify([request.caller.tenant, actor.id, context.session]));
  try {
    return await decideNow();
  } finally {
    end();
  }
}

/** Evaluated on what is remembered, confirmed by the store, and evaluated again where that was not so any more. */
async function decideInContext(
  gate: GateContext,
  { request, policy }: { readonly request: DecideRequest; readonly policy: LoadedPolicy | undefined },
  aboutIn: (view: ContextView) => About,
): Promise<Decided> {
  const opened = openView(gate, { request, policy });
  let about = aboutIn(opened instanceof Promise ? await opened : opened);
  const mode = modeOf(gate, request, about.evaluation);
  if (mode === "observe") return { ...about, mode, conclusion: await observe(gate, about) };
  for (let round = 0; round < CONTEXT_ROUNDS_MAX; round += 1) {
    const settlement = await enforce(gate, about);
    if (settlement.kind === "settled") return { ...about, mode, conclusion: settlement.conclusion };
    about = aboutIn(settlement.view);
  }
  throw new UnavailableError(
    "overloaded",
    `Entity or session changed ${CONTEXT_ROUNDS_MAX} times while this was decided: try again`,
  );
}

/** INVARIANT (transparent): where it is observed, neither a store that is away nor an odd session's name is in the way. */
function openView(
  gate: GateContext,
  { request, policy }: { readonly request: DecideRequest; readonly policy: LoadedPolicy | undefined },
): ContextView | Promise<ContextView> {
  const subject = viewSubject(request);
  const { tenant } = request.caller;
  const isObserved = configuredMode(gate.options, tenant, request.proposal.action) === "observe";
  if (isObserved) return viewWhileObserving(gate, () => gate.views.open(policy, subject));
  const opening = gate.views.open(policy, subject);
  if (!gate.options.policyMayObserve || !(opening instanceof Promise)) return opening;
  return opening.catch((error: Error) => {
    if (modeNow(gate, request) === "observe") return NO_VIEW;
    throw error;
  });
}

async function enforce(gate: GateContext, about: About): Promise<Settlement> {
  // What policy denies needs nobody to stop it.
  const finding = about.evaluation.verdict === "deny" ? undefined : gate.freezes.find(freezable(about.request));
  const freeze = finding instanceof Promise ? await finding : finding;
  if (freeze !== undefined) return settleConclusion(gate, about, frozen(about, freeze));
  // Before people are asked, what they are asked about is known to be so.
  if (about.evaluation.verdict === "escalate" && !about.view.isFresh) {
    return { kind: "stale", view: await gate.views.read(about.policy, viewSubject(about.request)) };
  }
  return settleConclusion(gate, about, await conclude(gate, about));
}

async function observe(gate: GateContext, about: About): Promise<Conclusion> {
  const { request, evaluation } = about;
  const finding = gate.freezes.find(freezable(request));
  const freeze =
    finding instanceof Promise ? await withinObserving(gate, "read what is frozen", finding, undefined) : finding;
  if (freeze === undefined) return observeLimits(gate, about, unaltered(request, evaluation));
  return { ...unaltered(request, evaluation), outcome: "deny", reasons: frozen(about, freeze).reasons };
}

function frozen(about: About, freeze: Freeze): Conclusion {
  return denied(about, "frozen", frozenMessage(freeze), undefined);
}
