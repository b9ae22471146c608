/**
 * A value in the module's memory as JSON text, without a copy in between: sets as arrays, everything in OPA's order,
 * keys that are not strings as the JSON text of the key.
 */
import { OrderedIteration } from "./ordered-iteration.ts";
import { TAG, type WasmMemory } from "./wasm-memory.ts";

const DEPTH_MAX = 512;

// biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these must be escaped
const NEEDS_ESCAPE = /["\\\u0000-\u001f]/;

export function printJson(memory: WasmMemory, address: number, depth = 0): string {
  if (depth > DEPTH_MAX) throw new Error(`Policy result is nested deeper than ${DEPTH_MAX}`);
  switch (memory.bytes[address]) {
    case TAG.null:
      return "null";
    case TAG.boolean:
    case TAG.booleanInterned:
      return memory.bytes[address + 1] === 0 ? "false" : "true";
    case TAG.number:
      return memory.numberText(address);
    case TAG.string:
    case TAG.stringInterned:
      return quoteJson(memory.string(address));
    case TAG.array:
      return `[${memory
        .arrayItems(address)
        .map((item) => printJson(memory, item, depth + 1))
        .join(",")}]`;
    case TAG.set:
      return `[${new OrderedIteration(memory)
        .sortedKeys(address)
        .map((item) => printJson(memory, item, depth + 1))
        .join(",")}]`;
    case TAG.object:
      return printObject(memory, address, depth);
    default:
      throw new Error(`Policy result has an unknown tag ${memory.bytes[address]}`);
  }
}

export function quoteJson(text: string): string {
  return NEEDS_ESCAPE.test(text) ? JSON.stringify(text) : `"${text}"`;
}

function printObject(memory: WasmMemory, address: number, depth: number): string {
  const values: number[] = [];
  const keys = memory.keys(address, values);
  const members: [string, string][] = [];
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]!;
    const isText = memory.bytes[key] === TAG.string || memory.bytes[key] === TAG.stringInterned;
    const name = isText ? memory.string(key) : printJson(memory, key, depth + 1);
    members.push([name, printJson(memory, values[i]!, depth + 1)]);
  }
  // By UTF-16 units, the order of RFC 8785: what comes next is canonicalised anyway, and is then already in order.
  members.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  return `{${members.map(([name, value]) => `${quoteJson(name)}:${value}`).join(",")}}`;
}
