/**
 * The states of an approval and every way from one to the next, as pure functions. The embedded store runs them; the
 * Redis scripts say the same in Lua, and one conformance suite holds both to it.
 *
 *   pending ──grant (quorum)──▶ granted ──last use──▶ exhausted
 *      │  └──deny──▶ denied        └──cancel──▶ cancelled
 *      └──cancel──▶ cancelled    pending, granted ──deadline──▶ expired
 *
 * INVARIANT: nothing leads out of denied, expired, cancelled or exhausted, and nothing but a grant leads to granted.
 */
import type { Approval, ApprovalStatus, OpenApproval, Review, ReviewApproval } from "./ports.ts";

const OPEN_STATUSES: ReadonlySet<ApprovalStatus> = new Set(["pending", "granted"]);

export function isOpen(status: ApprovalStatus): boolean {
  return OPEN_STATUSES.has(status);
}

/** At the deadline it is over: a grant that arrives in that very millisecond is late. */
export function isOverdue(approval: Approval, nowMs: number): boolean {
  return isOpen(approval.status) && approval.expiresAtMs <= nowMs;
}

/**
 * The approval as it must be read at `nowMs`. An overdue one already shows the version that recording its expiry will
 * give it, so that a long-poll on the version ends at the deadline and not at the next sweep.
 */
export function approvalAt(approval: Approval, nowMs: number): Approval {
  return isOverdue(approval, nowMs) ? expiredApproval(approval) : approval;
}

export function expiredApproval(approval: Approval): Approval {
  return { ...approval, status: "expired", version: approval.version + 1 };
}

/** Whether the newest approval of a scope still answers for it (`approval` as of now, see approvalAt). */
export function speaksForScope(approval: Approval): boolean {
  if (approval.status === "granted") return approval.usesLeft > 0;
  return approval.status === "pending" || approval.status === "denied";
}

export function openedApproval(request: OpenApproval, id: string, nowMs: number): Approval {
  const { tenant, scopeDigest, bindingDigest, argumentDigest, rule, subject } = request;
  return {
    id,
    tenant,
    status: "pending",
    scopeDigest,
    bindingDigest,
    argumentDigest,
    rule,
    reviews: [],
    usesLeft: rule.uses,
    createdAtMs: nowMs,
    expiresAtMs: nowMs + millisecondsOf(rule.ttlSeconds),
    version: 1,
    subject,
  };
}

/** Whole milliseconds, rounded down: a fraction never lengthens a deadline. */
export function millisecondsOf(seconds: number): number {
  return Math.floor(seconds * 1000);
}

/**
 * Ids of those whose grant stands. A grant given to another binding than the one before it (an edit) drops what was
 * given until then; going back to an earlier binding does not revive its grants.
 */
export function granters(reviews: readonly Review[]): ReadonlySet<string> {
  const standing = new Set<string>();
  let binding: string | undefined;
  for (const review of reviews) {
    if (review.verdict !== "grant") continue;
    if (binding !== review.bindingDigest) standing.clear();
    binding = review.bindingDigest;
    standing.add(review.reviewer.id);
  }
  return standing;
}

export type ReviewTransition =
  | { readonly kind: "reviewed"; readonly approval: Approval }
  | { readonly kind: "not_pending"; readonly approval: Approval }
  | { readonly kind: "already_reviewed"; readonly approval: Approval }
  | { readonly kind: "version_changed"; readonly approval: Approval }
  | { readonly kind: "too_many_edits" };

/** `stored` as it is recorded; `editsMax` bounds what reviewers editing in turn can make of one record. */
export function reviewTransition(
  stored: Approval,
  request: ReviewApproval,
  at: { readonly nowMs: number; readonly editsMax: number },
): ReviewTransition {
  const approval = approvalAt(stored, at.nowMs);
  const isPossible = request.verdict === "cancel" ? isOpen(approval.status) : approval.status === "pending";
  if (!isPossible) return { kind: "not_pending", approval };
  const edit = request.verdict === "grant" ? request.edit : undefined;
  const isRebound = edit !== undefined && edit.bindingDigest !== approval.bindingDigest;
  if (request.verdict === "grant" && !isRebound && hasGranted(approval, request.reviewer.id)) {
    return { kind: "already_reviewed", approval };
  }
  if (request.expectedVersion !== approval.version) return { kind: "version_changed", approval };
  if (edit !== undefined && approval.reviews.length >= at.editsMax) return { kind: "too_many_edits" };
  return { kind: "reviewed", approval: reviewedApproval(approval, request, at.nowMs) };
}

/** The standing grants of a pending approval all carry its binding; an edit that fell short of a quorum left them so. */
function hasGranted(approval: Approval, reviewerId: string): boolean {
  return granters(approval.reviews).has(reviewerId);
}

function reviewedApproval(approval: Approval, request: ReviewApproval, nowMs: number): Approval {
  const edit = request.verdict === "grant" ? request.edit : undefined;
  const bindingDigest = edit?.bindingDigest ?? approval.bindingDigest;
  const review: Review = {
    reviewer: request.reviewer,
    verdict: request.verdict,
    reason: request.reason,
    atMs: nowMs,
    bindingDigest,
  };
  const next: Approval = {
    ...approval,
    bindingDigest,
    argumentDigest: edit?.argumentDigest ?? approval.argumentDigest,
    subject: edit?.subject ?? approval.subject,
    reviews: [...approval.reviews, review],
    version: approval.version + 1,
  };
  switch (request.verdict) {
    case "deny":
      return { ...next, status: "denied" };
    case "cancel":
      return { ...next, status: "cancelled" };
    case "grant":
      return granters(next.reviews).size < approval.rule.quorum ? next : grantedApproval(next, nowMs);
  }
}

function grantedApproval(approval: Approval, nowMs: number): Approval {
  return { ...approval, status: "granted", expiresAtMs: nowMs + millisecondsOf(approval.rule.grantTtlSeconds) };
}

/** One use of a granted approval, or undefined where it gives none at `nowMs`. */
export function usedApproval(stored: Approval, nowMs: number): Approval | undefined {
  const approval = approvalAt(stored, nowMs);
  if (approval.status !== "granted" || approval.usesLeft < 1) return undefined;
  const usesLeft = approval.usesLeft - 1;
  return { ...approval, usesLeft, status: usesLeft === 0 ? "exhausted" : "granted", version: approval.version + 1 };
}
