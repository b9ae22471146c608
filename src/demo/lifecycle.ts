/** Five endings of one risky action: what may be done with an order depends on where it stands, and on a human. */
import type { Actors } from "./actors.ts";
import type { Payments } from "./payments.ts";
import type { Stage } from "./stage.ts";

export const LIFECYCLE_ENDINGS = 5;

interface Played {
  readonly actors: Actors;
  readonly stage: Stage;
  readonly payments: Payments;
  /** Number of the first ending. */
  readonly first: number;
}

export async function lifecycle({ actors, stage, payments, first }: Played): Promise<void> {
  stage.ending(first, "Small refund: the order is paid, the amount is small, it is executed");
  await actors.happens("ORDER_PLACED", "ord_001", { total: 49 });
  const paid = await actors.happens("ORDER_PAID", "ord_001", { amount: 49 });
  const small = await actors.execute("ord_001", "AUTO_REFUND", 49);
  stage.expect("executed", small.status === 200 && small.body.result?.executed === true);
  stage.expect("the order is refunded", small.body.result?.state === "REFUNDED");
  await shows(actors, stage, "ord_001", paid, [
    "event_ingested stripe ORDER_PAID",
    "state_changed stripe CREATED → PAID",
    "decision_recorded ops-agent propose AUTO_REFUND",
    "action_validated ops-agent AUTO_REFUND ✓",
    "action_executed ops-agent AUTO_REFUND",
    "event_ingested ops-agent ORDER_REFUNDED",
    "state_changed ops-agent PAID → REFUNDED",
  ]);

  stage.ending(first + 1, "Large refund: it is held for a human");
  await actors.happens("ORDER_PLACED", "ord_002", { total: 999 });
  const large = await actors.happens("ORDER_PAID", "ord_002", { amount: 999 });
  const held = await actors.execute("ord_002", "REFUND_ORDER", 999);
  stage.expect("422, action requires approval", is422(held, "action requires approval"));
  await shows(actors, stage, "ord_002", large, [
    "event_ingested stripe ORDER_PAID",
    "state_changed stripe CREATED → PAID",
    "decision_recorded ops-agent propose REFUND_ORDER (high)",
    "approval_required ops-agent REFUND_ORDER awaiting human",
  ]);

  stage.ending(first + 2, "Approval granted: the same call runs");
  const granted = await actors.reviewed(String(held.body.approval_id), "grant", "verified with customer");
  const done = await actors.execute("ord_002", "REFUND_ORDER", 999, String(held.body.approval_id));
  stage.expect("executed", done.status === 200 && done.body.result?.state === "REFUNDED");
  await shows(actors, stage, "ord_002", granted, [
    "approval_granted olivia REFUND_ORDER granted",
    "action_executed ops-agent REFUND_ORDER",
    "event_ingested ops-agent ORDER_REFUNDED",
    "state_changed ops-agent PAID → REFUNDED",
  ]);

  stage.ending(first + 3, "Approval denied: it never runs, however often it is tried");
  await actors.happens("ORDER_PLACED", "ord_004", { total: 999 });
  await actors.happens("ORDER_PAID", "ord_004", { amount: 999 });
  const disputed = await actors.execute("ord_004", "REFUND_ORDER", 999);
  const calls = payments.calls();
  const denied = await actors.reviewed(String(disputed.body.approval_id), "deny", "order disputed");
  await shows(actors, stage, "ord_004", denied, [
    "approval_denied olivia REFUND_ORDER denied",
    "action_blocked ops-agent REFUND_ORDER not executed",
  ]);
  const retried = await actors.execute("ord_004", "REFUND_ORDER", 999);
  stage.expect("the retry is refused, and nobody is called", retried.status === 422 && payments.calls() === calls);

  stage.ending(first + 4, "Unpaid order: the state stops it before anything runs");
  const placed = await actors.happens("ORDER_PLACED", "ord_003", { total: 49 });
  const unpaid = await actors.execute("ord_003", "AUTO_REFUND", 49);
  stage.expect("422, state not allowed", is422(unpaid, "state not allowed"));
  const { current_state, allowed_states } = unpaid.body;
  stage.expect("it is CREATED, and would have to be PAID", `${current_state} ${allowed_states}` === "CREATED PAID");
  await shows(actors, stage, "ord_003", placed, [
    "event_ingested stripe ORDER_PLACED",
    "state_changed stripe CREATED",
    "decision_recorded ops-agent propose AUTO_REFUND",
    "action_blocked ops-agent state_not_allowed",
  ]);
  stage.expect("the executor was called for two of five", payments.calls() === 2);
}

function is422(
  { status, body }: { readonly status: number; readonly body: { readonly error?: unknown } },
  error: string,
) {
  return status === 422 && body.error === error;
}

/** The order's timeline since a moment, row for row. */
async function shows(
  actors: Actors,
  stage: Stage,
  order: string,
  since: string,
  rows: readonly string[],
): Promise<void> {
  const { shown, isRebuilt } = await actors.timeline(order, since);
  stage.expect(`its timeline has these ${rows.length} records`, shown.join("\n") === rows.join("\n"));
  stage.expect("its events alone give the same state", isRebuilt);
}
