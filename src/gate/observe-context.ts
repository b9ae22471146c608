/**
 * Observe mode and the shared context: what is let pass is counted, so that limits of tenants that enforce are true, and
 * sessions are written; nothing is waited for beyond a bound, nothing is locked, and what fails is told to the observer.
 */
import { sha256Digest } from "../core/digest.ts";
import { toError } from "../core/errors.ts";
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
  open: () => ContextView | Promise<ContextView>,
): ContextView | Promise<ContextView> {
  const what = "read the context of an observed action";
  try {
    const view = open();
    return view instanceof Promise ? withinObserving(gate, what, view, NO_VIEW) : view;
  } catch (thrown) {
    gate.observer.failed({ what, error: toError(thrown) });
    return NO_VIEW;
  }
}

/** What enforce mode would have made of it, as far as limits go. */
export async function observeLimits(gate: GateContext, about: About, conclusion: Conclusion): Promise<Conclusion> {
  const { result } = conclusion.evaluation;
  const isAllowed = conclusion.outcome === "allow" || conclusion.outcome === "compute";
  const rules = isAllowed ? (result?.limits ?? []) : [];
  if (rules.length === 0 && about.view.session === undefined) return conclusion;
  const { tenant } = about.request.caller;
  const { session } = about.view;
  const after = session === undefined ? undefined : sessionAfter(gate, about, conclusion);
  const charging = gate.store.settle(tenant, {
    jti: permitIdIn(CONTEXT_PARTITION, `O${idOf(about)}`),
    entity: undefined,
    session: after === undefined ? undefined : sessionChange(gate, about, after),
    limits: rules.map((rule) => chargeOf(rule, false)),
    lock: undefined,
    permit: undefined,
    isReservation: false,
  });
  const settled = await withinObserving(gate, "count an observed action", charging, undefined);
  if (settled?.kind === "settled" && after !== undefined) gate.views.learnSession(tenant, session!.id, after);
  else if (session !== undefined) gate.views.forgetSession(tenant, session.id);
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
