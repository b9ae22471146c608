import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "vite";
import { onTestFinished } from "vitest";
import { encodeNoteKey, signNote } from "../../src/core/signed-note.ts";
import { createNoteSigner, rawPublicKey } from "../../src/ledger/ed25519-note.ts";
import { type LedgerOptions, openLedger } from "../../src/ledger/open-ledger.ts";
import { projectRoot } from "../support/tools.ts";

export const ORIGIN = "holdpoint.example/test";
const { privateKey } = generateKeyPairSync("ed25519");
const signer = createNoteSigner(ORIGIN, privateKey);
export const VKEY = encodeNoteKey(ORIGIN, rawPublicKey(privateKey));
export const signText = (text: string): string => signNote(text, [signer]);

/** On the project's disk: /tmp may be memory, where fsync means nothing. */
export function temporaryDirectory(): string {
  mkdirSync(join(projectRoot, "node_modules/.cache"), { recursive: true });
  const directory = mkdtempSync(join(projectRoot, "node_modules/.cache/ledger-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function openTestLedger(directory: string, options: Partial<LedgerOptions> = {}) {
  return openLedger({ directory, origin: ORIGIN, signNote: signText, ...options });
}

export function textOf(at: number | string, bytes = 20): string {
  return JSON.stringify({ at, filler: "x".repeat(bytes) });
}

/** Appends entries 0..count-1 with the key `k:<at>`, `size` at a time. */
export async function appendMany(
  ledger: Awaited<ReturnType<typeof openTestLedger>>,
  count: number,
  options: { size?: number; bytes?: number } = {},
) {
  const { size = 37, bytes = 20 } = options;
  for (let from = 0; from < count; from += size) {
    const turn = Array.from({ length: Math.min(size, count - from) }, (_, at) => from + at);
    await Promise.all(
      turn.map((at) => ledger.append({ text: textOf(at, bytes), keys: [`k:${at}`], uniqueKey: `k:${at}` })),
    );
  }
}

/** Plain Node runs no TypeScript on 20: the child's module, bundled, with dependencies left outside. */
export async function bundleChild(module = "append-child.ts"): Promise<string> {
  const outDir = temporaryDirectory();
  await build({
    root: projectRoot,
    configFile: false,
    logLevel: "error",
    build: {
      ssr: join(projectRoot, "test/ledger", module),
      outDir,
      emptyOutDir: false,
      rollupOptions: { output: { entryFileNames: "child.mjs" } },
    },
  });
  return join(outDir, "child.mjs");
}
