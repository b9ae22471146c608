/** Bundles for tests: the examples, and policies of a test's own, compiled by the real opa. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { opaPath, projectRoot } from "./tools.ts";

let examples: string | undefined;

/** The policies of rego/, as `make policy` compiles them. */
export function examplesBundle(): string {
  if (examples === undefined) {
    execFileSync("make", ["-s", "policy"], { cwd: projectRoot, stdio: ["ignore", "ignore", "inherit"] });
    examples = join(projectRoot, ".build", "bundle.tar.gz");
  }
  return examples;
}

/**
 * A bundle whose entrypoint is written by the test: `rego` is the body of package holdpoint, with a rule `decision`.
 * Returns the path of a bundle.tar.gz; `out` replaces an earlier one.
 */
export function compileBundle(rego: string, out?: string): string {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-bundle-"));
  const source = join(directory, "policy.rego");
  mkdirSync(directory, { recursive: true });
  writeFileSync(source, `package holdpoint\n\n${rego}\n`);
  const bundle = out ?? join(directory, "bundle.tar.gz");
  const capabilities = join(projectRoot, "rego", "capabilities.json");
  const args = [
    "build",
    "-t",
    "wasm",
    "-e",
    "holdpoint/decision",
    "--capabilities",
    capabilities,
    "-o",
    bundle,
    source,
  ];
  execFileSync(opaPath(), args, { stdio: ["ignore", "pipe", "pipe"] });
  return bundle;
}
