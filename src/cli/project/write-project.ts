/** A project of its own to begin with: the files in template/ with the project's name put in. */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { toError } from "../../core/errors.ts";
import { CommandError } from "../command.ts";
import { shown } from "../terminal.ts";

const TEMPLATE = fileURLToPath(new URL("./template/", import.meta.url));

/** As they are to be called, in the order in which somebody reads them. */
export const PROJECT_FILES = [
  "README.md",
  "policy/domain.yaml",
  "policy/rules.rego",
  "policy/rules_test.rego",
  "holdpoint.yaml",
  "executor.mjs",
  "demo.mjs",
  "Makefile",
  ".gitignore",
] as const;

/** What the files name as `{{name}}`. */
export type Values = Readonly<Record<string, string>>;

/**
 * All of it or nothing: it is written aside, and put in place by renaming.
 * @param directory absolute; absent, or empty
 * @throws CommandError that says what is in the way
 */
export function writeProject(directory: string, values: Values): void {
  const isThere = isEmptyDirectory(directory);
  // An empty one stays what it is, a mount or somebody's working directory, so it is filled and not replaced.
  const aside = join(isThere ? directory : dirname(directory), `.holdpoint-new-${randomUUID()}`);
  try {
    mkdirSync(aside);
    for (const file of PROJECT_FILES) writeFile(join(aside, file), projectFile(file, values));
    if (isThere) moveInto(aside, directory);
    else renameSync(aside, directory);
  } catch (thrown) {
    throw refusal(directory, toError(thrown));
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
}

/** @throws Error for a template that names what nobody gives */
export function projectFile(file: (typeof PROJECT_FILES)[number], values: Values): string {
  // Called without its dot there: it is to be in force in the project, and not here.
  const text = readFileSync(join(TEMPLATE, file.replace(/^\./, "")), "utf8");
  return text.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    if (!Object.hasOwn(values, name)) throw new Error(`${file} of the template names ${name}, which has no value`);
    return values[name]!;
  });
}

function writeFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { flag: "wx" });
}

/** False: there is nothing. @throws CommandError where there is anything else */
function isEmptyDirectory(directory: string): boolean {
  try {
    const found = statSync(directory, { throwIfNoEntry: false });
    if (found === undefined) return false;
    if (!found.isDirectory()) throw inTheWay(directory, "it is there, and no directory");
    if (readdirSync(directory).length > 0) throw inTheWay(directory, "it is there, and not empty");
    return true;
  } catch (thrown) {
    throw refusal(directory, toError(thrown));
  }
}

/**
 * Moves everything in `from` into `to`, on the same file system.
 * @throws Error where a name is taken; then `to` is as it was
 */
export function moveInto(from: string, to: string): void {
  const moved: string[] = [];
  try {
    for (const name of readdirSync(from).sort()) {
      if (existsSync(join(to, name))) throw inTheWay(to, `somebody else just made ${shown(name)} in it`);
      renameSync(join(from, name), join(to, name));
      moved.push(name);
    }
  } catch (thrown) {
    for (const name of moved) rmSync(join(to, name), { recursive: true, force: true });
    throw thrown;
  }
}

function inTheWay(directory: string, why: string): CommandError {
  return new CommandError("directory_taken", `Cannot make a project in ${shown(directory)}: ${why}`, {
    hints: ["Name a directory that is not there, or an empty one"],
  });
}

function refusal(directory: string, error: Error): CommandError {
  if (error instanceof CommandError) return error;
  const { code } = error as NodeJS.ErrnoException;
  const parent = shown(dirname(directory));
  const why =
    code === "ENOENT" ? `there is no ${parent}` : code === "ENOTDIR" ? `${parent} is no directory` : error.message;
  return new CommandError("cannot_write", `Cannot make a project in ${shown(directory)}: ${why}`, { cause: error });
}
