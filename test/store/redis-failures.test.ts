/** What Redis may do to us, and what must not come of it. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AppendEvent, Settle, SettleResult } from "../../src/core/context.ts";
import { UnavailableError } from "../../src/core/errors.ts";
import { CONTEXT_PARTITION, permitIdIn } from "../../src/core/partition.ts";
import type { Store } from "../../src/core/ports.ts";
import { openStore } from "../../src/store/open-store.ts";
import { type RedisServer, startRedis, until } from "../support/redis.ts";
import { granted, issued, opened } from "./conformance.ts";
import { anOpening, aPermit, aReview, aUse, digestOf, freshTenant, unique } from "./samples.ts";

let server: RedisServer;
let stores: Store[];
const open = async (more: object = {}, query = ""): Promise<Store> => {
  const store = await openStore({ url: `${server.url}${query}`, dataDir: "", timeoutMs: 1_000, rereadMs: 50, ...more });
  stores.push(store);
  return store;
};
const answers = (store: Store) =>
  until(
    () =>
      store.ping().then(
        () => true,
        () => false,
      ),
    "store answers",
  );

const ENTITY = { type: "order", id: "ord_1" };
const FREEZE = { id: "f", kind: "tenant", subject: "", reason: "", by: "ann" } as const;
const SESSION = { id: digestOf("session"), expectedVersion: 0, after: { version: 1, text: "{}" }, ttlMs: 1_000 };
const EVENT: AppendEvent = {
  expectedEvents: 0,
  after: { ref: ENTITY, state: "paid", version: 1, attributes: {}, events: 1, chain: digestOf("chain") },
  source: "shop",
  eventId: "event",
  contentDigest: digestOf("content"),
  eventText: "{}",
};
const aSettle = (): Settle => ({
  jti: permitIdIn(CONTEXT_PARTITION, unique()),
  entity: undefined,
  session: undefined,
  limits: [],
  lock: { id: digestOf("lock"), ttlMs: 600_000, waits: false },
  permit: { approvalId: undefined, uses: 1, expiresAtMs: Date.now() + 600_000, subjectText: "{}" },
  isReservation: true,
});

beforeEach(async () => {
  stores = [];
  server = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "always"] });
});
afterEach(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await server.dispose();
});

describe("redis store", () => {
  it("says unavailable, for every method, while Redis is away, and works again once it is back", async () => {
    const store = await open();
    const tenant = freshTenant();
    const approval = await opened(store, anOpening(tenant));
    const permit = await issued(store, aPermit(tenant));
    await server.stop();
    const calls: (() => Promise<unknown>)[] = [
      () => store.openApproval(anOpening(tenant, "other")),
      () => store.readApproval(tenant, approval.id),
      () => store.findApproval(tenant, approval.scopeDigest),
      () => store.listApprovals({ tenant, status: "pending", limit: 5 }),
      () => store.reviewApproval(aReview(approval)),
      () =>
        store.waitApproval({
          tenant,
          id: approval.id,
          version: 1,
          waitMs: 5_000,
          signal: new AbortController().signal,
        }),
      () => store.expireApprovals(tenant, 5),
      () => store.issuePermit(aPermit(tenant)),
      () => store.readPermit(tenant, permit.jti),
      () => store.consumePermit(aUse(permit)),
      () =>
        store.reportExecution({
          tenant,
          jti: permit.jti,
          executionId: undefined,
          status: "failed",
          resultDigest: undefined,
        }),
      () => store.listUnknownExecutions(tenant, 5),
      () => store.takeFacts(tenant, 0, 5),
      () => store.dropFacts(tenant, [`${approval.id}:1`]),
      () => store.countApprovals(tenant),
      () => store.readEntity(tenant, ENTITY),
      () => store.appendEvent(tenant, EVENT),
      () => store.readEvents(tenant, ENTITY, 1, 5),
      () => store.readSession(tenant, digestOf("session")),
      () => store.writeSession(tenant, SESSION),
      () => store.settle(tenant, aSettle()),
      () => store.cancelPermit(tenant, aSettle().jti),
      () => store.leaveQueue(tenant, digestOf("lock"), aSettle().jti),
      () => store.putFreeze(tenant, FREEZE),
      () => store.liftFreeze(tenant, { id: "f", by: "ann", reason: "" }),
      () => store.readFreezes(tenant),
      () => store.ping(),
    ];
    for (const call of calls) {
      const error = await call().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(UnavailableError);
      expect(error).toMatchObject({ code: "store_unavailable" });
      expect((error as Error).cause).toBeInstanceOf(Error);
    }
    await server.start();
    await answers(store);
    expect(await store.readApproval(tenant, approval.id)).toEqual(approval);
    expect(await store.reviewApproval(aReview(approval))).toMatchObject({ kind: "reviewed" });
  });

  it("opens without Redis, and works once there is one", async () => {
    await server.stop();
    const store = await open({ timeoutMs: 100 });
    await expect(store.ping()).rejects.toBeInstanceOf(UnavailableError);
    await server.start();
    await answers(store);
  });

  it("does not hang on a Redis that has stopped answering", async () => {
    const store = await open({ timeoutMs: 200 });
    const tenant = freshTenant();
    const permit = await issued(store, aPermit(tenant));
    server.freeze();
    await expect(store.consumePermit(aUse(permit))).rejects.toMatchObject({ code: "store_unavailable" });
    server.thaw();
    await answers(store);
    // Whether the use was spent or not is unknown; that it was given to nobody twice is certain.
    const later = await store.consumePermit(aUse(permit));
    expect(["consumed", "already_consumed"]).toContain(later.kind);
    expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "already_consumed" });
  });

  it("honours no permit across a restart, for the new run cannot tell whether its use was lost", async () => {
    const store = await open();
    const tenant = freshTenant();
    const unused = await issued(store, aPermit(tenant));
    const used = await issued(store, aPermit(tenant));
    await store.consumePermit(aUse(used));
    const settled = aSettle();
    const { fence } = ((await store.settle(tenant, settled)) as Extract<SettleResult, { kind: "settled" }>).lock!;
    const approval = await granted(store, anOpening(tenant));
    await server.kill();
    await server.start();
    await answers(store);
    expect(await store.consumePermit(aUse(unused))).toEqual({ kind: "unknown_permit" });
    expect(await store.consumePermit(aUse({ ...unused, jti: settled.jti }))).toEqual({ kind: "unknown_permit" });
    expect(await store.settle(tenant, settled)).toMatchObject({ kind: "repeated", state: "used" });
    expect(await store.settle(tenant, aSettle())).toMatchObject({ kind: "locked" });
    expect(await store.cancelPermit(tenant, settled.jti)).toBe(true);
    const next = await store.settle(tenant, aSettle());
    expect(next).toMatchObject({ kind: "settled" });
    if (next.kind === "settled") expect(next.lock!.fence).toBeGreaterThan(fence);
    expect(await store.consumePermit(aUse(used))).toEqual({ kind: "already_consumed" });
    expect((await store.listUnknownExecutions(tenant, 5)).executions).toHaveLength(1);
    expect(await store.consumePermit(aUse(await issued(store, aPermit(tenant, approval.id))))).toMatchObject({
      kind: "consumed",
    });
  });

  it("knows no permit whose record was lost", async () => {
    const store = await open();
    const permit = await issued(store, aPermit(freshTenant()));
    await server.admin.flushall();
    expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "unknown_permit" });
  });

  it("goes on after SCRIPT FLUSH", async () => {
    const store = await open();
    const tenant = freshTenant();
    const approval = await opened(store, anOpening(tenant));
    await server.admin.script("FLUSH");
    expect(await store.openApproval(anOpening(tenant))).toMatchObject({ kind: "existing" });
    await server.admin.script("FLUSH");
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, index) => store.openApproval(anOpening(tenant, `s${index}`))),
    );
    expect(results.every((result) => result.kind === "opened")).toBe(true);
    expect(await store.readApproval(tenant, approval.id)).toEqual(approval);
  });

  it("refuses the use, burnt, when fewer replicas than asked for have it", async () => {
    const plain = await open();
    const strict = await open({}, "?waitReplicas=1&waitMs=20");
    const tenant = freshTenant();
    const permit = await issued(plain, aPermit(tenant));
    await expect(strict.consumePermit(aUse(permit))).rejects.toMatchObject({ code: "store_unavailable" });
    expect(await plain.consumePermit(aUse(permit))).toEqual({ kind: "already_consumed" });
    const unavailable = { code: "store_unavailable" };
    await expect(strict.openApproval(anOpening(tenant))).rejects.toMatchObject(unavailable);
    await expect(strict.settle(tenant, aSettle())).rejects.toMatchObject(unavailable);
    await expect(strict.appendEvent(tenant, EVENT)).rejects.toMatchObject(unavailable);
    // Not even asked once more does it say that this is on record.
    await expect(strict.appendEvent(tenant, EVENT)).rejects.toMatchObject(unavailable);
    await expect(strict.putFreeze(tenant, FREEZE)).rejects.toMatchObject(unavailable);
    expect(await plain.appendEvent(tenant, EVENT)).toMatchObject({ kind: "repeated" });
    expect(await plain.readFreezes(tenant)).toMatchObject([FREEZE]);
  });

  it("is not ready on a server that evicts", async () => {
    const store = await open();
    await server.admin.config("SET", "maxmemory", "100mb");
    await store.ping();
    await server.admin.config("SET", "maxmemory-policy", "allkeys-lru");
    await expect(store.ping()).rejects.toMatchObject({ code: "store_unavailable" });
  });

  it("stays closed when memory is full", async () => {
    const store = await open();
    const tenant = freshTenant();
    const permit = await issued(store, aPermit(tenant));
    await server.admin.config("SET", "maxmemory", "1mb");
    await expect(store.consumePermit(aUse(permit))).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(store.openApproval(anOpening(tenant))).rejects.toMatchObject({ code: "store_unavailable" });
    await server.admin.config("SET", "maxmemory", "0");
    expect(await store.readPermit(tenant, permit.jti)).toMatchObject({ usesLeft: 1 });
    expect(await store.consumePermit(aUse(permit))).toMatchObject({ kind: "consumed" });
  });

  it("only delays a waiter whose notification was lost", async () => {
    const store = await open();
    const tenant = freshTenant();
    const approval = await opened(store, anOpening(tenant));
    const wait = store.waitApproval({
      tenant,
      id: approval.id,
      version: 1,
      waitMs: 20_000,
      signal: new AbortController().signal,
    });
    await until(async () => String(await server.admin.client("LIST")).includes("sub=1"), "subscribed");
    await server.admin.call("ACL", "SETUSER", "default", "resetchannels");
    await server.admin.call("CLIENT", "KILL", "TYPE", "pubsub");
    const key = `hp:{${tenant}:${approval.id.slice(5, 7)}}:approval:${approval.id}`;
    await server.admin.hset(key, "version", "2", "status", "denied");
    expect(await wait).toMatchObject({ version: 2, status: "denied" });
  });

  it("subscribes once, however many wait", async () => {
    const store = await open();
    const tenant = freshTenant();
    const approval = await opened(store, anOpening(tenant));
    const waits = Array.from({ length: 200 }, () =>
      store.waitApproval({ tenant, id: approval.id, version: 1, waitMs: 20_000, signal: new AbortController().signal }),
    );
    await until(async () => (await server.admin.pubsub("NUMSUB", "hp:approvals-changed"))[1] === 1, "one subscriber");
    await store.reviewApproval(aReview(approval));
    expect((await Promise.all(waits)).every((one) => one?.version === 2)).toBe(true);
  });

  it("gives one use to one of two connections, in three thousand rounds", async () => {
    const [one, two] = [await open(), await open()];
    const tenant = freshTenant();
    let consumed = 0;
    for (let batch = 0; batch < 30; batch += 1) {
      const permits = await Promise.all(Array.from({ length: 100 }, () => issued(one, aPermit(tenant))));
      const rounds = await Promise.all(
        permits.map(async (permit) => {
          const results = await Promise.all([one, two, two, one].map((store) => store.consumePermit(aUse(permit))));
          return results.filter((result) => result.kind === "consumed").length;
        }),
      );
      expect(rounds.every((count) => count === 1)).toBe(true);
      consumed += rounds.length;
    }
    expect(consumed).toBe(3_000);
  });

  it("bounds what it leaves behind: every record has an end, everything else is an index", async () => {
    const store = await open();
    const tenant = freshTenant();
    const approval = await granted(store, anOpening(tenant));
    await store.consumePermit(aUse(await issued(store, aPermit(tenant, approval.id))));
    const denied = await opened(store, anOpening(tenant, "denied"));
    await store.reviewApproval(aReview(denied, { verdict: "deny" }));
    await opened(store, anOpening(tenant, "pending"));
    for (const key of await server.admin.keys("hp:*")) {
      const isRecord = /}:(approval|scope|permit|executions):/.test(key);
      expect([key, (await server.admin.pttl(key)) > 0]).toEqual([key, isRecord]);
    }
    const [scope] = await server.admin.keys(`hp:{${tenant}:*}:scope:${digestOf("denied").slice(7)}`);
    const retentionMs = 30 * 24 * 3600 * 1000;
    expect(await server.admin.pttl(scope!)).toBeGreaterThan(retentionMs - 60_000);
  });
});
