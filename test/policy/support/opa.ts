/** The pinned OPA, as builder and as oracle: few calls, many cases in each. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
export const CAPABILITIES = join(ROOT, "rego/capabilities.json");

let path: string | undefined;
export function opaPath(): string {
  path ??= execFileSync("bash", [join(ROOT, ".tools/opa.sh")], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
  return path;
}

export function runOpa(args: readonly string[]): {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
} {
  const done = spawnSync(opaPath(), args, { encoding: "utf8", maxBuffer: 1 << 28 });
  if (done.error !== undefined) throw done.error;
  return { status: done.status ?? -1, stdout: done.stdout, stderr: done.stderr };
}

/** A directory that is gone when `use` is done. */
export function inTemporaryDirectory<T>(use: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-policy-"));
  try {
    return use(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export type Files = Readonly<Record<string, string>>;

export function writeFiles(directory: string, files: Files): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), text);
  }
}

export interface Built {
  readonly wasm: Buffer;
  readonly data: string;
}

/** Throws with OPA's own words where it does not build. */
export function buildWasm(
  files: Files,
  entrypoints: readonly string[],
  capabilities: string | null = CAPABILITIES,
): Built {
  return inTemporaryDirectory((directory) => {
    writeFiles(join(directory, "src"), files);
    const out = join(directory, "bundle.tar.gz");
    const limits = capabilities === null ? [] : ["--capabilities", capabilities];
    const built = runOpa([
      "build",
      "-t",
      "wasm",
      ...entrypoints.flatMap((one) => ["-e", one]),
      ...limits,
      "-o",
      out,
      join(directory, "src"),
    ]);
    if (built.status !== 0) throw new Error(`opa build (${built.status}): ${built.stdout}${built.stderr}`);
    const unpack = (name: string): Buffer => execFileSync("tar", ["-xzOf", out, name], { maxBuffer: 1 << 28 });
    return { wasm: unpack("/policy.wasm"), data: unpack("/data.json").toString() };
  });
}

/** Every complaint that OPA's compiler has of the files at this stage; "" for none. */
export function checkFiles(files: Files, capabilities: string = CAPABILITIES): string {
  return inTemporaryDirectory((directory) => {
    writeFiles(directory, files);
    const done = runOpa(["check", "--max-errors", "0", "--capabilities", capabilities, directory]);
    return done.status === 0 ? "" : done.stdout + done.stderr;
  });
}

/** The value of a reference, as JSON; undefined where it has none. */
export function opaEval(files: Files, query: string, input?: unknown): unknown {
  return inTemporaryDirectory((directory) => {
    writeFiles(join(directory, "src"), files);
    writeFileSync(join(directory, "input.json"), JSON.stringify(input ?? {}));
    const done = runOpa([
      "eval",
      "-d",
      join(directory, "src"),
      "-i",
      join(directory, "input.json"),
      "--format",
      "json",
      query,
    ]);
    if (done.status !== 0) throw new Error(done.stdout + done.stderr);
    const parsed = JSON.parse(done.stdout) as { result?: { expressions: { value: unknown }[] }[] };
    return parsed.result?.[0]?.expressions[0]?.value;
  });
}

export function goModuleDirectory(module: string): string | undefined {
  const cache = spawnSync("go", ["env", "GOMODCACHE"], { encoding: "utf8" });
  return cache.status === 0 ? join(cache.stdout.trim(), module) : undefined;
}

export function readText(file: string): string {
  return readFileSync(file, "utf8");
}
