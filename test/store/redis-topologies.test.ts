/** A real Cluster of three masters, and a real Sentinel that fails over. */
import { describe, expect, it } from "vitest";
import type { Settle } from "../../src/core/context.ts";
import { CONTEXT_PARTITION, permitIdIn } from "../../src/core/partition.ts";
import type { PermitRecord, Store } from "../../src/core/ports.ts";
import { openStore } from "../../src/store/open-store.ts";
import { isReplicated, startCluster, startSentinel, until } from "../support/redis.ts";
import { granted, issued, opened } from "./conformance.ts";
import { anOpening, aPermit, aReview, aUse, digestOf, freshTenant, unique } from "./samples.ts";

const answers = (store: Store) =>
  until(
    () =>
      store.ping().then(
        () => true,
        () => false,
      ),
    "store answers",
  );

const aReport = ({ tenant, jti }: PermitRecord) => ({
  tenant,
  jti,
  executionId: undefined,
  status: "succeeded" as const,
  resultDigest: undefined,
});

const aSettle = (): Settle => ({
  jti: permitIdIn(CONTEXT_PARTITION, unique()),
  entity: { ref: { type: "order", id: "ord_1" }, version: 0 },
  session: undefined,
  limits: ["one", "two"].map((limit) => ({
    id: digestOf(limit),
    limitMicros: 3_000_000,
    costMicros: 1_000_000,
    windowMs: 3_600_000,
    isSliding: true,
    value: undefined,
    isBinding: true,
  })),
  lock: undefined,
  permit: { approvalId: undefined, uses: 1, expiresAtMs: Date.now() + 600_000, subjectText: "{}" },
  isReservation: true,
});

/** Whatever slot a tenant's context is in: three tenants lie on two nodes at least, as likely as not. */
async function sharesContext(stores: readonly [Store, Store], first: string): Promise<void> {
  for (const tenant of [first, freshTenant(), freshTenant()]) {
    const requests = Array.from({ length: 20 }, aSettle);
    const results = await Promise.all(requests.map((request, index) => stores[index % 2]!.settle(tenant, request)));
    const settled = requests.filter((_, index) => results[index]!.kind === "settled");
    expect(settled).toHaveLength(3);
    const [failed, cancelled] = settled.map(({ jti }) => ({ ...aPermit(tenant), jti }));
    expect(await stores[1].consumePermit(aUse(failed!))).toMatchObject({ kind: "consumed" });
    await stores[0].reportExecution({ ...aReport(failed!), status: "failed" });
    expect(await stores[0].cancelPermit(tenant, cancelled!.jti)).toBe(true);
    const again = await Promise.all(Array.from({ length: 20 }, () => stores[0].settle(tenant, aSettle())));
    expect(again.filter(({ kind }) => kind === "settled")).toHaveLength(2);
    await stores[0].dropFacts(
      tenant,
      (await stores[0].takeFacts(tenant, 0, 500)).map(({ factId }) => factId),
    );
  }
}

describe("redis cluster", () => {
  it("serves every partition from its own slot, and wakes waiters on any node", async () => {
    const cluster = await startCluster();
    const url = `${cluster.url}?waitReplicas=0`;
    const [one, two] = await Promise.all([openStore({ url, dataDir: "" }), openStore({ url, dataDir: "" })]);
    try {
      await answers(one);
      const tenant = freshTenant();
      const partitions = new Set<string>();
      for (let index = 0; index < 60; index += 1) {
        const approval = await granted(one, anOpening(tenant, `s${index}`));
        expect(approval.id.slice(5, 7)).toBe(CONTEXT_PARTITION);
        const alone = await issued(one, aPermit(tenant));
        partitions.add(alone.jti.slice(5, 7));
        expect((await two.consumePermit(aUse(alone))).kind).toBe("consumed");
        expect((await one.reportExecution(aReport(alone))).kind).toBe("reported");
        const permit = await issued(one, aPermit(tenant, approval.id));
        const results = await Promise.all([one, two].map((store) => store.consumePermit(aUse(permit))));
        expect(results.map((result) => result.kind).sort()).toEqual(["already_consumed", "consumed"]);
        expect(await two.reportExecution(aReport(permit))).toMatchObject({ kind: "reported" });
      }
      expect(partitions.size).toBeGreaterThan(12);
      const page = await one.listApprovals({ tenant, status: "exhausted", limit: 50 });
      expect(page.approvals).toHaveLength(50);
      expect(await two.takeFacts(tenant, 0, 500)).toHaveLength(360);
      expect(await one.expireApprovals(tenant, 500)).toEqual([]);
      expect(await one.countApprovals(tenant)).toEqual({ pending: 0, oldestPendingMs: 0, unknownExecutions: 0 });
      await sharesContext([one, two], tenant);
      const strict = await openStore({ url: `${cluster.url}?waitMs=20`, dataDir: "" });
      await answers(strict);
      const permit = await issued(one, aPermit(tenant));
      await expect(strict.consumePermit(aUse(permit))).rejects.toThrow("0 of 1 replicas");
      expect(await one.consumePermit(aUse(permit))).toEqual({ kind: "already_consumed" });
      const settle = { ...aSettle(), limits: [] };
      await expect(strict.settle(tenant, settle)).rejects.toThrow("0 of 1 replicas");
      expect(await one.settle(tenant, settle)).toMatchObject({ kind: "repeated" });
      await strict.close();
      const waited = await opened(one, anOpening(tenant, "waited"));
      const wait = one.waitApproval({
        tenant,
        id: waited.id,
        version: 1,
        waitMs: 20_000,
        signal: new AbortController().signal,
      });
      await two.reviewApproval(aReview(waited, { verdict: "deny" }));
      expect(await wait).toMatchObject({ status: "denied" });
    } finally {
      await Promise.all([one.close(), two.close()]);
      await cluster.dispose();
    }
  });
});

describe("redis sentinel", () => {
  it("finds the new master, and honours no permit of the old one", async () => {
    const sentinel = await startSentinel();
    const store = await openStore({ url: sentinel.url, dataDir: "", timeoutMs: 2_000 });
    try {
      await answers(store);
      const tenant = freshTenant();
      // waitReplicas is 1 here: each of these is acknowledged by the replica before it is answered.
      const denied = await opened(store, anOpening(tenant, "denied"));
      await store.reviewApproval(aReview(denied, { verdict: "deny" }));
      const used = await issued(store, aPermit(tenant));
      expect(await store.consumePermit(aUse(used))).toMatchObject({ kind: "consumed" });
      const unused = await issued(store, aPermit(tenant));
      const [settled, spent] = [aSettle(), aSettle()];
      for (const request of [settled, spent]) expect((await store.settle(tenant, request)).kind).toBe("settled");
      expect(await store.consumePermit(aUse({ ...unused, jti: spent.jti }))).toMatchObject({ kind: "consumed" });
      await until(async () => {
        const answer = await sentinel.sentinel.admin.call("SENTINEL", "FAILOVER", "main").catch(String);
        return answer === "OK";
      }, "Sentinel knows the replica well enough");
      const [, replica] = sentinel.nodes;
      await until(
        async () => String(await replica.admin.call("INFO", "replication")).includes("role:master"),
        "failed over",
      );
      await until(() => isReplicated(replica), "old master follows");
      await until(
        () =>
          store.issuePermit(aPermit(tenant)).then(
            () => true,
            () => false,
          ),
        "writes again",
      );
      expect(await store.findApproval(tenant, denied.scopeDigest)).toMatchObject({ id: denied.id, status: "denied" });
      expect(await store.consumePermit(aUse(used))).toEqual({ kind: "already_consumed" });
      expect(await store.consumePermit(aUse(unused))).toEqual({ kind: "unknown_permit" });
      expect(await store.consumePermit(aUse({ ...unused, jti: settled.jti }))).toEqual({ kind: "unknown_permit" });
      // What they reserved and used is charged by the new master as well: one of three is left.
      expect(await store.settle(tenant, aSettle())).toMatchObject({ kind: "settled" });
      expect(await store.settle(tenant, aSettle())).toMatchObject({ kind: "exceeded" });
      expect(await store.consumePermit(aUse(await issued(store, aPermit(tenant))))).toMatchObject({ kind: "consumed" });
    } finally {
      await store.close();
      await sentinel.dispose();
    }
  });
});
