/** How this very installation is started, written so that a project's Makefile can start it again. */
import { existsSync, realpathSync } from "node:fs";
import { delimiter, join, sep } from "node:path";
import type { Environment } from "../command.ts";
import { packageRoot } from "../package-root.ts";

/** As a shell takes it: `holdpoint` where PATH leads to it, else `node` with the path of the compiled command line. */
export function startCommand(environment: Environment): string {
  const main = join(packageRoot, "dist", "main.js");
  const found = onPath("holdpoint", environment);
  // npx puts such a folder on PATH for one command alone.
  const isLasting = found !== undefined && !found.includes(join(sep, "node_modules", ".bin", sep));
  return isLasting && isSame(found, main) ? "holdpoint" : `node ${shellWord(main)}`;
}

/** One word to a POSIX shell, whatever is in it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The value of a variable in a Makefile: `$` would name another one, `#` begin a comment. */
export function makeValue(text: string): string {
  return text.replaceAll("$", "$$$$").replaceAll("#", "\\#");
}

function onPath(name: string, environment: Environment): string | undefined {
  const folders = (environment.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function isSame(one: string, other: string): boolean {
  return existsSync(other) && realpathSync(one) === realpathSync(other);
}
