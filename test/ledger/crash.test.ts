import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { bundleChild, openTestLedger, temporaryDirectory } from "./support.ts";

const ROUNDS = 25;

interface Run {
  readonly child: ChildProcess;
  /** Complete lines so far. */
  readonly lines: () => string[];
  readonly ended: Promise<unknown>;
}

function start(module: string, args: readonly string[]): Run {
  const child = spawn(process.execPath, [module, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  child.stdout?.on("data", (data: Buffer) => {
    printed += data.toString();
  });
  return { child, lines: () => printed.split("\n").slice(0, -1), ended: once(child, "close") };
}

/** Resolves once the child has acknowledged `count` appends: a random moment of work without a clock. */
async function acknowledged(run: Run, count: number): Promise<void> {
  while (run.lines().length <= count) await once(run.child.stdout!, "data");
}

function checkLines(lines: readonly string[], texts: ReadonlyMap<number, string>): void {
  for (const line of lines) {
    const [index, name, at] = line.split(" ");
    expect(JSON.parse(texts.get(Number(index)) ?? "null")).toMatchObject({ name, at: Number(at) });
  }
}

function verifiedTexts(directory: string): Map<number, string> {
  const texts = new Map<number, string>();
  const report = verifyLedger({ directory, onEntry: ({ index, text }) => texts.set(index, text) });
  expect(report.fault).toBeUndefined();
  return texts;
}

describe("processes", () => {
  test("SIGKILL at random moments loses nothing that was acknowledged", async () => {
    const module = await bundleChild();
    const directory = temporaryDirectory();
    const noted: string[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const run = start(module, [directory, `round${round}`, String(1 + ((round * 7) % 24)), "0"]);
      await acknowledged(run, (round * 53) % 300);
      run.child.kill("SIGKILL");
      await run.ended;
      noted.push(...run.lines().filter((line) => line !== "ready"));
      checkLines(noted, verifiedTexts(directory));
    }
    const ledger = await openTestLedger(directory);
    const { size } = ledger.head();
    expect(await ledger.append({ text: "{}", keys: [] })).toEqual({ kind: "appended", index: size });
    await ledger.close();
    expect(noted.length).toBeGreaterThan(ROUNDS);
  });

  test("two processes share one directory: dense indexes, everything there, one of them killed", async () => {
    const module = await bundleChild();
    const directory = temporaryDirectory();
    const runs = ["one", "two"].map((name) => start(module, [directory, name, "16", "2000"]));
    const third = start(module, [directory, "three", "8", "0"]);
    await acknowledged(third, 100);
    third.child.kill("SIGKILL");
    for (const { ended } of [...runs, third]) await ended;
    const texts = verifiedTexts(directory);
    const lines = [...runs, third].flatMap((run) => run.lines().filter((line) => line !== "ready"));
    expect(lines.filter((line) => !line.includes("three"))).toHaveLength(4000);
    expect(new Set(lines.map((line) => line.split(" ")[0])).size).toBe(lines.length);
    checkLines(lines, texts);
  });
});
