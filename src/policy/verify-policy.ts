/**
 * The compiled module against OPA itself: every case through both, and each answer compared to the letter. What the
 * sidecar decides with is the module; what people wrote, test and review are the sources.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "../core/errors.ts";
import type { LoadedPolicy } from "../core/ports.ts";
import { IGNORED } from "./build-bundle.ts";
import { hasJson, isSameJson } from "./exact-json.ts";
import { runOpa } from "./run-opa.ts";

export interface VerifyCase {
  readonly name: string;
  /** Canonical policy input. */
  readonly inputText: string;
  /** JSON text. */
  readonly expect: string | undefined;
  /** The whole result is to be that, rather than to have those members. */
  readonly isExact: boolean;
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
  /** rego/capabilities.json: sources of somebody's may call what they like, and `http.send` would go out from here. */
  readonly capabilities: string;
  /** Built from them, or said to be. */
  readonly policy: LoadedPolicy;
  readonly cases: readonly VerifyCase[];
}

/** @throws ConfigError where OPA cannot be asked at all */
export async function verifyPolicy(request: VerifyRequest): Promise<readonly PolicyDifference[]> {
  const { policy, cases } = request;
  await requireSound(request);
  const byOpa = await askOpa(request, cases);
  return cases.flatMap(({ name, inputText, expect, isExact }, index): PolicyDifference[] => {
    const [opa, wasm] = [byOpa[index]!, policy.evaluate(inputText)];
    if (!isSameAnswer(opa, wasm)) return [{ name, kind: "engines", opa, wasm, expect }];
    return isMet(opa, expect, isExact) ? [] : [{ name, kind: "expectation", opa, wasm, expect }];
  });
}

/**
 * Where OPA cannot even read the sources every case would be a fault, and the same fault as the module's, or seem so.
 * @throws ConfigError with OPA's own words
 */
async function requireSound({ opa, paths, capabilities }: VerifyRequest): Promise<void> {
  const loads = paths.flatMap((path) => ["--data", path]);
  const args = ["eval", "--format", "raw", "--capabilities", capabilities, ...IGNORED, ...loads, "1 == 1"];
  const done = await runOpa(opa, args);
  if (done.status === 0 && done.stdout.trim() === "true") return;
  const words = wordsOf(done.stdout + done.stderr);
  throw new ConfigError("bundle_invalid", `OPA cannot evaluate these sources: ${words}`, [words]);
}

function ruleOf(policy: LoadedPolicy): string {
  return policy.entrypoint
    .split("/")
    .map((part) => `[${JSON.stringify(part)}]`)
    .join("");
}

function isMet(answer: EngineAnswer, expect: string | undefined, isExact: boolean): boolean {
  if (expect === undefined) return true;
  return answer.kind === "result" && (isExact ? isSameJson(answer.text, expect) : hasJson(answer.text, expect));
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
  { opa, paths, policy, capabilities }: VerifyRequest,
  cases: readonly VerifyCase[],
): Promise<EngineAnswer[] | { readonly message: string }> {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-verify-"));
  try {
    const inputs = join(directory, "inputs.json");
    writeFileSync(inputs, `{"${ROOT}":[${cases.map(({ inputText }) => inputText).join(",")}]}`);
    const query = `[answer | some i, given in data.${ROOT}; result := data${ruleOf(policy)} with input as given; answer := [i, json.marshal(result)]]`;
    const loads = [...paths, inputs].flatMap((path) => ["--data", path]);
    const done = await runOpa(opa, [
      "eval",
      "--format",
      "raw",
      "--capabilities",
      capabilities,
      ...IGNORED,
      ...loads,
      query,
    ]);
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
