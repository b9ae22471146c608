/**
 * A conclusion meets the store: what it rests on is confirmed, and what it takes is taken (limits, a lock, a place in the
 * session's record, the permit), all in one atomic step. What the store will not give changes the conclusion.
 *
 * A crash after that step leaves a reservation that nobody was told of: it comes back when its permit expires, and the
 * same proposal id finds it before that.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Freeze, LimitCharge, LimitUse, SessionChange, Settle, SettleResult } from "../core/context.ts";
import { canonicalData, sha256Digest } from "../core/digest.ts";
import { fromMicros, toMicros } from "../core/micros.ts";
import { type LimitRule, limitIdentity, type PolicyResult } from "../core/policy-result.ts";
import { appendToSession, type Session, sessionText } from "../core/session.ts";
import type { Digest, Reason } from "../core/types.ts";
import {
  type About,
  type Conclusion,
  concludeExceeded,
  denied,
  freezable,
  type LimitReport,
  type LockReport,
  viewSubject,
} from "./conclude.ts";
import type { ContextView } from "./context-view.ts";
import {
  GENERATIONS_MAX,
  type PermitPlan,
  type PermitRequest,
  planPermit,
  requireSameSubject,
  reservedDigest,
  tooManyLapsed,
} from "./issue-permit.ts";
import type { GateContext } from "./ports.ts";
import { isoTime } from "./record.ts";

export type Settlement =
  | { readonly kind: "settled"; readonly conclusion: Conclusion }
  /** Entity or session are not as they were decided on. */
  | { readonly kind: "stale"; readonly view: ContextView };

/** A step that the store is asked for, with what is needed to understand its answer. */
interface Step {
  readonly settle: Settle;
  readonly plan: PermitPlan;
  readonly rules: readonly LimitRule[];
  readonly lockKey: string | undefined;
  readonly waitMs: number;
  readonly session: Session | undefined;
}

export async function settleConclusion(gate: GateContext, about: About, concluded: Conclusion): Promise<Settlement> {
  let conclusion = isUnbindable(about, concluded) ? unbindable(about, concluded) : concluded;
  let generation = 0;
  for (;;) {
    const step = stepOf(gate, about, { conclusion, generation });
    if (step === undefined) return { kind: "settled", conclusion };
    if (takesNothing(step.settle)) return confirm(gate, about, conclusion);
    const result = await settleInTurn(gate, about, step);
    switch (result.kind) {
      case "settled":
        rememberSession(gate, about, step);
        return { kind: "settled", conclusion: { ...conclusion, ...takenBy(result.step, result) } };
      case "repeated": {
        if (result.state === "dead") {
          generation += 1;
          if (generation === GENERATIONS_MAX) throw tooManyLapsed(about.request.proposal);
          break;
        }
        requireSameSubject(about.request.proposal, step.plan, result.subjectText);
        if (step.settle.lock === undefined || result.lock !== undefined || result.state === "used") {
          const repeated = { ...conclusion, ...repeatedBy(step, result.lock) };
          // The store looks for the permit first: what was remembered has not been confirmed by this.
          return about.view.isFresh ? { kind: "settled", conclusion: repeated } : confirm(gate, about, repeated);
        }
        conclusion = withDenial(about, conclusion, "lock_lost", "The lock that this proposal held has ended");
        break;
      }
      case "frozen":
        conclusion = withDenial(about, conclusion, "frozen", frozenMessage(result.freeze));
        break;
      case "stale":
        return { kind: "stale", view: gate.views.learn(about.policy, viewSubject(about.request), result) };
      // Each of these takes the limits or the lock out of the next step, so there is an end.
      case "exceeded":
        conclusion = await concludeLimits(gate, about, { conclusion, step, uses: result.limits });
        break;
      case "locked":
      case "queue_full":
        conclusion = withDenial(about, conclusion, ...lockReason(step, result));
        break;
    }
  }
}

function withDenial(about: About, { evaluation, approval }: Conclusion, code: string, message: string): Conclusion {
  return denied({ ...about, evaluation }, code, message, approval);
}

export function frozenMessage({ id, kind, subject, reason }: Freeze): string {
  const what = kind === "tenant" ? "Everything of this tenant" : `${kind} ${JSON.stringify(subject)}`;
  return `${what} is frozen (${id}): ${reason}`;
}

/** A permit that should be bound to a version, of an entity that has none here, would be bound to nothing. */
function isUnbindable({ view }: About, { outcome, evaluation }: Conclusion): boolean {
  const isAllowed = outcome === "allow" || outcome === "compute";
  return isAllowed && evaluation.result?.permit?.bind_entity_version === true && view.entity === undefined;
}

function unbindable(about: About, conclusion: Conclusion): Conclusion {
  const message = "The permit is to be bound to its entity's version, and the domain does not know such an entity";
  return withDenial(about, conclusion, "entity_unknown", message);
}

/** A reading is enough then, and costs no write. */
function takesNothing({ session, limits, lock, permit }: Settle): boolean {
  return session === undefined && limits.length === 0 && lock === undefined && permit === undefined;
}

async function confirm(gate: GateContext, about: About, conclusion: Conclusion): Promise<Settlement> {
  const view = await gate.views.read(about.policy, viewSubject(about.request));
  const isSame = view.entity?.state.version === about.view.entity?.state.version;
  return isSame ? { kind: "settled", conclusion } : { kind: "stale", view };
}

/** Undefined where there is nothing to confirm and nothing to take. */
function stepOf(
  gate: GateContext,
  about: About,
  { conclusion, generation }: { readonly conclusion: Conclusion; readonly generation: number },
): Step | undefined {
  const { view } = about;
  const result = conclusion.evaluation.result;
  const isAllowed = conclusion.outcome === "allow" || conclusion.outcome === "compute";
  const rules = isAllowed ? (result?.limits ?? []) : [];
  const lock = isAllowed ? result?.lock : undefined;
  const takes = rules.length > 0 || lock !== undefined || (isAllowed && bindsVersion(result, view));
  if (!takes && view.isFresh && view.session === undefined) return undefined;
  const isPermitted = isAllowed && (takes || isPermitAskedFor(about, conclusion));
  const plan = planPermit(gate, permitRequest(about, conclusion), generation);
  const session = view.session === undefined ? undefined : sessionAfter(gate, about, conclusion);
  const isGranted = conclusion.approval?.status === "granted";
  return {
    plan,
    rules,
    lockKey: lock?.key,
    waitMs: (lock?.wait_seconds ?? 0) * 1000,
    session,
    settle: {
      jti: plan.jti,
      entity: view.entity === undefined ? undefined : { ref: view.entity.ref, version: view.entity.state.version },
      session: session === undefined ? undefined : sessionChange(gate, about, session),
      limits: rules.map((rule) => chargeOf(rule, !(isGranted && rule.on_exceed === "escalate"))),
      lock:
        lock === undefined
          ? undefined
          : { id: sha256Digest(lock.key), ttlMs: lock.ttl_seconds * 1000, waits: (lock.wait_seconds ?? 0) > 0 },
      permit: isPermitted ? settledPermit(plan) : undefined,
      // Where no permit is asked for nobody reports: what was allowed counts as done.
      isReservation: result?.permit?.required === true || isGranted,
    },
  };
}

export function bindsVersion(result: PolicyResult | undefined, view: ContextView): boolean {
  return result?.permit?.bind_entity_version === true && view.entity !== undefined;
}

export function isPermitAskedFor({ request }: About, { approval, evaluation }: Conclusion): boolean {
  const { result } = evaluation;
  const isRequired = result?.permit?.required === true || result?.lock !== undefined;
  return approval?.status === "granted" || isRequired || request.proposal.wantsPermit;
}

export function permitRequest(about: About, conclusion: Conclusion): PermitRequest {
  const { view } = about;
  const { request, policy, decidedAt, decisionId, follows } = about;
  const { approval, evaluation, bindingDigest } = conclusion;
  return {
    tenant: request.caller.tenant,
    decisionId,
    traceId: request.traceId,
    proposal: request.proposal,
    evaluation,
    bindingDigest,
    policyDigest: policy?.digest ?? null,
    approval: approval?.status === "granted" ? approval : undefined,
    decidedAt,
    after: follows?.after,
    // Not by whether anything is taken this time: sidecars that remember different things agree on the permit's id.
    isContextual:
      view.entity !== undefined || view.session !== undefined || reservedDigest(evaluation.result) !== undefined,
  };
}

function settledPermit({ approvalId, uses, expiresAt, subjectText }: PermitPlan): Settle["permit"] {
  return { approvalId, uses, expiresAtMs: expiresAt * 1000, subjectText };
}

export function chargeOf(rule: LimitRule, isBinding: boolean): LimitCharge {
  const windowMs = rule.window_seconds * 1000;
  const isSliding = rule.window === "sliding";
  return {
    id: limitId(rule),
    // The schema took only amounts that have them.
    limitMicros: toMicros(rule.limit)!,
    costMicros: toMicros(rule.cost ?? 1)!,
    windowMs,
    isSliding,
    value: rule.distinct === undefined ? undefined : sha256Digest(rule.distinct),
    isBinding,
  };
}

function limitId(rule: LimitRule): Digest {
  return sha256Digest(canonicalData(limitIdentity(rule)));
}

export function sessionAfter(gate: GateContext, about: About, { outcome, evaluation }: Conclusion): Session {
  const { request, decisionId, decidedAt, view } = about;
  const { action, entity } = request.proposal;
  const isAllowed = outcome === "allow" || outcome === "compute";
  const adds = isAllowed ? evaluation.result?.session : undefined;
  return appendToSession(
    view.session!.session,
    {
      kind: "decision",
      decision_id: decisionId,
      action,
      entity,
      outcome,
      at: decidedAt.toISOString(),
      ...(adds?.classifications === undefined ? {} : { classifications: adds.classifications }),
      ...(adds?.sums === undefined ? {} : { sums: adds.sums }),
    },
    gate.options.sessionWindowMax,
  );
}

export function sessionChange(gate: GateContext, { view }: Pick<About, "view">, after: Session): SessionChange {
  const { id, session } = view.session!;
  return {
    id,
    expectedVersion: session.count,
    after: { version: after.count, text: sessionText(after) },
    ttlMs: gate.options.sessionTtlSeconds * 1000,
  };
}

function rememberSession(gate: GateContext, about: About, { session }: Step): void {
  if (session === undefined) return;
  gate.views.learnSession(about.request.caller.tenant, about.view.session!.id, session);
}

/** First come, first served: whoever asks again in time keeps the place, and the store says how many are before. */
const TURN_POLL_MS = 50;
const TURN_POLL_MAX_MS = 500;

async function settleInTurn(gate: GateContext, { request }: About, first: Step): Promise<TurnResult> {
  const { tenant } = request.caller;
  const endsAt = performance.now() + first.waitMs;
  let step = first;
  for (;;) {
    const leftMs = endsAt - performance.now();
    const lock = step.settle.lock === undefined ? undefined : { ...step.settle.lock, waits: leftMs > 0 };
    const result = await gate.store.settle(tenant, { ...step.settle, lock });
    if (result.kind === "settled") return { ...result, step };
    if (result.kind !== "locked" || !result.isWaiting) return leaving(gate, tenant, step, result);
    await delay(Math.min(leftMs, TURN_POLL_MAX_MS, TURN_POLL_MS * (1 + result.ahead)));
    // Nobody waits for the answer any more, so nothing is taken for it.
    if (request.isGone?.() === true) return leaving(gate, tenant, step, { ...result, isWaiting: false });
    const freeze = await gate.freezes.find(freezable(request));
    if (freeze !== undefined) return leaving(gate, tenant, step, { kind: "frozen", freeze });
    step = renewed(gate, step);
  }
}

type TurnResult =
  | Exclude<SettleResult, { readonly kind: "settled" }>
  | (Extract<SettleResult, { readonly kind: "settled" }> & { readonly step: Step })
  | { readonly kind: "frozen"; readonly freeze: Freeze };

/** The place in the queue is not needed any more; it would lapse by itself. */
async function leaving<T>(gate: GateContext, tenant: string, step: Step, result: T): Promise<T> {
  if (step.waitMs > 0) await leaveQueue(gate, tenant, step.settle);
  return result;
}

/** What was waited for is not taken off the permit's life. */
function renewed(gate: GateContext, step: Step): Step {
  const { plan, settle } = step;
  const issuedAt = Math.floor(gate.clock.now().getTime() / 1000);
  const later = { ...plan, issuedAt, expiresAt: issuedAt + plan.expiresAt - plan.issuedAt };
  return { ...step, plan: later, settle: { ...settle, permit: settle.permit && settledPermit(later) } };
}

async function leaveQueue(gate: GateContext, tenant: string, { lock, jti }: Settle): Promise<void> {
  if (lock === undefined) return;
  await gate.store.leaveQueue(tenant, lock.id, jti).catch((error: Error) => {
    gate.observer.failed({ what: "leave the queue of a lock", error });
  });
}

function takenBy(step: Step, result: Extract<SettleResult, { kind: "settled" }>): Partial<Conclusion> {
  const lock: LockReport | undefined =
    result.lock === undefined
      ? undefined
      : { key: step.lockKey!, fence: result.lock.fence, expires_at: isoTime(result.lock.expiresAtMs) };
  return {
    ...(step.rules.length === 0 ? {} : { limits: reportLimits(step.rules, result.limits) }),
    ...(lock === undefined ? {} : { lock }),
    ...(step.settle.permit === undefined ? {} : { permit: step.plan }),
  };
}

/** Decided elsewhere, or before a crash: what it took stands, and is not said again. */
function repeatedBy(
  step: Step,
  held: { readonly fence: number; readonly expiresAtMs: number } | undefined,
): Partial<Conclusion> {
  if (held === undefined || step.lockKey === undefined) return { permit: step.plan };
  const lock = { key: step.lockKey, fence: held.fence, expires_at: isoTime(held.expiresAtMs) };
  return { lock, permit: step.plan };
}

export function reportLimits(rules: readonly LimitRule[], uses: readonly LimitUse[]): readonly LimitReport[] {
  return rules.map((rule) => {
    const use = useOf(rule, uses);
    const used = use === undefined ? 0 : fromMicros(use.usedMicros);
    return {
      key: rule.key,
      limit: rule.limit,
      used,
      remaining: Math.max(0, fromMicros((toMicros(rule.limit) ?? 0) - (use?.usedMicros ?? 0))),
      window_seconds: rule.window_seconds,
      resets_at: isoTime(use?.resetsAtMs ?? 0),
    };
  });
}

function useOf(rule: LimitRule, uses: readonly LimitUse[]): LimitUse | undefined {
  const id = limitId(rule);
  return uses.find((use) => use.id === id);
}

async function concludeLimits(
  gate: GateContext,
  about: About,
  {
    conclusion,
    step,
    uses,
  }: { readonly conclusion: Conclusion; readonly step: Step; readonly uses: readonly LimitUse[] },
): Promise<Conclusion> {
  const { rules } = step;
  const exceeded = rules.filter((rule) => useOf(rule, uses)?.isExceeded === true);
  const limits = reportLimits(rules, uses);
  const reason = limitReason(exceeded, limits);
  const again = { ...about, evaluation: conclusion.evaluation };
  const isForHuman =
    exceeded.every((rule) => rule.on_exceed === "escalate") && conclusion.approval?.status !== "granted";
  if (!isForHuman) return { ...denied(again, reason.code, reason.message, conclusion.approval), limits };
  return { ...(await concludeExceeded(gate, again, reason)), limits };
}

export function limitReason(exceeded: readonly LimitRule[], limits: readonly LimitReport[]): Reason {
  const keys = new Set(exceeded.map((rule) => rule.key));
  const said = limits
    .filter((limit) => keys.has(limit.key))
    .map(
      ({ key, used, limit, resets_at }) => `${JSON.stringify(key)} has ${used} of ${limit} in use until ${resets_at}`,
    );
  return { code: "limit_exceeded", message: `Limit exceeded: ${said.join("; ")}` };
}

function lockReason(
  step: Step,
  result: Extract<SettleResult, { kind: "locked" | "queue_full" }>,
): [code: string, message: string] {
  const key = JSON.stringify(step.lockKey ?? "");
  if (result.kind === "queue_full") return ["lock_queue_full", `Too many wait for lock ${key}`];
  const until = `Lock ${key} is held until ${isoTime(result.expiresAtMs)} at the latest`;
  return step.waitMs > 0
    ? ["lock_timeout", `${until}, and did not come free in ${step.waitMs / 1000} s`]
    : ["lock_held", until];
}
