/**
 * Rows of a timeline: what an entry of the ledger says to somebody who reads what happened. By default in words of its own,
 * where one entry may be several rows or none; in full one row an entry, with the entry's own kind.
 */
import { granters } from "../core/approval-state.ts";
import { type EntryView, entityAt, listAt, objectAt, textAt } from "../core/entry-view.ts";
import type { Review } from "../core/ports.ts";
import type { Json, JsonObject } from "../core/types.ts";

/** What the default view may say. */
export const TIMELINE_KINDS = [
  "event_ingested",
  "event_refused",
  "state_changed",
  "decision_recorded",
  "action_validated",
  "action_rewritten",
  "action_blocked",
  "action_observed",
  "approval_required",
  "approval_reviewed",
  "approval_granted",
  "approval_denied",
  "approval_cancelled",
  "approval_expired",
  "action_executed",
  "action_failed",
  "freeze_set",
  "freeze_lifted",
] as const;

export interface TimelineRow {
  /** Of the entry. Rows of one entry share it. */
  readonly index: number;
  /** RFC 3339: when it was recorded, or, where that was only later, when it happened. */
  readonly time: string;
  readonly kind: string;
  /** Who did it; null for what happens by itself, and where the record does not say. */
  readonly actor: string | null;
  readonly summary: string;
  readonly trace_id: string | null;
  readonly decision_id?: string;
  readonly approval_id?: string;
  /** A crash had come between: the row stands later than it belongs. */
  readonly recovered?: true;
}

export interface IndexedView extends EntryView {
  readonly index: number;
}

/** Who proposed what an execution ran, which its own entry does not say. */
export type ProposerOf = (entry: IndexedView) => string | null;

type Said = readonly [kind: string, actor: string | null, summary: string];

interface Told {
  readonly rows: readonly Said[];
  readonly decisionId?: string | undefined;
  readonly approvalId?: string | undefined;
}

const NOTHING: Told = { rows: [] };

/** In the vocabulary of TIMELINE_KINDS; none for what only prepares or repeats another row. */
export function summaryRows(entry: IndexedView, proposerOf: ProposerOf): readonly TimelineRow[] {
  const teller = TELLERS.get(entry.kind);
  return teller === undefined ? [] : rowsOf(entry, teller(entry, proposerOf));
}

/** One row, whatever the kind. */
export function fullRows(entry: IndexedView, proposerOf: ProposerOf): readonly TimelineRow[] {
  const { decisionId, approvalId } = (TELLERS.get(entry.kind) ?? (() => NOTHING))(entry, proposerOf);
  const [actor, summary] = (DETAILS.get(entry.kind) ?? anyDetail)(entry, proposerOf);
  return rowsOf(entry, { rows: [[entry.kind, actor, summary]], decisionId, approvalId });
}

function rowsOf(entry: IndexedView, { rows, decisionId, approvalId }: Told): readonly TimelineRow[] {
  const { index, data, traceId } = entry;
  const isRecovered = data.recovered === true;
  const time = (isRecovered ? textAt(data, "at") : undefined) ?? entry.time;
  return rows.map(([kind, actor, summary]) => ({
    index,
    time,
    kind,
    actor,
    summary,
    trace_id: traceId ?? null,
    ...(decisionId === undefined ? {} : { decision_id: decisionId }),
    ...(approvalId === undefined ? {} : { approval_id: approvalId }),
    ...(isRecovered ? { recovered: true as const } : {}),
  }));
}

type Teller = (entry: IndexedView, proposerOf: ProposerOf) => Told;

const TELLERS: ReadonlyMap<string, Teller> = new Map<string, Teller>([
  ["decision", tellDecision],
  ["approval_opened", (entry) => ({ ...idsOf(approvalIn(entry)), rows: [] })],
  ["approval_reviewed", tellReview],
  ["approval_expired", tellExpiry],
  ["permit_consumed", ({ data, payload }) => ({ ...consumptionIds(data, payload), rows: [] })],
  ["permit_refused", tellRefusal],
  ["execution_reported", tellExecution],
  ["execution_unknown", tellUnknown],
  ["event_ingested", tellEvent],
  ["state_changed", tellChange],
  ["freeze_set", tellFreeze],
  ["freeze_lifted", tellFreeze],
]);

// ----------------------------------------------------------------------------------------------------- decisions

interface Decided {
  readonly action: string;
  readonly actor: string | null;
  readonly outcome: string;
  /** What policy said, where observe mode answered. */
  readonly observed: string | undefined;
  /** The first reason's. */
  readonly code: string | undefined;
  readonly approvalStatus: string | undefined;
}

function decidedIn({ body }: IndexedView): Decided {
  const decision = objectAt(body, "decision");
  return {
    action: textAt(decision, "action", "name") ?? "",
    actor: textAt(body, "input", "actor", "id") ?? null,
    outcome: textAt(decision, "outcome") ?? "",
    observed: textAt(decision, "observed_outcome"),
    code: textAt(listAt(decision, "reasons")[0], "code"),
    approvalStatus: textAt(decision, "approval", "status"),
  };
}

function tellDecision(entry: IndexedView): Told {
  const decision = objectAt(entry.body, "decision");
  const decided = decidedIn(entry);
  const ids = { decisionId: textAt(decision, "decision_id"), approvalId: textAt(decision, "approval", "id") };
  // The grant has its row, and so has what was done with it.
  const citesGrant = decided.approvalStatus === "granted" && decided.outcome === "allow";
  if (citesGrant && decided.observed === undefined) return { ...ids, rows: [] };
  const risk = textAt(decision, "risk");
  const isRisky = risk === "high" || risk === "critical";
  const proposed = `propose ${decided.action}${isRisky ? ` (${risk})` : ""}`;
  return { ...ids, rows: [["decision_recorded", decided.actor, proposed], ...outcomeOf(decided)] };
}

function outcomeOf(decided: Decided): readonly Said[] {
  const { action, actor, outcome, observed, code } = decided;
  if (observed !== undefined && observed !== "allow") {
    const why = code === undefined ? "" : `: ${code}`;
    return [["action_observed", actor, `${action} let pass, policy says ${observed}${why}`]];
  }
  switch (outcome) {
    case "allow":
      return [["action_validated", actor, `${action} ✓`]];
    case "compute":
      return [["action_rewritten", actor, `${action} with arguments by policy`]];
    case "escalate":
      return [["approval_required", actor, `${action} awaiting human`]];
    case "deny":
      return [["action_blocked", actor, code ?? "denied"]];
    default:
      return [];
  }
}

function tellRefusal({ data }: IndexedView): Told {
  const code = textAt(data, "code") ?? "";
  const actor = textAt(data, "actor") ?? null;
  const action = textAt(data, "action") ?? "";
  if (textAt(data, "mode") !== "observe") return { rows: [["action_blocked", actor, `permit refused: ${code}`]] };
  return { rows: [["action_observed", actor, `${action} let pass, its permit does not hold: ${code}`]] };
}

// ----------------------------------------------------------------------------------------------------- approvals

interface ToldApproval {
  readonly id: string | undefined;
  readonly decisionId: string | undefined;
  readonly status: string;
  readonly action: string;
  readonly actor: string | null;
  readonly quorum: number;
  readonly reviews: readonly Review[];
}

/** As it is answered, or, in a fact that was left behind, as the store keeps it. */
function approvalIn({ data, payload }: IndexedView): ToldApproval {
  const kept = objectAt(payload, "approval");
  const shown = objectAt(data, "approval");
  const isKept = textAt(kept, "id") !== undefined;
  const of = isKept ? kept : shown;
  const subject = isKept ? objectAt(kept, "subject") : shown;
  const quorum = isKept ? objectAt(kept, "rule").quorum : shown.quorum;
  return {
    id: textAt(of, "id"),
    decisionId: textAt(subject, isKept ? "decisionId" : "decision_id"),
    status: textAt(of, "status") ?? "",
    action: (isKept ? textAt(subject, "action") : textAt(shown, "action", "name")) ?? "",
    actor: textAt(subject, "actor", "id") ?? null,
    quorum: typeof quorum === "number" ? quorum : 1,
    reviews: listAt(of, "reviews").map((review) => reviewIn(review, isKept ? "bindingDigest" : "binding_digest")),
  };
}

/** As much of it as is read here. */
function reviewIn(review: Json, digestName: string): Review {
  return {
    reviewer: { id: textAt(review, "reviewer", "id") ?? "" },
    verdict: textAt(review, "verdict") ?? "",
    bindingDigest: textAt(review, digestName) ?? "",
  } as unknown as Review;
}

const idsOf = ({ id, decisionId }: ToldApproval) => ({ approvalId: id, decisionId });

function tellReview(entry: IndexedView): Told {
  const approval = approvalIn(entry);
  const last = approval.reviews.at(-1);
  return last === undefined ? NOTHING : { ...idsOf(approval), rows: verdictOf(approval, last) };
}

function verdictOf({ action, actor, status, quorum, reviews }: ToldApproval, last: Review): readonly Said[] {
  const reviewer = last.reviewer.id;
  switch (last.verdict) {
    case "grant":
      if (status !== "pending") return [["approval_granted", reviewer, `${action} granted`]];
      return [["approval_reviewed", reviewer, `${action} granted by ${granters(reviews).size} of ${quorum}`]];
    case "deny":
      return [
        ["approval_denied", reviewer, `${action} denied`],
        ["action_blocked", actor, `${action} not executed`],
      ];
    case "cancel":
      return [["approval_cancelled", reviewer, `${action} cancelled`]];
    default:
      return [];
  }
}

function tellExpiry(entry: IndexedView): Told {
  const approval = approvalIn(entry);
  return { ...idsOf(approval), rows: [["approval_expired", null, `${approval.action} expired`]] };
}

// ---------------------------------------------------------------------------------------------------- executions

function executionIn({ data, payload }: IndexedView) {
  const kept = objectAt(payload, "execution");
  return {
    action: textAt(data, "action") ?? textAt(kept, "action") ?? "",
    status: textAt(data, "status") ?? textAt(kept, "status") ?? "",
    decisionId: textAt(data, "decision_id") ?? textAt(kept, "decisionId"),
    /** An operator who said it in place of whoever ran it. */
    resolvedBy: textAt(data, "resolved", "by"),
  };
}

function tellExecution(entry: IndexedView, proposerOf: ProposerOf): Told {
  const { action, status, decisionId, resolvedBy } = executionIn(entry);
  const kind = status === "succeeded" ? "action_executed" : "action_failed";
  const reason = textAt(entry.data, "reason");
  const why = reason === undefined ? "" : `: ${reason}`;
  const summary = resolvedBy === undefined ? `${action}${why}` : `${action} (as ${resolvedBy} says)`;
  return { decisionId, rows: [[kind, proposerOf(entry), summary]] };
}

function tellUnknown({ data }: IndexedView): Told {
  const decisionId = textAt(data, "decision_id");
  return { decisionId, rows: [["action_unknown", textAt(data, "actor") ?? null, unknownText(data)]] };
}

function unknownText(data: Json | undefined): string {
  return `${textAt(data, "action")}, outcome unknown: ${textAt(data, "reason")}`;
}

function consumptionIds(data: JsonObject, payload: JsonObject) {
  return {
    decisionId: textAt(data, "decision_id") ?? textAt(payload, "execution", "decisionId"),
    approvalId: textAt(data, "approval_id") ?? textAt(payload, "approvalId"),
  };
}

// ------------------------------------------------------------------------------------------------ events, freezes

function eventActor(of: Json | undefined): string | null {
  return textAt(of, "actor", "id") ?? textAt(of, "actor") ?? textAt(of, "source") ?? null;
}

function tellEvent({ data }: IndexedView): Told {
  const event = objectAt(data, "event");
  const actor = eventActor(event);
  const came: Said = ["event_ingested", actor, textAt(event, "type") ?? ""];
  if (data.applied !== false) return { rows: [came] };
  const from = textAt(data, "from");
  const why = from === undefined ? "no transition without a state" : `no transition from ${from}`;
  return { rows: [came, ["event_refused", actor, why]] };
}

function tellChange({ data }: IndexedView): Told {
  return { rows: [["state_changed", eventActor(data), moveText(data)]] };
}

function moveText(data: JsonObject): string {
  const from = textAt(data, "from");
  const to = textAt(data, "to") ?? "";
  return from === undefined ? to : `${from} → ${to}`;
}

function freezeIn({ data, payload }: IndexedView) {
  const isKept = textAt(payload, "freeze", "id") !== undefined;
  const of = isKept ? payload : data;
  const freeze = objectAt(of, "freeze");
  const kind = textAt(freeze, "kind") ?? "";
  return {
    /** `tenant`, or `order/ord_1` of an entity, an action's name, an actor's id. */
    what: kind === "tenant" ? "tenant" : `${kind} ${textAt(freeze, "subject") ?? ""}`,
    set: { by: textAt(freeze, "by") ?? null, reason: textAt(freeze, "reason") ?? "" },
    lifted: { by: textAt(of, "by") ?? null, reason: textAt(of, "reason") ?? "" },
  };
}

function tellFreeze(entry: IndexedView): Told {
  const { what, set, lifted } = freezeIn(entry);
  const { by, reason } = entry.kind === "freeze_set" ? set : lifted;
  const verb = entry.kind === "freeze_set" ? "frozen" : "lifted";
  return { rows: [[entry.kind, by, `${what} ${verb}${reason === "" ? "" : `: ${reason}`}`]] };
}

// -------------------------------------------------------------------------------------------------------- in full

type Detail = (entry: IndexedView, proposerOf: ProposerOf) => readonly [actor: string | null, summary: string];

const DETAILS: ReadonlyMap<string, Detail> = new Map<string, Detail>([
  ["decision", decisionDetail],
  ["approval_opened", approvalDetail],
  ["approval_reviewed", approvalDetail],
  ["approval_expired", approvalDetail],
  ["permit_consumed", consumptionDetail],
  [
    "permit_refused",
    ({ data }) => [textAt(data, "actor") ?? null, `${textAt(data, "action")} ${textAt(data, "code")}`],
  ],
  ["execution_reported", executionDetail],
  ["execution_unknown", ({ data }) => [textAt(data, "actor") ?? null, unknownText(data)]],
  ["event_ingested", eventDetail],
  ["state_changed", ({ data }) => [eventActor(data), moveText(data)]],
  ["freeze_set", freezeDetail],
  ["freeze_lifted", freezeDetail],
]);

function anyDetail(): readonly [null, string] {
  return [null, ""];
}

function decisionDetail(entry: IndexedView): readonly [string | null, string] {
  const { action, actor, outcome, observed, code, approvalStatus } = decidedIn(entry);
  const seen = observed === undefined ? "" : ` (observed ${observed})`;
  const why = code === undefined ? "" : `: ${code}`;
  const approval = approvalStatus === undefined ? "" : `, approval ${approvalStatus}`;
  return [actor, `${action} ${outcome}${seen}${why}${approval}`];
}

function approvalDetail(entry: IndexedView): readonly [string | null, string] {
  const { action, actor, status, reviews } = approvalIn(entry);
  const last = entry.kind === "approval_reviewed" ? reviews.at(-1) : undefined;
  const who = entry.kind === "approval_opened" ? actor : (last?.reviewer.id ?? null);
  return [who, `${action} ${status}${last === undefined ? "" : ` (${last.verdict})`}`];
}

function consumptionDetail(entry: IndexedView, proposerOf: ProposerOf): readonly [string | null, string] {
  const { data, payload } = entry;
  const action = textAt(data, "action") ?? textAt(payload, "execution", "action") ?? "";
  const left = data.uses_left ?? payload.usesLeft;
  const uses = typeof left === "number" ? `, ${left} uses left` : "";
  return [textAt(data, "actor") ?? proposerOf(entry), `${action} permit used${uses}`];
}

function executionDetail(entry: IndexedView, proposerOf: ProposerOf): readonly [string | null, string] {
  const { action, status, resolvedBy } = executionIn(entry);
  return [proposerOf(entry), `${action} ${status}${resolvedBy === undefined ? "" : ` (as ${resolvedBy} says)`}`];
}

function eventDetail({ data }: IndexedView): readonly [string | null, string] {
  const event = objectAt(data, "event");
  const entity = entityAt(event, "entity");
  const of = entity === undefined ? "" : ` of ${entity.type}/${entity.id}`;
  return [eventActor(event), `${textAt(event, "type")}${of}${data.applied === false ? ", refused" : ""}`];
}

function freezeDetail(entry: IndexedView): readonly [string | null, string] {
  const [said] = tellFreeze(entry).rows;
  return [said![1], said![2]];
}
