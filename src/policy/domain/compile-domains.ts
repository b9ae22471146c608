/** Domain files become data of the bundle: the same files give the same bytes, and one fault in any of them gives none. */
import { canonicalText } from "../../core/digest.ts";
import type { JsonObject } from "../../core/types.ts";
import { checkDomain } from "./check-domain.ts";
import { readDataFile } from "./data-files.ts";
import type { DomainSource } from "./domain-source.ts";
import { type DataFile, findSources, readSource } from "./find-sources.ts";
import { type Finding, Findings, type Position } from "./finding.ts";
import { type DataSource, mergeDomains } from "./merge-domains.ts";
import { readDomainFile } from "./read-domain.ts";

export interface CompiledDomains {
  readonly files: readonly string[];
  readonly domains: readonly DomainSource[];
  /** File by file, each in its own order. */
  readonly findings: readonly Finding[];
  /** Canonical JSON of what belongs at the root of data. Undefined where there is no domain, or an error in one. */
  readonly dataText: string | undefined;
}

/** @throws ConfigError where a path cannot be read at all */
export function compileDomains(paths: readonly string[]): CompiledDomains {
  const sources = findSources(paths);
  const files = sources.domains;
  if (files.length === 0) return { files, domains: [], findings: [], dataText: undefined };
  const findings = files.map((file) => new Findings(file));
  const domains = findings.flatMap((each) => readDomainFile(readSource(each.file), each) ?? []);
  const data = sources.data.map(readData);
  const merged = mergeAndCheck(domains, data);
  const found = [...findings.flatMap((each) => each.list()), ...data.flatMap(errorsOf)];
  const isSound = !found.some(({ severity }) => severity === "error");
  return {
    files,
    domains,
    findings: found,
    dataText: isSound && merged !== undefined ? canonicalText(merged) : undefined,
  };
}

function readData({ file, prefix }: DataFile): DataSource {
  const findings = new Findings(file);
  return { findings, sections: readDataFile(readSource(file), prefix, findings) };
}

/** How a data file is spelt is OPA's affair; that it cannot be read beside a domain is ours. */
function errorsOf({ findings }: DataSource): readonly Finding[] {
  return findings.list().filter(({ severity }) => severity === "error");
}

/** What is written is told of before what it means: a name that was misspelt once would be missing everywhere. */
function mergeAndCheck(domains: readonly DomainSource[], data: readonly DataSource[]): JsonObject | undefined {
  const isRead = domains.every(({ findings }) => findings.errorCount === 0);
  for (const domain of domains) if (domain.findings.errorCount === 0) checkDomain(domain);
  return isRead ? mergeDomains(domains, data) : undefined;
}

/** Where each action of the domains is written, for whoever finds something wrong with its contract later. */
export function actionPlaces({ domains }: CompiledDomains): ReadonlyMap<string, Position & { readonly file: string }> {
  return new Map(domains.flatMap(({ file, actions }) => actions.map(({ name, at }) => [name, { ...at, file }])));
}
