/** Sources become a bundle that is known to load. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigError } from "../core/errors.ts";
import { buildBundle } from "../policy/build-bundle.ts";
import { inspectBundle } from "../policy/inspect-bundle.ts";
import { loadPolicy } from "../policy/load-policy.ts";
import { CommandError, EXIT } from "./command.ts";
import { CAPABILITIES } from "./opa-sources.ts";

export interface Build {
  readonly opa: string;
  readonly entrypoint: string;
  readonly paths: readonly string[];
  readonly revision?: string;
}

/** @throws CommandError that says what is wrong with the policy; ConfigError where opa cannot be run */
export async function buildAndLoad(path: string, build: Build) {
  try {
    await buildBundle({ ...build, capabilities: CAPABILITIES, out: path });
    const policy = await loadPolicy({ path, entrypoint: build.entrypoint });
    const { contracts } = await inspectBundle(path);
    return { digest: policy.digest, revision: policy.revision, contracts: contracts.length };
  } catch (thrown) {
    throw thrown instanceof ConfigError ? refusal(thrown, path) : thrown;
  }
}

/** What is wrong with a policy is no wrong usage; that opa cannot be run is. */
function refusal(error: ConfigError, path: string): Error {
  if (error.code === "config_invalid") return error;
  const faults = error.faults.map((fault) => fault.replaceAll(path, "the bundle"));
  return new CommandError(error.code, "Cannot build the bundle", { exitCode: EXIT.failed, faults, cause: error });
}

/** Builds into a directory that is gone when `use` is done. */
export async function withBuiltBundle<T>(build: Build, use: (path: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-bundle-"));
  try {
    const path = join(directory, "bundle.tar.gz");
    await buildAndLoad(path, build);
    return await use(path);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
