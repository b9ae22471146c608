/** The gate as a library: read, evaluate, hash, compose; a ledger and a store that keep nothing. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { canonicalize } from "json-canonicalize";
import { UNAUTHENTICATED_CALLER } from "../../src/core/caller.ts";
import type { Ledger, Store } from "../../src/core/ports.ts";
import { parseProposal } from "../../src/core/proposal.ts";
import { readJson } from "../../src/core/read-json.ts";
import { createGate } from "../../src/gate/gate.ts";
import { loadPolicy } from "../../src/policy/load-policy.ts";
import { ulid } from "../../src/signing/ulid.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { rootsWithDomains } from "../support/bundles.ts";
import { opaPath, projectRoot } from "../support/tools.ts";

const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";

const proposalText = (id: number) =>
  Buffer.from(
    `{"id":"bench-${id}","action":{"name":"fs.write_file","arguments":{"path":"/tmp/a.txt","content":"hello"}},"actor":{"id":"support-agent","type":"agent","roles":["operator"]},"entity":{"type":"file","id":"f_1"},"context":{"session":"s-81"}}`,
  );

export const nowhere: Ledger = {
  origin: "bench",
  append: async () => ({ kind: "appended", index: 0 }),
  find: () => undefined,
  read: () => undefined,
  entries: () => [],
  head: () => ({ size: 0, rootHash: "" }),
  checkpoint: () => "",
  waiting: () => 0,
  hold: async () => () => {},
  isWritable: () => true,
  close: async () => {},
};

export async function benchInProcess(decisions: number): Promise<void> {
  const rates: number[] = [];
  for (const contracts of [10, 1_000, 10_000]) {
    const perSecond = await rate(bundleWith(contracts), decisions);
    rates.push(perSecond);
    console.log(
      `in process, ${String(contracts).padStart(6)} contracts: ${perSecond.toFixed(0)} decisions/s on one core`,
    );
  }
  console.log(`10 to 10,000 contracts: ${(rates[0]! / rates[2]!).toFixed(2)}x the time`);
  benchReader();
}

async function rate(bundle: string, decisions: number): Promise<number> {
  const policy = await loadPolicy({ path: bundle, entrypoint: "holdpoint/decision" });
  const gate = createGate({
    policy: { status: () => ({ active: policy, lastError: undefined }) },
    // Asked for freezes, once a second at most; everything else of it would be an error.
    store: { readFreezes: async () => [] } as unknown as Store,
    ledger: nowhere,
    signer: { sign: async () => "" },
    verifier: {
      verify: async () => ({ kind: "refused", code: "bad_signature", message: "" }),
      jwks: () => ({ keys: [] }),
    },
    clock: { now: () => new Date() },
    randomness: { ulid },
    observer: createMetrics(() => {}),
    executors: { has: () => false, execute: async () => ({ kind: "failed", status: undefined, message: "" }) },
  });
  const texts = Array.from({ length: 1_000 }, (_, index) => proposalText(index));
  const run = async (count: number) => {
    let allowed = 0;
    for (let index = 0; index < count; index++) {
      const proposal = parseProposal(readJson(texts[index % 1_000]!));
      const { outcome } = await gate.decide({ proposal, caller: UNAUTHENTICATED_CALLER, traceId: TRACE_ID });
      if (outcome === "allow") allowed++;
    }
    if (allowed !== count) throw new Error(`${count - allowed} of ${count} were not allowed`);
  };
  await run(Math.ceil(decisions / 5));
  const startedAt = performance.now();
  await run(decisions);
  return decisions / ((performance.now() - startedAt) / 1000);
}

/** The example policies with this many contracts in all. */
function bundleWith(contracts: number): string {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-contracts-"));
  const more = Object.fromEntries(
    Array.from({ length: Math.max(0, contracts - 6) }, (_, index) => [
      `tool_${index}.act`,
      {
        permissions: ["files.write"],
        parameters: { path: { type: "string", required: true }, amount: { type: "number", maximum: index } },
      },
    ]),
  );
  writeFileSync(join(directory, "data.json"), JSON.stringify({ holdpoint: { contracts: more } }));
  const out = join(directory, "bundle.tar.gz");
  const roots = [
    "rego/holdpoint",
    "rego/examples/refunds",
    "rego/examples/files",
    "rego/examples/deployments",
    directory,
  ];
  const args = [
    "build",
    "-t",
    "wasm",
    "--capabilities",
    "rego/capabilities.json",
    "--ignore",
    "*_test.rego",
    "--ignore",
    "domain.yaml",
    "-o",
    out,
    ...rootsWithDomains(roots, mkdtempSync(join(tmpdir(), "holdpoint-bench-domain-"))),
  ];
  execFileSync(opaPath(), args, { cwd: projectRoot });
  return out;
}

/** Turn by turn, and the best of many: on a noisy machine only the least disturbed turns compare. */
function benchReader(): void {
  const text = proposalText(1);
  const readers = { strict: () => readJson(text), loose: () => canonicalize(JSON.parse(text.toString("utf8"))) };
  const best = { strict: Number.POSITIVE_INFINITY, loose: Number.POSITIVE_INFINITY };
  for (let turn = 0; turn < 30; turn++) {
    for (const name of ["strict", "loose"] as const) {
      const startedAt = performance.now();
      for (let index = 0; index < 10_000; index++) readers[name]();
      best[name] = Math.min(best[name], (performance.now() - startedAt) / 10);
    }
  }
  console.log(
    `strict reader ${best.strict.toFixed(2)} µs, JSON.parse and canonicalize ${best.loose.toFixed(2)} µs: ${(best.strict / best.loose).toFixed(2)}x`,
  );
}
