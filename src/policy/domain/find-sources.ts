/** The domain files and data files below the paths that were given, as OPA would walk them. */
import { lstatSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, extname, join, relative, sep } from "node:path";
import { ConfigError, toError } from "../../core/errors.ts";

export const DOMAIN_FILES: readonly string[] = ["domain.yaml", "domain.yml"];
/** Domain files in one bundle. */
export const DOMAIN_FILES_MAX = 1_000;

const DATA_EXTENSIONS = new Set([".json", ".yaml", ".yml"]);

export interface DataFile {
  readonly file: string;
  /** Where OPA puts what it holds: the folders below the path that was given. */
  readonly prefix: readonly string[];
}

export interface Sources {
  readonly domains: readonly string[];
  readonly data: readonly DataFile[];
}

export function isDomainFile(path: string): boolean {
  return DOMAIN_FILES.includes(basename(path));
}

/** In an order that depends on names alone. @throws ConfigError where a path cannot be read */
export function findSources(paths: readonly string[]): Sources {
  const domains: string[] = [];
  const data: DataFile[] = [];
  const seen = new Set<string>();
  for (const { file, prefix } of paths.flatMap(filesOf)) {
    if (isDomainFile(file)) {
      const real = realpathSync(file);
      if (!seen.has(real)) domains.push(file);
      seen.add(real);
    } else if (DATA_EXTENSIONS.has(extname(file))) data.push({ file, prefix });
  }
  if (domains.length > DOMAIN_FILES_MAX)
    throw new ConfigError(
      "bundle_invalid",
      `Expected at most ${DOMAIN_FILES_MAX} domain files, found ${domains.length}`,
    );
  return { domains, data };
}

function filesOf(path: string): DataFile[] {
  try {
    if (!statSync(path).isDirectory()) return [{ file: path, prefix: [] }];
    return readdirSync(path, { recursive: true, encoding: "utf8" })
      .map((name) => join(path, name))
      .filter(isFile)
      .sort((a, b) => (a < b ? -1 : 1))
      .map((file) => ({ file, prefix: relative(path, file).split(sep).slice(0, -1) }));
  } catch (thrown) {
    throw new ConfigError("config_invalid", `Cannot read ${path}: ${toError(thrown).message}`);
  }
}

/** A link to a file is that file; what a link to a folder holds is not walked. */
function isFile(path: string): boolean {
  const found = lstatSync(path);
  return found.isFile() || (found.isSymbolicLink() && statSync(path, { throwIfNoEntry: false })?.isFile() === true);
}

/** @throws ConfigError */
export function readSource(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (thrown) {
    throw new ConfigError("config_invalid", `Cannot read ${file}: ${toError(thrown).message}`);
  }
}
