/** A real Cluster of three masters, and a real Sentinel that fails over. */
import { describe, expect, it } from "vitest";
import type { Store } from "../../src/core/ports.ts";
import { openStore } from "../../src/store/open-store.ts";
import { isReplicated, startCluster, startSentinel, until } from "../support/redis.ts";
import { granted, issued, opened } from "./conformance.ts";
import { anOpening, aPermit, aReview, aUse, freshTenant } from "./samples.ts";

const answers = (store: Store) =>
  until(
    () =>
      store.ping().then(
        () => true,
        () => false,
      ),
    "store answers",
  );

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
        partitions.add(approval.id.slice(5, 7));
        const permit = await issued(one, aPermit(tenant, approval.id));
        const results = await Promise.all([one, two].map((store) => store.consumePermit(aUse(permit))));
        expect(results.map((result) => result.kind).sort()).toEqual(["already_consumed", "consumed"]);
        const report = {
          tenant,
          jti: permit.jti,
          executionId: undefined,
          status: "succeeded" as const,
          resultDigest: undefined,
        };
        expect(await two.reportExecution(report)).toMatchObject({ kind: "reported" });
      }
      expect(partitions.size).toBeGreaterThan(12);
      const page = await one.listApprovals({ tenant, status: "exhausted", limit: 50 });
      expect(page.approvals).toHaveLength(50);
      expect(await two.takeFacts(tenant, 0, 500)).toHaveLength(240);
      expect(await one.expireApprovals(tenant, 500)).toEqual([]);
      expect(await one.countApprovals(tenant)).toEqual({ pending: 0, oldestPendingMs: 0, unknownExecutions: 0 });
      const strict = await openStore({ url: `${cluster.url}?waitMs=20`, dataDir: "" });
      await answers(strict);
      const permit = await issued(one, aPermit(tenant));
      await expect(strict.consumePermit(aUse(permit))).rejects.toThrow("0 of 1 replicas");
      expect(await one.consumePermit(aUse(permit))).toEqual({ kind: "already_consumed" });
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
      expect(await store.consumePermit(aUse(await issued(store, aPermit(tenant))))).toMatchObject({ kind: "consumed" });
    } finally {
      await store.close();
      await sentinel.dispose();
    }
  });
});
