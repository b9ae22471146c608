/**
 * What a bundle brings, whether or not it can decide here: entrypoints, the builtins it asks for, contracts, entity types
 * and roles.
 */
import { type EntityType, readDomain } from "../core/domain.ts";
import type { Json, JsonObject } from "../core/types.ts";
import { readBundle } from "./read-bundle.ts";
import { WasmMemory } from "./wasm-memory.ts";
import { readWasmModule } from "./wasm-module.ts";
import { WebAssemblyApi } from "./webassembly.ts";

export interface BundleFacts {
  readonly revision: string;
  readonly wasmBytes: number;
  readonly dataChars: number;
  /** Undefined where the module is none that could be asked. */
  readonly module: { readonly entrypoints: readonly string[]; readonly builtins: readonly string[] } | undefined;
  readonly contracts: readonly ContractFacts[];
  /** None where the bundle's domain is not one: loading says why. */
  readonly entities: readonly EntityType[];
  readonly roles: readonly { readonly name: string; readonly permissions: readonly string[] }[];
}

export interface ContractFacts {
  readonly action: string;
  readonly risk: string | undefined;
  readonly mode: string | undefined;
  readonly approval: JsonObject | undefined;
  readonly permit: JsonObject | undefined;
  readonly thresholds: number;
  readonly executor: string | undefined;
  readonly event: string | undefined;
}

/** @throws ConfigError("bundle_invalid") where there is no bundle to speak of */
export async function inspectBundle(path: string): Promise<BundleFacts> {
  const bundle = await readBundle(path);
  const root = JSON.parse(bundle.dataText) as Json;
  const data = member(root, "holdpoint");
  const domain = readDomain(root);
  return {
    revision: bundle.revision,
    wasmBytes: bundle.wasm.length,
    dataChars: bundle.dataText.length,
    module: moduleFacts(bundle.wasm),
    contracts: members(member(data, "contracts")).map(([action, contract]) => contractFacts(action, contract)),
    entities: "faults" in domain ? [] : [...domain.entities.values()],
    roles: members(member(data, "roles")).map(([name, permissions]) => ({ name, permissions: granted(permissions) })),
  };
}

function contractFacts(action: string, contract: Json): ContractFacts {
  const [risk, mode] = [member(contract, "risk"), member(contract, "mode")];
  const thresholds = member(contract, "thresholds");
  const [executor, event] = [member(contract, "executor"), member(contract, "event")];
  return {
    action,
    risk: typeof risk === "string" ? risk : undefined,
    mode: typeof mode === "string" ? mode : undefined,
    approval: objectOrNone(member(contract, "approval")),
    permit: objectOrNone(member(contract, "permit")),
    thresholds: Array.isArray(thresholds) ? thresholds.length : 0,
    executor: typeof executor === "string" ? executor : undefined,
    event: typeof event === "string" ? event : undefined,
  };
}

/** A role is a list of permissions, or an object of those that are true. */
function granted(permissions: Json): string[] {
  if (Array.isArray(permissions)) return permissions.map(String).sort();
  return members(permissions)
    .filter(([, isGranted]) => isGranted === true)
    .map(([name]) => name);
}

function member(value: Json | undefined, name: string): Json | undefined {
  const object = objectOrNone(value);
  return object !== undefined && Object.hasOwn(object, name) ? object[name] : undefined;
}

function members(value: Json | undefined): [string, Json][] {
  return Object.entries(objectOrNone(value) ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
}

function objectOrNone(value: Json | undefined): JsonObject | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

const PAGE_BYTES = 65_536;
/** Enough to start in, and all it may have: nothing is evaluated. */
const SPARE_PAGES = 8;
const PAGES_MAX = 2_048;

interface NamingExports {
  readonly opa_malloc: (bytes: number) => number;
  readonly opa_value_parse: (address: number, length: number) => number;
  readonly builtins: () => number;
  readonly entrypoints: () => number;
}

/** Asks the module for its names and runs nothing else of it, so that one whose builtins are refused can be asked, too. */
function moduleFacts(wasm: Uint8Array): BundleFacts["module"] {
  try {
    const pages = Math.ceil(readWasmModule(wasm).dataEnd / PAGE_BYTES) + SPARE_PAGES;
    const linear = new WebAssemblyApi.Memory({ initial: pages, maximum: PAGES_MAX });
    const refuse = () => {
      throw new Error("Nothing is to be called");
    };
    const calls = ["opa_abort", "opa_println", ...[0, 1, 2, 3, 4].map((n) => `opa_builtin${n}`)];
    const env = { memory: linear, ...Object.fromEntries(calls.map((name) => [name, refuse])) };
    const instance = new WebAssemblyApi.Instance(new WebAssemblyApi.Module(wasm), { env });
    const exports = instance.exports as unknown as NamingExports;
    const memory = new WasmMemory(linear, exports);
    return { entrypoints: namesAt(memory, exports.entrypoints()), builtins: namesAt(memory, exports.builtins()) };
  } catch {
    return undefined; // loading it says what is wrong
  }
}

function namesAt(memory: WasmMemory, address: number): string[] {
  memory.refresh();
  return memory
    .keys(address)
    .map((key) => memory.string(key))
    .sort();
}
