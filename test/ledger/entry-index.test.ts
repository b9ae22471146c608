import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { open } from "lmdb";
import { describe, expect, onTestFinished, test } from "vitest";
import { type EntryIndex, entityTag, traceTag } from "../../src/core/entry-index.ts";
import { entityTags, entryTags } from "../../src/core/entry-tags.ts";
import { UnavailableError } from "../../src/core/errors.ts";
import type { Ledger } from "../../src/core/ports.ts";
import { type EntryIndexOptions, FIND_MAX, openEntryIndex } from "../../src/ledger/entry-index.ts";
import { UNCLEAN_ENDS_MAX } from "../../src/ledger/entry-index-trust.ts";
import { bundleChild, openTestLedger, temporaryDirectory } from "./support.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

const entry = (kind: string, data: object, more: object = {}): string =>
  JSON.stringify({ data, kind, tenant: "default", time: "2026-11-20T10:00:00.000Z", trace_id: TRACE, v: 1, ...more });
const about = (id: string, at: number): string => entry("permit_refused", { at, entity: { type: "order", id } });
const orderTag = (id: string, tenant = "default"): string => entityTag(tenant, "order", id);

/** The indexes that a look through the whole ledger finds: what the index must give, without the index. */
function scanned(ledger: Ledger): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (const { index, text } of ledger.entries(0, 1_000_000)) {
    const { tags, sharesEntityOf } = entryTags(text);
    const causes = sharesEntityOf.map((key) => ledger.find(key)).filter((one) => one !== undefined);
    const shared = causes.map((cause) => entityTags(cause.text)).find((of) => of.length > 0) ?? [];
    for (const tag of [...tags, ...shared]) found.set(tag, [...(found.get(tag) ?? []), index]);
  }
  return found;
}

async function everything(index: EntryIndex, tag: string): Promise<number[]> {
  const all: number[] = [];
  for (;;) {
    const page = await index.find({ tag, from: (all.at(-1) ?? -1) + 1, limit: 7 });
    all.push(...page);
    if (page.length < 7) return all;
  }
}

async function expectWhole(index: EntryIndex, ledger: Ledger): Promise<void> {
  for (const [tag, indexes] of scanned(ledger)) expect(await everything(index, tag), tag).toEqual(indexes);
}

/** The real ledger, with a word on every read. */
function listened(ledger: Ledger, onRead: (start: number) => void): Ledger {
  return {
    ...{ append: ledger.append.bind(ledger), checkpoint: ledger.checkpoint.bind(ledger) },
    ...{ waiting: ledger.waiting.bind(ledger), hold: ledger.hold.bind(ledger), close: ledger.close.bind(ledger) },
    origin: ledger.origin,
    isWritable: () => ledger.isWritable(),
    head: () => ledger.head(),
    read: (index) => ledger.read(index),
    find: (key) => ledger.find(key),
    entries: (start, limit) => {
      onRead(start);
      return ledger.entries(start, limit);
    },
  };
}

async function openLedgerIn(directory: string, options: Parameters<typeof openTestLedger>[1] = {}): Promise<Ledger> {
  const ledger = await openTestLedger(join(directory, "ledger"), options);
  onTestFinished(() => ledger.close());
  return ledger;
}

function openIndexIn(directory: string, ledger: Ledger, options: Partial<EntryIndexOptions> = {}): EntryIndex {
  // The background comes in only where a test asks for it.
  const index = openEntryIndex({ directory: join(directory, "index"), ledger, intervalMs: 3_600_000, ...options });
  onTestFinished(() => index.close());
  return index;
}

async function append(ledger: Ledger, texts: readonly string[]): Promise<void> {
  await Promise.all(texts.map((text) => ledger.append({ text, keys: [] })));
}

const orders = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, at) => about(`o${(from + at) % 5}`, from + at));

/** Which reads of the ledger an index makes until it has answered once: the first says where it went on. */
async function readsToAnswer(
  directory: string,
  ledger: Ledger,
): Promise<{ index: EntryIndex; first: number | undefined }> {
  const reads: number[] = [];
  const index = openIndexIn(
    directory,
    listened(ledger, (start) => reads.push(start)),
  );
  await index.find({ tag: "any", from: 0, limit: 1 });
  return { index, first: reads[0] };
}

describe("find", () => {
  test("sees every entry that was committed before the call, in order, from where it is asked", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    const index = openIndexIn(directory, ledger);
    expect(await index.find({ tag: orderTag("o1"), from: 0, limit: 10 })).toEqual([]);
    for (let round = 0; round < 5; round += 1) {
      await append(ledger, orders(10, round * 10));
      const found = await Promise.all([0, 1, 2].map((id) => everything(index, orderTag(`o${id}`))));
      expect(found.map((one) => one.length)).toEqual([2, 2, 2].map((per) => per * (round + 1)));
    }
    const all = await everything(index, orderTag("o3"));
    expect(await index.find({ tag: orderTag("o3"), from: all[4]!, limit: 2 })).toEqual(all.slice(4, 6));
    expect(await index.find({ tag: orderTag("o3"), from: all[4]! + 1, limit: 1 })).toEqual([all[5]]);
    expect(await index.find({ tag: orderTag("o3"), from: all.at(-1)! + 1, limit: 1 })).toEqual([]);
    await expectWhole(index, ledger);
  });

  test("keeps tenants, types and ids apart, whatever characters they are made of", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    const index = openIndexIn(directory, ledger);
    const names = ["a", "a:b", 'a","b', "default:a", "a/b", "ä", "𝒜", "__proto__", "constructor"];
    const texts = names.flatMap((type) =>
      names.flatMap((id) =>
        ["default", "other"].map((tenant) => entry("permit_refused", { entity: { type, id } }, { tenant })),
      ),
    );
    await append(ledger, texts);
    for (const type of names) {
      for (const id of names) {
        for (const tenant of ["default", "other"]) {
          const found = await index.find({ tag: entityTag(tenant, type, id), from: 0, limit: 10 });
          expect(found).toHaveLength(1);
          expect(JSON.parse(ledger.read(found[0]!)!)).toMatchObject({ tenant, data: { entity: { type, id } } });
        }
      }
    }
    expect(await index.find({ tag: traceTag("default", TRACE), from: 0, limit: 1_000 })).toHaveLength(texts.length / 2);
  });

  test.each([0, FIND_MAX + 1, 1.5, Number.NaN])("refuses a limit of %s", async (limit) => {
    const directory = temporaryDirectory();
    const index = openIndexIn(directory, await openLedgerIn(directory));
    await expect(index.find({ tag: "a", from: 0, limit })).rejects.toThrow(RangeError);
    await expect(index.find({ tag: "a", from: -1, limit: 1 })).rejects.toThrow(RangeError);
  });

  test("gives FIND_MAX of more at once, and the rest after them", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    const index = openIndexIn(directory, ledger);
    await append(
      ledger,
      Array.from({ length: FIND_MAX + 1 }, (_, at) => about("one", at)),
    );
    const first = await index.find({ tag: orderTag("one"), from: 0, limit: FIND_MAX });
    expect(first).toEqual([...Array(FIND_MAX).keys()]);
    expect(await index.find({ tag: orderTag("one"), from: FIND_MAX, limit: FIND_MAX })).toEqual([FIND_MAX]);
  });

  test("does not wait for ever: past its time it says how far it is, and is there later", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    await append(ledger, orders(5_000));
    const index = openIndexIn(directory, ledger, { waitMs: 0 });
    const refused = await index.find({ tag: orderTag("o1"), from: 0, limit: 1 }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(UnavailableError);
    expect(refused).toMatchObject({
      code: "overloaded",
      message: expect.stringMatching(/ of 5000 entries are in it$/),
    });
    for (;;) {
      const found = await index.find({ tag: orderTag("o1"), from: 0, limit: 1_000 }).catch(() => undefined);
      if (found === undefined) continue;
      expect(found).toHaveLength(1_000);
      break;
    }
  });

  test("answers nothing once it is closed, and closes in the middle of its work", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    await append(ledger, orders(3_000));
    const index = openIndexIn(directory, ledger);
    const finding = index.find({ tag: orderTag("o1"), from: 0, limit: 1 }).catch((error: unknown) => error);
    await index.close();
    expect(await finding).toMatchObject({ code: "shutting_down" });
    await expect(index.find({ tag: "a", from: 0, limit: 1 })).rejects.toMatchObject({ code: "shutting_down" });
    await index.close();
    const again = await readsToAnswer(directory, ledger);
    await expectWhole(again.index, ledger);
  });

  test("is found ready by whoever asks late: the background has read everything", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    await append(ledger, orders(100));
    const reads: number[] = [];
    let reachedEnd = () => {};
    const end = new Promise<void>((resolve) => {
      reachedEnd = resolve;
    });
    const watched = listened(ledger, (start) => {
      reads.push(start);
      if (start >= 96) reachedEnd();
    });
    const index = openIndexIn(directory, watched, { intervalMs: 1 });
    await end;
    const before = reads.length;
    expect(await index.find({ tag: orderTag("o1"), from: 0, limit: 100 })).toHaveLength(20);
    expect(reads.length).toBe(before);
  });
});

describe("an execution's report", () => {
  const input = { entity: { type: "order", id: "o1" }, actor: { id: "agent" } };
  const report = (data: object) => entry("execution_reported", { status: "succeeded", action: "PAY", ...data });

  test("is about the entity of its decision, or of its permit's use, or of none that is known", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    const index = openIndexIn(directory, ledger);
    const decision = entry("decision", {}, { input, data: undefined });
    const use = entry("permit_consumed", { permit_id: "perm_2", entity: { type: "order", id: "o2" } });
    await ledger.append({ text: decision, keys: ["decision:default:dec_1"] });
    await ledger.append({ text: use, keys: ["consumed:default:perm_2"] });
    await append(ledger, [
      report({ decision_id: "dec_1", permit_id: "perm_1" }),
      report({ decision_id: "dec_9", permit_id: "perm_2" }),
      report({ decision_id: "dec_9", permit_id: "perm_9" }),
      report({ decision_id: "dec_1 or another".repeat(100), permit_id: "x".repeat(5_000) }),
      entry(
        "execution_reported",
        {
          recovered: true,
          payload: { execution: { decisionId: "dec_1", jti: "perm_1", traceId: "ab".repeat(16) } },
        },
        { trace_id: "0".repeat(32) },
      ),
    ]);
    expect(await everything(index, orderTag("o1"))).toEqual([0, 2, 6]);
    expect(await everything(index, orderTag("o2"))).toEqual([1, 3]);
    expect(await everything(index, traceTag("default", "ab".repeat(16)))).toEqual([6]);
    expect(await everything(index, traceTag("default", TRACE))).toEqual([0, 1, 2, 3, 4, 5]);
    // Another tenant's decision of the same id tells nothing.
    await append(ledger, [entry("execution_reported", { decision_id: "dec_1" }, { tenant: "other" })]);
    expect(await everything(index, entityTag("other", "order", "o1"))).toEqual([]);
  });
});

describe("an index that cannot be believed is built anew", () => {
  const data = (directory: string) => join(directory, "index", "data.mdb");
  const mark = (directory: string) => join(directory, "index", "opened-by");

  async function indexed(count = 400): Promise<{ directory: string; ledger: Ledger }> {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    await append(ledger, orders(count));
    const index = openIndexIn(directory, ledger);
    await index.find({ tag: "any", from: 0, limit: 1 });
    await index.close();
    return { directory, ledger };
  }

  test("and one that can goes on where it was", async () => {
    const { directory, ledger } = await indexed();
    expect(readFileSync(mark(directory), "utf8")).toMatch(/^closed [0-9]+ [0-9a-f]{1,8}\n$/);
    await append(ledger, orders(3, 400));
    const { index, first } = await readsToAnswer(directory, ledger);
    expect(first).toBe(400);
    await expectWhole(index, ledger);
  });

  const bootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

  const DAMAGES: Readonly<Record<string, (directory: string) => void>> = {
    "its directory is gone": (directory) => rmSync(join(directory, "index"), { recursive: true }),
    "its file is gone": (directory) => rmSync(data(directory)),
    "its file is empty": (directory) => truncateSync(data(directory), 0),
    "its file is cut": (directory) => truncateSync(data(directory), statSync(data(directory)).size - 4_096),
    "its file is zeros": (directory) => writeFileSync(data(directory), Buffer.alloc(statSync(data(directory)).size)),
    "its file is something else": (directory) => writeFileSync(data(directory), "hello"),
    "one bit of its file is another": (directory) => {
      const bytes = readFileSync(data(directory));
      bytes[bytes.length - 100]! ^= 1;
      writeFileSync(data(directory), bytes);
    },
    "nothing says how it was left": (directory) => rmSync(mark(directory)),
    "what says so makes no sense": (directory) => writeFileSync(mark(directory), "open"),
    "the machine stopped while it was open": (directory) => writeFileSync(mark(directory), "open another-boot 0\n"),
    "it ended badly too often in a row": (directory) =>
      writeFileSync(mark(directory), `open ${bootId()} ${UNCLEAN_ENDS_MAX}\n`),
    "it was found damaged": (directory) => writeFileSync(mark(directory), "damaged\n"),
  };

  test.each(Object.entries(DAMAGES))("where %s", async (_, damage) => {
    const { directory, ledger } = await indexed();
    damage(directory);
    const { index, first } = await readsToAnswer(directory, ledger);
    expect(first).toBe(0);
    await expectWhole(index, ledger);
    await index.close();
    expect((await readsToAnswer(directory, ledger)).first).toBe(400);
  });

  test("but not for a process that was killed, up to a number of times in a row", async () => {
    const { directory, ledger } = await indexed();
    writeFileSync(mark(directory), `open ${bootId()} ${UNCLEAN_ENDS_MAX - 1}\n`);
    const { index, first } = await readsToAnswer(directory, ledger);
    expect(first).toBe(400);
    expect(readFileSync(mark(directory), "utf8")).toBe(`open ${bootId()} ${UNCLEAN_ENDS_MAX}\n`);
    await index.close();
    expect(readFileSync(mark(directory), "utf8")).toMatch(/^closed/);
  });

  test("where it is another ledger's", async () => {
    const { directory } = await indexed();
    const other = temporaryDirectory();
    const ledger = await openLedgerIn(other, { origin: "holdpoint.example/other" });
    await append(ledger, orders(400));
    const { index, first } = await readsToAnswer(directory, ledger);
    expect(first).toBe(0);
    await expectWhole(index, ledger);
  });

  test("where it is ahead of the ledger, or the ledger went on in another way", async () => {
    const { directory } = await indexed();
    for (const count of [100, 400, 500]) {
      const ledger = await openLedgerIn(temporaryDirectory());
      await append(ledger, count === 100 ? orders(count) : orders(count, 1_000 * count));
      const { index, first } = await readsToAnswer(directory, ledger);
      expect(first).toBe(0);
      await expectWhole(index, ledger);
      await index.close();
    }
  });

  test("where somebody else wrote to it while it was open", async () => {
    const { directory, ledger } = await indexed();
    const index = openIndexIn(directory, ledger);
    await index.find({ tag: "any", from: 0, limit: 1 });
    const root = open<Buffer, Buffer>({ path: join(directory, "index"), noSubdir: false, noSync: true, maxDbs: 4 });
    const state = root.openDB<Buffer, string>({ name: "state", encoding: "binary", useVersions: true });
    await state.put("position", Buffer.alloc(40), 7);
    await append(ledger, orders(10, 400));
    const refused = await index.find({ tag: "any", from: 0, limit: 1 }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "ledger_unavailable", message: expect.stringContaining("damaged") });
    await root.close();
    await index.find({ tag: "any", from: 0, limit: 1 });
    await expectWhole(index, ledger);
  });

  test("where its directory cannot be written it says so, and answers once it can", async () => {
    const directory = temporaryDirectory();
    const ledger = await openLedgerIn(directory);
    await append(ledger, orders(10));
    writeFileSync(join(directory, "index"), "in the way");
    const failures: Error[] = [];
    let told = () => {};
    const first = new Promise<void>((resolve) => {
      told = resolve;
    });
    const index = openIndexIn(directory, ledger, {
      intervalMs: 1,
      onFailed: (error) => {
        failures.push(error);
        told();
      },
    });
    await expect(index.find({ tag: "a", from: 0, limit: 1 })).rejects.toMatchObject({ code: "ledger_unavailable" });
    await first;
    await expect(index.find({ tag: "a", from: 0, limit: 1 })).rejects.toMatchObject({ code: "ledger_unavailable" });
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatchObject({ code: "ledger_unavailable" });
    rmSync(join(directory, "index"));
    expect(await index.find({ tag: orderTag("o1"), from: 0, limit: 10 })).toHaveLength(2);
  });
});

describe("properties", () => {
  test("whatever is in the ledger, and however it is indexed, the index says what a look through all of it says", async () => {
    const id = fc.constantFrom("a", "b", "c/d", "d");
    const type = fc.constantFrom("order", "order/c", "__proto__");
    const entity = fc.record({ type, id });
    const ids = fc.constantFrom("dec_1", "dec_2", "perm_1", "{}", "");
    const data = fc.oneof(
      fc.record({ entity }),
      fc.record({ approval: fc.record({ entity }) }),
      fc.record({ event: fc.record({ entity }) }),
      fc.record({
        recovered: fc.constant(true),
        payload: fc.record({ approval: fc.record({ subject: fc.record({ entity }) }) }),
      }),
      fc.record({
        freeze: fc.record({
          kind: fc.constantFrom("entity", "actor"),
          subject: fc.constantFrom("order/c/d", "order/a", "a", "/"),
        }),
      }),
      fc.record({ decision_id: ids, permit_id: ids }),
      fc.jsonValue({ maxDepth: 3 }),
    );
    const made = fc.record({
      text: fc.oneof(
        {
          weight: 9,
          arbitrary: fc
            .record({
              kind: fc.constantFrom("decision", "execution_reported", "event_ingested", "freeze_set", "later_kind"),
              tenant: fc.constantFrom("default", "other", ""),
              trace_id: fc.constantFrom("", "0".repeat(32), TRACE, "ab".repeat(16)),
              data,
              input: fc.record({ entity: fc.oneof(entity, fc.constant(null)) }),
            })
            .map((value) => JSON.stringify(value)),
        },
        {
          weight: 1,
          arbitrary: fc.constantFrom("", "null", "[]", '"text"', "{", "7", '{"tenant":"default","data":null}'),
        },
      ),
    });
    // A cause has come before, and the entries of one key are about one entity.
    const caused = fc.uniqueArray(
      fc.record({
        key: fc.constantFrom("decision:default:dec_1", "decision:other:dec_1", "consumed:default:perm_1"),
        text: made.map(({ text }) => text),
      }),
      { selector: ({ key }) => key },
    );
    const both = fc.tuple(caused, fc.array(made, { maxLength: 60 })).map(([first, rest]) => [...first, ...rest]);
    await fc.assert(
      fc.asyncProperty(both, fc.array(fc.boolean(), { maxLength: 6 }), async (entries, stops) => {
        const directory = temporaryDirectory();
        const ledger = await openTestLedger(join(directory, "ledger"));
        let index = openIndexIn(directory, ledger);
        const size = Math.ceil(entries.length / (stops.length + 1)) || 1;
        for (let at = 0; at < entries.length; at += size) {
          for (const one of entries.slice(at, at + size)) {
            await ledger.append({ text: one.text, keys: "key" in one ? [one.key as string] : [] });
          }
          await index.find({ tag: "any", from: 0, limit: 1 });
          if (stops[at / size] !== true) continue;
          await index.close();
          index = openIndexIn(directory, ledger);
        }
        await expectWhole(index, ledger);
        expect(await everything(index, entityTag("default", "order", "none"))).toEqual([]);
        await index.close();
        await ledger.close();
      }),
      { numRuns: 40, seed: 9 },
    );
  });
});

describe("processes", () => {
  /** Entries of one transaction, in readings of the ledger. */
  const READS_A_BATCH = 64;

  test("SIGKILL at any moment leaves an index that is behind, and never one that is wrong", async () => {
    const module = await bundleChild("index-child.ts");
    const directory = temporaryDirectory();
    const ledger = await openTestLedger(join(directory, "ledger"));
    await append(ledger, orders(5_000));
    await ledger.close();
    const wentOnAt: number[] = [];
    for (let round = 0; round < 24; round += 1) {
      // The last reading of a batch is followed by its write: killed at once, and later and later into it.
      const reads = READS_A_BATCH * (1 + (round % 3));
      const child = spawn(process.execPath, [module, directory, String(reads), String(round * 200)], {
        stdio: "inherit",
      });
      expect(await once(child, "close")).toEqual([null, "SIGKILL"]);
      const reopened = await openTestLedger(join(directory, "ledger"));
      const { index, first } = await readsToAnswer(directory, reopened);
      wentOnAt.push(first!);
      await expectWhole(index, reopened);
      await index.close();
      await reopened.close();
      rmSync(join(directory, "index"), { recursive: true });
    }
    // What the killed ones had committed was not thrown away, and what they had not was indexed.
    expect(Math.max(...wentOnAt)).toBeGreaterThan(0);
    expect(Math.min(...wentOnAt)).toBeLessThan(5_000);
    expect(wentOnAt.filter((at) => at % 1_024 !== 0 && at !== 5_000)).toEqual([]);
  });
});
