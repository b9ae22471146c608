import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  approvalAt,
  granters,
  isOverdue,
  millisecondsOf,
  openedApproval,
  reviewTransition,
  speaksForScope,
  usedApproval,
} from "../../src/core/approval-state.ts";
import type { Approval } from "../../src/core/ports.ts";
import { anOpening, aReview, digestOf, RULE, reviewer, SUBJECT } from "./samples.ts";

const pending = (rule = RULE): Approval => openedApproval(anOpening("t", "s", { rule }), "appr_00A", 1_000);
const at = (nowMs: number) => ({ nowMs, editsMax: 64 });

describe("approvalAt()", () => {
  it("lets an approval live until its deadline, and not in that millisecond", () => {
    const approval = pending();
    expect(approval.expiresAtMs).toBe(1_001_000);
    expect(approvalAt(approval, 1_000_999)).toBe(approval);
    expect(approvalAt(approval, 1_001_000)).toMatchObject({ status: "expired", version: 2 });
    expect(isOverdue({ ...approval, status: "denied" }, 9e12)).toBe(false);
  });
});

describe("reviewTransition()", () => {
  it("grants in the last millisecond and not after", () => {
    expect(reviewTransition(pending(), aReview(pending()), at(1_000_999))).toMatchObject({
      kind: "reviewed",
      approval: { status: "granted", expiresAtMs: 3_000_999 },
    });
    expect(reviewTransition(pending(), aReview(pending()), at(1_001_000))).toMatchObject({
      kind: "not_pending",
      approval: { status: "expired" },
    });
  });

  it("keeps every end an end, whatever is tried at whatever time", () => {
    const status = fc.constantFrom("denied" as const, "expired" as const, "cancelled" as const, "exhausted" as const);
    const verdict = fc.constantFrom("grant" as const, "deny" as const, "cancel" as const);
    fc.assert(
      fc.property(status, verdict, fc.nat({ max: 5_000_000 }), fc.boolean(), (ended, tried, nowMs, hasEdit) => {
        const approval: Approval = { ...pending(), status: ended };
        const edit = { bindingDigest: digestOf("e"), argumentDigest: digestOf("e"), subject: SUBJECT };
        const result = reviewTransition(
          approval,
          aReview(approval, { verdict: tried, ...(hasEdit ? { edit } : {}) }),
          at(nowMs),
        );
        expect(result).toEqual({ kind: "not_pending", approval });
        expect(usedApproval(approval, nowMs)).toBeUndefined();
      }),
      { seed: 7 },
    );
  });

  it("grants only when as many distinct reviewers as the quorum stand behind one binding", () => {
    const act = fc.record({ by: fc.constantFrom("a", "b", "c", "d"), edit: fc.option(fc.constantFrom("x", "y")) });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 4 }), fc.array(act, { maxLength: 20 }), (quorum, acts) => {
        let approval = pending({ ...RULE, quorum });
        for (const { by, edit } of acts) {
          const edited =
            edit === null
              ? undefined
              : { bindingDigest: digestOf(edit), argumentDigest: digestOf(edit), subject: SUBJECT };
          const request = {
            ...aReview(approval, { reviewer: reviewer(by) }),
            ...(edited === undefined ? {} : { edit: edited }),
          };
          const result = reviewTransition(approval, request, at(2_000));
          if (result.kind === "reviewed") approval = result.approval;
        }
        const standing: string[] = [];
        for (const review of approval.reviews.toReversed()) {
          if (review.bindingDigest !== approval.bindingDigest) break;
          standing.push(review.reviewer.id);
        }
        expect(approval.status === "granted").toBe(new Set(standing).size >= quorum);
        expect(granters(approval.reviews).size).toBe(new Set(standing).size);
      }),
      { seed: 11, numRuns: 500 },
    );
  });
});

describe("usedApproval()", () => {
  it("counts down to exhausted, and gives nothing at the deadline", () => {
    const approval: Approval = { ...pending({ ...RULE, uses: 2 }), status: "granted" };
    const once = usedApproval(approval, 2_000)!;
    expect(once).toMatchObject({ status: "granted", usesLeft: 1, version: 2 });
    expect(speaksForScope(once)).toBe(true);
    const twice = usedApproval(once, 2_000)!;
    expect(twice).toMatchObject({ status: "exhausted", usesLeft: 0, version: 3 });
    expect(speaksForScope(twice)).toBe(false);
    expect(usedApproval(twice, 2_000)).toBeUndefined();
    expect(usedApproval(approval, approval.expiresAtMs)).toBeUndefined();
    expect(usedApproval(pending(), 2_000)).toBeUndefined();
  });
});

describe("millisecondsOf()", () => {
  it("never lengthens", () => expect([millisecondsOf(1.9999), millisecondsOf(0.001)]).toEqual([1_999, 1]));
});
