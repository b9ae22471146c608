/** Bundles for tests: the examples, and policies of a test's own, compiled by the real opa. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { compileDomains } from "../../src/policy/domain/compile-domains.ts";
import { findingLine } from "../../src/policy/domain/finding.ts";
import { opaPath, projectRoot } from "./tools.ts";

/** The library, and each example as a root of its own: its data.yaml begins at `holdpoint:` and OPA merges them. */
export const policyRoots: readonly string[] = [
  "rego/holdpoint",
  ...readdirSync(`${projectRoot}rego/examples`)
    .sort()
    .map((name) => `rego/examples/${name}`),
];

/** Roots as OPA takes them, with --ignore domain.yaml: what their domains compile to is one more, below `directory`. */
export function rootsWithDomains(roots: readonly string[], directory: string): readonly string[] {
  const { files, findings, dataText } = compileDomains(roots.map((root) => resolve(projectRoot, root)));
  if (files.length === 0) return roots;
  if (dataText === undefined) throw new Error(findings.map(findingLine).join("\n"));
  const compiled = join(directory, "domains");
  mkdirSync(compiled, { recursive: true });
  writeFileSync(join(compiled, "data.json"), dataText);
  return [...roots, compiled];
}

let examples: string | undefined;

/** The policies of rego/, as `make policy` compiles them, and without what it needs: compiled anew only where they changed. */
export function examplesBundle(): string {
  examples ??= buildExamples();
  return examples;
}

function buildExamples(): string {
  const bundle = join(projectRoot, ".build", `examples-${sourcesDigest()}.tar.gz`);
  if (existsSync(bundle)) return bundle;
  mkdirSync(join(projectRoot, ".build"), { recursive: true });
  const directory = mkdtempSync(join(projectRoot, ".build", "examples-"));
  try {
    const aside = join(directory, "bundle.tar.gz");
    const flags = ["-t", "wasm", "--capabilities", "rego/capabilities.json"];
    const ignored = ["--ignore", "*_test.rego", "--ignore", "domain.yaml"];
    const roots = rootsWithDomains(policyRoots, directory);
    execFileSync(opaPath(), ["build", ...flags, ...ignored, "-o", aside, ...roots], {
      cwd: projectRoot,
      stdio: ["ignore", "pipe", "inherit"],
    });
    renameSync(aside, bundle);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return bundle;
}

function sourcesDigest(): string {
  const hash = createHash("sha256");
  const folders = ["rego", "src/policy/domain"].map((name) => join(projectRoot, name));
  for (const folder of folders) {
    const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
    for (const name of names.filter((one) => /\.(rego|json|yaml|ts)$/.test(one)))
      hash
        .update(`${name}\0`)
        .update(readFileSync(join(folder, name)))
        .update("\0");
  }
  return hash.digest("hex").slice(0, 16);
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
