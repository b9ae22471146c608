/**
 * Escalate, grant, permit, consume on a real Redis, against redis-benchmark running a script over as many keys: how much
 * of what this Redis can do with scripts arrives at the caller.
 */
import { execFileSync } from "node:child_process";
import { sha256Digest } from "../../src/core/digest.ts";
import { partitionOfId, permitIdIn } from "../../src/core/partition.ts";
import type { ApprovalSubject } from "../../src/core/ports.ts";
import { ulid } from "../../src/signing/ulid.ts";
import { openStore } from "../../src/store/open-store.ts";
import { startRedis } from "../support/redis.ts";

/** Reads and writes its keys as the store's scripts do: a record, an index, a sorted set, a fact. */
const SCRIPT =
  "local t = redis.call('TIME') for i = 1, #KEYS do redis.call('GET', KEYS[i]) redis.call('SET', KEYS[i], ARGV[1], 'PX', 60000) end return t[1]";
const KEYS_PER_SCRIPT = 5;
const SCRIPTS_PER_CYCLE = 4;
const CONCURRENCY = 50;

const SUBJECT: ApprovalSubject = {
  decisionId: "dec_1",
  proposalId: "p_1",
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
  excludedReviewers: ["support-agent"],
  action: "ISSUE_REFUND",
  actor: { id: "support-agent" },
  entity: null,
  context: {},
  arguments: { amount: 4900, currency: "EUR", reason: "customer request" },
  originalArgumentDigest: sha256Digest("{}"),
  envelope: null,
  policyDigest: sha256Digest("{}"),
  reasons: [],
  risk: "high",
  credentialId: "bot",
};

export async function benchRedis(cycles: number): Promise<void> {
  const redis = await startRedis();
  const store = await openStore({ url: redis.url, dataDir: "/nonexistent", timeoutMs: 10_000 });
  const cycle = async (index: number) => {
    const digest = sha256Digest(`cycle ${index} ${ulid()}`);
    const opened = await store.openApproval({
      tenant: "default",
      scopeDigest: digest,
      bindingDigest: digest,
      argumentDigest: digest,
      rule: { roles: ["r"], quorum: 1, ttlSeconds: 3600, grantTtlSeconds: 900, uses: 1 },
      subject: SUBJECT,
      pendingMax: 1_000_000,
    });
    if (opened.kind !== "opened") throw new Error(opened.kind);
    const { id, version } = opened.approval;
    const reviewer = { id: "olivia", type: "human", roles: ["r"], isAuthenticated: true };
    const granted = await store.reviewApproval({
      tenant: "default",
      id,
      reviewer,
      verdict: "grant",
      reason: "",
      expectedVersion: version,
    });
    if (granted.kind !== "reviewed") throw new Error(granted.kind);
    const jti = permitIdIn(partitionOfId(id)!, ulid());
    await store.issuePermit({
      jti,
      tenant: "default",
      approvalId: id,
      uses: 1,
      expiresAtMs: Date.now() + 60_000,
      subjectText: "{}",
    });
    const consumed = await store.consumePermit({
      tenant: "default",
      jti,
      approvalId: id,
      action: "a",
      decisionId: "d",
      traceId: "t",
      consumer: "",
    });
    if (consumed.kind !== "consumed") throw new Error(consumed.kind);
  };
  let next = 0;
  const worker = async (until: number) => {
    while (next < until) await cycle(next++);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, () => worker(cycles / 10)));
  const startedAt = performance.now();
  const first = next;
  await Promise.all(Array.from({ length: CONCURRENCY }, () => worker(first + cycles)));
  const scriptsPerSecond = (cycles * SCRIPTS_PER_CYCLE) / ((performance.now() - startedAt) / 1000);
  const baseline = redisBenchmark(redis.url);
  console.log(
    `redis: escalate, grant, permit, consume ${(scriptsPerSecond / SCRIPTS_PER_CYCLE).toFixed(0)} cycles/s = ${scriptsPerSecond.toFixed(0)} scripts/s; ` +
      `redis-benchmark with ${KEYS_PER_SCRIPT} keys ${baseline.toFixed(0)} scripts/s: ${(scriptsPerSecond / baseline).toFixed(2)}x`,
  );
  await store.close();
  await redis.dispose();
}

function redisBenchmark(url: string): number {
  const socket = url.replace("redis+unix://", "");
  const keys = Array.from({ length: KEYS_PER_SCRIPT }, (_, index) => `{bench}:${index}`);
  const args = [
    "-s",
    socket,
    "-n",
    "100000",
    "-c",
    String(CONCURRENCY),
    "--csv",
    "EVAL",
    SCRIPT,
    String(KEYS_PER_SCRIPT),
    ...keys,
    "x".repeat(600),
  ];
  const csv = execFileSync("redis-benchmark", args, { encoding: "utf8" });
  const [, perSecond] = /,"([\d.]+)"/.exec(csv.trim().split("\n").at(-1)!) ?? [];
  return Number(perSecond);
}
