import { afterAll, afterEach, expect, test, vi } from "vitest";
import { examplesBundle } from "../support/bundles.ts";
import {
  killProcesses,
  randomFrom,
  type SidecarProcess,
  startProcess,
  temporaryDirectory,
  workersOf,
} from "../support/process.ts";
import { refund, useOf } from "../support/proposals.ts";
import { type RedisServer, startRedis, until } from "../support/redis.ts";
import { startSidecar } from "../support/sidecar.ts";
import {
  createNotes,
  expectNoDecisionTwice,
  expectNotesInBooks,
  expectNotesInStore,
  type Notes,
  readBooks,
  work,
} from "./notes.ts";

vi.setConfig({ testTimeout: 180_000 });

const CLIENTS = 12;

let redis: RedisServer | undefined;
afterEach(killProcesses);
afterAll(() => redis?.dispose());

/** Starts, lets clients work until a random number of acknowledgements, kills; and again, on the same directory. */
async function crashRounds(
  settings: Record<string, unknown>,
  of: { readonly rounds: number; readonly seed: number; readonly kill: (sidecar: SidecarProcess) => void },
): Promise<Notes> {
  const notes = createNotes();
  const random = randomFrom(of.seed);
  for (let round = 0; round < of.rounds; round += 1) {
    const sidecar = await startProcess(settings);
    const target = notes.acknowledged + 1 + Math.floor(random() * 350);
    let isOver = false;
    const clients = Array.from({ length: CLIENTS }, (_, client) =>
      work(sidecar, notes, of.seed * 1_000 + round * 50 + client, () => isOver),
    );
    await until(() => notes.acknowledged >= target, "clients were answered");
    of.kill(sidecar);
    isOver = true;
    await Promise.all(clients);
    await sidecar.stop("SIGKILL");
  }
  return notes;
}

async function expectNothingLost(notes: Notes, settings: Record<string, unknown>): Promise<void> {
  const dataDir = String(settings.data_dir);
  const before = readBooks([dataDir]);
  expectNotesInBooks(notes, before);
  await expectNotesInStore(notes, dataDir, settings);
  const books = readBooks([dataDir]);
  expectNotesInBooks(notes, books);
  expectNoDecisionTwice(books);
  expect([...books.facts].filter(([, count]) => count !== 1)).toEqual([]);
  expect(notes.decisions.size).toBeGreaterThan(100);
  expect(notes.consumed.size).toBeGreaterThan(20);
}

test("serve loses nothing acknowledged when it is killed at random moments (embedded)", async () => {
  const settings = { bundle: examplesBundle(), data_dir: temporaryDirectory() };
  const notes = await crashRounds(settings, { rounds: 10, seed: 1, kill: ({ child }) => child.kill("SIGKILL") });
  await expectNothingLost(notes, settings);
});

test("serve loses nothing acknowledged when it is killed at random moments (Redis)", async () => {
  redis = await startRedis();
  const settings = { bundle: examplesBundle(), data_dir: temporaryDirectory(), store: redis.url };
  const notes = await crashRounds(settings, { rounds: 8, seed: 2, kill: ({ child }) => child.kill("SIGKILL") });
  await expectNothingLost(notes, settings);
});

test("serve loses nothing acknowledged when its primary is killed under its workers", async () => {
  const settings = { bundle: examplesBundle(), data_dir: temporaryDirectory(), workers: 2 };
  const notes = await crashRounds(settings, { rounds: 4, seed: 3, kill: ({ child }) => child.kill("SIGKILL") });
  await expectNothingLost(notes, settings);
});

test("consume gives no permit twice through Redis that is killed and comes back with what it had written", async () => {
  const server = await startRedis({ args: ["--appendonly", "yes", "--appendfsync", "everysec"] });
  try {
    const shared = {
      bundle: examplesBundle(),
      store: server.url,
      keys_dir: temporaryDirectory(),
      store_timeout_ms: 500,
    };
    const sidecars = await Promise.all([startProcess(shared), startProcess(shared)]);
    const random = randomFrom(5);
    const won = new Map<string, number>();
    for (let round = 0; round < 4; round += 1) {
      const proposals = Array.from({ length: 100 }, () => refund(20));
      const { body } = await sidecars[0]!.send({ path: "/v1/decisions/batch", body: { proposals } });
      const uses = proposals.map((proposal, index) => useOf(proposal, body.decisions[index]));
      const attempt = async (use: { permit: string }, index: number) => {
        const { status } = await sidecars[index % 2]!.send({ path: "/v1/permits/consume", body: use });
        if (status === 200) won.set(use.permit, (won.get(use.permit) ?? 0) + 1);
        return status;
      };
      const target = won.size + Math.floor(random() * 60);
      const racing = Promise.all(uses.map(attempt));
      await until(() => won.size >= target, "some are used");
      await server.kill();
      await racing;
      await server.start();
      // Not by /readyz, whose answer may be from before the kill.
      const isBack = async (sidecar: SidecarProcess) => (await sidecar.decide(refund(20))).status === 200;
      for (const sidecar of sidecars) await until(() => isBack(sidecar), "the store answers again");
      // Everybody tries everything again, on the other side.
      const statuses = await Promise.all(uses.map((use, index) => attempt(use, index + 1)));
      expect(statuses.filter((status) => ![200, 404, 409].includes(status))).toEqual([]);
    }
    expect([...won.values()].filter((count) => count !== 1)).toEqual([]);
    expect(won.size).toBeGreaterThan(20);
    for (const sidecar of sidecars) expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
    readBooks(sidecars.map(({ dataDir }) => dataDir));
  } finally {
    await server.dispose();
  }
});

test("serve replaces a worker that is killed under load, and loses nothing acknowledged", async () => {
  const settings = { bundle: examplesBundle(), data_dir: temporaryDirectory(), workers: 2 };
  const sidecar = await startProcess(settings);
  const notes = createNotes();
  let isOver = false;
  // A client whose connection goes away with its worker comes back, as clients do.
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    for (let life = 0; !isOver; life += 1) await work(sidecar, notes, 4_000 + client * 50 + life, () => isOver);
  });
  const killed = new Set<number>();
  for (let kills = 0; kills < 5; kills += 1) {
    const target = notes.acknowledged + 60;
    await until(() => notes.acknowledged >= target, "the workers that are left answer");
    const [worker] = workersOf(sidecar);
    killed.add(worker!);
    process.kill(worker!, "SIGKILL");
    await until(() => sidecar.lines.filter(({ msg }) => msg === "Worker is up").length >= 3 + kills, "it is replaced");
  }
  isOver = true;
  // Stopped first: a connection that was being handed to a worker as it died is answered by nobody until then.
  expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
  await Promise.all(clients);
  expect(killed.size).toBe(5);
  await expectNothingLost(notes, settings);
});

test("gate.sweep records what a crash left between the store's step and the ledger's", async () => {
  const holdpoint = await startSidecar({ bundle: examplesBundle() });
  try {
    const { store, gate, ledger } = holdpoint.sidecar;
    const proposal = refund(40);
    const { body: decision } = await holdpoint.decide(proposal);
    const claims = JSON.parse(Buffer.from(decision.permit.split(".")[1], "base64url").toString());
    // The store's step alone, as a process leaves it that dies right after.
    const used = await store.consumePermit({
      tenant: "default",
      jti: claims.jti,
      approvalId: undefined,
      action: claims.action,
      decisionId: decision.decision_id,
      traceId: decision.trace_id,
      consumer: "",
    });
    expect(used.kind).toBe("consumed");
    const size = ledger.head().size;
    await gate.sweep(["default"]);
    expect(ledger.head().size).toBe(size);
    await gate.sweep(["default"], 0);
    const entry = holdpoint.entries().at(-1);
    expect(entry).toMatchObject({
      kind: "permit_consumed",
      tenant: "default",
      data: { recovered: true, subject_id: claims.jti, fact_id: (used as { executionId: string }).executionId },
    });
    await gate.sweep(["default"], 0);
    expect(ledger.head().size).toBe(size + 1);
    const { body } = await holdpoint.send({ path: "/v1/permits/consume", body: useOf(proposal, decision) });
    expect(body).toMatchObject({ valid: false, code: "already_consumed", outcome: "deny" });
    const { body: listed } = await holdpoint.send({ port: "admin", path: "/v1/executions", key: "test-key-olivia" });
    expect(listed.executions).toMatchObject([{ permit_id: claims.jti, status: "unknown" }]);
  } finally {
    await holdpoint.close();
  }
});
