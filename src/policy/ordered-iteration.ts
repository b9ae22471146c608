/**
 * OPA walks sets and objects in sorted order; its WASM runtime walks them in the order of a hash table, which shows in
 * comprehensions, `concat`, `walk`, and every text built from them. The runtime's one iterator is therefore answered
 * from here for sets and objects (decision record 0002).
 */
import { compareRego, compareStrings, type RegoValue } from "./rego-value.ts";
import { TAG, type WasmMemory } from "./wasm-memory.ts";

interface Walk {
  readonly keys: readonly number[];
  /** Where the last answer came from; a nested walk over the same value moves it, and is found again by search. */
  at: number;
}

/** Collections of the bundle's data whose order is remembered; a policy that walks more of them sorts some again. */
const KEPT_MAX = 65_536;

export class OrderedIteration {
  private readonly memory: WasmMemory;
  private walks = new Map<number, Walk>();
  private readonly kept = new Map<number, Walk>();
  /** Below this address lie the module's constants and the bundle's data, which no evaluation changes. */
  private keepBelow = 0;

  constructor(memory: WasmMemory) {
    this.memory = memory;
  }

  /** Values below this address stay as they are from now on: their order is found once. */
  keepOrderBelow(address: number): void {
    this.keepBelow = address;
  }

  /** Addresses mean nothing after an evaluation. */
  reset(): void {
    if (this.walks.size > 0) this.walks.clear();
  }

  /** Address of the key after `previous`, of the first one for 0; 0 at the end. */
  next(collection: number, previous: number): number {
    if (previous === 0) return this.first(collection);
    const walk = this.walkOf(collection) ?? this.start(collection);
    let at = walk.at;
    if (walk.keys[at] !== previous) at = this.find(walk, previous);
    walk.at = at + 1;
    return walk.keys[at + 1] ?? 0;
  }

  private walkOf(collection: number): Walk | undefined {
    return collection < this.keepBelow ? this.kept.get(collection) : this.walks.get(collection);
  }

  private first(collection: number): number {
    const size = this.memory.size(collection);
    if (size === 0) return 0;
    const kept = collection < this.keepBelow ? this.kept.get(collection) : undefined;
    if (kept !== undefined) {
      kept.at = 0;
      return kept.keys[0]!;
    }
    // Sorted anew: the collection may have grown, or its address have been used again, since the last walk.
    return this.start(collection).keys[0]!;
  }

  private start(collection: number): Walk {
    const walk = { keys: this.sortedKeys(collection), at: 0 };
    if (collection >= this.keepBelow) this.walks.set(collection, walk);
    else {
      if (this.kept.size >= KEPT_MAX) this.kept.clear();
      this.kept.set(collection, walk);
    }
    return walk;
  }

  sortedKeys(collection: number): number[] {
    const keys = this.memory.keys(collection);
    if (keys.length < 2) return keys;
    return this.areStrings(keys) ? this.sortStrings(keys) : this.sortValues(keys);
  }

  private areStrings(keys: readonly number[]): boolean {
    const { bytes } = this.memory;
    return keys.every((key) => bytes[key] === TAG.string || bytes[key] === TAG.stringInterned);
  }

  private sortStrings(keys: readonly number[]): number[] {
    const pairs = keys.map((key) => ({ key, text: this.memory.string(key) }));
    pairs.sort((a, b) => compareStrings(a.text, b.text));
    return pairs.map((pair) => pair.key);
  }

  private sortValues(keys: readonly number[]): number[] {
    const pairs = keys.map((key): { key: number; value: RegoValue } => ({ key, value: this.memory.read(key) }));
    pairs.sort((a, b) => compareRego(a.value, b.value));
    return pairs.map((pair) => pair.key);
  }

  /** By address; by value where the caller holds a copy of the key. */
  private find(walk: Walk, previous: number): number {
    const at = walk.keys.indexOf(previous);
    if (at >= 0) return at;
    const value = this.memory.read(previous);
    const same = walk.keys.findIndex((key) => compareRego(this.memory.read(key), value) === 0);
    if (same < 0) throw new Error("Iteration lost its place");
    return same;
  }
}
