/**
 * OPA's values as they lie in the module's memory. The layout belongs to OPA's runtime, not to its ABI, so every
 * instance proves it on a sample before it is used (`checkLayout`), and a module laid out otherwise is refused.
 */

import {
  EMPTY_OBJECT,
  EMPTY_SET,
  parseRego,
  type RegoEntry,
  RegoNumber,
  type RegoObject,
  type RegoSet,
  type RegoValue,
  regoObject,
  regoSet,
  writeRego,
} from "./rego-value.ts";
import type { LinearMemory } from "./webassembly.ts";

export const TAG = {
  null: 1,
  boolean: 2,
  number: 3,
  string: 4,
  array: 5,
  object: 6,
  set: 7,
  stringInterned: 8,
  booleanInterned: 9,
} as const;
const NUMBER_INT = 1;
/** A number that is kept as its text: what is not written as a 64-bit integer. */
export const NUMBER_TEXT = 2;

/** Deeper than any accepted input (64); a policy that nests deeper would overflow the stack somewhere anyway. */
const DEPTH_MAX = 512;

/** Constant texts that are remembered. */
const KEPT_MAX = 65_536;

export interface AllocatorExports {
  readonly opa_malloc: (bytes: number) => number;
  readonly opa_value_parse: (address: number, length: number) => number;
}

/** Node's own methods behind toString and write, without their argument juggling: half the cost on short texts. */
export type FastBuffer = Buffer & {
  latin1Slice(start: number, end: number): string;
  utf8Write(text: string, offset: number, length?: number): number;
};

function fast(buffer: ArrayBuffer): FastBuffer {
  return Buffer.from(buffer) as FastBuffer;
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export class WasmMemory {
  /** Views of the current buffer; growth detaches it, and every entry from the module refreshes them. */
  bytes: FastBuffer = fast(new ArrayBuffer(0));
  private view: DataView = new DataView(new ArrayBuffer(0));
  private readonly memory: LinearMemory;
  private readonly exports: AllocatorExports;
  private readonly kept = new Map<number, string>();
  private keepBelow = 0;

  constructor(memory: LinearMemory, exports: AllocatorExports) {
    this.memory = memory;
    this.exports = exports;
    this.refresh();
  }

  refresh(): void {
    const { buffer } = this.memory;
    if (this.view.buffer === buffer) return;
    this.bytes = fast(buffer);
    this.view = new DataView(buffer);
  }

  read(address: number, depth = 0): RegoValue {
    if (depth > DEPTH_MAX) throw new Error(`Value is nested deeper than ${DEPTH_MAX}`);
    switch (this.bytes[address]) {
      case TAG.null:
        return null;
      case TAG.boolean:
      case TAG.booleanInterned:
        return this.bytes[address + 1] !== 0;
      case TAG.number:
        return new RegoNumber(this.numberText(address));
      case TAG.string:
      case TAG.stringInterned:
        return this.string(address);
      case TAG.array:
        return this.arrayItems(address).map((item) => this.read(item, depth + 1));
      case TAG.object:
        return this.object(address, depth);
      case TAG.set:
        return this.set(address, depth);
      default:
        throw new Error(`Unknown value tag ${this.bytes[address]} at ${address}`);
    }
  }

  /** The runtime does not align what it allocates. */
  word(address: number): number {
    return this.view.getUint32(address, true);
  }

  private setWord(address: number, value: number): void {
    this.view.setUint32(address, value, true);
  }

  string(address: number): string {
    if (address >= this.keepBelow) return this.text(this.word(address + 8), this.word(address + 4));
    let text = this.kept.get(address);
    if (text === undefined) {
      text = this.text(this.word(address + 8), this.word(address + 4));
      if (this.kept.size >= KEPT_MAX) this.kept.clear();
      this.kept.set(address, text);
    }
    return text;
  }

  /** Values below this address, the module's constants and the bundle's data, stay as they are: texts are read once. */
  keepTextsBelow(address: number): void {
    this.keepBelow = address;
  }

  /** The number as a small integer, where it is stored as one. */
  smallInteger(address: number): number | undefined {
    if (this.bytes[address] !== TAG.number || this.bytes[address + 1] !== NUMBER_INT) return undefined;
    const low = this.word(address + 8) | 0;
    return this.word(address + 12) === (low >> 31) >>> 0 ? low : undefined;
  }

  numberText(address: number): string {
    if (this.bytes[address + 1] !== NUMBER_INT) return this.text(this.word(address + 8), this.word(address + 12));
    const small = this.smallInteger(address);
    return small === undefined ? this.view.getBigInt64(address + 8, true).toString() : String(small);
  }

  /** Addresses of the items. */
  arrayItems(address: number): number[] {
    const elements = this.word(address + 4);
    const length = this.word(address + 8);
    const items = new Array<number>(length);
    for (let i = 0; i < length; i++) items[i] = this.word(elements + i * 8 + 4);
    return items;
  }

  /** Addresses of keys, or of a set's items, in the order of the hash table; where asked for, of the values too. */
  keys(address: number, values?: number[]): number[] {
    const isSet = this.bytes[address] === TAG.set;
    const buckets = this.word(address + 4);
    const count = this.word(address + 8);
    const keys: number[] = [];
    for (let i = 0; i < count; i++) {
      let element = this.word(buckets + i * 4);
      while (element !== 0) {
        keys.push(this.word(element));
        if (!isSet) values?.push(this.word(element + 4));
        element = this.word(element + (isSet ? 4 : 8));
      }
    }
    return keys;
  }

  size(address: number): number {
    return this.word(address + 12);
  }

  private object(address: number, depth: number): RegoObject {
    const values: number[] = [];
    const keys = this.keys(address, values);
    if (keys.length === 0) return EMPTY_OBJECT;
    return regoObject(keys.map((key, i): RegoEntry => [this.read(key, depth + 1), this.read(values[i]!, depth + 1)]));
  }

  private set(address: number, depth: number): RegoSet {
    const items = this.keys(address);
    return items.length === 0 ? EMPTY_SET : regoSet(items.map((item) => this.read(item, depth + 1)));
  }

  /** Short ASCII text, which nearly all of it is, without a call into a decoder; the rest must be well-formed. */
  text(address: number, length: number): string {
    const { bytes } = this;
    const end = address + length;
    for (let i = address; i < end; i++) {
      if (bytes[i]! > 0x7f) return strictUtf8.decode(bytes.subarray(address, end));
    }
    return bytes.latin1Slice(address, end);
  }

  write(value: RegoValue): number {
    if (typeof value === "string") return this.writeString(value);
    if (typeof value === "boolean") return this.writeTagged(TAG.boolean, value ? 1 : 0);
    if (value === null) return this.writeTagged(TAG.null, 0);
    if (value instanceof RegoNumber) return this.writeNumber(value.text);
    return this.writeParsed(writeRego(value));
  }

  private writeTagged(tag: number, payload: number): number {
    const address = this.malloc(8);
    this.bytes[address] = tag;
    this.bytes[address + 1] = payload;
    return address;
  }

  private writeString(value: string): number {
    if (!value.isWellFormed()) throw new Error("String is not well-formed Unicode");
    const { address, length } = this.writeText(value);
    const header = this.malloc(16);
    this.setWord(header, TAG.string);
    this.setWord(header + 4, length);
    this.setWord(header + 8, address);
    return header;
  }

  private writeNumber(text: string): number {
    const isSmall = text.length < 12 && /^(?:0|-?[1-9]\d*)$/.test(text) && Number(text) === (Number(text) | 0);
    return isSmall ? this.writeSmall(Number(text)) : this.writeNumberText(text);
  }

  writeInteger(value: number): number {
    return value === (value | 0) ? this.writeSmall(value | 0) : this.writeNumberText(String(value));
  }

  /** 32 bits only: where the runtime compares a larger stored integer with a fraction, it looks at its low half alone. */
  private writeSmall(value: number): number {
    const header = this.malloc(24);
    this.setWord(header, TAG.number | (NUMBER_INT << 8));
    this.setWord(header + 8, value);
    this.setWord(header + 12, value < 0 ? 0xffffffff : 0);
    return header;
  }

  private writeNumberText(text: string): number {
    const { address, length } = this.writeText(text);
    const header = this.malloc(24);
    this.setWord(header, TAG.number | (2 << 8));
    this.setWord(header + 8, address);
    this.setWord(header + 12, length);
    this.setWord(header + 16, 0);
    return header;
  }

  private writeParsed(text: string): number {
    const { address, length } = this.writeText(text);
    const value = this.exports.opa_value_parse(address, length);
    this.refresh();
    if (value === 0) throw new Error("The module cannot read a value that the host wrote");
    return value;
  }

  private writeText(text: string): { address: number; length: number } {
    const length = Buffer.byteLength(text);
    const address = this.malloc(length + 1);
    this.bytes.utf8Write(text, address, length);
    this.bytes[address + length] = 0;
    return { address, length };
  }

  malloc(bytes: number): number {
    const address = this.exports.opa_malloc(bytes);
    this.refresh();
    return address;
  }

  /** Throws unless a sample written by the module's own reader is understood, and ours by its. */
  checkLayout(): void {
    const sample = `[null,true,false,7,-9007199254740993,1.50,"text","\u00e9\u0000",[],["a"],{"k":{"n":1},"l":[2]},{1,"two",[3]},set(),{[1]:2}]`;
    const escaped = sample.replace("\u0000", "\\u0000");
    const address = this.writeParsed(escaped);
    const value = this.read(address);
    if (writeRego(value) !== writeRego(parseRego(escaped))) throw new Error("values are laid out in an unknown way");
  }
}
