/** `holdpoint domain check`: what is wrong with domain files, a line each, as compilers say it. */
import type { Json } from "../../core/types.ts";
import type { CompiledDomains } from "../../policy/domain/compile-domains.ts";
import { type Finding, findingLine, type Severity } from "../../policy/domain/finding.ts";
import { defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { readDomains } from "../domain-data.ts";
import { jsonPretty, plural, spoken } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

export const domainCheckCommand = defineCommand({
  name: "domain check",
  words: { usage: "PATH...", min: 1, max: 1_000 },
  options: {
    strict: { kind: "flag", meaning: "Count warnings as errors" },
    ...JSON_OPTION,
  },
  details: `Each PATH is a domain.yaml, or a directory that has some below it. Data files beside them are looked at for what two
files say: give the paths that policy build is given. Errors are unknown names, transitions that conflict, states that no
event leads to, actions that are never allowed and permissions that no role has; policy build fails on the same ones.
Exit code 1 where there is an error, 0 with nothing but warnings and notes.`,
  examples: ["holdpoint domain check policies/", "holdpoint domain check rego/examples/* --strict --json"],
  run: async ({ options, words }) => {
    const compiled = readDomains(words);
    const findings = options.strict ? compiled.findings.map(strictly) : compiled.findings;
    if (options.json) await writeOut(`${jsonPretty(document(compiled, findings))}\n`);
    else await writeLines(text(compiled, findings));
    return countOf(findings, "error") === 0 ? EXIT.done : EXIT.failed;
  },
});

function strictly(finding: Finding): Finding {
  return finding.severity === "warning" ? { ...finding, severity: "error" } : finding;
}

function countOf(findings: readonly Finding[], severity: Severity): number {
  return findings.filter((finding) => finding.severity === severity).length;
}

function document({ files }: CompiledDomains, findings: readonly Finding[]): Json {
  return {
    files,
    errors: countOf(findings, "error"),
    warnings: countOf(findings, "warning"),
    findings: findings.map(({ file, line, column, severity, message }) => ({ file, line, column, severity, message })),
  };
}

function text({ files, domains }: CompiledDomains, findings: readonly Finding[]): string[] {
  const types = domains.reduce((sum, { entities }) => sum + entities.length, 0);
  const actions = domains.reduce((sum, domain) => sum + domain.actions.length, 0);
  const read = `${plural(files.length, "domain file")}, ${plural(types, "entity type")}, ${plural(actions, "action")}`;
  const found = `${plural(countOf(findings, "error"), "error")}, ${plural(countOf(findings, "warning"), "warning")}`;
  return [...findings.map((finding) => spoken(findingLine(finding))), `${read}: ${found}`];
}
