/** The embedded store shared by processes, killed, and with its clock tampered with. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Store } from "../../src/core/ports.ts";
import { MonotoneClock } from "../../src/store/embedded/monotone-clock.ts";
import { openStore } from "../../src/store/open-store.ts";
import { granted, issued, opened } from "./conformance.ts";
import { buildChildren, type Children } from "./embedded-children.ts";
import { embeddedHarness } from "./harnesses.ts";
import { anOpening, aPermit, aReview, aUse, freshTenant } from "./samples.ts";

describe("embedded store, shared", () => {
  const directory = mkdtempSync(join(tmpdir(), "hp-shared-"));
  let store: Store;
  let children: ChildProcess[] = [];
  let built: Children;
  const start = (): Promise<ChildProcess> => built.start(directory);
  const ask = async (child: ChildProcess, message: object): Promise<string[]> => {
    const answer = once(child, "message");
    child.send(message);
    return (await answer)[0] as string[];
  };

  beforeAll(async () => {
    built = await buildChildren();
    store = await openStore({ url: "embedded", dataDir: directory, timeoutMs: 20_000 });
    children = await Promise.all([start(), start()]);
  });
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await store.close();
    rmSync(directory, { recursive: true, force: true });
    built.remove();
  });

  it("gives each use to one of three processes, in a thousand races", async () => {
    const tenant = freshTenant();
    const approval = await granted(
      store,
      anOpening(tenant, "many", { rule: { roles: [], quorum: 1, ttlSeconds: 600, grantTtlSeconds: 600, uses: 700 } }),
    );
    const permits = await Promise.all(Array.from({ length: 1_000 }, () => issued(store, aPermit(tenant, approval.id))));
    const uses = permits.map(aUse);
    const own = Promise.all(uses.map((use) => store.consumePermit(use))).then((results) =>
      results.map((result) => result.kind),
    );
    const answers = await Promise.all([own, ...children.map((child) => ask(child, { uses }))]);
    const perPermit = uses.map((_, index) => answers.filter((kinds) => kinds[index] === "consumed").length);
    expect(Math.max(...perPermit)).toBe(1);
    expect(perPermit.reduce((sum, count) => sum + count, 0)).toBe(700);
    expect(await store.readApproval(tenant, approval.id)).toMatchObject({ status: "exhausted", usesLeft: 0 });
  });

  it("opens one approval per scope over three processes", async () => {
    const tenant = freshTenant();
    const opens = Array.from({ length: 50 }, (_, index) => anOpening(tenant, `s${index}`));
    const own = Promise.all(opens.map((request) => store.openApproval(request))).then((results) =>
      results.map((result) => result.kind),
    );
    const answers = await Promise.all([own, ...children.map((child) => ask(child, { opens }))]);
    expect(answers.flat().filter((kind) => kind === "opened")).toHaveLength(50);
    expect((await store.countApprovals(tenant)).pending).toBe(50);
  });

  it("keeps what it answered when a process is killed in the middle of its writes", async () => {
    const tenant = freshTenant();
    const permits = await Promise.all(Array.from({ length: 300 }, () => issued(store, aPermit(tenant))));
    const mine = await Promise.all(permits.slice(0, 100).map((permit) => store.consumePermit(aUse(permit))));
    children[0]!.send({ uses: permits.map(aUse) });
    children[0]!.kill("SIGKILL");
    await once(children[0]!, "exit");
    children[0] = await start();
    expect(mine.every((result) => result.kind === "consumed")).toBe(true);
    const again = await ask(children[0]!, { uses: permits.slice(0, 100).map(aUse) });
    expect(new Set(again)).toEqual(new Set(["already_consumed"]));
    const approval = await opened(store, anOpening(tenant));
    expect(await store.reviewApproval(aReview(approval))).toMatchObject({ kind: "reviewed" });
  });

  it("forgets nothing while others open the same files, if it holds for as long", async () => {
    const tenant = freshTenant();
    let isOver = false;
    const unseen: string[] = [];
    const writing = (async () => {
      for (let count = 0; !isOver; count += 1) {
        const { id } = await opened(store, anOpening(tenant, `held-${count}`));
        if ((await store.readApproval(tenant, id)) === undefined) unseen.push(id);
      }
    })();
    for (let opens = 0; opens < 10; opens += 1) {
      const release = await store.hold();
      const child = await start();
      release();
      child.kill("SIGKILL");
      await once(child, "exit");
    }
    isOver = true;
    await writing;
    expect(unseen).toEqual([]);
  });

  it("is its owner's alone to read", () => {
    expect(statSync(join(directory, "store")).mode & 0o077).toBe(0);
  });

  it("keeps everything over close and open", async () => {
    const tenant = freshTenant();
    const approval = await opened(store, anOpening(tenant));
    await store.close();
    await expect(store.readApproval(tenant, approval.id)).rejects.toMatchObject({ code: "store_unavailable" });
    await expect(store.openApproval(anOpening(tenant))).rejects.toMatchObject({ code: "store_unavailable" });
    store = await openStore({ url: "embedded", dataDir: directory, timeoutMs: 20_000 });
    expect(await store.readApproval(tenant, approval.id)).toEqual(approval);
  });
});

describe("embedded store, its clock set back", () => {
  it("extends no deadline: not in this process, and not over a restart", async () => {
    const harness = await embeddedHarness();
    const tenant = freshTenant();
    let store = await harness.open();
    const approval = await opened(store, anOpening(tenant));
    const permit = await issued(store, aPermit(tenant));
    await harness.passTime(999_000);
    await store.ping(); // a change, so that the time is on disk
    harness.setWallBack(10_000_000);
    await harness.passTime(1_000);
    expect(await store.readApproval(tenant, approval.id)).toMatchObject({ status: "expired" });
    expect(await store.consumePermit(aUse(permit))).toEqual({ kind: "expired" });
    await store.close();
    store = await harness.open();
    expect(await store.reviewApproval(aReview(approval))).toMatchObject({ kind: "not_pending" });
    expect(await store.expireApprovals(tenant, 10)).toHaveLength(1);
    await store.close();
    await harness.dispose();
  });

  it("goes on at the true rate, whatever the wall clock says", () => {
    let wall = 1_000_000;
    let monotonic = 0;
    const clock = new MonotoneClock({ wallMs: () => wall, monotonicMs: () => monotonic });
    expect(clock.now(0)).toBe(1_000_000);
    wall = 0;
    monotonic = 500;
    expect(clock.now(0)).toBe(1_000_500);
    wall = 3_000_000;
    expect(clock.now(0)).toBe(3_000_000);
    expect(clock.now(4_000_000)).toBe(4_000_000);
    monotonic = 1_500;
    expect(clock.now(0)).toBe(4_001_000);
  });
});
