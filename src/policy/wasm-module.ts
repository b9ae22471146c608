/**
 * Reads just enough of a WebAssembly binary to know a policy module's functions by name, and rewrites it in two ways:
 * a function's body becomes a call of the host, and internal functions are exported. Nothing moves: new functions are
 * appended, so no index in the rest of the module changes. Why this is done is in decision record 0002.
 */

export interface WasmFunction {
  readonly index: number;
  readonly name: string;
}

export interface WasmModule {
  /** Names of every function that the module's name section lists, imported ones included. */
  readonly functions: ReadonlyMap<string, number>;
  readonly importNames: readonly string[];
  readonly importedFunctions: number;
  /** First byte behind the module's static data, which must fit into the memory it is given. */
  readonly dataEnd: number;
  readonly sections: readonly Section[];
}

interface Section {
  readonly id: number;
  readonly body: Uint8Array;
}

/** Calls `opa_builtin<arity>(id, 0, …)` in place of what the function did. */
export interface Redirect {
  readonly name: string;
  readonly id: number;
  readonly arity: number;
  /**
   * Keep the function as it was for values whose first argument is not of one of these type tags (the byte at its
   * address), and ask the host for the others only.
   */
  readonly onlyForTags?: readonly [number, number];
  /** Keep the function as it was, and ask the host only where all of these bytes are found. */
  readonly onlyForBytes?: readonly ByteTest[];
}

/** The byte at an offset from the address that an argument is. */
export interface ByteTest {
  readonly argument: number;
  readonly offset: number;
  readonly value: number;
}

const MAGIC = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const SECTION = { custom: 0, import: 2, function: 3, export: 7, code: 10, data: 11 } as const;
const NAMES_OF_FUNCTIONS = 1;

export function readWasmModule(bytes: Uint8Array): WasmModule {
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new Error("not a WebAssembly 1 binary");
  const sections: Section[] = [];
  const reader = new Reader(bytes, 8);
  while (!reader.isDone()) {
    const id = reader.byte();
    sections.push({ id, body: reader.bytes(reader.u32()) });
  }
  const imports = readImports(sections);
  return {
    functions: readNames(sections),
    importNames: imports.names,
    importedFunctions: imports.functions,
    dataEnd: readDataEnd(sections),
    sections,
  };
}

/** The rewritten binary. Names that the module does not have are skipped: OPA leaves out what a policy does not use. */
export function redirectFunctions(
  module: WasmModule,
  redirects: readonly Redirect[],
  exports: readonly string[],
): Uint8Array<ArrayBuffer> {
  const code = readBodies(module);
  const types = readTypeIndices(module);
  for (const redirect of redirects) applyRedirect(module, redirect, { code, types });
  const parts: Uint8Array[] = [Uint8Array.from(MAGIC)];
  for (const section of module.sections) {
    parts.push(encodeSection(section.id, rewriteSection(module, section, { code, types, exports })));
  }
  return concatenate(parts);
}

interface Functions {
  readonly code: Uint8Array[];
  readonly types: number[];
}

function applyRedirect(module: WasmModule, redirect: Redirect, { code, types }: Functions): void {
  const index = module.functions.get(redirect.name);
  if (index === undefined) return;
  const at = index - module.importedFunctions;
  const host = module.functions.get(`opa_builtin${redirect.arity}`);
  if (at < 0 || host === undefined) throw new Error(`cannot redirect ${redirect.name}`);
  if (redirect.onlyForTags === undefined && redirect.onlyForBytes === undefined) {
    code[at] = hostCall(redirect, host);
    return;
  }
  code.push(code[at]!);
  types.push(types[at]!);
  const original = module.importedFunctions + code.length - 1;
  const condition = redirect.onlyForTags === undefined ? bytesAre(redirect) : tagsAre(redirect.onlyForTags);
  code[at] = guardedHostCall(redirect, condition, { host, original });
}

const OP = {
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  call: 0x10,
  localGet: 0x20,
  load8u: 0x2d,
  i32Const: 0x41,
  i32Eq: 0x46,
  i32Ne: 0x47,
  i32Or: 0x72,
  i32And: 0x71,
};
const TYPE_I32 = 0x7f;

function hostCall(redirect: Redirect, host: number): Uint8Array {
  return body([...callOfHost(redirect, host)]);
}

function callOfHost(redirect: Redirect, host: number): number[] {
  return [OP.i32Const, ...s32(redirect.id), OP.i32Const, 0, ...parameters(redirect.arity), OP.call, ...u32(host)];
}

function guardedHostCall(
  redirect: Redirect,
  condition: readonly number[],
  target: { host: number; original: number },
): Uint8Array {
  return body([
    ...condition,
    ...[OP.if, TYPE_I32, ...callOfHost(redirect, target.host)],
    ...[OP.else, ...parameters(redirect.arity), OP.call, ...u32(target.original), OP.end],
  ]);
}

function byteIs({ argument, offset, value }: ByteTest): number[] {
  return [OP.localGet, argument, OP.load8u, 0, ...u32(offset), OP.i32Const, ...s32(value), OP.i32Eq];
}

/** A null argument reads the byte at address 0, which is no tag: linear memory starts with the stack. */
function isPresent(argument: number): number[] {
  return [OP.localGet, argument, OP.i32Const, 0, OP.i32Ne];
}

function tagsAre(tags: readonly [number, number]): number[] {
  const tagIs = (value: number): number[] => byteIs({ argument: 0, offset: 0, value });
  return [...tagIs(tags[0]), ...tagIs(tags[1]), OP.i32Or, ...isPresent(0), OP.i32And];
}

function bytesAre({ arity, onlyForBytes = [] }: Redirect): number[] {
  const tests = onlyForBytes.flatMap((test) => [...byteIs(test), OP.i32And]);
  const present = Array.from({ length: arity }, (_, i) => [...isPresent(i), OP.i32And]).flat();
  return [OP.i32Const, 1, ...present, ...tests];
}

function parameters(arity: number): number[] {
  return Array.from({ length: arity }, (_, i) => [OP.localGet, i]).flat();
}

/** No locals, the instructions, `end`. */
function body(instructions: readonly number[]): Uint8Array {
  return Uint8Array.from([0, ...instructions, OP.end]);
}

function rewriteSection(
  module: WasmModule,
  section: Section,
  change: Functions & { exports: readonly string[] },
): Uint8Array {
  switch (section.id) {
    case SECTION.function:
      return concatenate([
        Uint8Array.from(u32(change.types.length)),
        ...change.types.map((type) => Uint8Array.from(u32(type))),
      ]);
    case SECTION.code:
      return concatenate([
        Uint8Array.from(u32(change.code.length)),
        ...change.code.flatMap((one) => [Uint8Array.from(u32(one.length)), one]),
      ]);
    case SECTION.export:
      return addExports(module, section.body, change.exports);
    default:
      return section.body;
  }
}

function addExports(module: WasmModule, body: Uint8Array, names: readonly string[]): Uint8Array {
  const reader = new Reader(body, 0);
  const count = reader.u32();
  const present = names.filter((name) => module.functions.has(name));
  const added = present.flatMap((name) => {
    const bytes = new TextEncoder().encode(name);
    return [...u32(bytes.length), ...bytes, 0, ...u32(module.functions.get(name)!)];
  });
  return concatenate([Uint8Array.from(u32(count + present.length)), body.subarray(reader.at), Uint8Array.from(added)]);
}

function readImports(sections: readonly Section[]): { names: string[]; functions: number } {
  const section = sections.find((one) => one.id === SECTION.import);
  const names: string[] = [];
  let functions = 0;
  if (section === undefined) return { names, functions };
  const reader = new Reader(section.body, 0);
  for (let left = reader.u32(); left > 0; left--) {
    const module = reader.name();
    names.push(`${module}.${reader.name()}`);
    const kind = reader.byte();
    if (kind === 0) {
      reader.u32();
      functions++;
    } else if (kind === 2) {
      const hasMaximum = (reader.byte() & 1) === 1;
      reader.u32();
      if (hasMaximum) reader.u32();
    } else throw new Error(`unexpected import ${names.at(-1)}`);
  }
  return { names, functions };
}

function readNames(sections: readonly Section[]): Map<string, number> {
  const names = new Map<string, number>();
  for (const section of sections) {
    if (section.id !== SECTION.custom) continue;
    const reader = new Reader(section.body, 0);
    if (reader.name() !== "name") continue;
    while (!reader.isDone()) {
      const kind = reader.byte();
      const inner = new Reader(reader.bytes(reader.u32()), 0);
      if (kind !== NAMES_OF_FUNCTIONS) continue;
      for (let left = inner.u32(); left > 0; left--) {
        const index = inner.u32();
        names.set(inner.name(), index);
      }
    }
  }
  return names;
}

function readDataEnd(sections: readonly Section[]): number {
  const section = sections.find((one) => one.id === SECTION.data);
  if (section === undefined) return 0;
  const reader = new Reader(section.body, 0);
  let end = 0;
  for (let left = reader.u32(); left > 0; left--) {
    if (reader.u32() !== 0 || reader.byte() !== OP.i32Const) throw new Error("unexpected data segment");
    const at = reader.u32();
    if (reader.byte() !== OP.end) throw new Error("unexpected data segment");
    end = Math.max(end, at + reader.bytes(reader.u32()).length);
  }
  return end;
}

function readTypeIndices(module: WasmModule): number[] {
  const reader = new Reader(requireSection(module, SECTION.function), 0);
  return Array.from({ length: reader.u32() }, () => reader.u32());
}

function readBodies(module: WasmModule): Uint8Array[] {
  const reader = new Reader(requireSection(module, SECTION.code), 0);
  return Array.from({ length: reader.u32() }, () => reader.bytes(reader.u32()));
}

function requireSection(module: WasmModule, id: number): Uint8Array {
  const section = module.sections.find((one) => one.id === id);
  if (section === undefined) throw new Error(`no section ${id}`);
  return section.body;
}

function encodeSection(id: number, content: Uint8Array): Uint8Array {
  return concatenate([Uint8Array.from([id, ...u32(content.length)]), content]);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** LEB128. */
function u32(value: number): number[] {
  const out: number[] = [];
  do {
    const low = value & 0x7f;
    value >>>= 7;
    out.push(value === 0 ? low : low | 0x80);
  } while (value !== 0);
  return out;
}

function s32(value: number): number[] {
  const out: number[] = [];
  for (;;) {
    const low = value & 0x7f;
    value >>= 7;
    const isLast = (value === 0 && (low & 0x40) === 0) || (value === -1 && (low & 0x40) !== 0);
    out.push(isLast ? low : low | 0x80);
    if (isLast) return out;
  }
}

/** Every read is checked against the end: the file is not ours. */
class Reader {
  at: number;
  private readonly source: Uint8Array;

  constructor(source: Uint8Array, at: number) {
    this.source = source;
    this.at = at;
  }

  isDone(): boolean {
    return this.at >= this.source.length;
  }

  byte(): number {
    const value = this.source[this.at++];
    if (value === undefined) throw new Error("truncated");
    return value;
  }

  bytes(length: number): Uint8Array {
    if (this.at + length > this.source.length) throw new Error("truncated");
    this.at += length;
    return this.source.subarray(this.at - length, this.at);
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value >>> 0;
    }
    throw new Error("number too long");
  }

  name(): string {
    return new TextDecoder().decode(this.bytes(this.u32()));
  }
}
