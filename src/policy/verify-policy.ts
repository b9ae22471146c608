/**
 * The compiled module against OPA itself: every case through both, and each answer compared to the letter. What the
 * sidecar decides with is the module; what people wrote, test and review are the sources.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LoadedPolicy } from "../core/ports.ts";
import { IGNORED } from "./build-bundle.ts";
import { isSameJson } from "./exact-json.ts";
import { runOpa } from "./run-opa.ts";

export interface VerifyCase {
  readonly name: string;
  /** Canonical policy input. */
  readonly inputText: string;
  /** JSON text. */
  readonly expect: string | undefined;
}

/** An engine's answer to one case. */
export type EngineAnswer =
  | { readonly kind: "result"; readonly text: string }
  | { readonly kind: "undefined" }
  | { readonly kind: "fault"; readonly message: string };

export interface PolicyDifference {
  readonly name: string;
  /** `engines`: the two do not agree. `expectation`: they do, and not with the case. */
  readonly kind: "engines" | "expectation";
  readonly opa: EngineAnswer;
  readonly wasm: EngineAnswer;
  readonly expect: string | undefined;
}

export interface VerifyRequest {
  readonly opa: string;
  /** Sources and data, the library included. */
  readonly paths: readonly string[];
  /** Built from them, or said to be. */
  readonly policy: LoadedPolicy;
  readonly cases: readonly VerifyCase[];
}

/** @throws ConfigError where OPA cannot be asked at all */
export async function verifyPolicy(request: VerifyRequest): Promise<readonly PolicyDifference[]> {
  const { policy, cases } = request;
  const byOpa = await askOpa(request, cases);
  return cases.flatMap(({ name, inputText, expect }, index): PolicyDifference[] => {
    const [opa, wasm] = [byOpa[index]!, policy.evaluate(inputText)];
    if (!isSameAnswer(opa, wasm)) return [{ name, kind: "engines", opa, wasm, expect }];
    const isAsExpected = expect === undefined || (opa.kind === "result" && isSameJson(opa.text, expect));
    return isAsExpected ? [] : [{ name, kind: "expectation", opa, wasm, expect }];
  });
}

/** Two faults are the same: each engine has its own words for what is wrong. */
function isSameAnswer(a: EngineAnswer, b: EngineAnswer): boolean {
  if (a.kind === "result" && b.kind === "result") return isSameJson(a.text, b.text);
  return a.kind === b.kind;
}

/** One process for all cases; where one of them ends it with an error, halves, until the case at fault stands alone. */
async function askOpa(request: VerifyRequest, cases: readonly VerifyCase[]): Promise<EngineAnswer[]> {
  const answer = await askOnce(request, cases);
  if (Array.isArray(answer)) return answer;
  if (cases.length === 1) return [{ kind: "fault", message: answer.message }];
  const middle = cases.length >> 1;
  const first = await askOpa(request, cases.slice(0, middle));
  return [...first, ...(await askOpa(request, cases.slice(middle)))];
}

/** A root that no policy's data has. */
const ROOT = "holdpoint_verify_cases";

async function askOnce(
  { opa, paths, policy }: VerifyRequest,
  cases: readonly VerifyCase[],
): Promise<EngineAnswer[] | { readonly message: string }> {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-verify-"));
  try {
    const inputs = join(directory, "inputs.json");
    writeFileSync(inputs, `{"${ROOT}":[${cases.map(({ inputText }) => inputText).join(",")}]}`);
    const rule = policy.entrypoint
      .split("/")
      .map((part) => `[${JSON.stringify(part)}]`)
      .join("");
    const query = `[answer | some i, given in data.${ROOT}; result := data${rule} with input as given; answer := [i, json.marshal(result)]]`;
    const loads = [...paths, inputs].flatMap((path) => ["--data", path]);
    const done = await runOpa(opa, ["eval", "--format", "raw", ...IGNORED, ...loads, query]);
    if (done.status !== 0) return { message: wordsOf(done.stdout + done.stderr) };
    return answersOf(done.stdout, cases.length);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Each result is a text inside the answer, so that its numbers come through as OPA wrote them. */
function answersOf(stdout: string, count: number): EngineAnswer[] {
  const answers: EngineAnswer[] = Array.from({ length: count }, () => ({ kind: "undefined" }));
  for (const [index, text] of JSON.parse(stdout) as [number, string][]) answers[index] = { kind: "result", text };
  return answers;
}

function wordsOf(output: string): string {
  return output
    .split("\n")
    .map((line) => line.replace(/^(error: )?\d+ errors? occurred:? ?/, "").trim())
    .filter((line) => line !== "")
    .join("; ");
}
