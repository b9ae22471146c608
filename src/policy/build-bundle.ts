/** Compiles Rego to a bundle with the capabilities that this host answers for: what it lacks fails here, not in a decision. */
import { spawn } from "node:child_process";
import { ConfigError } from "../core/errors.ts";

export interface BuildBundle {
  readonly opa: string;
  readonly entrypoint: string;
  /** rego/capabilities.json */
  readonly capabilities: string;
  readonly out: string;
  /** Policies and data. */
  readonly paths: readonly string[];
  readonly revision?: string;
}

/** @throws ConfigError("bundle_invalid") with OPA's own words */
export async function buildBundle(request: BuildBundle): Promise<void> {
  const revision = request.revision === undefined ? [] : ["--revision", request.revision];
  const args = [
    "build",
    "-t",
    "wasm",
    "-e",
    request.entrypoint,
    "--capabilities",
    request.capabilities,
    ...revision,
    "-o",
    request.out,
  ];
  const { status, output } = await run(request.opa, [...args, ...request.paths]);
  if (status === 0) return;
  const faults = output.split("\n").filter((line) => line.trim() !== "");
  throw new ConfigError("bundle_invalid", `Cannot build bundle: ${faults.join("; ")}`, faults);
}

function run(command: string, args: readonly string[]): Promise<{ status: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk));
    child.on("error", reject);
    child.on("close", (status) => resolve({ status: status ?? -1, output }));
  });
}
