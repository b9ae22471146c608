/** What `policy build`, `policy verify` and `policy test` compile: the sources that were named, and the library that decisions rest on. */
import { existsSync, readdirSync, realpathSync } from "node:fs";
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
  return isLibraryWanted(paths, withoutLibrary) ? [LIBRARY, ...paths] : paths;
}

/** As `sourcePaths`, and the library without its own tests: they are not those of who asks. @throws CommandError */
export function testPaths(paths: readonly string[], withoutLibrary: boolean): readonly string[] {
  if (!isLibraryWanted(paths, withoutLibrary)) return paths;
  const library = readdirSync(LIBRARY, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".rego") && !name.endsWith("_test.rego"))
    .map((name) => join(LIBRARY, name));
  return [...library, ...paths];
}

function isLibraryWanted(paths: readonly string[], withoutLibrary: boolean): boolean {
  const absent = paths.filter((path) => !existsSync(path));
  if (absent.length > 0) throw usageError(`There is no ${absent.map(shown).join(", ")}`);
  // The library among the sources already would be there twice.
  const isAmong = paths.some((path) => isWithin(realpathSync(LIBRARY), realpathSync(path)));
  return !withoutLibrary && !isAmong;
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
  if (given !== undefined) return given.includes(sep) ? given : (onPath(given, environment) ?? given);
  const own = join(packageRoot, ".tools", "bin", "opa");
  return onPath("opa", environment) ?? (existsSync(own) ? own : "opa");
}

/** In full: it is started without any of our own variables. */
function onPath(name: string, environment: Environment): string | undefined {
  const folders = (environment.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}
