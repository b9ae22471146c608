import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createWasmHost } from "../../src/policy/wasm-host.ts";
import { policyRoots, rootsWithDomains } from "../support/bundles.ts";
import { opaPath, projectRoot } from "../support/tools.ts";

export { policyRoots };

// By require: its types name functions that the ES module has only inside the default export.
const opaWasm: typeof import("@open-policy-agent/opa-wasm") = createRequire(import.meta.url)(
  "@open-policy-agent/opa-wasm",
);

export interface Case {
  readonly name: string;
  readonly input: Record<string, unknown>;
  readonly expected: unknown;
}

/** The tables that `opa test` reads too, by name. */
export function readCases(): ReadonlyMap<string, readonly Case[]> {
  const tables = new Map<string, readonly Case[]>();
  for (const file of readdirSync(`${projectRoot}rego/cases`).sort()) {
    if (!file.endsWith(".json")) continue;
    const content = JSON.parse(readFileSync(`${projectRoot}rego/cases/${file}`, "utf8")) as { cases: object };
    for (const [name, cases] of Object.entries(content.cases)) tables.set(name, cases);
  }
  return tables;
}

function inScratch<T>(work: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-rego-"));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export interface Bundle {
  readonly wasm: Buffer;
  readonly data: unknown;
}

export function buildBundle(roots: readonly string[]): Bundle {
  return inScratch((directory) => {
    const bundle = join(directory, "bundle.tar.gz");
    execFileSync(
      opaPath(),
      [
        "build",
        "-t",
        "wasm",
        "--capabilities",
        "rego/capabilities.json",
        "-o",
        bundle,
        "--ignore",
        "*_test.rego",
        "--ignore",
        "domain.yaml",
        ...rootsWithDomains(roots, directory),
      ],
      {
        cwd: projectRoot,
      },
    );
    execFileSync("tar", ["-xzf", bundle, "-C", directory, "/policy.wasm", "/data.json"], { stdio: "pipe" });
    return {
      wasm: readFileSync(join(directory, "policy.wasm")),
      data: JSON.parse(readFileSync(join(directory, "data.json"), "utf8")),
    };
  });
}

export type Evaluate = (input: unknown) => unknown;

/** Our engine. The result of a decision, or undefined where it is undefined; a fault throws. */
export function evaluateWasm(bundle: Bundle): Evaluate {
  const host = createWasmHost(bundle.wasm, JSON.stringify(bundle.data));
  const entrypoint = host.entrypoints.get("holdpoint/decision")!;
  return (input) => {
    const answer = host.evaluate(entrypoint, JSON.stringify(input));
    if (answer.kind === "fault") throw new Error(answer.message);
    return answer.kind === "undefined" ? undefined : JSON.parse(answer.text);
  };
}

/** The npm SDK, an engine written by others: an oracle where the policy needs no builtin of the host. */
export function evaluateSdk(bundle: Bundle): Evaluate {
  const policy = opaWasm.loadPolicySync(bundle.wasm, { initial: 16, maximum: 1024 });
  policy.setData(bundle.data as object);
  return (input) => {
    // Bytes, because the SDK takes falsy inputs for no input.
    const bytes = new TextEncoder().encode(JSON.stringify(input));
    const answers = policy.evaluate(bytes.buffer as ArrayBuffer, "holdpoint/decision") as { result: unknown }[];
    return answers[0]?.result;
  };
}

/** OPA's own answers, all in one process. */
export function evaluateOpa(roots: readonly string[], inputs: readonly unknown[]): unknown[] {
  return inScratch((directory) => {
    const file = join(directory, "inputs.json");
    writeFileSync(file, JSON.stringify({ generated_inputs: inputs }));
    const loads = [...rootsWithDomains(roots, directory), file].flatMap((path) => ["--data", path]);
    const query = "[result | some i in data.generated_inputs; result := data.holdpoint.decision with input as i]";
    const text = execFileSync(opaPath(), ["eval", "--format", "raw", "--ignore", "domain.yaml", ...loads, query], {
      cwd: projectRoot,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    return JSON.parse(text);
  });
}
