import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const root = findRoot(dirname(fileURLToPath(import.meta.url)));

/** The folder with the Makefile: these files also run compiled, from another place. */
function findRoot(folder: string): string {
  return existsSync(`${folder}/Makefile`) ? `${folder}/` : findRoot(dirname(folder));
}

/** Project root, with a trailing slash. */
export const projectRoot = root;

let opa: string | undefined;

/** Path of the OPA CLI, found or fetched by the same script that the Makefile uses. */
export function opaPath(): string {
  opa ??= execFileSync(`${root}.tools/opa.sh`, { encoding: "utf8" }).trim();
  return opa;
}

let redis: string | undefined;

export function redisServerPath(): string {
  redis ??= execFileSync(`${root}.tools/redis.sh`, { encoding: "utf8" }).trim();
  return redis;
}

let saidAbsent = false;

/** Directory of the third-party vectors, or undefined (said in one line), so that the suite runs without them. */
export function vectorsPath(): string | undefined {
  const path = process.env.HOLDPOINT_VECTORS ?? `${root}../shared/vectors`;
  if (existsSync(`${path}/README.md`)) return path;
  if (!saidAbsent) {
    saidAbsent = true;
    console.warn(`vectors: none at ${path}; the tests that read them are skipped (set HOLDPOINT_VECTORS)`);
  }
  return undefined;
}
