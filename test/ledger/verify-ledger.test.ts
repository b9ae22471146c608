import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashLeaf } from "../../src/core/merkle.ts";
import { type Environment, openEnvironment } from "../../src/ledger/environment.ts";
import { CHECKPOINT_KEY, encodeEntry, encodeHead, HEAD_KEY, tileKey } from "../../src/ledger/layout.ts";
import { loadTree, type TreeState } from "../../src/ledger/tree-state.ts";
import { type LedgerReport, verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { appendMany, openTestLedger, signText, temporaryDirectory, textOf, VKEY } from "./support.ts";

const SEED = 20_261_120;

/** A closed ledger of `count` entries, and the checkpoint over them. */
async function closedLedger(count: number, bytes = 20): Promise<{ directory: string; checkpoint: string }> {
  const directory = temporaryDirectory();
  const ledger = await openTestLedger(directory);
  await appendMany(ledger, count, { bytes });
  const checkpoint = ledger.checkpoint();
  await ledger.close();
  return { directory, checkpoint };
}

/** An attacker with the file and LMDB, but without the signing key. */
async function tamper(directory: string, change: (env: Environment) => void): Promise<LedgerReport> {
  const env = openEnvironment({ directory, mapBytes: 2 ** 30 });
  env.root.transactionSync(() => change(env));
  await env.root.close();
  return verifyLedger({ directory, vkey: VKEY });
}

/** A log written anew from texts, consistent in itself. */
function rewrite(env: Environment, texts: readonly string[]): void {
  env.entries.clearSync();
  env.tiles.clearSync();
  env.keys.clearSync();
  env.state.put(HEAD_KEY, encodeHead({ size: 0, root: hashLeaf(Buffer.alloc(0)), nodes: Buffer.alloc(0) }), 0);
  const tree: TreeState = loadTree(env);
  texts.forEach((text, index) => {
    tree.append(hashLeaf(Buffer.from(text)));
    env.entries.put(index, encodeEntry(text));
  });
  for (const { level, tile, bytes } of tree.takeTiles()) env.tiles.put(tileKey(level, tile), bytes);
  const head = tree.head();
  env.state.put(HEAD_KEY, encodeHead(head), head.size);
}

const texts = (count: number) => Array.from({ length: count }, (_, at) => textOf(at));

describe("verifyLedger()", () => {
  test.each([0, 1, 255, 256, 257, 700])("passes a ledger of %d entries", async (count) => {
    const { directory, checkpoint } = await closedLedger(count);
    const seen: number[] = [];
    const report = verifyLedger({ directory, checkpoint, vkey: VKEY, onEntry: ({ index }) => seen.push(index) });
    expect(report).toMatchObject({ entries: count, fault: undefined });
    expect(seen).toEqual([...Array(count).keys()]);
  });

  test("covers tiles of the second level", async () => {
    const { directory } = await closedLedger(0);
    const ledger = await openTestLedger(directory, { queueMax: 70_000, batchMax: 70_000 });
    await Promise.all(Array.from({ length: 65_600 }, (_, at) => ledger.append({ text: String(at), keys: [] })));
    await ledger.append({ text: "1", keys: [] });
    await ledger.close();
    expect(verifyLedger({ directory, vkey: VKEY })).toMatchObject({ entries: 65_601, fault: undefined });
    const report = await tamper(directory, (env) => {
      const tile = Buffer.from(env.tiles.getBinary(tileKey(2, 0))!);
      tile[0]! ^= 1;
      env.tiles.put(tileKey(2, 0), tile);
    });
    expect(report.fault).toMatchObject({ kind: "tile", tile: "2/0" });
  });

  test("names the entry that was edited", async () => {
    const { directory } = await closedLedger(300);
    const report = await tamper(directory, (env) => {
      const bundle = Buffer.from(env.entries.getBinary(259)!);
      bundle[bundle.length - 4]! ^= 1;
      env.entries.put(259, bundle);
    });
    expect(report.fault).toMatchObject({ kind: "entry", index: 295 });
    expect(report.entries).toBe(295);
  });

  test("names the place where an entry was removed", async () => {
    const { directory } = await closedLedger(300);
    const report = await tamper(directory, (env) => void env.entries.removeSync(111));
    expect(report.fault).toEqual({ kind: "entry", index: 111, expected: "entry 111", found: "entry 148" });
  });

  test("names the first of entries that changed places", async () => {
    const { directory } = await closedLedger(20);
    const report = await tamper(directory, (env) => {
      env.entries.put(
        0,
        Buffer.concat([0, 2, 1, ...Array.from({ length: 17 }, (_, at) => at + 3)].map((at) => encodeEntry(textOf(at)))),
      );
    });
    expect(report.fault).toMatchObject({ kind: "entry", index: 1 });
  });

  test("finds a log written anew, edited or reordered, by its stored checkpoint", async () => {
    const { directory } = await closedLedger(20);
    const report = await tamper(directory, (env) => rewrite(env, texts(20).reverse()));
    expect(report.fault).toMatchObject({ kind: "checkpoint" });
  });

  test("finds a log that was cut: by its stored checkpoint, and where that was removed by a saved one", async () => {
    const { directory, checkpoint } = await closedLedger(20);
    const cut = await tamper(directory, (env) => rewrite(env, texts(19)));
    expect(cut.fault).toEqual({
      kind: "checkpoint",
      expected: "at least 20 entries (stored checkpoint)",
      found: "19 entries",
    });
    const bare = await tamper(directory, (env) => void env.state.removeSync(CHECKPOINT_KEY));
    expect(bare).toMatchObject({ entries: 19, fault: undefined });
    expect(verifyLedger({ directory, checkpoint, vkey: VKEY }).fault).toMatchObject({ kind: "checkpoint" });
    await tamper(directory, (env) => rewrite(env, [...texts(19), "{}"]));
    expect(verifyLedger({ directory, checkpoint, vkey: VKEY }).fault).toMatchObject({
      kind: "checkpoint",
      expected: expect.stringContaining("at size 20 (saved checkpoint)"),
    });
  });

  test("refuses a checkpoint of another log, by another key, or that is none", async () => {
    const { directory, checkpoint } = await closedLedger(5);
    const other = signText("other\n5\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n");
    for (const saved of [other, "none", checkpoint.replace("\n5\n", "\n4\n"), ""]) {
      expect(verifyLedger({ directory, checkpoint: saved, vkey: VKEY }).fault).toMatchObject({ kind: "checkpoint" });
    }
    expect(
      verifyLedger({ directory, vkey: "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW" }).fault,
    ).toMatchObject({
      kind: "checkpoint",
    });
  });

  test("finds changed tiles, head, keys and text that is no JSON", async () => {
    const cases: readonly [string, (env: Environment) => void][] = [
      ["entry", (env) => env.tiles.put(tileKey(0, 0), Buffer.alloc(256 * 32))],
      ["tile", (env) => void env.tiles.removeSync(tileKey(0, 1))],
      ["tile", (env) => env.tiles.put(tileKey(1, 0), Buffer.alloc(32))],
      ["tile", (env) => env.tiles.put(tileKey(1, 1), Buffer.alloc(32))],
      ["head", (env) => env.state.put(HEAD_KEY, Buffer.alloc(40), 300)],
      ["head", (env) => void env.state.removeSync(HEAD_KEY)],
      ["key", (env) => env.keys.put("k:1", Buffer.alloc(12))],
      ["entry", (env) => rewrite(env, [...texts(19), "{"])],
      ["head", (env) => env.entries.put(300, encodeEntry("{}"))],
    ];
    for (const [kind, change] of cases) {
      const { directory } = await closedLedger(300);
      const report = await tamper(directory, (env) => {
        env.state.removeSync(CHECKPOINT_KEY);
        change(env);
      });
      expect(report.fault).toMatchObject({ kind });
    }
  });

  test("reports a file that is absent, empty, cut short or something else", async () => {
    const { directory } = await closedLedger(40);
    const whole = readFileSync(join(directory, "data.mdb"));
    expect(verifyLedger({ directory: join(directory, "absent") }).fault?.kind).toBe("file");
    for (const bytes of [
      Buffer.alloc(0),
      whole.subarray(0, 100),
      whole.subarray(0, 8192),
      whole.subarray(0, whole.length / 2),
      Buffer.alloc(65_536, 7),
    ]) {
      const copy = join(directory, "copy");
      mkdirSync(copy, { recursive: true });
      writeFileSync(join(copy, "data.mdb"), bytes);
      expect(verifyLedger({ directory: copy, vkey: VKEY }).fault?.kind).toBe("file");
    }
  });

  test("beside a running writer finds no fault", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory);
    for (let round = 0; round < 20; round += 1) {
      const appends = Array.from({ length: 40 }, (_, at) =>
        ledger.append({ text: textOf(at), keys: [`${round}:${at}`] }),
      );
      await appends[0];
      expect(verifyLedger({ directory }).fault).toBeUndefined();
      await Promise.all(appends);
    }
    await ledger.close();
  });

  test("a bit flipped anywhere is reported, or was in bytes that nothing reads", async () => {
    const { directory } = await closedLedger(330, 700);
    const whole = readFileSync(join(directory, "data.mdb"));
    const copy = join(directory, "copy");
    mkdirSync(copy);
    const read = (bytes: Buffer): { report: LedgerReport; entries: string[] } => {
      writeFileSync(join(copy, "data.mdb"), bytes);
      const entries: string[] = [];
      return {
        report: verifyLedger({ directory: copy, vkey: VKEY, onEntry: ({ text }) => entries.push(text) }),
        entries,
      };
    };
    const sound = read(whole);
    expect(sound.report).toMatchObject({ entries: 330, fault: undefined });
    let reported = 0;
    const check = (at: number, bit: number): void => {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 1 << bit;
      const found = read(flipped);
      // A flip in the newest meta page brings back the one before it: the same entries, before the checkpoint was stored.
      const { signedCheckpoints } = sound.report;
      if (found.report.fault === undefined) {
        expect({ ...found, report: { ...found.report, signedCheckpoints } }).toEqual(sound);
      } else reported += 1;
    };
    fc.assert(fc.property(fc.nat(whole.length - 1), fc.nat(7), check), { seed: SEED, numRuns: 1_500 });
    expect(reported).toBeGreaterThan(300);
    // Headers steer everything, and are few: every bit of the first 200 bytes of the first pages.
    for (let page = 0; page < 6; page += 1) {
      for (let at = 0; at < 200; at += 1) check(page * 4096 + at, (at * 5 + page) % 8);
    }
  });
});
