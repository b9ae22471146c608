/**
 * Reads a policy bundle from where it lies: an unpacked directory, a `.tar.gz`, or a bare `.wasm` with `data.json` next to
 * it. All three give the same three things; every fault found is reported at once.
 */
import { createReadStream } from "node:fs";
import { lstat, readdir, readFile, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract } from "tar-stream";
import { ConfigError, toError } from "../core/errors.ts";
import { fileFault } from "../core/file-fault.ts";
import { assembleBundle, type Bundle, type BundleFiles } from "./assemble-bundle.ts";

export interface BundleLimits {
  /** Files in a bundle. Default 10000. */
  readonly entriesMax: number;
  /** Bytes of one file, unpacked. Default 64 MiB. */
  readonly fileBytesMax: number;
  /** Bytes of all files, unpacked: what a small archive may blow up to. Default 256 MiB. */
  readonly totalBytesMax: number;
}

const DEFAULTS: BundleLimits = { entriesMax: 10_000, fileBytesMax: 64 << 20, totalBytesMax: 256 << 20 };

/** @throws ConfigError("bundle_invalid") */
export async function readBundle(path: string, limits: Partial<BundleLimits> = {}): Promise<Bundle> {
  const bounds = { ...DEFAULTS, ...limits };
  const files = await readFiles(path, bounds);
  return assembleBundle(path, files);
}

async function readFiles(path: string, limits: BundleLimits): Promise<BundleFiles> {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(path))
    throw invalid(path, ["bundles from a URL are not supported: download it, and give the file"]);
  try {
    const found = await stat(path);
    if (found.isDirectory()) return await readDirectory(path, limits);
    return path.endsWith(".wasm") ? await readBareModule(path, limits) : await readArchive(path, limits);
  } catch (thrown) {
    if (thrown instanceof ConfigError) throw thrown;
    throw invalid(path, [isOfSystem(thrown) ? fileFault(path, thrown) : toError(thrown).message], thrown);
  }
}

function isOfSystem(thrown: unknown): boolean {
  return thrown instanceof Error && "syscall" in thrown;
}

export function invalid(path: string, faults: readonly string[], cause?: unknown): ConfigError {
  return new ConfigError("bundle_invalid", `Cannot load bundle ${path}: ${faults.join("; ")}`, faults, { cause });
}

/** Counts as it goes: the limits hold before the bytes are kept. */
class Collector {
  readonly files = new Map<string, Buffer>();
  private bytes = 0;
  private entries = 0;
  private readonly limits: BundleLimits;

  constructor(limits: BundleLimits) {
    this.limits = limits;
  }

  /** Called with what is there so far of each file, and at its end. */
  admit(name: string, bytesOfFile: number, bytesMore: number): void {
    this.bytes += bytesMore;
    if (bytesOfFile > this.limits.fileBytesMax) throw new Error(`${name} is over ${this.limits.fileBytesMax} bytes`);
    if (this.bytes > this.limits.totalBytesMax)
      throw new Error(`files are over ${this.limits.totalBytesMax} bytes together`);
  }

  count(): void {
    if (++this.entries > this.limits.entriesMax) throw new Error(`more than ${this.limits.entriesMax} files`);
  }

  keep(name: string, content: Buffer): void {
    if (this.files.has(name)) throw new Error(`${name} is there twice`);
    this.files.set(name, content);
  }
}

/** Only what a bundle is made of, its sources among it; editors' leftovers may lie beside it. */
function isWanted(name: string): boolean {
  const file = basename(name);
  return (
    file === "data.json" ||
    file === "data.yaml" ||
    file === "data.yml" ||
    file.endsWith(".wasm") ||
    file.endsWith(".rego") ||
    name === ".manifest"
  );
}

async function readArchive(path: string, limits: BundleLimits): Promise<BundleFiles> {
  const collector = new Collector(limits);
  const archive = extract();
  const feeding = pipeline(createReadStream(path), createGunzip(), archive);
  // Whatever ends it early also ends the loop below, which reports it.
  feeding.catch(() => undefined);
  for await (const entry of archive) {
    collector.count();
    const name = entryName(entry.header.name, entry.header.type);
    const content = await readEntry(entry, entry.header.name, collector);
    if (name !== undefined && isWanted(name)) collector.keep(name, content);
  }
  await feeding;
  return { files: collector.files, modulePath: undefined };
}

async function readEntry(entry: AsyncIterable<unknown>, name: string, collector: Collector): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of entry as AsyncIterable<Buffer>) {
    length += chunk.length;
    collector.admit(name, length, chunk.length);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The name inside the bundle; undefined for a directory. Anything that could name a place outside is refused. */
function entryName(raw: string, type: string | null | undefined): string | undefined {
  const parts = raw.replace(/^\.?\/+/, "").split("/");
  if (parts.includes("..") || raw.includes("\\") || raw.includes("\0"))
    throw new Error(`entry ${JSON.stringify(raw)} leaves the bundle`);
  if (type === "directory") return undefined;
  if (type !== "file" && type !== "contiguous-file")
    throw new Error(`entry ${JSON.stringify(raw)} is a ${type}, not a file`);
  return parts.filter((part) => part !== "" && part !== ".").join("/");
}

async function readBareModule(path: string, limits: BundleLimits): Promise<BundleFiles> {
  const collector = new Collector(limits);
  await keepFile(collector, "policy.wasm", path);
  const data = join(dirname(path), "data.json");
  if (await isFile(data)) await keepFile(collector, "data.json", data);
  return { files: collector.files, modulePath: "policy.wasm" };
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}

/**
 * The directory may be a link (a mounted ConfigMap is one, swapped as a whole), and so may its files, to places inside it.
 * It is resolved once, so that one load sees one version.
 */
async function readDirectory(path: string, limits: BundleLimits): Promise<BundleFiles> {
  const outer = await realpath(path);
  // Kubernetes puts the files behind "..data", which it swaps; every file of one version lies in its target.
  const data = await realpath(join(outer, "..data")).catch(() => undefined);
  const root = data ?? outer;
  const collector = new Collector(limits);
  const walk = async (directory: string): Promise<void> => {
    for (const name of (await readdir(directory)).sort()) {
      const at = join(directory, name);
      const found = await lstat(at);
      const target = found.isSymbolicLink() ? await insideTarget(root, at) : at;
      const kind = found.isSymbolicLink() ? await stat(target) : found;
      if (kind.isDirectory()) {
        if (found.isSymbolicLink()) continue;
        if (!name.startsWith(".")) await walk(at);
      } else if (kind.isFile()) {
        collector.count();
        const inBundle = relative(root, at).split(sep).join("/");
        if (isWanted(inBundle)) await keepFile(collector, inBundle, target);
      }
    }
  };
  await walk(root);
  return { files: collector.files, modulePath: undefined };
}

async function insideTarget(root: string, link: string): Promise<string> {
  const target = await realpath(link);
  if (target !== root && !target.startsWith(root + sep)) throw new Error(`${link} leads out of the bundle`);
  return target;
}

async function keepFile(collector: Collector, name: string, path: string): Promise<void> {
  const { size } = await stat(path);
  collector.admit(name, size, size);
  const content = await readFile(path);
  collector.admit(name, content.length, content.length - size);
  collector.keep(name, content);
}
