/** Compiles Rego to a bundle with the capabilities that this host answers for: what it lacks fails here, not in a decision. */
import { ConfigError } from "../core/errors.ts";
import { DOMAIN_FILES } from "./domain/find-sources.ts";
import { runOpa } from "./run-opa.ts";

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

/** Domain files become data by being compiled; OPA would take them for data themselves. */
export const DOMAINS_IGNORED: readonly string[] = DOMAIN_FILES.flatMap((name) => ["--ignore", name]);
/** Tests lie beside what they test, and use what no decision may. */
export const IGNORED: readonly string[] = ["--ignore", "*_test.rego", ...DOMAINS_IGNORED];

/** @throws ConfigError("bundle_invalid") with OPA's own words, or naming each builtin ConfigError("bundle_builtin_refused") */
export async function buildBundle(request: BuildBundle): Promise<void> {
  const revision = request.revision === undefined ? [] : ["--revision", request.revision];
  // Never -O: the optimizer evaluates what it can while it builds, and differs from the sources in what is undefined.
  const args = [
    "build",
    "-t",
    "wasm",
    "-e",
    request.entrypoint,
    "--capabilities",
    request.capabilities,
    ...IGNORED,
    ...revision,
    "-o",
    request.out,
  ];
  const { status, stdout, stderr } = await runOpa(request.opa, [...args, "--", ...request.paths]);
  if (status !== 0) throw buildFault(stdout + stderr);
}

const UNDEFINED_FUNCTION = /^(.*): rego_type_error: undefined function (\S+)$/;

function buildFault(output: string): ConfigError {
  const lines = output
    .split("\n")
    .map((line) => line.replace(/^(error: )?\d+ errors? occurred:? ?/, "").trim())
    .filter((line) => line !== "");
  const refused = lines.filter((line) => UNDEFINED_FUNCTION.test(line));
  if (refused.length === 0) return new ConfigError("bundle_invalid", `Cannot build bundle: ${lines.join("; ")}`, lines);
  const faults = lines.map((line) => {
    const match = UNDEFINED_FUNCTION.exec(line);
    return match === null
      ? line
      : `${match[1]}: ${match[2]} is no function of the policy, and no builtin that is answered here as OPA does`;
  });
  return new ConfigError("bundle_builtin_refused", `Cannot build bundle: ${faults.join("; ")}`, faults);
}
