import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import {
  type Answer,
  type Body,
  killProcesses,
  type SidecarProcess,
  startProcess,
  temporaryDirectory,
} from "../support/process.ts";
import { freshId, refund, useOf, writeFile } from "../support/proposals.ts";
import { type RedisServer, startRedis } from "../support/redis.ts";
import { KEYS } from "../support/sidecar.ts";
import { readBooks } from "./notes.ts";

vi.setConfig({ testTimeout: 180_000 });

const servers: RedisServer[] = [];
afterEach(killProcesses);
afterAll(async () => {
  for (const server of servers) await server.dispose();
});

interface Rivals {
  /** Two ways to ask: two sidecars, or one with two workers, over connections of their own. */
  readonly sidecars: readonly [SidecarProcess, SidecarProcess];
  readonly dataDirs: readonly string[];
  stop(): Promise<void>;
}

async function twoSidecars(): Promise<Rivals> {
  const redis = await startRedis();
  servers.push(redis);
  const shared = { bundle: examplesBundle(), store: redis.url, keys_dir: temporaryDirectory() };
  const sidecars = (await Promise.all([startProcess(shared), startProcess(shared)])) as [
    SidecarProcess,
    SidecarProcess,
  ];
  return {
    sidecars,
    dataDirs: sidecars.map(({ dataDir }) => dataDir),
    stop: async () => {
      for (const sidecar of sidecars) expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    },
  };
}

async function twoWorkers(): Promise<Rivals> {
  const sidecar = await startProcess({ bundle: examplesBundle(), workers: 2 });
  return {
    sidecars: [sidecar, sidecar],
    dataDirs: [sidecar.dataDir],
    stop: async () => {
      expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    },
  };
}

/** Runs `act` over the items, `width` at a time. */
async function inTurn<T, R>(items: readonly T[], width: number, act: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += width) {
    results.push(...(await Promise.all(items.slice(start, start + width).map(act))));
  }
  return results;
}

/** Decides in batches, one sidecar after the other. */
async function decideAll(rivals: Rivals, proposals: readonly Body[]): Promise<Body[]> {
  const batches = Array.from({ length: Math.ceil(proposals.length / 100) }, (_, index) => index);
  const decided = await inTurn(batches, 2, async (index) => {
    const body = { proposals: proposals.slice(index * 100, (index + 1) * 100) };
    const answer = await rivals.sidecars[index % 2]!.send({ path: "/v1/decisions/batch", body });
    expect(answer.status).toBe(200);
    return answer.body.decisions as Body[];
  });
  return decided.flat();
}

const consume = (sidecar: SidecarProcess, use: Body) => sidecar.send({ path: "/v1/permits/consume", body: use });

/** Each permit is tried four times at once, from both sides; the notes say who was told that it may run. */
async function raceForPermits(rivals: Rivals, uses: readonly Body[]): Promise<Map<string, Answer[]>> {
  const won = new Map<string, Answer[]>(uses.map((use) => [use.permit, []]));
  const surprises: unknown[] = [];
  await inTurn(uses, 40, async (use) => {
    const tries = [0, 1, 0, 1].map((side) => consume(rivals.sidecars[side]!, use));
    for (const answer of await Promise.all(tries)) {
      if (answer.status === 200) won.get(use.permit)!.push(answer);
      else if (answer.body.code !== "already_consumed" || answer.body.outcome !== "deny") surprises.push(answer.body);
    }
  });
  expect(surprises).toEqual([]);
  return won;
}

function expectOneEach(won: ReadonlyMap<string, readonly Answer[]>, rivals: Rivals): void {
  expect([...won.values()].filter((answers) => answers.length !== 1)).toEqual([]);
  const books = readBooks(rivals.dataDirs);
  const uses = books.entries.filter(({ entry }) => entry.kind === "permit_consumed").map(({ entry }) => entry);
  const ids = uses.map((entry) => entry.data.permit_id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(new Set(ids)).toEqual(new Set([...won.values()].flat().map(({ body }) => body.permit_id)));
}

describe.each([
  ["two sidecars on one Redis", twoSidecars, 2_000],
  ["two workers on the embedded store", twoWorkers, 600],
] as const)("%s", (_, start, permits) => {
  test(`consume gives each of ${permits} permits to exactly one of four`, async () => {
    const rivals = await start();
    const proposals = Array.from({ length: permits }, () => refund(20));
    const decisions = await decideAll(rivals, proposals);
    const uses = proposals.map((proposal, index) => useOf(proposal, decisions[index]));
    const won = await raceForPermits(rivals, uses);
    await rivals.stop();
    expect(won.size).toBe(permits);
    expectOneEach(won, rivals);
  });

  test("consume uses one grant once, however many permits were made for it", async () => {
    const rivals = await start();
    const [one, other] = rivals.sidecars;
    const proposals = Array.from({ length: 40 }, () => refund(900));
    const escalated = await decideAll(rivals, proposals);
    await inTurn(escalated, 20, async ({ approval }) =>
      expect((await one.review(approval.id, "grant")).status).toBe(200),
    );
    // Two proposals of one binding: each gets a permit of its own for the one grant, and the grant is for one use.
    const twins = proposals.map((proposal) => ({ ...proposal, id: freshId("twin") }));
    const first = await inTurn(proposals, 20, (proposal) => one.decide(proposal));
    const second = await inTurn(twins, 20, (proposal) => other.decide(proposal));
    const answers = await inTurn(proposals, 10, async (proposal) => {
      const index = proposals.indexOf(proposal);
      const uses = [first, second].map((side) => useOf(proposal, side[index]!.body));
      expect(uses[0]!.permit).not.toBe(uses[1]!.permit);
      return Promise.all([
        consume(one, uses[0]),
        consume(other, uses[1]),
        consume(other, uses[0]),
        consume(one, uses[1]),
      ]);
    });
    await rivals.stop();
    for (const four of answers) {
      expect(four.filter(({ status }) => status === 200)).toHaveLength(1);
      const refusals = four.filter(({ status }) => status !== 200).map(({ body }) => body.code);
      expect(refusals).toEqual(["already_consumed", "already_consumed", "already_consumed"]);
    }
  });

  test("review lets one of two racing reviewers decide, and counts both where both are needed", async () => {
    const rivals = await start();
    const [one, other] = rivals.sidecars;
    const quorumOfOne = await decideAll(
      rivals,
      Array.from({ length: 60 }, () => refund(300)),
    );
    const contested = await inTurn(quorumOfOne, 20, async ({ approval }) => ({
      id: approval.id,
      answers: await Promise.all([
        one.review(approval.id, "grant", {}, KEYS.olivia),
        other.review(approval.id, "deny", {}, KEYS.pierre),
      ]),
    }));
    for (const { id, answers } of contested) {
      const [granted, denied] = answers;
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
      const loser = granted.status === 200 ? denied : granted;
      expect(loser.body.code).toBe("approval_not_pending");
      const { body } = await one.send({ port: "admin", path: `/v1/approvals/${id}`, key: KEYS.olivia });
      expect(body.status).toBe(granted.status === 200 ? "granted" : "denied");
      expect(body.reviews).toHaveLength(1);
    }
    const deletion = () => ({
      ...writeFile("/tmp/x"),
      action: { name: "fs.delete", arguments: { path: `/tmp/${freshId()}` } },
    });
    const quorumOfTwo = await decideAll(rivals, Array.from({ length: 40 }, deletion));
    const shared = await inTurn(quorumOfTwo, 10, async ({ approval }) => ({
      id: approval.id,
      answers: await Promise.all([
        one.review(approval.id, "grant", {}, KEYS.olivia),
        other.review(approval.id, "grant", {}, KEYS.olivia),
        other.review(approval.id, "grant", {}, KEYS.pierre),
      ]),
    }));
    for (const { id, answers } of shared) {
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 409]);
      const { body } = await one.send({ port: "admin", path: `/v1/approvals/${id}`, key: KEYS.olivia });
      expect(body.status).toBe("granted");
      expect(body.reviews.map(({ reviewer }: Body) => reviewer.id).sort()).toEqual(["olivia", "pierre"]);
    }
    await rivals.stop();
  });

  test("decide opens one approval for one binding that many propose", async () => {
    const rivals = await start();
    for (let round = 0; round < 10; round += 1) {
      const base = refund(700 + round);
      const sides = Array.from({ length: 20 }, (_, index) => rivals.sidecars[index % 2]!);
      const answers = await Promise.all(sides.map((sidecar) => sidecar.decide({ ...base, id: freshId("same") })));
      expect(answers.map(({ status }) => status)).toEqual(sides.map(() => 200));
      expect(new Set(answers.map(({ body }) => body.approval.id)).size).toBe(1);
    }
    await rivals.stop();
    const opened = readBooks(rivals.dataDirs).entries.filter(({ entry }) => entry.kind === "approval_opened");
    expect(opened).toHaveLength(10);
  });
});

test("decide records one decision for one proposal id that both workers are sent", async () => {
  const rivals = await twoWorkers();
  for (let round = 0; round < 25; round += 1) {
    const proposal = round % 2 === 0 ? writeFile("/tmp/once") : refund(50);
    const answers = await Promise.all(Array.from({ length: 12 }, () => rivals.sidecars[0].decide(proposal)));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
  }
  await rivals.stop();
  const decisions = readBooks(rivals.dataDirs).entries.filter(({ entry }) => entry.kind === "decision");
  expect(decisions).toHaveLength(25);
});
