/** A budget that processes on one directory share, and that they are killed over. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Settle } from "../../src/core/context.ts";
import type { Store } from "../../src/core/ports.ts";
import { openEmbeddedStore } from "../../src/store/embedded/open-embedded-store.ts";
import { completeStoreOptions } from "../../src/store/store-options.ts";
import { aLimit, aLock, aSettle, units } from "./context-samples.ts";
import type { SettleTask } from "./embedded-child.ts";
import { buildChildren, type Children } from "./embedded-children.ts";
import { freshTenant } from "./samples.ts";

const PERMIT_MS = 60_000;
const ROUNDS = 4;

describe("a budget of ten, over processes that are killed", () => {
  const directory = mkdtempSync(join(tmpdir(), "hp-budget-"));
  /** What this process's clock is ahead: the others follow it, for it is on disk with every change. */
  let aheadMs = 0;
  const nowMs = (): number => Date.now() + aheadMs;
  let built: Children;
  let store: Store;
  let children: ChildProcess[] = [];

  beforeAll(async () => {
    built = await buildChildren();
    const time = { wallMs: nowMs, monotonicMs: () => performance.now() + aheadMs };
    store = await openEmbeddedStore(join(directory, "store"), completeStoreOptions({ timeoutMs: 20_000 }), time);
    children = await Promise.all([0, 1, 2].map(() => built.start(directory)));
  });
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await store.close();
    rmSync(directory, { recursive: true, force: true });
    built.remove();
  });

  const pass = async (ms: number): Promise<void> => {
    aheadMs += ms;
    await store.ping();
  };
  const restart = async (index: number): Promise<void> => {
    children[index]!.kill("SIGKILL");
    if (children[index]!.exitCode === null && children[index]!.signalCode === null)
      await once(children[index]!, "exit");
    // A process that opens while others write may forget what they wrote (record 0009).
    const release = await store.hold();
    children[index] = await built.start(directory);
    release();
  };
  const requests = (count: number, limits: Settle["limits"], lock?: Settle["lock"]): Settle[] =>
    Array.from({ length: count }, () =>
      aSettle(nowMs(), { limits, lock, permit: { expiresAtMs: nowMs() + PERMIT_MS } }),
    );

  /** Resolves with the first permit that the child got, or with what became of its requests. */
  const told = async (child: ChildProcess, settle: SettleTask): Promise<{ settled: string } | string[]> => {
    const answer = once(child, "message");
    child.send({ settle });
    return (await answer)[0];
  };
  /** Resolves when the child is done or dead. */
  const ended = async (child: ChildProcess, settle: SettleTask): Promise<void> => {
    await new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.on("message", (message) => Array.isArray(message) && resolve());
      child.send({ settle });
    });
  };
  const consumed = async (tenant: string): Promise<number> =>
    (await store.listUnknownExecutions(tenant, 500)).executions.length;
  const usedOf = async (tenant: string, limit: Settle["limits"][number]): Promise<number> => {
    const probe = { ...limit, limitMicros: 0, costMicros: units(1) };
    const result = await store.settle(tenant, aSettle(nowMs(), { limits: [probe] }));
    if (result.kind !== "exceeded") throw new Error(`no probe: ${result.kind}`);
    return result.limits[0]!.usedMicros;
  };

  it("spends exactly ten in the end, and never more on the way", async () => {
    const tenant = freshTenant();
    const limit = aLimit({ windowMs: 30 * 24 * 3_600_000 });
    for (let round = 0; round < ROUNDS && (await consumed(tenant)) < 9; round += 1) {
      const before = await consumed(tenant);
      const [holder, killed, other] = [round % 3, (round + 1) % 3, (round + 2) % 3];
      // One dies with permits in its hands: they are reserved until they expire, and then come back.
      const held = { tenant, settles: requests(1, [limit]), isHolding: true };
      expect(await told(children[holder]!, held)).toMatchObject({ settled: held.settles[0]!.jti });
      children[holder]!.kill("SIGKILL");
      expect(await usedOf(tenant, limit)).toBe(units(before + 1));
      // One dies somewhere in the middle of its settles and consumptions, one goes on beside it.
      const run = (index: number, count: number) =>
        ended(children[index]!, { tenant, settles: requests(count, [limit]), isHolding: false });
      const victim = children[killed]!;
      victim.once("message", () => victim.kill("SIGKILL"));
      await Promise.all([run(killed, 6), run(other, 2)]);
      const used = (await usedOf(tenant, limit)) / units(1);
      const spent = await consumed(tenant);
      expect(spent).toBeLessThanOrEqual(used - 1);
      expect(used).toBeLessThanOrEqual(10);
      await pass(PERMIT_MS);
      expect(await usedOf(tenant, limit)).toBe(units(spent));
      await restart(holder);
      await restart(killed);
    }
    // What the dead had in their hands is there for the living.
    await Promise.all(
      children.map((child) => ended(child, { tenant, settles: requests(20, [limit]), isHolding: false })),
    );
    expect(await consumed(tenant)).toBe(10);
    const late = { tenant, settles: requests(20, [limit]), isHolding: false };
    for (const child of children) expect(new Set((await told(child, late)) as string[])).toEqual(new Set(["exceeded"]));
    expect(await usedOf(tenant, limit)).toBe(units(10));
  });

  it("frees the lock of one that was killed when its time is over, not before", async () => {
    const tenant = freshTenant();
    const lock = aLock({ ttlMs: 30_000 });
    const held = { tenant, settles: requests(1, [], lock), isHolding: true };
    expect(await told(children[0]!, held)).toMatchObject({ settled: held.settles[0]!.jti });
    children[0]!.kill("SIGKILL");
    const next = { tenant, settles: requests(5, [], lock), isHolding: true };
    expect(await told(children[1]!, next)).toEqual(Array(5).fill("locked"));
    await pass(30_000);
    const results = await Promise.all(
      [1, 2].map((index) => told(children[index]!, { ...next, settles: requests(1, [], lock) })),
    );
    expect(results.filter((result) => !Array.isArray(result))).toHaveLength(1);
    await restart(0);
  });
});
