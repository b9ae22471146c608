import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseCheckpoint } from "../../src/core/checkpoint.ts";
import { hashLeaf, rootOf } from "../../src/core/merkle.ts";
import { verifyNote } from "../../src/core/signed-note.ts";
import { createNoteVerifier } from "../../src/ledger/ed25519-note.ts";
import { openEnvironment } from "../../src/ledger/environment.ts";
import { storedCheckpoint } from "../../src/ledger/open-ledger.ts";
import { readLedgerEntries } from "../../src/ledger/read-ledger-entries.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { appendMany, ORIGIN, openTestLedger, temporaryDirectory, textOf, VKEY } from "./support.ts";

const code = (expected: string) => expect.objectContaining({ code: expected });

function expectSound(directory: string, entries: number): void {
  expect(verifyLedger({ directory, vkey: VKEY })).toMatchObject({ entries, fault: undefined });
}

describe("openLedger()", () => {
  test("appends, finds, reads and lists, over a reopening", async () => {
    const directory = temporaryDirectory();
    const first = await openTestLedger(directory);
    expect(first.head()).toEqual({ size: 0, rootHash: "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" });
    await appendMany(first, 700);
    await first.close();
    const ledger = await openTestLedger(directory);
    await appendMany({ ...ledger, append: (draft) => ledger.append({ text: draft.text, keys: [] }) }, 3);
    expect(ledger.head()).toEqual({
      size: 703,
      rootHash: rootOf([...Array(700).keys(), 0, 1, 2].map((at) => hashLeaf(Buffer.from(textOf(at))))).toString(
        "base64",
      ),
    });
    expect(ledger.find("k:511")).toEqual({ index: 511, text: textOf(511) });
    expect(ledger.find("k:700")).toBeUndefined();
    expect(ledger.read(702)).toBe(textOf(2));
    for (const absent of [703, -1, 0.5, Number.NaN]) expect(ledger.read(absent)).toBeUndefined();
    expect(ledger.entries(254, 4).map(({ index }) => index)).toEqual([254, 255, 256, 257]);
    expect(ledger.entries(701, 100).map(({ index }) => index)).toEqual([701, 702]);
    expect(ledger.entries(5, 0)).toEqual([]);
    expect([...readLedgerEntries(ledger, 698)].map(({ index }) => index)).toEqual([698, 699, 700, 701, 702]);
    await ledger.close();
    expectSound(directory, 703);
  });

  test("keeps any text as it is, large ones too", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory);
    const texts = [
      '{"a":"\u{1f600} \u202e \\u0000"}',
      JSON.stringify("y".repeat(300_000)),
      "{}",
      JSON.stringify("é".repeat(70_000)),
    ];
    for (const text of texts) await ledger.append({ text, keys: [] });
    expect(texts.map((text, index) => ledger.read(index) === text)).toEqual([true, true, true, true]);
    await ledger.close();
    expectSound(directory, texts.length);
  });

  test("find() answers the newest entry of a key", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory);
    await Promise.all([1, 2, 3].map((at) => ledger.append({ text: textOf(at), keys: ["trace:\u{1f600}"] })));
    expect(ledger.find("trace:\u{1f600}")).toEqual({ index: 2, text: textOf(3) });
    await ledger.append({ text: textOf(4), keys: ["trace:\u{1f600}"] });
    expect(ledger.find("trace:\u{1f600}")?.index).toBe(3);
    await ledger.close();
    expectSound(directory, 4);
  });

  test("append() answers duplicate for a unique key that is taken, within one batch and later", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory);
    const draft = (at: number, key: string) => ({ text: textOf(at), keys: [key, `n:${at}`], uniqueKey: key });
    const answers = await Promise.all([
      ledger.append(draft(0, "a")),
      ledger.append(draft(1, "a")),
      ledger.append(draft(2, "b")),
    ]);
    expect(answers).toEqual([
      { kind: "appended", index: 0 },
      { kind: "duplicate", index: 0 },
      { kind: "appended", index: 1 },
    ]);
    expect(await ledger.append(draft(3, "b"))).toEqual({ kind: "duplicate", index: 1 });
    expect(ledger.find("n:1")).toBeUndefined();
    await ledger.close();
    expectSound(directory, 2);
  });

  test("append() refuses drafts out of bounds, and takes them at the bound", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory);
    const keys = (count: number) => Array.from({ length: count }, (_, at) => `k${at}`);
    await expect(ledger.append({ text: "{}", keys: keys(9) })).rejects.toEqual(code("invalid_request"));
    await expect(ledger.append({ text: "{}", keys: [""] })).rejects.toEqual(code("invalid_request"));
    await expect(ledger.append({ text: "{}", keys: ["é".repeat(251)] })).rejects.toEqual(code("invalid_request"));
    await expect(ledger.append({ text: "{}", keys: ["a"], uniqueKey: "b" })).rejects.toEqual(code("invalid_request"));
    await expect(ledger.append({ text: "x".repeat(4 * 1024 * 1024 + 1), keys: [] })).rejects.toEqual(
      code("invalid_request"),
    );
    await ledger.append({ text: JSON.stringify("x".repeat(4 * 1024 * 1024 - 2)), keys: [...keys(7), "é".repeat(250)] });
    expect(ledger.find("é".repeat(250))?.index).toBe(0);
    await ledger.close();
    expectSound(directory, 1);
  });

  test("append() answers overloaded past queueMax, and shutting_down once closed", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory, { queueMax: 3 });
    const appends = [0, 1, 2, 3].map((at) => ledger.append({ text: textOf(at), keys: [] }));
    const outcomes = await Promise.allSettled(appends);
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "fulfilled", "rejected"]);
    expect(outcomes[3]).toMatchObject({ reason: code("overloaded") });
    const last = ledger.append({ text: textOf(4), keys: [] });
    const closing = ledger.close();
    await expect(ledger.append({ text: textOf(5), keys: [] })).rejects.toEqual(code("shutting_down"));
    expect(await last).toEqual({ kind: "appended", index: 3 });
    await closing;
    await ledger.close();
    expect(() => ledger.head()).toThrow(code("shutting_down"));
    expectSound(directory, 4);
  });

  test("checkpoint() signs the head once per size, and close() leaves the last one in the file", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory);
    await appendMany(ledger, 10);
    const note = ledger.checkpoint();
    expect(ledger.checkpoint()).toBe(note);
    const verification = verifyNote(note, [createNoteVerifier(VKEY)!]);
    expect(verification.kind).toBe("verified");
    const parsed = verification.kind === "verified" ? parseCheckpoint(verification.text) : undefined;
    expect(parsed).toMatchObject({ origin: ORIGIN, size: 10 });
    expect(Buffer.from(parsed!.root).toString("base64")).toBe(ledger.head().rootHash);
    await ledger.append({ text: textOf(10), keys: [] });
    expect(ledger.checkpoint()).not.toBe(note);
    await ledger.close();
    expectSound(directory, 11);
    expect(verifyLedger({ directory, checkpoint: note, vkey: VKEY }).fault).toBeUndefined();
  });

  test("close() leaves a checkpoint over every entry, also where one was signed while a commit ran", async () => {
    for (let turns = 0; turns < 8; turns += 1) {
      const directory = temporaryDirectory();
      const ledger = await openTestLedger(directory);
      const appending = ledger.append({ text: textOf(0), keys: [] });
      for (let turn = 0; turn < turns; turn += 1) await nextTurn();
      ledger.checkpoint();
      await Promise.all([appending, ledger.close()]);
      const env = openEnvironment({ directory, mapBytes: 2 ** 30, readOnly: true });
      expect(storedCheckpoint(env)?.size, `signed after ${turns} turns`).toBe(1);
      await env.root.close();
      expectSound(directory, 1);
    }
  });

  test("takes no more entries once its file has the size that it may have, and keeps those it has", async () => {
    const directory = temporaryDirectory();
    const bytesMax = 1024 * 1024;
    const ledger = await openTestLedger(directory, { bytesMax });
    const text = JSON.stringify("x".repeat(50_000));
    let entries = 0;
    const append = async () => {
      await ledger.append({ text, keys: [] });
      entries += 1;
    };
    await expect(
      (async () => {
        for (;;) await append();
      })(),
    ).rejects.toEqual(code("ledger_unavailable"));
    expect(entries).toBeGreaterThan(5);
    expect(statSync(join(directory, "data.mdb")).size).toBeGreaterThanOrEqual(bytesMax);
    expect(ledger.isWritable()).toBe(false);
    expect(ledger.read(0)).toBe(text);
    await ledger.close();
    const again = await openTestLedger(directory, { bytesMax });
    expect(again.isWritable()).toBe(false);
    await expect(again.append({ text, keys: [] })).rejects.toEqual(code("ledger_unavailable"));
    await again.close();
    const larger = await openTestLedger(directory, { bytesMax: bytesMax * 4 });
    await larger.append({ text, keys: [] });
    await larger.close();
    expectSound(directory, entries + 1);
  });

  test("hold() keeps appends waiting, and what it resolves with lets them in", async () => {
    const ledger = await openTestLedger(temporaryDirectory());
    await ledger.append({ text: textOf(0), keys: [] });
    const release = await ledger.hold();
    const waiting = [1, 2].map((at) => ledger.append({ text: textOf(at), keys: [] }));
    for (let turn = 0; turn < 50; turn += 1) await nextTurn();
    expect(ledger.head().size).toBe(1);
    expect(ledger.waiting()).toBe(2);
    release();
    expect(await Promise.all(waiting)).toEqual([
      { kind: "appended", index: 1 },
      { kind: "appended", index: 2 },
    ]);
    await ledger.close();
  });

  test("refuses a directory of another origin, and one that is no ledger", async () => {
    const directory = temporaryDirectory();
    await (await openTestLedger(directory)).close();
    await expect(openTestLedger(directory, { origin: "other" })).rejects.toEqual(code("config_invalid"));
    const file = join(temporaryDirectory(), "file");
    writeFileSync(file, "not a directory");
    await expect(openTestLedger(file)).rejects.toEqual(code("ledger_unavailable"));
  });

  test("two instances in one process keep indexes dense and unique keys unique", async () => {
    const directory = temporaryDirectory();
    const ledgers = [await openTestLedger(directory), await openTestLedger(directory)];
    const answers = await Promise.all(
      Array.from({ length: 600 }, (_, at) =>
        ledgers[at % 2]!.append({ text: textOf(at), keys: [`u:${at >> 1}`], uniqueKey: `u:${at >> 1}` }),
      ),
    );
    const appended = answers.filter(({ kind }) => kind === "appended").map(({ index }) => index);
    expect(appended.sort((a, b) => a - b)).toEqual([...Array(300).keys()]);
    for (const ledger of ledgers) await ledger.close();
    expectSound(directory, 300);
  });
});

describe("openLedger() with relaxed durability", () => {
  test("answers from the queue and writes everything by close", async () => {
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(directory, { durability: "relaxed" });
    const draft = (at: number) => ({ text: textOf(at), keys: [`r:${at}`], uniqueKey: `r:${at}` });
    expect(await Promise.all([ledger.append(draft(0)), ledger.append(draft(1)), ledger.append(draft(0))])).toEqual([
      { kind: "appended", index: 0 },
      { kind: "appended", index: 1 },
      { kind: "duplicate", index: 0 },
    ]);
    expect(ledger.head().size).toBe(0);
    await ledger.close();
    expectSound(directory, 2);
    const again = await openTestLedger(directory, { durability: "relaxed" });
    expect(await again.append(draft(1))).toEqual({ kind: "duplicate", index: 1 });
    await again.close();
  });
});

function smallDisk(): string | undefined {
  const mount = join(temporaryDirectory(), "disk");
  mkdirSync(mount);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", mount], { stdio: "pipe" });
  } catch {
    console.warn("no right to mount: the full disk is not tested");
    return undefined;
  }
  onTestFinished(() => void execFileSync("umount", ["-l", mount]));
  return mount;
}

function isUnavailable(error: unknown): false {
  expect(error).toEqual(code("ledger_unavailable"));
  return false;
}

describe("a full disk", () => {
  test.each(["durable", "relaxed"] as const)(
    "%s: nothing of the batch stays, and the next append recovers",
    async (durability) => {
      const mount = smallDisk();
      if (mount === undefined) return;
      const ballast = join(mount, "ballast");
      const directory = join(mount, "ledger");
      let hasFailed = false;
      let commits = 0;
      const onCommit = (commit: { error: Error | undefined }): void => {
        hasFailed ||= commit.error !== undefined;
        commits += 1;
      };
      const ledger = await openTestLedger(directory, { durability, onCommit });
      await ledger.append({ text: textOf("before"), keys: [] });
      writeFileSync(ballast, Buffer.alloc(1024 * 1024));
      let acknowledged = 1;
      for (let at = 0; !hasFailed; at += 1) {
        const before = commits;
        const wave = [0, 1, 2, 3].map((part) => ledger.append({ text: textOf(at, 20_000), keys: [`w:${at}:${part}`] }));
        for (const { status } of await Promise.allSettled(wave)) if (status === "fulfilled") acknowledged += 1;
        // Relaxed appends answer at once: without this more would be acknowledged than the disk can ever hold.
        while (commits === before) await new Promise((resolve) => setImmediate(resolve));
      }
      await expect(ledger.append({ text: textOf("refused", 900_000), keys: [] })).rejects.toEqual(
        code("ledger_unavailable"),
      );
      expect(ledger.isWritable()).toBe(false);
      const { size } = ledger.head();
      if (durability === "durable") expect(size).toBe(acknowledged);
      expect(verifyLedger({ directory })).toMatchObject({ entries: size, fault: undefined });
      rmSync(ballast);
      // A try of the acknowledged entries that began while the disk was full may still be failing.
      const recovered = () => ledger.append({ text: textOf("after"), keys: ["after"] }).then(() => true, isUnavailable);
      while (!(await recovered())) await new Promise((resolve) => setImmediate(resolve));
      expect(ledger.isWritable()).toBe(true);
      expect(ledger.find("after")).toEqual({ index: acknowledged, text: textOf("after") });
      await ledger.close();
      expectSound(directory, acknowledged + 1);
    },
  );
});
