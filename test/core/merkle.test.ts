import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { EMPTY_ROOT, hashLeaf, hashNode, MerkleFrontier, rootOf } from "../../src/core/merkle.ts";
import { vectorsPath } from "../support/tools.ts";

const SEED = 20_261_120;
const vectors = vectorsPath();

interface ReferenceTree {
  readonly leavesHex: readonly string[];
  readonly roots: readonly string[];
  readonly hasher: Readonly<Record<string, string>>;
}

/** RFC 6962 section 2.1, as it is written there. */
function naiveRoot(leaves: readonly Uint8Array[]): Buffer {
  if (leaves.length === 0) return createHash("sha256").digest();
  if (leaves.length === 1) return createHash("sha256").update(Buffer.of(0)).update(leaves[0]!).digest();
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  const [left, right] = [naiveRoot(leaves.slice(0, split)), naiveRoot(leaves.slice(split))];
  return createHash("sha256").update(Buffer.of(1)).update(left).update(right).digest();
}

const leavesOf = (count: number) => Array.from({ length: count }, (_, at) => Buffer.from(`leaf ${at}`));

describe.skipIf(vectors === undefined)("the CT reference tree", () => {
  const tree =
    vectors === undefined
      ? undefined
      : (JSON.parse(readFileSync(`${vectors}/merkle/reference-tree.json`, "utf8")) as ReferenceTree);

  test("MerkleFrontier has its root at every size", () => {
    const frontier = new MerkleFrontier();
    const roots = [frontier.root().toString("hex")];
    for (const leaf of tree!.leavesHex) {
      frontier.append(hashLeaf(Buffer.from(leaf, "hex")));
      roots.push(frontier.root().toString("hex"));
    }
    expect(roots).toEqual(tree!.roots);
  });

  test("hashLeaf() and hashNode() equal its hasher", () => {
    expect(EMPTY_ROOT.toString("hex")).toBe(tree!.hasher["empty"]);
    expect(hashLeaf(Buffer.alloc(0)).toString("hex")).toBe(tree!.hasher["emptyLeaf"]);
    expect(hashLeaf(Buffer.from("L123456")).toString("hex")).toBe(tree!.hasher["leaf_L123456"]);
    expect(hashNode(Buffer.from("N123"), Buffer.from("N456")).toString("hex")).toBe(tree!.hasher["node_N123_N456"]);
  });
});

describe("MerkleFrontier", () => {
  test("equals the recursive definition at every size up to 600", () => {
    const leaves = leavesOf(600);
    const frontier = new MerkleFrontier();
    for (let size = 0; size <= 600; size += 1) {
      if (size % 7 === 0 || size < 70) expect(frontier.root().equals(naiveRoot(leaves.slice(0, size)))).toBe(true);
      if (size < 600) frontier.append(hashLeaf(leaves[size]!));
    }
  });

  test("equals the recursive definition for any leaves, also when it is taken up from its nodes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 90 }), fc.nat(90), (leaves, cut) => {
        const hashes = leaves.map(hashLeaf);
        const first = new MerkleFrontier();
        for (const leafHash of hashes.slice(0, cut)) first.append(leafHash);
        const second = MerkleFrontier.from(first.size, first.nodes());
        for (const leafHash of hashes.slice(cut)) second.append(leafHash);
        expect(second.root().equals(naiveRoot(leaves))).toBe(true);
        expect(rootOf(hashes).equals(second.root())).toBe(true);
        expect(second.size).toBe(leaves.length);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test("hands every completed subtree to its sink, once, with the root of exactly its leaves", () => {
    const leaves = leavesOf(300);
    const seen = new Map<string, string>();
    const frontier = new MerkleFrontier();
    for (const leaf of leaves) {
      frontier.append(hashLeaf(leaf), (level, index, digest) => {
        expect(seen.has(`${level}/${index}`)).toBe(false);
        seen.set(`${level}/${index}`, Buffer.from(digest).toString("hex"));
      });
    }
    for (let level = 0; level < 9; level += 1) {
      const width = 2 ** level;
      for (let index = 0; (index + 1) * width <= 300; index += 1) {
        expect(seen.get(`${level}/${index}`)).toBe(
          naiveRoot(leaves.slice(index * width, (index + 1) * width)).toString("hex"),
        );
      }
    }
  });

  test("goes on past 2^32 entries", () => {
    const size = 2 ** 40 + 2 ** 33 + 1;
    const node = hashLeaf(Buffer.from("n"));
    const frontier = MerkleFrontier.from(size, Buffer.concat([node, node, node]));
    frontier.append(node);
    expect(frontier.size).toBe(size + 1);
    expect(frontier.nodes().equals(Buffer.concat([node, node, hashNode(node, node)]))).toBe(true);
    expect(frontier.root().equals(hashNode(node, hashNode(node, hashNode(node, node))))).toBe(true);
  });

  test("from() refuses nodes that do not fit the size", () => {
    for (const [size, bytes] of [
      [0, 32],
      [1, 0],
      [3, 32],
      [3, 96],
      [-1, 0],
      [1.5, 32],
      [2 ** 53, 32],
      [Number.NaN, 0],
    ] as const) {
      expect(() => MerkleFrontier.from(size, Buffer.alloc(bytes))).toThrow(RangeError);
    }
  });
});
