/** What every store must do, from the comments in core/ports.ts. Run over both adapters. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ConflictError, IntegrityError, InvalidRequestError, UnavailableError } from "../../src/core/errors.ts";
import { partitionOfId } from "../../src/core/partition.ts";
import type { Approval, ApprovalStatus, OpenApproval, PermitRecord, Store } from "../../src/core/ports.ts";
import type { StoreOptions } from "../../src/store/store-options.ts";
import {
  anOpening,
  aPermit as aPermitAt,
  aReview,
  aUse,
  digestOf,
  freshTenant,
  HOSTILE_IDS,
  HOSTILE_TENANTS,
  RULE,
  reviewer,
  SUBJECT,
} from "./samples.ts";

export interface Harness {
  /** Another store over the same data: as from another sidecar. */
  open(options?: Partial<StoreOptions>): Promise<Store>;
  /** As if everything that is stored had been written that much earlier. */
  passTime(ms: number): Promise<void>;
  /** The clock that the store goes by, near enough. */
  nowMs(): number;
  /** Writes something that is not a record where this one is kept. */
  corrupt(kind: "approval" | "permit", tenant: string, id: string): Promise<void>;
  dispose(): Promise<void>;
}

export const TEST_OPTIONS: Partial<StoreOptions> = {
  retentionSeconds: 100_000,
  factLeaseMs: 50_000,
  rereadMs: 100,
  editsMax: 4,
};

export async function opened(store: Store, request: OpenApproval): Promise<Approval> {
  const result = await store.openApproval(request);
  if (result.kind !== "opened") throw new Error(`not opened: ${result.kind}`);
  return result.approval;
}

export async function granted(store: Store, request: OpenApproval): Promise<Approval> {
  const result = await store.reviewApproval(aReview(await opened(store, request)));
  if (result.kind !== "reviewed") throw new Error(`not granted: ${result.kind}`);
  return result.approval;
}

export async function issued(store: Store, permit: PermitRecord): Promise<PermitRecord> {
  expect(await store.issuePermit(permit)).toBe(true);
  return permit;
}

export function conformance(name: string, startHarness: () => Promise<Harness>): void {
  describe(name, () => {
    let harness: Harness;
    let store: Store;
    let other: Store;
    const aPermit = (tenant: string, approvalId?: string, more: Partial<PermitRecord> = {}): PermitRecord =>
      aPermitAt(tenant, approvalId, { expiresAtMs: harness.nowMs() + 600_000, ...more });

    beforeAll(async () => {
      harness = await startHarness();
      store = await harness.open();
      other = await harness.open();
    });
    afterAll(async () => {
      await store.close();
      await other.close();
      await harness.dispose();
    });

    describe("openApproval()", () => {
      it("opens one and gives back exactly what was put in", async () => {
        const tenant = freshTenant();
        const request = anOpening(tenant);
        const result = await store.openApproval(request);
        expect(result).toMatchObject({ kind: "opened", factId: expect.any(String) });
        const approval = (result as { approval: Approval }).approval;
        expect(approval).toEqual({
          id: approval.id,
          tenant,
          status: "pending",
          scopeDigest: request.scopeDigest,
          bindingDigest: request.bindingDigest,
          argumentDigest: request.argumentDigest,
          rule: RULE,
          reviews: [],
          usesLeft: 1,
          createdAtMs: approval.createdAtMs,
          expiresAtMs: approval.createdAtMs + 1_000_000,
          version: 1,
          subject: SUBJECT,
        });
        expect(JSON.stringify(approval.subject)).toBe(JSON.stringify(SUBJECT));
        expect(approval.id).toMatch(/^appr_10[0-9A-Z]{26}$/);
        expect(await other.readApproval(tenant, approval.id)).toEqual(approval);
        expect(await other.findApproval(tenant, request.scopeDigest)).toEqual(approval);
      });

      it("gives the existing one while it is pending, granted or denied", async () => {
        const tenant = freshTenant();
        const pending = await opened(store, anOpening(tenant));
        expect(await other.openApproval(anOpening(tenant))).toEqual({ kind: "existing", approval: pending });
        const { approval: grantedOne } = (await store.reviewApproval(aReview(pending))) as { approval: Approval };
        expect(await other.openApproval(anOpening(tenant))).toEqual({ kind: "existing", approval: grantedOne });
        const next = await opened(store, anOpening(tenant, "two"));
        await store.reviewApproval(aReview(next, { verdict: "deny" }));
        expect(await other.openApproval(anOpening(tenant, "two"))).toMatchObject({
          kind: "existing",
          approval: { id: next.id, status: "denied" },
        });
      });

      it("keeps a denial final past the denied approval's own deadline", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        await store.reviewApproval(aReview(approval, { verdict: "deny" }));
        await harness.passTime(5_000_000);
        await store.expireApprovals(tenant, 500);
        expect(await store.openApproval(anOpening(tenant))).toMatchObject({
          kind: "existing",
          approval: { status: "denied" },
        });
      });

      it("opens anew after expired (recorded or not), cancelled and exhausted ones", async () => {
        const tenant = freshTenant();
        const first = await opened(store, anOpening(tenant));
        await harness.passTime(1_000_000);
        const second = await opened(store, anOpening(tenant));
        await harness.passTime(1_000_000);
        expect(await store.expireApprovals(tenant, 10)).toHaveLength(2);
        const third = await opened(store, anOpening(tenant));
        await store.reviewApproval(aReview(third, { verdict: "cancel" }));
        const fourth = await granted(store, anOpening(tenant));
        const permit = await issued(store, aPermit(tenant, fourth.id));
        expect(await store.consumePermit(aUse(permit))).toMatchObject({ kind: "consumed" });
        const fifth = await opened(store, anOpening(tenant));
        expect(new Set([first.id, second.id, third.id, fourth.id, fifth.id]).size).toBe(5);
        expect(await store.findApproval(tenant, fifth.scopeDigest)).toMatchObject({ id: fifth.id, status: "pending" });
      });

      it("holds the limit of pending ones: the last one fits, the next is full, an overdue one makes room", async () => {
        const tenant = freshTenant();
        const scopes = ["one", "two", "three", "four"].map(digestOf);
        const at = (scopeDigest: OpenApproval["scopeDigest"]) => anOpening(tenant, "", { scopeDigest, pendingMax: 3 });
        for (const scope of scopes.slice(0, 3)) await opened(store, at(scope));
        expect(await store.openApproval(at(scopes[3]!))).toEqual({ kind: "full" });
        expect(await store.openApproval(at(scopes[0]!))).toMatchObject({ kind: "existing" });
        expect(await store.findApproval(tenant, scopes[3]!)).toBeUndefined();
        await harness.passTime(1_000_000);
        expect(await store.openApproval(at(scopes[3]!))).toMatchObject({ kind: "opened" });
        expect(await store.openApproval(anOpening(tenant, "none", { pendingMax: 0 }))).toEqual({ kind: "full" });
      });

      it("opens one approval for fifty parallel proposals of one scope", async () => {
        const tenant = freshTenant();
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) => (index % 2 ? store : other).openApproval(anOpening(tenant))),
        );
        expect(results.filter((result) => result.kind === "opened")).toHaveLength(1);
        expect(new Set(results.map((result) => (result as { approval: Approval }).approval.id)).size).toBe(1);
      });

      it("refuses what must not be stored", async () => {
        const tenant = freshTenant();
        const bad: OpenApproval[] = [
          ...HOSTILE_TENANTS.map((hostile) => anOpening(hostile)),
          anOpening(tenant, "", { scopeDigest: "sha256:}{" }),
          anOpening(tenant, "", { bindingDigest: "sha256:AA" as never }),
          anOpening(tenant, "", { rule: { ...RULE, quorum: 0 } }),
          anOpening(tenant, "", { rule: { ...RULE, uses: 0 } }),
          anOpening(tenant, "", { rule: { ...RULE, ttlSeconds: Number.NaN } }),
          anOpening(tenant, "", { rule: { ...RULE, grantTtlSeconds: Number.POSITIVE_INFINITY } }),
          anOpening(tenant, "", { subject: { ...SUBJECT, risk: "x".repeat(2 * 1024 * 1024) } }),
        ];
        for (const request of bad)
          await expect(store.openApproval(request)).rejects.toBeInstanceOf(InvalidRequestError);
      });
    });

    describe("readApproval()", () => {
      it("answers hostile ids, unknown ids and other tenants' ids alike", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        const stranger = freshTenant();
        for (const id of HOSTILE_IDS) expect(await store.readApproval(tenant, id)).toBeUndefined();
        for (const hostile of HOSTILE_TENANTS) expect(await store.readApproval(hostile, approval.id)).toBeUndefined();
        expect(await store.readApproval(stranger, approval.id)).toBeUndefined();
        expect(await store.findApproval(stranger, approval.scopeDigest)).toBeUndefined();
        expect(await store.findApproval(tenant, digestOf("never"))).toBeUndefined();
        expect(await store.findApproval(tenant, "sha256:}" as never)).toBeUndefined();
      });

      it("reads an overdue one as expired, with the version that its recording will have", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        await harness.passTime(1_000_000);
        const before = await store.readApproval(tenant, approval.id);
        expect(before).toMatchObject({ status: "expired", version: 2 });
        await store.expireApprovals(tenant, 10);
        expect(await store.readApproval(tenant, approval.id)).toEqual(before);
      });

      it("calls a corrupted record what it is", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        await harness.corrupt("approval", tenant, approval.id);
        await expect(store.readApproval(tenant, approval.id)).rejects.toBeInstanceOf(IntegrityError);
        await expect(store.reviewApproval(aReview(approval))).rejects.toBeInstanceOf(IntegrityError);
        await harness.passTime(1_000_000);
        const sound = await opened(store, anOpening(tenant, "sound"));
        await harness.passTime(1_000_000);
        const swept = await store.expireApprovals(tenant, 10);
        expect(swept.map((one) => one.approval.id)).toEqual([sound.id]);
      });
    });

    describe("reviewApproval()", () => {
      it("grants, and starts the grant's own validity", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        const result = await store.reviewApproval(aReview(approval, { reason: 'said "yes"\n' }));
        expect(result).toMatchObject({ kind: "reviewed", factId: `${approval.id}:2` });
        const after = (result as { approval: Approval }).approval;
        expect(after).toMatchObject({ status: "granted", version: 2, usesLeft: 1 });
        expect(after.reviews).toEqual([
          {
            reviewer: reviewer("bob"),
            verdict: "grant",
            reason: 'said "yes"\n',
            atMs: expect.any(Number),
            bindingDigest: approval.bindingDigest,
          },
        ]);
        expect(after.expiresAtMs).toBe(after.reviews[0]!.atMs + 2_000_000);
        expect(await other.readApproval(tenant, approval.id)).toEqual(after);
      });

      it("counts distinct reviewers towards a quorum", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant, "scope", { rule: { ...RULE, quorum: 2 } }));
        const first = await store.reviewApproval(aReview(approval));
        expect(first).toMatchObject({ kind: "reviewed", approval: { status: "pending", version: 2 } });
        const again = { ...approval, version: 2 };
        expect(await store.reviewApproval(aReview(again))).toMatchObject({
          kind: "already_reviewed",
          approval: { version: 2 },
        });
        expect(await store.reviewApproval(aReview(approval))).toMatchObject({ kind: "already_reviewed" });
        const stale = await store.reviewApproval(aReview(approval, { reviewer: reviewer("carol") }));
        expect(stale).toMatchObject({ kind: "version_changed", approval: { version: 2 } });
        const second = await store.reviewApproval(aReview(again, { reviewer: reviewer("carol") }));
        expect(second).toMatchObject({ kind: "reviewed", approval: { status: "granted", version: 3 } });
      });

      it("drops earlier grants with an edit, and does not revive them by editing back", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant, "scope", { rule: { ...RULE, quorum: 2 } }));
        await store.reviewApproval(aReview(approval));
        const subject = { ...SUBJECT, arguments: { amount: 1 } };
        const edit = { bindingDigest: digestOf("edited"), argumentDigest: digestOf("edited arguments"), subject };
        const edited = await store.reviewApproval(
          aReview({ ...approval, version: 2 }, { reviewer: reviewer("carol"), edit }),
        );
        expect(edited).toMatchObject({ kind: "reviewed", approval: { status: "pending", version: 3, ...edit } });
        const back = {
          bindingDigest: approval.bindingDigest,
          argumentDigest: approval.argumentDigest,
          subject: SUBJECT,
        };
        const reverted = await store.reviewApproval(
          aReview({ ...approval, version: 3 }, { reviewer: reviewer("dave"), edit: back }),
        );
        expect(reverted).toMatchObject({
          kind: "reviewed",
          approval: { status: "pending", bindingDigest: approval.bindingDigest },
        });
        const bob = await store.reviewApproval(aReview({ ...approval, version: 4 }));
        expect(bob).toMatchObject({ kind: "reviewed", approval: { status: "granted", version: 5 } });
      });

      it("lets the editor's own grant of another binding be edited, but not granted twice", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant, "scope", { rule: { ...RULE, quorum: 2 } }));
        const same = {
          bindingDigest: approval.bindingDigest,
          argumentDigest: approval.argumentDigest,
          subject: SUBJECT,
        };
        await store.reviewApproval(aReview(approval));
        expect(await store.reviewApproval(aReview({ ...approval, version: 2 }, { edit: same }))).toMatchObject({
          kind: "already_reviewed",
        });
        const edit = { ...same, bindingDigest: digestOf("edited") };
        expect(await store.reviewApproval(aReview({ ...approval, version: 2 }, { edit }))).toMatchObject({
          kind: "reviewed",
          approval: { status: "pending" },
        });
      });

      it("takes the last edit that fits and refuses one more", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant, "scope", { rule: { ...RULE, quorum: 9 } }));
        const edited = (version: number) =>
          aReview(
            { ...approval, version },
            { edit: { bindingDigest: digestOf(`e${version}`), argumentDigest: digestOf("e"), subject: SUBJECT } },
          );
        for (let version = 1; version <= 4; version += 1)
          expect(await store.reviewApproval(edited(version))).toMatchObject({ kind: "reviewed" });
        await expect(store.reviewApproval(edited(5))).rejects.toBeInstanceOf(ConflictError);
        expect(await store.reviewApproval(aReview({ ...approval, version: 5 }, { verdict: "deny" }))).toMatchObject({
          kind: "reviewed",
        });
      });

      it("denies and cancels for good", async () => {
        const tenant = freshTenant();
        for (const [verdict, status] of [
          ["deny", "denied"],
          ["cancel", "cancelled"],
        ] as const) {
          const approval = await opened(store, anOpening(tenant, verdict));
          expect(await store.reviewApproval(aReview(approval, { verdict }))).toMatchObject({
            kind: "reviewed",
            approval: { status, version: 2 },
          });
          for (const later of ["grant", "deny", "cancel"] as const) {
            const answer = await store.reviewApproval(
              aReview({ ...approval, version: 2 }, { verdict: later, reviewer: reviewer("carol") }),
            );
            expect(answer).toMatchObject({ kind: "not_pending", approval: { status } });
          }
        }
      });

      it("revokes a grant, and nothing else can be done to one", async () => {
        const tenant = freshTenant();
        const approval = await granted(store, anOpening(tenant));
        const permit = await issued(store, aPermit(tenant, approval.id));
        for (const verdict of ["grant", "deny"] as const) {
          const answer = await store.reviewApproval(aReview(approval, { verdict, reviewer: reviewer("carol") }));
          expect(answer).toMatchObject({ kind: "not_pending", approval: { status: "granted" } });
        }
        expect(await store.reviewApproval(aReview(approval, { verdict: "cancel" }))).toMatchObject({
          kind: "reviewed",
          approval: { status: "cancelled" },
        });
        expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "approval_revoked", status: "cancelled" });
        expect(await store.readPermit(tenant, permit.jti)).toMatchObject({ usesLeft: 1 });
      });

      it("never grants at or after the deadline", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        await harness.passTime(1_000_000);
        for (const version of [1, 2]) {
          expect(await store.reviewApproval(aReview({ ...approval, version }))).toMatchObject({
            kind: "not_pending",
            approval: { status: "expired" },
          });
        }
        expect(await store.readApproval(tenant, approval.id)).toMatchObject({ status: "expired", reviews: [] });
      });

      it("answers unknown, hostile and foreign ids alike, and refuses unknown verdicts", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        for (const id of HOSTILE_IDS)
          expect(await store.reviewApproval(aReview({ ...approval, id }))).toEqual({ kind: "not_found" });
        expect(await store.reviewApproval(aReview({ ...approval, tenant: freshTenant() }))).toEqual({
          kind: "not_found",
        });
        expect(await store.reviewApproval(aReview({ ...approval, tenant: "a}b" }))).toEqual({ kind: "not_found" });
        await expect(store.reviewApproval(aReview(approval, { verdict: "approve" as never }))).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
        await expect(store.reviewApproval(aReview(approval, { reviewer: reviewer("") }))).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
        expect(await store.readApproval(tenant, approval.id)).toEqual(approval);
      });

      it("lets one of fifty parallel reviews close a quorum, and none of them twice", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant, "scope", { rule: { ...RULE, quorum: 5 } }));
        const act = async (index: number): Promise<string> => {
          for (;;) {
            const now = (await other.readApproval(tenant, approval.id))!;
            const result = await (index % 2 ? store : other).reviewApproval(
              aReview(now, { reviewer: reviewer(`r${index % 25}`) }),
            );
            if (result.kind !== "version_changed") return result.kind;
          }
        };
        const kinds = await Promise.all(Array.from({ length: 50 }, (_, index) => act(index)));
        expect(kinds.filter((kind) => kind === "reviewed")).toHaveLength(5);
        const after = (await store.readApproval(tenant, approval.id))!;
        expect(after).toMatchObject({ status: "granted", version: 6 });
        expect(new Set(after.reviews.map((review) => review.reviewer.id)).size).toBe(5);
      });
    });

    describe("listApprovals()", () => {
      it("lists pending ones oldest first over all partitions, page by page", async () => {
        const tenant = freshTenant();
        const ids: string[] = [];
        for (let index = 0; index < 23; index += 1) {
          ids.push((await opened(store, anOpening(tenant, `s${index}`))).id);
          await harness.passTime(5);
        }
        const seen: string[] = [];
        const sizes: number[] = [];
        let cursor: string | undefined;
        do {
          const page = await other.listApprovals({
            tenant,
            status: "pending",
            limit: 10,
            ...(cursor === undefined ? {} : { cursor }),
          });
          seen.push(...page.approvals.map((approval) => approval.id));
          sizes.push(page.approvals.length);
          cursor = page.cursor;
        } while (cursor !== undefined);
        expect(seen).toEqual(ids);
        expect(sizes).toEqual([10, 10, 3]);
        expect((await store.listApprovals({ tenant, status: "pending", limit: 23 })).cursor).toBeUndefined();
        expect((await store.listApprovals({ tenant: freshTenant(), status: "pending", limit: 500 })).approvals).toEqual(
          [],
        );
      });

      it("lists every other status newest first, and each approval under one status", async () => {
        const tenant = freshTenant();
        const lists = async (status: ApprovalStatus) => {
          const page = await store.listApprovals({ tenant, status, limit: 500 });
          return page.approvals.map((approval) => approval.id);
        };
        const closed: string[] = [];
        for (let index = 0; index < 7; index += 1) {
          const approval = await opened(store, anOpening(tenant, `s${index}`));
          await store.reviewApproval(aReview(approval, { verdict: "deny" }));
          closed.unshift(approval.id);
          await harness.passTime(5);
        }
        const first = await store.listApprovals({ tenant, status: "denied", limit: 4 });
        const second = await store.listApprovals({ tenant, status: "denied", limit: 4, cursor: first.cursor! });
        expect([...first.approvals, ...second.approvals].map((approval) => approval.id)).toEqual(closed);
        const one = await granted(store, anOpening(tenant, "granted"));
        expect(await lists("granted")).toEqual([one.id]);
        expect(await lists("pending")).toEqual([]);
        await store.consumePermit(aUse(await issued(store, aPermit(tenant, one.id))));
        expect(await lists("granted")).toEqual([]);
        expect(await lists("exhausted")).toEqual([one.id]);
        const late = await opened(store, anOpening(tenant, "late"));
        await harness.passTime(1_000_000);
        expect(await lists("pending")).toEqual([]);
        await store.expireApprovals(tenant, 10);
        expect(await lists("expired")).toEqual([late.id]);
      });

      it("refuses limits past the edge and cursors that are not its own", async () => {
        const tenant = freshTenant();
        for (const limit of [0, 501, 1.5, -1]) {
          await expect(store.listApprovals({ tenant, status: "pending", limit })).rejects.toBeInstanceOf(
            InvalidRequestError,
          );
        }
        for (const cursor of [
          "",
          "x",
          "{}",
          Buffer.from("000000000000001:appr_}").toString("base64url"),
          "A".repeat(1_000),
        ]) {
          await expect(store.listApprovals({ tenant, status: "pending", limit: 1, cursor })).rejects.toBeInstanceOf(
            InvalidRequestError,
          );
        }
      });
    });

    describe("waitApproval()", () => {
      const waiting = (approval: Approval, more: object = {}) => ({
        tenant: approval.tenant,
        id: approval.id,
        version: approval.version,
        waitMs: 20_000,
        signal: new AbortController().signal,
        ...more,
      });

      it("resolves when another sidecar changes the approval", async () => {
        const approval = await opened(store, anOpening(freshTenant()));
        const waits = Array.from({ length: 20 }, () => store.waitApproval(waiting(approval)));
        await other.reviewApproval(aReview(approval));
        for (const result of await Promise.all(waits)) expect(result).toMatchObject({ status: "granted", version: 2 });
      });

      it("resolves at once for an older version, an unknown id, no waiting time or an aborted signal", async () => {
        const approval = await opened(store, anOpening(freshTenant()));
        expect(await store.waitApproval(waiting(approval, { version: 0 }))).toEqual(approval);
        expect(await store.waitApproval(waiting(approval, { waitMs: 0 }))).toEqual(approval);
        expect(await store.waitApproval(waiting(approval, { waitMs: 5 }))).toEqual(approval);
        expect(await store.waitApproval(waiting(approval, { signal: AbortSignal.abort() }))).toEqual(approval);
        expect(await store.waitApproval(waiting(approval, { id: "appr_00NONE" }))).toBeUndefined();
        expect(await store.waitApproval(waiting(approval, { tenant: freshTenant() }))).toBeUndefined();
      });

      it("ends when its signal aborts", async () => {
        const approval = await opened(store, anOpening(freshTenant()));
        const controller = new AbortController();
        const wait = store.waitApproval(waiting(approval, { signal: controller.signal }));
        controller.abort();
        expect(await wait).toEqual(approval);
      });

      it("ends when the approval expires or is used up", async () => {
        const tenant = freshTenant();
        const pending = await opened(store, anOpening(tenant));
        const wait = store.waitApproval(waiting(pending));
        await harness.passTime(1_000_000);
        expect(await wait).toMatchObject({ status: "expired", version: 2 });
        const approval = await granted(store, anOpening(tenant, "two"));
        const use = store.waitApproval(waiting(approval));
        await other.consumePermit(aUse(await issued(other, aPermit(tenant, approval.id))));
        expect(await use).toMatchObject({ status: "exhausted", version: 3 });
      });

      it("lets one tenant fill its own room alone", async () => {
        const bounded = await harness.open({ waitersMax: 10, waitersPerTenantMax: 2 });
        const [own, others] = [
          await opened(store, anOpening(freshTenant())),
          await opened(store, anOpening(freshTenant())),
        ];
        const controller = new AbortController();
        const wait = (of: typeof own) => bounded.waitApproval(waiting(of, { signal: controller.signal }));
        const waits = [wait(own), wait(own)];
        await expect(bounded.waitApproval(waiting(own))).rejects.toMatchObject({ code: "overloaded" });
        waits.push(wait(others), wait(others));
        controller.abort();
        await Promise.all(waits);
        expect(await bounded.waitApproval(waiting(own, { version: 0 }))).toEqual(own);
        await bounded.close();
      });

      it("lets the last waiter in and turns the next away", async () => {
        const bounded = await harness.open({ waitersMax: 2 });
        const approval = await opened(store, anOpening(freshTenant()));
        const controller = new AbortController();
        const waits = [1, 2].map(() => bounded.waitApproval(waiting(approval, { signal: controller.signal })));
        await expect(bounded.waitApproval(waiting(approval))).rejects.toMatchObject({ code: "overloaded" });
        controller.abort();
        await Promise.all(waits);
        expect(await bounded.waitApproval(waiting(approval, { version: 0 }))).toEqual(approval);
        const left = bounded.waitApproval(waiting(approval));
        const failed = expect(left).rejects.toBeInstanceOf(UnavailableError);
        await bounded.readApproval(approval.tenant, approval.id);
        await bounded.close();
        await failed;
      });
    });

    describe("expireApprovals()", () => {
      it("expires overdue pending and granted ones, at most `limit`, each once over all sidecars", async () => {
        const tenant = freshTenant();
        for (let index = 0; index < 7; index += 1) await opened(store, anOpening(tenant, `p${index}`));
        for (let index = 0; index < 3; index += 1) await granted(store, anOpening(tenant, `g${index}`));
        expect(await store.expireApprovals(tenant, 500)).toEqual([]);
        await harness.passTime(1_000_000);
        expect(await store.expireApprovals(tenant, 4)).toHaveLength(4);
        const rest = await Promise.all(
          Array.from({ length: 10 }, (_, index) => (index % 2 ? store : other).expireApprovals(tenant, 500)),
        );
        expect(rest.flat()).toHaveLength(3);
        await harness.passTime(1_000_000);
        const grants = await store.expireApprovals(tenant, 500);
        expect(grants).toHaveLength(3);
        for (const { approval, factId } of grants) {
          expect(approval).toMatchObject({ status: "expired", version: 3 });
          expect(factId).toBe(`${approval.id}:3`);
        }
        expect(await store.expireApprovals(tenant, 500)).toEqual([]);
      });

      it("forgets closed approvals and executions after the retention, not before", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        await store.reviewApproval(aReview(approval, { verdict: "deny" }));
        const permit = await issued(store, aPermit(tenant));
        await store.consumePermit(aUse(permit));
        await harness.passTime(99_000_000);
        await store.expireApprovals(tenant, 500);
        expect(await store.readApproval(tenant, approval.id)).toMatchObject({ status: "denied" });
        expect((await store.listUnknownExecutions(tenant, 10)).executions).toHaveLength(1);
        expect(await store.readPermit(tenant, permit.jti)).toBeUndefined();
        expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "unknown_permit" });
        await harness.passTime(2_000_000);
        await store.expireApprovals(tenant, 500);
        expect(await store.readApproval(tenant, approval.id)).toBeUndefined();
        expect((await store.listUnknownExecutions(tenant, 10)).executions).toEqual([]);
        expect((await store.listApprovals({ tenant, status: "denied", limit: 10 })).approvals).toEqual([]);
        expect(await store.countApprovals(tenant)).toEqual({ pending: 0, oldestPendingMs: 0, unknownExecutions: 0 });
      });
    });

    describe("permits", () => {
      it("issues once, reads back, and answers strangers as if there were nothing", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant));
        expect(await other.issuePermit({ ...permit, uses: 5 })).toBe(false);
        expect(await other.readPermit(tenant, permit.jti)).toEqual({ ...permit, usesLeft: 1, state: "live" });
        const stranger = freshTenant();
        expect(await store.readPermit(stranger, permit.jti)).toBeUndefined();
        expect(await store.consumePermit({ ...aUse(permit), tenant: stranger })).toEqual({ kind: "unknown_permit" });
        for (const jti of HOSTILE_IDS) {
          expect(await store.readPermit(tenant, jti)).toBeUndefined();
          expect(await store.consumePermit({ ...aUse(permit), jti })).toEqual({ kind: "unknown_permit" });
          expect(
            await store.reportExecution({
              tenant,
              jti,
              executionId: undefined,
              status: "failed",
              resultDigest: undefined,
            }),
          ).toEqual({ kind: "not_found" });
          await expect(store.issuePermit({ ...permit, jti })).rejects.toBeInstanceOf(InvalidRequestError);
        }
        const approval = await granted(store, anOpening(tenant));
        const elsewhere = Array.from({ length: 64 }, () => aPermit(tenant)).find(
          (one) => partitionOfId(one.jti) !== partitionOfId(approval.id),
        )!;
        await expect(store.issuePermit({ ...elsewhere, approvalId: approval.id })).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
      });

      it("consumes once, and says already consumed ever after", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant));
        const first = await store.consumePermit(aUse(permit));
        expect(first).toEqual({
          kind: "consumed",
          executionId: `exec_${permit.jti.slice(5)}_1`,
          usesLeft: 0,
          atMs: expect.any(Number),
          factId: `exec_${permit.jti.slice(5)}_1`,
        });
        expect(await other.consumePermit(aUse(permit))).toEqual({ kind: "already_consumed" });
        await harness.passTime(700_000);
        expect(await other.consumePermit(aUse(permit))).toEqual({ kind: "already_consumed" });
      });

      it("does not consume an expired one, nor one that was never issued", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant));
        await harness.passTime(600_000);
        expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "expired" });
        expect(await store.consumePermit(aUse(aPermit(tenant)))).toEqual({ kind: "unknown_permit" });
      });

      it("holds a permit to the approval that it was issued under", async () => {
        const tenant = freshTenant();
        const approval = await granted(store, anOpening(tenant));
        const permit = await issued(store, aPermit(tenant, approval.id));
        expect(await store.consumePermit({ ...aUse(permit), approvalId: undefined })).toEqual({
          kind: "unknown_permit",
        });
        for (const approvalId of HOSTILE_IDS) {
          expect(await store.consumePermit({ ...aUse(permit), approvalId })).toEqual({ kind: "unknown_permit" });
        }
        const free = await issued(store, aPermit(tenant));
        expect(await store.consumePermit({ ...aUse(free), approvalId: approval.id })).toEqual({
          kind: "unknown_permit",
        });
        const orphan = await issued(store, aPermit(tenant, `${approval.id.slice(0, 7)}NOWHERE`));
        expect(await store.consumePermit(aUse(orphan))).toEqual({ kind: "approval_revoked", status: "absent" });
        expect(await store.consumePermit(aUse(permit))).toMatchObject({ kind: "consumed" });
      });

      it("needs a granted approval whose time is not over", async () => {
        const tenant = freshTenant();
        const pending = await opened(store, anOpening(tenant));
        const permit = await issued(store, aPermit(tenant, pending.id, { expiresAtMs: harness.nowMs() + 90_000_000 }));
        expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "approval_revoked", status: "pending" });
        await store.reviewApproval(aReview(pending));
        await harness.passTime(2_000_000);
        expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "approval_revoked", status: "expired" });
        expect(await store.readPermit(tenant, permit.jti)).toMatchObject({ usesLeft: 1 });
      });

      it("never lets several permits use an approval more often than it allows", async () => {
        const tenant = freshTenant();
        const approval = await granted(store, anOpening(tenant, "scope", { rule: { ...RULE, uses: 3 } }));
        const permits = await Promise.all(
          Array.from({ length: 10 }, () => issued(store, aPermit(tenant, approval.id, { uses: 2 }))),
        );
        const results = await Promise.all(
          permits.flatMap((permit) => [
            store.consumePermit(aUse(permit)),
            other.consumePermit(aUse(permit)),
            store.consumePermit(aUse(permit)),
          ]),
        );
        expect(results.filter((result) => result.kind === "consumed")).toHaveLength(3);
        const after = await store.readApproval(tenant, approval.id);
        expect(after).toMatchObject({ status: "exhausted", usesLeft: 0, version: 5 });
        expect(
          results.every((result) => ["consumed", "approval_revoked", "already_consumed"].includes(result.kind)),
        ).toBe(true);
      });

      it("names each use of a permit with several", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant, undefined, { uses: 3 }));
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) => (index % 2 ? store : other).consumePermit(aUse(permit))),
        );
        const consumed = results.filter((result) => result.kind === "consumed");
        expect(new Set(consumed.map((result) => result.executionId)).size).toBe(3);
        expect(consumed.map((result) => result.usesLeft).sort()).toEqual([0, 1, 2]);
      });

      it("gives exactly one of fifty parallel consumers the use", async () => {
        const tenant = freshTenant();
        const approval = await granted(store, anOpening(tenant));
        const permit = await issued(store, aPermit(tenant, approval.id));
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) => (index % 2 ? store : other).consumePermit(aUse(permit))),
        );
        expect(results.filter((result) => result.kind === "consumed")).toHaveLength(1);
        expect(results.filter((result) => result.kind === "already_consumed")).toHaveLength(49);
      });

      it("calls a corrupted permit what it is, and does not consume it", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant));
        await harness.corrupt("permit", tenant, permit.jti);
        await expect(store.consumePermit(aUse(permit))).rejects.toBeInstanceOf(IntegrityError);
        await expect(store.readPermit(tenant, permit.jti)).rejects.toBeInstanceOf(IntegrityError);
      });
    });

    describe("reportExecution()", () => {
      const report = (permit: PermitRecord, more: object = {}) => ({
        tenant: permit.tenant,
        jti: permit.jti,
        executionId: undefined,
        status: "succeeded" as const,
        resultDigest: digestOf("result"),
        ...more,
      });

      it("closes an execution once: reported, repeated, conflict", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant));
        expect(await store.reportExecution(report(permit))).toEqual({ kind: "not_consumed" });
        const use = await store.consumePermit(aUse(permit));
        const { executionId, atMs } = use as { executionId: string; atMs: number };
        const unknown = {
          executionId,
          jti: permit.jti,
          tenant,
          status: "unknown",
          consumedAtMs: atMs,
          reportedAtMs: undefined,
          resultDigest: undefined,
          action: 'REFUND "x"',
          decisionId: "dec_1",
          traceId: "4bf9",
          consumer: "bot",
        };
        expect(await other.readExecution(tenant, executionId)).toEqual(unknown);
        expect(await other.readExecution(freshTenant(), executionId)).toBeUndefined();
        expect((await store.listUnknownExecutions(tenant, 10)).executions).toEqual([unknown]);
        const execution = {
          ...unknown,
          status: "succeeded",
          reportedAtMs: expect.any(Number),
          resultDigest: digestOf("result"),
        };
        expect(await store.reportExecution(report(permit))).toEqual({
          kind: "reported",
          execution,
          factId: `${executionId}:reported`,
        });
        expect(await other.reportExecution(report(permit, { executionId }))).toEqual({ kind: "repeated", execution });
        expect(await store.reportExecution(report(permit, { status: "failed" }))).toEqual({
          kind: "conflict",
          execution,
        });
        expect(await store.reportExecution(report(permit, { resultDigest: undefined }))).toEqual({
          kind: "conflict",
          execution,
        });
        expect((await store.listUnknownExecutions(tenant, 10)).executions).toEqual([]);
      });

      it("lets one of fifty parallel reports close it", async () => {
        const permit = await issued(store, aPermit(freshTenant()));
        await store.consumePermit(aUse(permit));
        const results = await Promise.all(
          Array.from({ length: 50 }, (_, index) =>
            (index % 2 ? store : other).reportExecution(report(permit, { status: index % 3 ? "succeeded" : "failed" })),
          ),
        );
        expect(results.filter((result) => result.kind === "reported")).toHaveLength(1);
      });

      it("needs the execution's id where there are several, and knows whose it is", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant, undefined, { uses: 2 }));
        const one = (await store.consumePermit(aUse(permit))) as { executionId: string };
        const stranger = await issued(store, aPermit(tenant));
        expect(await store.reportExecution(report(permit))).toEqual({ kind: "not_consumed" });
        for (const executionId of [
          "",
          "x",
          `exec_${permit.jti.slice(5)}_2`,
          `exec_${permit.jti.slice(5)}_0`,
          `exec_${stranger.jti.slice(5)}_1`,
          "exec_}_1",
        ]) {
          expect(await store.reportExecution(report(permit, { executionId }))).toEqual({ kind: "not_consumed" });
        }
        expect(await store.reportExecution(report(permit, one))).toMatchObject({ kind: "reported" });
        expect(await store.reportExecution(report(aPermit(tenant)))).toEqual({ kind: "not_found" });
        expect(await store.reportExecution({ ...report(permit, one), tenant: freshTenant() })).toEqual({
          kind: "not_found",
        });
        await expect(store.reportExecution(report(permit, { status: "unknown" }))).rejects.toBeInstanceOf(
          InvalidRequestError,
        );
      });

      it("still takes a report when the permit's own record is gone", async () => {
        const tenant = freshTenant();
        const permit = await issued(store, aPermit(tenant));
        await store.consumePermit(aUse(permit));
        await harness.passTime(2_000_000);
        await store.expireApprovals(tenant, 500);
        expect(await store.readPermit(tenant, permit.jti)).toBeUndefined();
        expect(await store.reportExecution(report(permit))).toMatchObject({ kind: "reported" });
      });
    });

    describe("listUnknownExecutions()", () => {
      it("lists oldest first over all partitions, page by page", async () => {
        const tenant = freshTenant();
        const ids: string[] = [];
        for (let index = 0; index < 13; index += 1) {
          const use = await store.consumePermit(aUse(await issued(store, aPermit(tenant))));
          ids.push((use as { executionId: string }).executionId);
          await harness.passTime(5);
        }
        const first = await store.listUnknownExecutions(tenant, 8);
        const second = await store.listUnknownExecutions(tenant, 8, first.cursor);
        expect([...first.executions, ...second.executions].map((execution) => execution.executionId)).toEqual(ids);
        expect(second.cursor).toBeUndefined();
        await expect(store.listUnknownExecutions(tenant, 501)).rejects.toBeInstanceOf(InvalidRequestError);
      });
    });

    describe("facts", () => {
      const byId = (facts: readonly { factId: string }[]) => facts.map((fact) => fact.factId).sort();

      it("leaves one for every change, in the same step, until it is dropped", async () => {
        const tenant = freshTenant();
        const approval = await granted(store, anOpening(tenant));
        const late = await opened(store, anOpening(tenant, "late"));
        const permit = await issued(store, aPermit(tenant, approval.id));
        await store.consumePermit(aUse(permit));
        const report = {
          tenant,
          jti: permit.jti,
          executionId: undefined,
          status: "failed" as const,
          resultDigest: undefined,
        };
        const reported = await store.reportExecution(report);
        await harness.passTime(1_000_000);
        await store.expireApprovals(tenant, 10);
        const facts = await other.takeFacts(tenant, 0, 500);
        const exec = `exec_${permit.jti.slice(5)}_1`;
        expect(byId(facts)).toEqual(
          [`${approval.id}:1`, `${approval.id}:2`, `${late.id}:1`, `${late.id}:2`, exec, `${exec}:reported`].sort(),
        );
        const fact = (id: string) => facts.find((one) => one.factId === id)!;
        expect(fact(`${approval.id}:1`)).toMatchObject({
          tenant,
          kind: "approval_opened",
          subjectId: approval.id,
          payload: { approval: { subject: SUBJECT, status: "pending" } },
        });
        expect(fact(`${approval.id}:2`)).toMatchObject({ kind: "approval_reviewed" });
        expect(fact(`${approval.id}:2`).payload).toEqual({ approval });
        expect(fact(`${late.id}:2`)).toMatchObject({
          kind: "approval_expired",
          payload: { approval: { status: "expired" } },
        });
        expect(fact(exec)).toMatchObject({
          kind: "permit_consumed",
          subjectId: permit.jti,
          payload: { approvalId: approval.id, usesLeft: 0, execution: { status: "unknown", executionId: exec } },
        });
        expect(fact(`${exec}:reported`)).toMatchObject({
          kind: "execution_reported",
          payload: { execution: { status: "failed" } },
        });
        expect(reported).toMatchObject({ kind: "reported" });
        await other.dropFacts(tenant, [...facts.map((one) => one.factId), "unknown", "appr_00}:1", ""]);
        await other.dropFacts(
          tenant,
          facts.map((one) => one.factId),
        );
        await harness.passTime(100_000);
        expect(await store.takeFacts(tenant, 0, 500)).toEqual([]);
      });

      it("leases what it hands out, hands out no more than asked for, and nothing too young", async () => {
        const tenant = freshTenant();
        for (let index = 0; index < 12; index += 1) await opened(store, anOpening(tenant, `s${index}`));
        expect(await store.takeFacts(tenant, 60_000, 500)).toEqual([]);
        await harness.passTime(60_000);
        const first = await store.takeFacts(tenant, 60_000, 5);
        const rest = await Promise.all([store.takeFacts(tenant, 60_000, 500), other.takeFacts(tenant, 60_000, 500)]);
        expect(first).toHaveLength(5);
        expect(new Set(byId([...first, ...rest.flat()])).size).toBe(12);
        expect(rest.flat()).toHaveLength(7);
        expect(await store.takeFacts(tenant, 0, 500)).toEqual([]);
        await harness.passTime(50_000);
        expect(await store.takeFacts(tenant, 0, 500)).toHaveLength(12);
        expect(await store.takeFacts(freshTenant(), 0, 500)).toEqual([]);
      });

      it("is not another tenant's to drop", async () => {
        const tenant = freshTenant();
        const approval = await opened(store, anOpening(tenant));
        await store.dropFacts(freshTenant(), [`${approval.id}:1`]);
        expect(await store.takeFacts(tenant, 0, 10)).toHaveLength(1);
      });
    });

    describe("countApprovals()", () => {
      it("counts pending ones, the age of the oldest and unknown executions", async () => {
        const tenant = freshTenant();
        expect(await store.countApprovals(tenant)).toEqual({ pending: 0, oldestPendingMs: 0, unknownExecutions: 0 });
        const first = await opened(store, anOpening(tenant, "one"));
        await opened(store, anOpening(tenant, "two"));
        await harness.passTime(60_000);
        const permit = await issued(store, aPermit(tenant));
        await store.consumePermit(aUse(permit));
        const counts = await other.countApprovals(tenant);
        expect(counts).toMatchObject({ pending: 2, unknownExecutions: 1 });
        expect(counts.oldestPendingMs).toBeGreaterThanOrEqual(60_000);
        await store.reviewApproval(aReview(first));
        await store.reportExecution({
          tenant,
          jti: permit.jti,
          executionId: undefined,
          status: "failed",
          resultDigest: undefined,
        });
        expect(await store.countApprovals(tenant)).toMatchObject({ pending: 1, unknownExecutions: 0 });
      });
    });

    it("ping() answers", async () => {
      await store.ping();
    });
  });
}
