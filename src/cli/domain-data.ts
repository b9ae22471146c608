/** What the domain files among the sources become, in a folder that OPA reads as one more root. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { actionPlaces, type CompiledDomains, compileDomains } from "../policy/domain/compile-domains.ts";
import { DOMAIN_FILES, isDomainFile } from "../policy/domain/find-sources.ts";
import { findingLine } from "../policy/domain/finding.ts";
import { CommandError, EXIT, usageError } from "./command.ts";
import { shown } from "./terminal.ts";

export interface DomainSources {
  /** As OPA is to be given them, together with DOMAINS_IGNORED: no domain file, and what the domains compile to. */
  readonly paths: readonly string[];
  /** `file:line:column` of an action that a domain file declares. */
  placeOf(action: string): string | undefined;
}

/**
 * The folder is gone when `use` is done.
 * @throws CommandError("domain_invalid") with a line for each error in a domain
 */
export async function withDomainData<T>(
  paths: readonly string[],
  use: (sources: DomainSources) => Promise<T>,
): Promise<T> {
  const compiled = compileDomains(paths);
  if (compiled.files.length === 0) return use({ paths, placeOf: () => undefined });
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-domain-"));
  try {
    writeFileSync(join(directory, "data.json"), domainDataText(compiled));
    const places = actionPlaces(compiled);
    return await use({
      paths: [...paths.filter((path) => !isDomainFile(path)), directory],
      placeOf: (action) => {
        const place = places.get(action);
        return place === undefined ? undefined : `${place.file}:${place.line}:${place.column}`;
      },
    });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** @throws CommandError("domain_invalid") with a line for each error in a domain */
export function domainDataText({ findings, dataText }: CompiledDomains): string {
  if (dataText !== undefined) return dataText;
  const faults = findings.filter(({ severity }) => severity === "error").map(findingLine);
  throw new CommandError("domain_invalid", "Cannot compile the domain", { exitCode: EXIT.failed, faults });
}

/** For commands that are about domains: to find none is to have looked in the wrong place. @throws CommandError */
export function readDomains(paths: readonly string[]): CompiledDomains {
  const absent = paths.filter((path) => !existsSync(path));
  if (absent.length > 0) throw usageError(`There is no ${absent.map(shown).join(", ")}`);
  const compiled = compileDomains(paths);
  if (compiled.files.length > 0) return compiled;
  throw usageError(`Found no ${DOMAIN_FILES.join(" or ")} in ${paths.map(shown).join(", ")}, nor in any folder below`);
}
