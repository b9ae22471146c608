/** From a bundle's files to module, data and revision, by OPA's rules of where data files belong. */
import { dirname } from "node:path/posix";
import { parseDocument } from "yaml";
import type { ConfigError } from "../core/errors.ts";
import { toError } from "../core/errors.ts";
import { readJson } from "../core/read-json.ts";
import type { Json, JsonObject } from "../core/types.ts";
import { invalid } from "./read-bundle.ts";

export interface Bundle {
  readonly wasm: Buffer;
  /** Canonical JSON. */
  readonly dataText: string;
  /** "" where the manifest has none. */
  readonly revision: string;
  /** Texts of the Rego that it was compiled from, as far as the bundle has them. They say what it is, and decide nothing. */
  readonly rego: readonly string[];
}

export interface BundleFiles {
  readonly files: ReadonlyMap<string, Buffer>;
  /** The module, where it is known without a manifest. */
  readonly modulePath: string | undefined;
}

/** Data may nest deeper and be larger than a request. */
const DATA_LIMITS = { bytesMax: 64 << 20, depthMax: 256 };

type Tree = Map<string, Json | Tree>;

export function assembleBundle(path: string, given: BundleFiles): Bundle {
  const faults: string[] = [];
  const manifest = readManifest(given.files.get(".manifest"), faults);
  const wasm = findModule(given, { path, manifest, faults });
  const data = readData(given.files, faults);
  checkRoots(manifest, data, faults);
  if (faults.length > 0 || wasm === undefined) throw invalid(path, faults);
  return { wasm, dataText: canonical(data, path), revision: manifest.revision, rego: regoOf(given.files) };
}

interface Manifest {
  readonly revision: string;
  readonly roots: readonly string[] | undefined;
  readonly modules: readonly string[];
}

const NO_MANIFEST: Manifest = { revision: "", roots: undefined, modules: [] };

function readManifest(bytes: Buffer | undefined, faults: string[]): Manifest {
  if (bytes === undefined) return NO_MANIFEST;
  const value = attempt(".manifest", faults, () => readJson(bytes, DATA_LIMITS).value);
  if (!isObject(value)) {
    if (value !== undefined) faults.push(".manifest is not an object");
    return NO_MANIFEST;
  }
  const { revision = "", roots, wasm = [] } = value as Readonly<Record<string, Json>>;
  if (typeof revision !== "string") faults.push(".manifest: revision is not a string");
  if (roots !== undefined && roots !== null && !isStrings(roots))
    faults.push(".manifest: roots is not a list of strings");
  return {
    revision: typeof revision === "string" ? revision : "",
    roots: isStrings(roots) ? roots : undefined,
    modules: Array.isArray(wasm) ? wasm.flatMap(moduleOf) : [],
  };
}

function moduleOf(resolver: Json): string[] {
  return isObject(resolver) && typeof resolver["module"] === "string" ? [resolver["module"].replace(/^\/+/, "")] : [];
}

/** One module decides. A bundle with several has several policies, and nothing says which. */
function findModule(
  given: BundleFiles,
  { path, manifest, faults }: { path: string; manifest: Manifest; faults: string[] },
): Buffer | undefined {
  const named = new Set(given.modulePath === undefined ? manifest.modules : [given.modulePath]);
  if (named.size > 1) faults.push(`.manifest names ${named.size} modules, not one: ${[...named].join(", ")}`);
  const name = [...named][0] ?? "policy.wasm";
  const module = given.files.get(name);
  if (module === undefined) faults.push(noModule(path, name, given.files));
  return module;
}

function noModule(path: string, name: string, files: ReadonlyMap<string, Buffer>): string {
  const isSource = [...files.keys()].some((file) => file.endsWith(".rego"));
  return isSource
    ? `${path} holds Rego sources and no ${name}: build a bundle of them with holdpoint policy build ${path} -o bundle.tar.gz`
    : `${name} is missing: build with holdpoint policy build, or opa build -t wasm`;
}

function regoOf(files: ReadonlyMap<string, Buffer>): string[] {
  return [...files].filter(([name]) => name.endsWith(".rego")).map(([, bytes]) => bytes.toString("utf8"));
}

/** `a/b/data.json` holds what is under `a` and `b`; files deeper in the tree are merged into what is above. */
function readData(files: ReadonlyMap<string, Buffer>, faults: string[]): Tree {
  const root: Tree = new Map();
  for (const [name, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!/(?:^|\/)data\.(?:json|ya?ml)$/.test(name)) continue;
    const value = attempt(name, faults, () => readValue(name, bytes));
    if (value === undefined) continue;
    const directory = dirname(name);
    const path = directory === "." ? [] : directory.split("/");
    const wrapped = path.reduceRight<Json>((inner, key) => own(key, inner), value);
    if (!isObject(wrapped)) faults.push(`${name} is not an object`);
    else merge(root, wrapped, { name, faults });
  }
  return root;
}

/** An own member, whatever the key is called. */
function own(key: string, value: Json): JsonObject {
  return Object.fromEntries([[key, value]]);
}

function readValue(name: string, bytes: Buffer): Json {
  if (name.endsWith(".json")) return readJson(bytes, DATA_LIMITS).value;
  const document = parseDocument(bytes.toString("utf8"), { version: "1.1", uniqueKeys: true, merge: false });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) throw problem;
  return readJson(Buffer.from(JSON.stringify(document.toJS({ maxAliasCount: 100 }))), DATA_LIMITS).value;
}

function merge(into: Tree, from: JsonObject, context: { name: string; faults: string[] }): void {
  for (const [key, value] of Object.entries(from)) {
    const there = into.get(key);
    if (there instanceof Map && isObject(value)) merge(there, value, context);
    else if (there !== undefined)
      context.faults.push(`${context.name}: ${JSON.stringify(key)} is also set by another file`);
    else if (isObject(value)) {
      const branch: Tree = new Map();
      into.set(key, branch);
      merge(branch, value, context);
    } else into.set(key, value);
  }
}

/** Data outside the roots is a bundle that claims less than it brings. */
function checkRoots(manifest: Manifest, data: Tree, faults: string[]): void {
  if (manifest.roots === undefined) return;
  for (const path of leaves(data, "")) {
    if (!manifest.roots.some((root) => isUnder(path, root)))
      faults.push(`data at ${path} is outside the manifest's roots`);
  }
}

function leaves(tree: Tree, prefix: string): string[] {
  return [...tree].flatMap(([key, value]) => {
    const path = prefix === "" ? key : `${prefix}/${key}`;
    return value instanceof Map && value.size > 0 ? leaves(value, path) : [path];
  });
}

function isUnder(path: string, root: string): boolean {
  const trimmed = root.replace(/^\/+|\/+$/g, "");
  return trimmed === "" || path === trimmed || path.startsWith(`${trimmed}/`);
}

function canonical(data: Tree, path: string): string {
  try {
    return readJson(Buffer.from(JSON.stringify(plain(data))), DATA_LIMITS).canonical;
  } catch (thrown) {
    throw invalid(path, [`data: ${toError(thrown).message}`], thrown) satisfies ConfigError;
  }
}

function plain(tree: Tree): JsonObject {
  return Object.fromEntries([...tree].map(([key, value]) => [key, value instanceof Map ? plain(value) : value]));
}

function attempt<T>(name: string, faults: string[], read: () => T): T | undefined {
  try {
    return read();
  } catch (thrown) {
    faults.push(`${name}: ${toError(thrown).message}`);
    return undefined;
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}
