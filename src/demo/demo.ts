/** `make demo`: a scripted agent and a reviewer against a real sidecar over HTTP, in fourteen endings. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { verifyLedger } from "../ledger/verify-ledger.ts";
import { Actors } from "./actors.ts";
import { startSidecar } from "./demo-sidecar.ts";
import { LIFECYCLE_ENDINGS, lifecycle } from "./lifecycle.ts";
import { startPayments } from "./payments.ts";
import { Stage } from "./stage.ts";

const { values } = parseArgs({ options: { bundle: { type: "string", default: ".build/bundle.tar.gz" } } });
const root = mkdtempSync(join(tmpdir(), "holdpoint-demo-"));
const stage = new Stage(process.stdout);

try {
  await enforcing(join(root, "enforce"));
  await observing(join(root, "observe"));
  await living(join(root, "lifecycle"));
  evidence(join(root, "enforce"), join(root, "copy"));
} catch (error) {
  stage.fail(error as Error);
} finally {
  rmSync(root, { recursive: true, force: true });
}
process.exitCode = stage.finish(9 + LIFECYCLE_ENDINGS);

function refund(id: string, amount: number) {
  return {
    id,
    action: { name: "ISSUE_REFUND", arguments: { amount, currency: "EUR", reason: "customer request" } },
    actor: { id: "support-agent", type: "agent", roles: ["operator"], on_behalf_of: { id: "alice", type: "human" } },
    entity: { type: "order", id: `ord_${id}` },
    context: { session: "s-81" },
  };
}

function write(id: string, path: string) {
  return {
    id,
    action: { name: "fs.write_file", arguments: { path, content: "replicas: 3\n" } },
    actor: { id: "support-agent", type: "agent", roles: ["operator"] },
    permit: true,
  };
}

function unknownAction(id: string) {
  return {
    id,
    action: { name: "db.drop_table", arguments: { table: "customers" } },
    actor: { id: "support-agent", type: "agent", roles: ["operator"] },
  };
}

async function enforcing(dataDir: string): Promise<void> {
  const sidecar = await startSidecar({ mode: "enforce", bundle: values.bundle, dataDir });
  const actors = new Actors(sidecar, stage);
  try {
    stage.ending(1, "A small refund is allowed, permitted, executed");
    const small = await actors.propose(refund("r1", 49));
    stage.expect("allowed with a permit", small.outcome === "allow" && small.permit !== undefined);
    stage.expect("the executor may run it", (await actors.consume(small)).valid === true);
    stage.expect("its success is recorded", (await actors.report(small, "succeeded")).status === "succeeded");
    await actors.audit();

    stage.ending(2, "A large refund escalates, a reviewer grants, it executes");
    const held = await actors.propose(refund("r2", 4900));
    stage.expect("held for a human", held.outcome === "escalate" && held.permit === undefined);
    const waiting = actors.waitFor(held);
    await actors.review(held, "grant", "verified with the customer");
    stage.expect("the agent's long-poll sees the grant", (await waiting).status === "granted");
    const granted = await actors.propose(refund("r2", 4900));
    stage.expect("allowed with a permit", granted.outcome === "allow" && granted.permit !== undefined);
    stage.expect("the executor may run it", (await actors.consume(granted)).valid === true);
    await actors.report(granted, "succeeded");
    await actors.audit();

    stage.ending(3, "Another is denied by the reviewer, and the retry is refused");
    const disputed = await actors.propose(refund("r3", 2500));
    await actors.review(disputed, "deny", "order disputed");
    const retry = await actors.propose(refund("r3", 2500));
    stage.expect("refused, because denied is final", retry.outcome === "deny" && retry.code === "approval_denied");
    const disguised = await actors.propose({ ...refund("r3", 2500), id: "r3-again" });
    stage.expect(
      "refused under another id as well",
      disguised.outcome === "deny" && disguised.code === "approval_denied",
    );
    await actors.audit();

    stage.ending(4, "A write to a production path is computed into a safe path");
    const safe = await actors.propose(write("w1", "/prod/config.yaml"));
    stage.expect(
      "rewritten, decided again",
      safe.outcome === "compute" && safe.arguments.path === "/sandbox/prod/config.yaml",
    );
    stage.expect(
      "the original path is refused where it runs",
      (await actors.consume(safe, { path: "/prod/config.yaml", content: "replicas: 3\n" })).code === "digest_mismatch",
    );
    stage.expect("the safe path may be written", (await actors.consume(safe)).valid === true);
    await actors.report(safe, "succeeded");
    await actors.audit();

    stage.ending(5, "An unknown action is denied");
    const unknown = await actors.propose(unknownAction("u1"));
    stage.expect("denied by default", unknown.outcome === "deny" && unknown.code === "unknown_action");
    await actors.audit();

    stage.ending(6, "The approved refund is tried with a changed amount");
    const approved = await actors.propose(refund("r6", 900));
    await actors.review(approved, "grant", "ok");
    const permitted = await actors.propose(refund("r6", 900));
    const changed = await actors.consume(permitted, { ...permitted.arguments, amount: 9000 });
    stage.expect("9000 instead of 900: refused, digest mismatch", changed.code === "digest_mismatch");
    stage.expect("the right amount still works", (await actors.consume(permitted)).valid === true);
    await actors.report(permitted, "succeeded");
    await actors.audit();

    stage.ending(7, "The permit is replayed");
    stage.expect("refused: already consumed", (await actors.consume(permitted)).code === "already_consumed");
    await actors.audit();
  } finally {
    await sidecar.stop();
  }
}

async function observing(dataDir: string): Promise<void> {
  stage.ending(8, "The same story in observe mode blocks nothing, and records what would have happened");
  const sidecar = await startSidecar({ mode: "observe", bundle: values.bundle, dataDir });
  const actors = new Actors(sidecar, stage);
  try {
    const would = async (proposal: Record<string, unknown>, expected: string) => {
      const decision = await actors.propose(proposal);
      const isAsExpected = decision.outcome === "allow" && !decision.enforced && decision.observed === expected;
      stage.expect(`not blocked; enforce mode would say ${expected}`, isAsExpected);
      return decision;
    };
    const small = await would(refund("r1", 49), "allow");
    await would(refund("r2", 4900), "escalate");
    await would(refund("r3", 9999), "deny");
    const kept = await would(write("w1", "/prod/config.yaml"), "compute");
    stage.expect("arguments are left as they were proposed", kept.arguments.path === "/prod/config.yaml");
    await would(unknownAction("u1"), "deny");
    const changed = await actors.consume(small, { ...small.arguments, amount: 9000 });
    stage.expect(
      "a changed amount runs, and the mismatch is noted",
      changed.valid === true && changed.observedCode === "digest_mismatch",
    );
    await actors.consume(small);
    const replayed = await actors.consume(small);
    stage.expect(
      "a replay runs, and is noted",
      replayed.valid === true && replayed.observedCode === "already_consumed",
    );
    await actors.audit();
  } finally {
    await sidecar.stop();
  }
}

async function living(dataDir: string): Promise<void> {
  const payments = await startPayments();
  const { bundle } = values;
  const sidecar = await startSidecar({ mode: "enforce", bundle, dataDir, refundsUrl: payments.url });
  try {
    await lifecycle({ actors: new Actors(sidecar, stage), stage, payments, first: 9 });
  } finally {
    await sidecar.stop();
    payments.stop();
  }
}

function evidence(dataDir: string, copyDir: string): void {
  stage.ending(9 + LIFECYCLE_ENDINGS, "The ledger verifies; one byte is flipped in a copy and it no longer does");
  const vkey = readFileSync(join(dataDir, "ledger", "checkpoint-key.pub"), "utf8").trim();
  const report = verifyLedger({ directory: join(dataDir, "ledger"), vkey });
  stage.say(`${report.entries} entries, root ${report.root}`);
  stage.expect("the ledger verifies", report.fault === undefined);
  cpSync(dataDir, copyDir, { recursive: true });
  const { fault } = verifyFlipped(copyDir, vkey);
  stage.say(
    fault === undefined
      ? "no fault found"
      : `first fault at ${fault.kind} ${fault.index ?? fault.tile ?? ""}: expected ${fault.expected}, found ${fault.found}`,
  );
  stage.expect("the copy does not", fault !== undefined);
}

/**
 * Makes the refund of 4900 one of 5900, in the file. LMDB leaves old versions of pages behind: a byte of such a page means
 * nothing and verifies, so the next place is tried, one byte at a time.
 */
function verifyFlipped(copyDir: string, vkey: string): ReturnType<typeof verifyLedger> {
  const directory = join(copyDir, "ledger");
  const path = join(directory, "data.mdb");
  const bytes = readFileSync(path);
  const figure = Buffer.from('"amount":4900');
  let report = verifyLedger({ directory, vkey });
  for (let at = bytes.indexOf(figure); at !== -1 && report.fault === undefined; at = bytes.indexOf(figure, at + 1)) {
    const flipped = Buffer.from(bytes);
    flipped[at + figure.length - 4] = "5".charCodeAt(0);
    writeFileSync(path, flipped);
    report = verifyLedger({ directory, vkey });
  }
  return report;
}
