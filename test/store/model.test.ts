/** No order of operations consumes more than was allowed or grants what was over. Both stores against one small model. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  approvalAt,
  expiredApproval,
  isOverdue,
  openedApproval,
  reviewTransition,
  speaksForScope,
  usedApproval,
} from "../../src/core/approval-state.ts";
import type { Approval, PermitRecord, Store } from "../../src/core/ports.ts";
import type { Harness } from "./conformance.ts";
import { embeddedHarness, redisHarness } from "./harnesses.ts";
import { anOpening, aPermit, aReview, aUse, digestOf, freshTenant, RULE, reviewer, SUBJECT } from "./samples.ts";

const scope = fc.constantFrom("a", "b");
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("open" as const),
      scope,
      quorum: fc.integer({ min: 1, max: 2 }),
      uses: fc.integer({ min: 1, max: 2 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("review" as const),
      scope,
      by: fc.constantFrom("bob", "carol", "dave"),
      verdict: fc.constantFrom(
        "grant" as const,
        "grant" as const,
        "grant" as const,
        "deny" as const,
        "cancel" as const,
      ),
      edit: fc.option(fc.constantFrom("e1", "e2", "binding"), { freq: 4 }),
      stale: fc.integer({ min: 0, max: 9 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("issue" as const), scope, uses: fc.integer({ min: 1, max: 2 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("consume" as const),
      which: fc.nat({ max: 5 }),
      racers: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(400_000, 1_000_000, 1_600_000) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("sweep" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Time in the model moves by `pass` alone; deadlines are far enough apart for the real seconds not to matter. */
class Model {
  nowMs = 0;
  readonly approvals = new Map<string, Approval>();
  readonly newest = new Map<string, string>();
  readonly permits: { record: PermitRecord; left: number; endsAtMs: number }[] = [];
  readonly allowed = new Map<string, number>();
  readonly used = new Map<string, number>();

  of(name: string): Approval | undefined {
    const id = this.newest.get(name);
    const stored = id === undefined ? undefined : this.approvals.get(id);
    return stored === undefined ? undefined : approvalAt(stored, this.nowMs);
  }
}

async function play(store: Store, harness: Harness, steps: readonly Step[]): Promise<void> {
  const tenant = freshTenant();
  const model = new Model();
  for (const one of steps) {
    await take(store, harness, model, tenant, one);
    for (const [id, stored] of model.approvals) {
      const real = (await store.readApproval(tenant, id))!;
      const wanted = approvalAt(stored, model.nowMs);
      expect({
        id,
        status: real.status,
        version: real.version,
        usesLeft: real.usesLeft,
        binding: real.bindingDigest,
        reviews: real.reviews.length,
      }).toEqual({
        id,
        status: wanted.status,
        version: wanted.version,
        usesLeft: wanted.usesLeft,
        binding: wanted.bindingDigest,
        reviews: wanted.reviews.length,
      });
      expect(model.used.get(id) ?? 0).toBeLessThanOrEqual(stored.rule.uses);
    }
  }
}

async function take(store: Store, harness: Harness, model: Model, tenant: string, one: Step): Promise<void> {
  switch (one.do) {
    case "open": {
      const request = anOpening(tenant, one.scope, { rule: { ...RULE, quorum: one.quorum, uses: one.uses } });
      const result = await store.openApproval(request);
      const newest = model.of(one.scope);
      if (newest !== undefined && speaksForScope(newest)) {
        expect(result).toMatchObject({ kind: "existing", approval: { id: newest.id, status: newest.status } });
        return;
      }
      expect(result.kind).toBe("opened");
      const { id } = (result as { approval: Approval }).approval;
      model.approvals.set(id, openedApproval(request, id, model.nowMs));
      model.newest.set(one.scope, id);
      return;
    }
    case "review": {
      const current = model.of(one.scope);
      if (current === undefined) return;
      const edit =
        one.verdict !== "grant" || one.edit === null
          ? undefined
          : { bindingDigest: digestOf(one.edit), argumentDigest: digestOf("x"), subject: SUBJECT };
      const expectedVersion = one.stale === 0 ? current.version - 1 : current.version;
      const request = {
        ...aReview(current, { verdict: one.verdict, reviewer: reviewer(one.by), expectedVersion }),
        ...(edit === undefined ? {} : { edit }),
      };
      const wanted = reviewTransition(model.approvals.get(current.id)!, request, { nowMs: model.nowMs, editsMax: 4 });
      const result = await store
        .reviewApproval(request)
        .catch((error: { code?: string }) => ({ kind: error.code === "edit_refused" ? "too_many_edits" : "failed" }));
      expect(result.kind).toBe(wanted.kind);
      if (wanted.kind === "reviewed") model.approvals.set(current.id, wanted.approval);
      return;
    }
    case "issue": {
      const current = model.of(one.scope);
      if (current === undefined || model.permits.length > 5) return;
      const record = aPermit(tenant, current.id, { uses: one.uses, expiresAtMs: harness.nowMs() + 2_500_000 });
      expect(await store.issuePermit(record)).toBe(true);
      model.permits.push({ record, left: one.uses, endsAtMs: model.nowMs + 2_500_000 });
      return;
    }
    case "consume": {
      const permit = model.permits[one.which];
      if (permit === undefined) return;
      const results = await Promise.all(
        Array.from({ length: one.racers }, () => store.consumePermit(aUse(permit.record))),
      );
      const kinds = results.map((result) => result.kind).sort();
      const wanted = Array.from({ length: one.racers }, () => consumeModel(model, permit)).sort();
      expect(kinds).toEqual(wanted);
      return;
    }
    case "pass":
      await harness.passTime(one.ms);
      model.nowMs += one.ms;
      return;
    case "sweep": {
      const swept = await store.expireApprovals(tenant, 500);
      const overdue = [...model.approvals.values()].filter((approval) => isOverdue(approval, model.nowMs));
      expect(swept.map((row) => row.approval.id).sort()).toEqual(overdue.map((approval) => approval.id).sort());
      for (const approval of overdue) model.approvals.set(approval.id, expiredApproval(approval));
    }
  }
}

function consumeModel(model: Model, permit: Model["permits"][number]): string {
  if (permit.endsAtMs + 600_000 <= model.nowMs) return "unknown_permit";
  if (permit.left < 1) return "already_consumed";
  if (permit.endsAtMs <= model.nowMs) return "expired";
  const id = permit.record.approvalId!;
  const after = usedApproval(model.approvals.get(id)!, model.nowMs);
  if (after === undefined) return "approval_revoked";
  model.approvals.set(id, after);
  model.used.set(id, (model.used.get(id) ?? 0) + 1);
  permit.left -= 1;
  return "consumed";
}

describe.each([
  ["redis store", redisHarness],
  ["embedded store", embeddedHarness],
] as const)("%s", (_, start) => {
  let harness: Harness;
  let store: Store;
  beforeAll(async () => {
    harness = await start();
    store = await harness.open();
  });
  afterAll(async () => {
    await store.close();
    await harness.dispose();
  });

  it("agrees with the model in every order of operations", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), (steps) => play(store, harness, steps)),
      { seed: 20261120, numRuns: 150, endOnFailure: true },
    );
  });
});
