/** The OPA command line: compiles policies, and is the oracle that the compiled module is held against. */
import { spawn } from "node:child_process";
import { ConfigError } from "../core/errors.ts";

export interface OpaResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Longer than any policy takes; a machine that swaps must not hang a pipeline for ever. */
const TIMEOUT_MS = 300_000;
const OUTPUT_CHARS_MAX = 256 << 20;

export const OPA_ABSENT = [
  "it needs the OPA CLI 1.x, 1.20 or later: https://www.openpolicyagent.org/docs/#running-opa",
  "put it on PATH, or say where it is with --opa PATH; in a clone of Holdpoint, .tools/opa.sh fetches it to .tools/bin/opa",
] as const;

/** @throws ConfigError where it cannot be started, or does not end */
export function runOpa(opa: string, args: readonly string[]): Promise<OpaResult> {
  return new Promise((resolve, reject) => {
    // None of our variables: `opa.runtime()` would show them, keys among them, to whoever wrote the policy.
    const child = spawn(opa, args, { stdio: ["ignore", "pipe", "pipe"], env: {} });
    // Not spawn's own: that one holds the process up where there was no program to start.
    const timer = setTimeout(() => child.kill(), TIMEOUT_MS).unref();
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      stdout += chunk;
      if (stdout.length > OUTPUT_CHARS_MAX) child.kill();
    });
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
      if (stderr.length < OUTPUT_CHARS_MAX) stderr += chunk;
    });
    child.on("error", (error: NodeJS.ErrnoException) => reject(cannotRun(opa, error)));
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      if (status !== null) resolve({ status, stdout, stderr });
      else reject(new ConfigError("config_invalid", `${opa} was ended by ${signal}: it took or wrote too much`));
    });
  });
}

function cannotRun(opa: string, error: NodeJS.ErrnoException): ConfigError {
  const why = error.code === "ENOENT" ? "there is no such program" : error.message;
  return new ConfigError("config_invalid", `Cannot run ${opa}: ${why}`, OPA_ABSENT, { cause: error });
}
