/**
 * Observe mode and the shared context: what is let pass is counted, so that limits of tenants that enforce are true, and
 * sessions are written; nothing is waited for beyond a bound, nothing is locked, and what fails is told to the observer.
 */
import type { SessionChange } from "../core/context.ts";
import { sha256Digest } from "../core/digest.ts";
import { CONTEXT_PARTITION, permitIdIn } from "../core/partition.ts";
import type { About, Conclusion } from "./conclude.ts";
import { type ContextView, NO_VIEW } from "./context-view.ts";
import type { GateContext } from "./ports.ts";
import { chargeOf, limitReason, reportLimits, sessionAfter, sessionChange } from "./settle-decision.ts";

/** The store's answer within what observing may wait, else what is said instead. */
export async function withinObserving<T>(gate: GateContext, what: string, acting: Promise<T>, instead: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const failed = (error: Error): T => {
    gate.observer.failed({ what, error });
    return instead;
  };
  const timeUp = new Promise<T>((resolve) => {
    timer = setTimeout(resolve, gate.options.observeRecordWaitMs, instead);
  });
  return Promise.race([acting.catch(failed), timeUp]).finally(() => clearTimeout(timer));
}

export function viewWhileObserving(
  gate: GateContext,
  view: ContextView | Promise<ContextView>,
): ContextView | Promise<ContextView> {
  return view instanceof Promise
    ? withinObserving(gate, "read the context of an observed action", view, NO_VIEW)
    : view;
}

/** What enforce mode would have made of it, as far as limits go. */
export async function observeLimits(gate: GateContext, about: About, conclusion: Conclusion): Promise<Conclusion> {
  const { result } = conclusion.evaluation;
  const isAllowed = conclusion.outcome === "allow" || conclusion.outcome === "compute";
  const rules = isAllowed ? (result?.limits ?? []) : [];
  if (rules.length === 0 && about.view.session === undefined) return conclusion;
  const charging = gate.store.settle(about.request.caller.tenant, {
    jti: permitIdIn(CONTEXT_PARTITION, `O${idOf(about)}`),
    entity: undefined,
    session: about.view.session === undefined ? undefined : observedSession(gate, about, conclusion),
    limits: rules.map((rule) => chargeOf(rule, false)),
    lock: undefined,
    permit: undefined,
    isReservation: false,
  });
  const settled = await withinObserving(gate, "count an observed action", charging, undefined);
  if (settled?.kind === "stale") gate.views.forgetSession(about.request.caller.tenant, about.view.session!.id);
  if (settled?.kind !== "settled" || rules.length === 0) return conclusion;
  const limits = reportLimits(rules, settled.limits);
  const exceeded = rules.filter((_rule, at) => limits[at]!.used > limits[at]!.limit);
  if (exceeded.length === 0) return { ...conclusion, limits };
  const outcome = exceeded.every((rule) => rule.on_exceed === "escalate") ? "escalate" : "deny";
  return { ...conclusion, outcome, limits, reasons: [limitReason(exceeded, limits), ...conclusion.reasons] };
}

function idOf({ decisionId }: About): string {
  return sha256Digest(decisionId)
    .slice("sha256:".length, "sha256:".length + 32)
    .toUpperCase();
}

function observedSession(gate: GateContext, about: About, conclusion: Conclusion): SessionChange {
  const after = sessionAfter(gate, about, conclusion);
  gate.views.learnSession(about.request.caller.tenant, about.view.session!.id, after);
  return sessionChange(gate, about, after);
}
