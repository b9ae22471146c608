/** The places that `serve` writes to, made and tried before anything is opened, so that every fault is said at once. */
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, unlinkSync, writeFileSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import type { Config } from "../config/load-config.ts";
import { ConfigError } from "../core/errors.ts";
import { fileFault } from "../core/file-fault.ts";

/** Enough to notice a disk that is full, not only one that cannot be written at all. */
const TRIAL_BYTES = 64 * 1024;

/** @throws ConfigError that names every directory which cannot be used, and why */
export function prepareDirectories(config: Config): void {
  const { data_dir, keys_dir } = config;
  const faults = faultsOf("data_dir", data_dir, () => tryWriting(data_dir));
  // Keys that are there already need nothing more: a mounted secret is read-only. And what is wrong with a directory is
  // wrong with those below it.
  const isBelow = resolve(keys_dir).startsWith(resolve(data_dir) + sep);
  if (!(isBelow && faults.length > 0)) {
    faults.push(
      ...faultsOf("keys_dir", keys_dir, () => {
        if (!hasFiles(keys_dir)) tryWriting(keys_dir);
      }),
    );
  }
  if (faults.length > 0) throw new ConfigError("config_invalid", "Cannot start: a directory cannot be used", faults);
}

function faultsOf(setting: string, path: string, attempt: () => void): string[] {
  try {
    attempt();
    return [];
  } catch (thrown) {
    return [`${setting}: ${fileFault(path, thrown)}`];
  }
}

function tryWriting(directory: string): void {
  makeDirectory(directory);
  const trial = join(directory, `.trial-${randomUUID()}`);
  try {
    writeFileSync(trial, Buffer.alloc(TRIAL_BYTES), { mode: 0o600, flush: true });
  } finally {
    unlinkQuietly(trial);
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch {
    // The recursive form calls a read-only file system one that "does not exist"; the plain one has the system's own word.
    mkdirSync(directory, { mode: 0o700 });
  }
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was not made.
  }
}

function hasFiles(directory: string): boolean {
  try {
    return readdirSync(directory).some((name) => name.startsWith("permit-"));
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw thrown;
  }
}
