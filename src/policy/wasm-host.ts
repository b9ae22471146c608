/**
 * A host for OPA's WebAssembly ABI 1.2 and 1.3 (decision record 0001). One compiled module, one instance at a time;
 * `evaluate` is synchronous, pure and never throws. Whatever goes wrong inside is a fault, and costs the instance.
 */

import { toError } from "../core/errors.ts";
import type { PolicyAnswer } from "../core/ports.ts";
import { BuiltinError, HOST_BUILTINS, type HostBuiltin } from "./builtins/registry.ts";
import { toOpaInt } from "./go/decimal.ts";
import { ITERATOR, LENGTH, LOOKUP, NATIVE_OVERRIDES } from "./native-overrides.ts";
import { OrderedIteration } from "./ordered-iteration.ts";
import { printJson } from "./print-json.ts";
import { NUMBER_TEXT, TAG, WasmMemory } from "./wasm-memory.ts";
import { type Redirect, readWasmModule, redirectFunctions, type WasmModule } from "./wasm-module.ts";
import {
  type CompiledModule,
  type LinearMemory,
  type ModuleExports,
  type ModuleImports,
  WebAssemblyApi,
} from "./webassembly.ts";

export interface WasmHostOptions {
  /** Most 64 KiB pages an instance may have; past it the evaluation faults. Default 2048, which is 128 MiB. */
  readonly memoryPagesMax: number;
  /** An instance that has grown by more than this many pages since it was made is replaced after the evaluation. Default 128, 8 MiB. */
  readonly growthPagesMax: number;
  /**
   * Steps that one evaluation may take in the host: builtins called, members of sets and objects walked. Counted rather
   * than timed, so that a decision replays. Default 10 million, some seconds of work.
   */
  readonly stepsMax: number;
  /** Bytes of input that one evaluation takes. Default 2 MiB: well above the largest accepted request. */
  readonly inputBytesMax: number;
}

export interface WasmHost {
  /** Entrypoints by name. */
  readonly entrypoints: ReadonlyMap<string, number>;
  evaluate(entrypoint: number, inputText: string): PolicyAnswer;
  /** Pages that the current instance holds; for tests and metrics. */
  memoryPages(): number;
  /** Instances made so far, the first included. */
  instancesMade(): number;
}

/** What is wrong with a module, found before it is ever run. */
export interface ModuleFaults {
  readonly invalid: readonly string[];
  readonly refusedBuiltins: readonly string[];
}

export class ModuleRefusedError extends Error {
  readonly faults: ModuleFaults;
  constructor(faults: ModuleFaults) {
    super([...faults.invalid, ...faults.refusedBuiltins].join("; "));
    this.name = "ModuleRefusedError";
    this.faults = faults;
  }
}

const DEFAULTS: WasmHostOptions = {
  memoryPagesMax: 2048,
  growthPagesMax: 128,
  stepsMax: 10_000_000,
  inputBytesMax: 2 * 1024 * 1024,
};
/** Ids of calls that are ours, above those of the module's own builtins. */
const FIRST_OVERRIDE = 1 << 20;
const HOST_CALL = { iterate: FIRST_OVERRIDE, index: FIRST_OVERRIDE + 1, length: FIRST_OVERRIDE + 2 };
const FIRST_BUILTIN = FIRST_OVERRIDE + 3;
const AN_ARRAY = [{ argument: 0, offset: 0, value: TAG.array }];
/** An array, and a number that is kept as text. */
const INDEX_AS_TEXT = [
  ...AN_ARRAY,
  { argument: 1, offset: 0, value: TAG.number },
  { argument: 1, offset: 1, value: NUMBER_TEXT },
];
const PAGE = 65_536;

/** @param dataText strict JSON of the bundle's data, read by the strict reader */
export function createWasmHost(wasm: Uint8Array, dataText: string, options: Partial<WasmHostOptions> = {}): WasmHost {
  const limits = { ...DEFAULTS, ...options };
  const module = prepareModule(wasm);
  const make = (): Instance => new Instance(module, dataText, limits);
  let instance: Instance | undefined = make();
  let made = 1;
  const entrypoints = instance.entrypoints;
  return {
    entrypoints,
    evaluate(entrypoint, inputText) {
      try {
        if (instance === undefined) {
          instance = make();
          made++;
        }
        const answer = instance.evaluate(entrypoint, inputText);
        if (instance.hasOutgrown()) instance = undefined;
        return answer;
      } catch (thrown) {
        // INVARIANT: an instance that faulted never decides again, whatever state it was left in.
        instance = undefined;
        return { kind: "fault", code: "policy_fault", message: toError(thrown).message };
      }
    },
    memoryPages: () => instance?.pages() ?? 0,
    instancesMade: () => made,
  };
}

/** Pages behind the module's static data for a start: a small policy with a small input never grows. */
const SPARE_PAGES = 8;

interface PreparedModule {
  readonly pages: number;
  readonly module: CompiledModule;
  readonly overrides: readonly HostBuiltin[];
}

function prepareModule(wasm: Uint8Array): PreparedModule {
  const parsed = readWasmModule(wasm);
  const invalid = checkShape(parsed);
  if (invalid.length > 0) throw new ModuleRefusedError({ invalid, refusedBuiltins: [] });
  const overrides: HostBuiltin[] = [];
  const redirects: Redirect[] = [
    { name: ITERATOR, arity: 2, id: HOST_CALL.iterate, onlyForTags: [TAG.object, TAG.set] },
    { name: LOOKUP, arity: 2, id: HOST_CALL.index, onlyForBytes: INDEX_AS_TEXT },
    { name: LENGTH, arity: 1, id: HOST_CALL.length, onlyForBytes: AN_ARRAY },
  ];
  for (const { native, builtin } of NATIVE_OVERRIDES.filter((one) => parsed.functions.has(one.native))) {
    overrides.push(builtin);
    redirects.push({ name: native, arity: builtin.arity, id: FIRST_BUILTIN + overrides.length - 1 });
  }
  const bytes = redirectFunctions(parsed, redirects, []);
  const pages = Math.ceil(parsed.dataEnd / PAGE) + SPARE_PAGES;
  return { pages, module: new WebAssemblyApi.Module(bytes), overrides };
}

const IMPORTS = new Set([
  "env.memory",
  "env.opa_abort",
  "env.opa_println",
  ...[0, 1, 2, 3, 4].map((n) => `env.opa_builtin${n}`),
]);

function checkShape(module: WasmModule): string[] {
  const faults = module.importNames.filter((name) => !IMPORTS.has(name)).map((name) => `module imports ${name}`);
  if (module.functions.size === 0) faults.push("module has no name section, so what it calls cannot be checked");
  else if (!module.functions.has(ITERATOR))
    faults.push(`module has no function ${ITERATOR}: not built by opa build -t wasm`);
  return faults;
}

interface PolicyExports {
  readonly opa_malloc: (bytes: number) => number;
  readonly opa_heap_ptr_get: () => number;
  readonly opa_heap_ptr_set: (address: number) => void;
  readonly opa_value_parse: (address: number, length: number) => number;
  readonly opa_eval_ctx_new: () => number;
  readonly opa_eval_ctx_set_input: (context: number, value: number) => void;
  readonly opa_eval_ctx_set_data: (context: number, value: number) => void;
  readonly opa_eval_ctx_set_entrypoint: (context: number, entrypoint: number) => void;
  readonly opa_eval_ctx_get_result: (context: number) => number;
  readonly eval: (context: number) => number;
  readonly builtins: () => number;
  readonly entrypoints: () => number;
}

const REQUIRED_EXPORTS = [
  "opa_malloc",
  "opa_heap_ptr_get",
  "opa_heap_ptr_set",
  "opa_value_parse",
  "opa_eval_ctx_new",
  "opa_eval_ctx_set_input",
  "opa_eval_ctx_set_data",
  "opa_eval_ctx_set_entrypoint",
  "opa_eval_ctx_get_result",
  "eval",
  "builtins",
  "entrypoints",
] as const;

type Call = (a: number, b: number, c: number, d: number) => number;

class Instance {
  readonly entrypoints: ReadonlyMap<string, number>;
  private readonly exports: PolicyExports;
  private readonly memory: WasmMemory;
  private readonly wasmMemory: LinearMemory;
  private readonly iteration: OrderedIteration;
  private readonly limits: WasmHostOptions;
  private readonly calls: Call[] = [];
  private readonly overrideCalls: Call[];
  private readonly data: number;
  private readonly base: number;
  private readonly pagesAtStart: number;
  private steps = 0;

  constructor(prepared: PreparedModule, dataText: string, limits: WasmHostOptions) {
    this.limits = limits;
    this.wasmMemory = new WebAssemblyApi.Memory({ initial: prepared.pages, maximum: limits.memoryPagesMax });
    const instance = new WebAssemblyApi.Instance(prepared.module, { env: this.imports() });
    this.exports = instance.exports as unknown as PolicyExports;
    checkExports(instance.exports);
    this.memory = new WasmMemory(this.wasmMemory, this.exports);
    this.iteration = new OrderedIteration(this.memory);
    this.overrideCalls = [
      (collection, previous) => this.iteration.next(collection, previous),
      (array, index) => this.itemAt(array, index),
      (array) => this.lengthOf(array),
      ...prepared.overrides.map((builtin) => this.callOf(builtin)),
    ];
    this.memory.checkLayout();
    this.entrypoints = this.names(this.exports.entrypoints());
    this.bindBuiltins();
    this.data = this.load(dataText);
    this.base = align(this.exports.opa_heap_ptr_get());
    this.iteration.keepOrderBelow(this.base);
    this.memory.keepTextsBelow(this.base);
    this.pagesAtStart = this.pages();
  }

  evaluate(entrypoint: number, inputText: string): PolicyAnswer {
    const { exports, memory } = this;
    memory.refresh();
    this.iteration.reset();
    this.steps = 0;
    const address = this.makeRoom(inputText);
    const length = memory.bytes.utf8Write(inputText, address);
    if (length > this.limits.inputBytesMax) throw new Error(`Policy input is over ${this.limits.inputBytesMax} bytes`);
    exports.opa_heap_ptr_set(align(address + length));
    const input = exports.opa_value_parse(address, length);
    if (input === 0) throw new Error("Policy input is not JSON that the module can read");
    const context = exports.opa_eval_ctx_new();
    exports.opa_eval_ctx_set_input(context, input);
    exports.opa_eval_ctx_set_data(context, this.data);
    exports.opa_eval_ctx_set_entrypoint(context, entrypoint);
    if (exports.eval(context) !== 0) throw new Error("Policy evaluation failed");
    memory.refresh();
    return this.answer(exports.opa_eval_ctx_get_result(context));
  }

  pages(): number {
    return this.wasmMemory.buffer.byteLength / PAGE;
  }

  hasOutgrown(): boolean {
    return this.pages() - this.pagesAtStart > this.limits.growthPagesMax;
  }

  /**
   * The input's place, above everything that outlives the evaluation. Memory is grown by the module's own allocator
   * only, so that its idea of the end of memory stays true.
   */
  private makeRoom(text: string): number {
    if (text.length > this.limits.inputBytesMax)
      throw new Error(`Policy input is over ${this.limits.inputBytesMax} bytes`);
    this.exports.opa_heap_ptr_set(this.base);
    if (this.base + text.length * 3 < this.memory.bytes.length) return this.base;
    const length = Buffer.byteLength(text);
    if (length > this.limits.inputBytesMax) throw new Error(`Policy input is over ${this.limits.inputBytesMax} bytes`);
    return this.memory.malloc(length);
  }

  /** A result set with at most one member, `{"result": value}`; without any the entrypoint is undefined. */
  private answer(resultSet: number): PolicyAnswer {
    const results = this.memory.keys(resultSet);
    if (results.length === 0) return { kind: "undefined" };
    const values: number[] = [];
    this.memory.keys(results[0]!, values);
    if (results.length !== 1 || values.length !== 1) throw new Error("Policy gave more than one result");
    return { kind: "result", text: printJson(this.memory, values[0]!) };
  }

  private load(text: string): number {
    const length = Buffer.byteLength(text);
    const address = this.memory.malloc(length + 1);
    this.memory.bytes.utf8Write(text, address, length);
    const data = this.exports.opa_value_parse(address, length);
    this.memory.refresh();
    if (data === 0) throw new Error("bundle data is not JSON that the module can read");
    return data;
  }

  /** An object from name to number. */
  private names(address: number): Map<string, number> {
    this.memory.refresh();
    const values: number[] = [];
    const keys = this.memory.keys(address, values);
    return new Map(keys.map((key, i) => [this.memory.string(key), Number(this.memory.numberText(values[i]!))]));
  }

  private bindBuiltins(): void {
    const refused: string[] = [];
    for (const [name, id] of this.names(this.exports.builtins())) {
      const builtin = HOST_BUILTINS.get(name);
      if (builtin === undefined) refused.push(name);
      else this.calls[id] = this.callOf(builtin);
    }
    if (refused.length > 0) throw new ModuleRefusedError({ invalid: [], refusedBuiltins: refused.sort() });
  }

  private imports(): ModuleImports {
    const call = (id: number, a: number, b: number, c: number, d: number): number => {
      if (++this.steps > this.limits.stepsMax) throw new Error(`Policy took more than ${this.limits.stepsMax} steps`);
      const found = id < FIRST_OVERRIDE ? this.calls[id] : this.overrideCalls[id - FIRST_OVERRIDE];
      // The module may have grown its memory since, which detaches every view of it.
      this.memory.refresh();
      if (found === undefined) throw new Error(`Module calls an unknown builtin ${id}`);
      return found(a, b, c, d);
    };
    return {
      memory: this.wasmMemory,
      opa_abort: (address: number) => {
        throw new Error(`Policy aborted: ${this.cString(address)}`);
      },
      // The process's standard output may be a protocol.
      opa_println: () => undefined,
      opa_builtin0: (id: number) => call(id, 0, 0, 0, 0),
      opa_builtin1: (id: number, _context: number, a: number) => call(id, a, 0, 0, 0),
      opa_builtin2: (id: number, _context: number, a: number, b: number) => call(id, a, b, 0, 0),
      opa_builtin3: (id: number, _context: number, a: number, b: number, c: number) => call(id, a, b, c, 0),
      opa_builtin4: (id: number, _context: number, a: number, b: number, c: number, d: number) => call(id, a, b, c, d),
    };
  }

  /** A builtin's error makes its expression undefined, as `opa eval` does; everything else thrown is a fault. */
  private callOf(builtin: HostBuiltin): Call {
    const { memory } = this;
    const { arity, raw, apply } = builtin;
    const slow: Call = (a, b, c, d) => {
      try {
        const given = [a, b, c, d].slice(0, arity).map((address) => memory.read(address));
        const value = apply(...given);
        return value === undefined ? 0 : memory.write(value);
      } catch (thrown) {
        if (thrown instanceof BuiltinError) return 0;
        throw thrown;
      }
    };
    if (raw === undefined) return slow;
    return (a, b, c, d) => {
      const value = raw(memory, a, b);
      return value === 0 ? slow(a, b, c, d) : value;
    };
  }

  /** 1.0 is an index, 1e0 is none. */
  private itemAt(array: number, index: number): number {
    const integer = toOpaInt(this.memory.numberText(index));
    return integer === undefined || integer < 0n ? 0 : (this.memory.arrayItems(array)[Number(integer)] ?? 0);
  }

  /** The result of a walk begins with the pair of the empty path; what else looks like it cannot be told apart. */
  private lengthOf(array: number): number {
    const { memory } = this;
    const items = memory.arrayItems(array);
    const pair = items.length > 0 && memory.bytes[items[0]!] === TAG.array ? memory.arrayItems(items[0]!) : [];
    if (pair.length === 2 && memory.bytes[pair[0]!] === TAG.array && memory.arrayItems(pair[0]!).length === 0)
      throw new RangeError("walk as a statement is not supported: name its pairs, walk(x, [path, value])");
    return items.length;
  }

  private cString(address: number): string {
    const bytes = new Uint8Array(this.wasmMemory.buffer);
    const end = bytes.indexOf(0, address);
    return new TextDecoder().decode(bytes.subarray(address, Math.min(end, address + 500)));
  }
}

function checkExports(exports: ModuleExports): void {
  const invalid: string[] = REQUIRED_EXPORTS.filter((name) => typeof exports[name] !== "function").map(
    (name) => `module does not export ${name}`,
  );
  const major = versionOf(exports["opa_wasm_abi_version"]);
  const minor = versionOf(exports["opa_wasm_abi_minor_version"]);
  if (major !== 1 || minor < 2 || minor > 3) invalid.push(`module has ABI version ${major}.${minor}, not 1.2 or 1.3`);
  if (invalid.length > 0) throw new ModuleRefusedError({ invalid, refusedBuiltins: [] });
}

/** An exported global. */
function versionOf(exported: unknown): number {
  return typeof exported === "object" && exported !== null && "value" in exported ? Number(exported.value) : 0;
}

function align(address: number): number {
  return (address + 7) & ~7;
}
