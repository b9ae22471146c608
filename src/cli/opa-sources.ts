/** What `policy build` and `policy verify` compile: the sources that were named, and the library that decisions rest on. */
import { existsSync, realpathSync } from "node:fs";
import { delimiter, join, sep } from "node:path";
import type { Environment, OptionSpecs } from "./command.ts";
import { usageError } from "./command.ts";
import { packageRoot } from "./package-root.ts";
import { shown } from "./terminal.ts";

export const SOURCE_OPTIONS = {
  entrypoint: { kind: "text", value: "RULE", meaning: "Rule that decides, slash-separated (holdpoint/decision)" },
  opa: { kind: "text", value: "PATH", meaning: "The OPA CLI (opa on PATH, or .tools/bin/opa of a clone)" },
  "no-library": { kind: "flag", meaning: "Leave the shipped library (rego/holdpoint) out" },
} as const satisfies OptionSpecs;

export const ENTRYPOINT = "holdpoint/decision";
export const CAPABILITIES: string = join(packageRoot, "rego", "capabilities.json");
const LIBRARY = join(packageRoot, "rego", "holdpoint");

/** @throws CommandError where one is not there */
export function sourcePaths(paths: readonly string[], withoutLibrary: boolean): readonly string[] {
  const absent = paths.filter((path) => !existsSync(path));
  if (absent.length > 0) throw usageError(`There is no ${absent.map(shown).join(", ")}`);
  // The library among the sources already would be there twice.
  const isAmong = paths.some((path) => isWithin(realpathSync(LIBRARY), realpathSync(path)));
  return withoutLibrary || isAmong ? paths : [LIBRARY, ...paths];
}

function isWithin(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer + sep);
}

export function checkEntrypoint(given: string | undefined): string {
  const entrypoint = given ?? ENTRYPOINT;
  if (!/^[A-Za-z0-9_]+(\/[A-Za-z0-9_]+)*$/.test(entrypoint))
    throw usageError("--entrypoint: expected names with slashes between, such as holdpoint/decision");
  return entrypoint;
}

/** What was given; else what PATH has; else what a clone fetched for itself. */
export function opaProgram(given: string | undefined, environment: Environment): string {
  if (given !== undefined) return given;
  const onPath = (environment.PATH ?? "")
    .split(delimiter)
    .some((folder) => folder !== "" && existsSync(join(folder, "opa")));
  const own = join(packageRoot, ".tools", "bin", "opa");
  return !onPath && existsSync(own) ? own : "opa";
}
