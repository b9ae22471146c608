/** Clients that keep their own notes of what was acknowledged to them, and the check of a sidecar's books against those. */
import { expect } from "vitest";
import type { Config } from "../../src/config/load-config.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { type Answer, type Body, randomFrom, type SidecarProcess } from "../support/process.ts";
import { freshId, refund, useOf, writeFile } from "../support/proposals.ts";
import { startSidecar } from "../support/sidecar.ts";

export interface Notes {
  /** Acknowledged decisions: the text by decision id, and the proposal that led there. */
  readonly decisions: Map<string, { readonly text: string; readonly proposal: Body }>;
  /** Sent, and perhaps never answered. */
  readonly proposals: Map<string, Body>;
  /** Ids of acknowledged transitions: what the store calls their facts. */
  readonly facts: Set<string>;
  readonly grants: Set<string>;
  readonly reports: Set<string>;
  /** Acknowledged consumptions, counted by permit. */
  readonly consumed: Map<string, { count: number; readonly use: Body }>;
  /** Answers that no client expects. */
  readonly surprises: unknown[];
  /** Everything that was acknowledged, in number. */
  acknowledged: number;
}

export const createNotes = (): Notes => ({
  decisions: new Map(),
  proposals: new Map(),
  facts: new Set(),
  grants: new Set(),
  reports: new Set(),
  consumed: new Map(),
  surprises: [],
  acknowledged: 0,
});

/** A request that was never answered: the sidecar was killed. */
const unanswered = "unanswered";

type Sidecar = Pick<SidecarProcess, "send" | "decide" | "review">;

async function ask(asking: Promise<Answer>): Promise<Answer | typeof unanswered> {
  return asking.catch(() => unanswered);
}

/** One client: proposes, has approved, consumes, reports, until a request is not answered. */
export async function work(sidecar: Sidecar, notes: Notes, seed: number, isDone: () => boolean): Promise<void> {
  const random = randomFrom(seed);
  while (!isDone()) {
    const turn = random();
    const proposal =
      turn < 0.3 ? writeFile(`/tmp/${freshId()}`) : turn < 0.65 ? refund(10) : refund(200 + Math.floor(turn * 1_000));
    if ((await act(sidecar, notes, proposal)) === unanswered) return;
  }
}

async function act(sidecar: Sidecar, notes: Notes, proposal: Body): Promise<unknown> {
  let decision = await propose(sidecar, notes, proposal);
  if (decision === unanswered) return unanswered;
  if (decision?.outcome === "escalate") {
    const granted = await ask(sidecar.review(decision.approval.id, "grant"));
    if (granted === unanswered) return unanswered;
    if (granted.status !== 200) return void notes.surprises.push(granted.body);
    const { id, version } = granted.body.approval;
    notes.acknowledged += 1;
    notes.facts.add(`${id}:${version}`);
    notes.grants.add(id);
    decision = await propose(sidecar, notes, proposal);
    if (decision === unanswered) return unanswered;
  }
  if (decision?.permit === undefined) return undefined;
  return consume(sidecar, notes, useOf(proposal, decision));
}

async function propose(sidecar: Sidecar, notes: Notes, proposal: Body): Promise<Body | typeof unanswered | undefined> {
  notes.proposals.set(proposal.id, proposal);
  const answer = await ask(sidecar.decide(proposal));
  if (answer === unanswered) return unanswered;
  if (answer.status !== 200) return void notes.surprises.push(answer.body);
  notes.acknowledged += 1;
  notes.decisions.set(answer.body.decision_id, { text: answer.text, proposal });
  return answer.body;
}

async function consume(sidecar: Sidecar, notes: Notes, use: Body): Promise<unknown> {
  // Two executors hold the same permit: at most one may run.
  const attempts = await Promise.all([0, 1].map(() => ask(sidecar.send({ path: "/v1/permits/consume", body: use }))));
  for (const answer of attempts) {
    if (answer === unanswered) continue;
    if (answer.status === 200) noteUse(notes, use, answer.body);
    else if (answer.body.code !== "already_consumed") notes.surprises.push(answer.body);
  }
  const won = attempts.find((answer) => answer !== unanswered && answer.status === 200);
  if (won === undefined || won === unanswered) return attempts.includes(unanswered) ? unanswered : undefined;
  const report = { permit_id: won.body.permit_id, status: "succeeded", result: { ok: won.body.permit_id } };
  const reported = await ask(sidecar.send({ path: "/v1/executions", body: report }));
  if (reported === unanswered) return unanswered;
  if (reported.status !== 200) return void notes.surprises.push(reported.body);
  notes.acknowledged += 1;
  notes.facts.add(`${reported.body.execution_id}:reported`);
  notes.reports.add(reported.body.execution_id);
  return attempts.includes(unanswered) ? unanswered : undefined;
}

function noteUse(notes: Notes, use: Body, answer: Body): void {
  notes.acknowledged += 1;
  notes.facts.add(answer.execution_id);
  const known = notes.consumed.get(answer.permit_id) ?? { count: 0, use };
  known.count += 1;
  notes.consumed.set(answer.permit_id, known);
}

// --------------------------------------------------------------------------------------------------------- checks

export interface Books {
  readonly entries: readonly { readonly text: string; readonly entry: Body }[];
  /** Facts that the ledger holds, with how often. */
  readonly facts: ReadonlyMap<string, number>;
  readonly recovered: number;
}

/** Verifies the ledgers of these data directories and reads them. */
export function readBooks(dataDirs: readonly string[]): Books {
  const entries: { text: string; entry: Body }[] = [];
  const facts = new Map<string, number>();
  let recovered = 0;
  for (const dataDir of dataDirs) {
    const report = verifyLedger({
      directory: `${dataDir}/ledger`,
      onEntry: ({ text }) => entries.push({ text, entry: JSON.parse(text) }),
    });
    expect(report.fault).toBeUndefined();
  }
  for (const { entry } of entries) {
    if (entry.data?.recovered === true) recovered += 1;
    const factId = entry.data?.fact_id;
    if (factId !== undefined) facts.set(factId, (facts.get(factId) ?? 0) + 1);
  }
  return { entries, facts, recovered };
}

/** The answer is the record and, behind it, the permit. */
const recordOf = (text: string): string => text.replace(/,"permit":"[^"]+","permit_id":"[^"]+"}$/, "}");

export function expectNotesInBooks(notes: Notes, books: Books): void {
  expect(notes.surprises).toEqual([]);
  const recorded = new Map(
    books.entries
      .filter(({ entry }) => entry.kind === "decision")
      .map(({ text, entry }) => [entry.decision.decision_id, text]),
  );
  const lost = [...notes.decisions]
    .filter(([id, { text }]) => !recorded.get(id)?.includes(`"decision":${recordOf(text)},"input":`))
    .map(([id]) => id);
  expect(lost).toEqual([]);
  expect([...notes.facts].filter((factId) => !books.facts.has(factId))).toEqual([]);
  expect([...notes.consumed.values()].filter(({ count }) => count !== 1)).toEqual([]);
}

/** A proposal is decided once, and once more for each state that its approval leaves behind. */
export function expectNoDecisionTwice(books: Books): void {
  const seen = new Map<string, number>();
  for (const { entry } of books.entries) {
    if (entry.kind !== "decision") continue;
    const { proposal_id, approval } = entry.decision;
    const name = `${proposal_id} ${approval?.status ?? "none"}`;
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  expect([...seen].filter(([, count]) => count > 1)).toEqual([]);
}

/** What was acknowledged is in the store, too; facts that a crash left behind reach the ledger by a sweep. */
export async function expectNotesInStore(notes: Notes, dataDir: string, settings: Record<string, unknown>) {
  const holdpoint = await startSidecar({ ...settings, data_dir: dataDir });
  try {
    const { store, gate } = holdpoint.sidecar;
    for (const id of notes.grants) {
      const approval = await store.readApproval("default", id);
      expect(approval?.status).toMatch(/^(granted|exhausted)$/);
      expect(approval?.reviews.map(({ verdict }) => verdict)).toEqual(["grant"]);
    }
    for (const jti of notes.consumed.keys()) {
      const permit = await store.readPermit("default", jti);
      expect(permit?.usesLeft ?? 0).toBe(0);
    }
    const unknown = new Set<string>();
    for (let cursor: string | undefined; ; ) {
      const page = await store.listUnknownExecutions("default", 200, cursor);
      for (const { executionId } of page.executions) unknown.add(executionId);
      cursor = page.cursor;
      if (cursor === undefined) break;
    }
    expect([...notes.reports].filter((id) => unknown.has(id))).toEqual([]);
    for (;;) {
      const before = holdpoint.sidecar.ledger.head().size;
      await gate.sweep(["default"], 0);
      if (holdpoint.sidecar.ledger.head().size === before) break;
    }
    expect(await store.takeFacts("default", 0, 100)).toEqual([]);
    await expectSameAnswers(notes, holdpoint);
    await expectNothingRunsTwice(notes, holdpoint);
  } finally {
    await holdpoint.close();
  }
  return holdpoint.config satisfies Config;
}

/** The same proposal id after the crash: the recorded decision, or what has followed from it. */
async function expectSameAnswers(notes: Notes, sidecar: Pick<SidecarProcess, "decide">): Promise<void> {
  const texts = new Set([...notes.decisions.values()].map(({ text }) => text));
  for (const { text, proposal } of notes.decisions.values()) {
    const decision = JSON.parse(text);
    const again = await sidecar.decide(proposal);
    expect(again.status).toBe(200);
    if (decision.outcome === "escalate") expect(again.body.proposal_id).toBe(proposal.id);
    else if (decision.approval === undefined) expect(again.text).toBe(text);
    else expect(texts.has(again.text) || again.body.outcome === "deny").toBe(true);
  }
  for (const proposal of notes.proposals.values()) {
    const again = await sidecar.decide(proposal);
    expect({ status: again.status, id: again.body.proposal_id }).toEqual({ status: 200, id: proposal.id });
  }
}

async function expectNothingRunsTwice(notes: Notes, sidecar: Pick<SidecarProcess, "send">): Promise<void> {
  for (const { use } of notes.consumed.values()) {
    const { status, body } = await sidecar.send({ path: "/v1/permits/consume", body: use });
    expect(status).not.toBe(200);
    expect(["already_consumed", "expired"]).toContain(body.code);
  }
}
