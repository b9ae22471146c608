/** `holdpoint ledger tail`: the last entries, from a running sidecar or from the files. */
import { setTimeout as sleep } from "node:timers/promises";
import { canonicalData } from "../../core/digest.ts";
import { suggest } from "../../core/suggest.ts";
import type { Json, JsonObject } from "../../core/types.ts";
import { verifyLedger } from "../../ledger/verify-ledger.ts";
import { ADMIN_OPTIONS, type AdminClient, openAdminClient } from "../admin-client.ts";
import { CommandError, defineCommand, EXIT, usageError, wholeNumber } from "../command.ts";
import { ledgerDirectory } from "../ledger-directory.ts";
import { ENTRY_KINDS, type LedgerEntry, ledgerLine } from "../ledger-line.ts";
import { jsonLine, shown } from "../terminal.ts";
import { outputClosed, writeError, writeLines } from "../write-out.ts";

const NUMBER_DEFAULT = 20;
const NUMBER_MAX = 100_000;
const PAGE = 500;
/** How far back entries of a kind, or of this tenant, are looked for. */
const LOOK_BACK_MAX = 200_000;
const POLL_MS = 1_000;
/** Past every log: answers no entry and the size. */
const BEYOND = "999999999999999";

export const ledgerTailCommand = defineCommand({
  name: "ledger tail",
  options: {
    number: { kind: "text", value: "N", short: "n", meaning: `How many entries (${NUMBER_DEFAULT})` },
    follow: { kind: "flag", meaning: "Go on with what comes, until interrupted" },
    kind: { kind: "text", value: "KIND", meaning: "Only entries of this kind: decision, approval_opened, …" },
    "data-dir": { kind: "text", value: "DIR", meaning: "Read the files of this directory, of every tenant, instead" },
    ...ADMIN_OPTIONS,
    json: { kind: "flag", meaning: "One entry a line, as recorded" },
  },
  details: `From a sidecar: entries of the key's tenant and the sidecar's own; needs the scope operate or review. From the
files: every entry, verified on the way (exit code 3 where the ledger does not verify).`,
  examples: [
    "HOLDPOINT_KEY=… holdpoint ledger tail -n 50 --kind decision",
    "holdpoint ledger tail --follow --json | jq -c 'select(.decision.outcome == \"deny\")'",
    "holdpoint ledger tail --data-dir /var/lib/holdpoint",
  ],
  run: async (invocation) => {
    const { options } = invocation;
    const wanted: Wanted = {
      number: wholeNumber("--number", options.number, { default: NUMBER_DEFAULT, max: NUMBER_MAX }),
      kind: kindOf(options.kind),
      isJson: options.json,
    };
    if (options["data-dir"] !== undefined) {
      if (options.follow || options.admin !== undefined)
        throw usageError("--data-dir reads files: --follow and --admin are for a running sidecar");
      return tailFiles(ledgerDirectory(options["data-dir"]), wanted);
    }
    const admin = await openAdminClient(invocation);
    const size = await tailSidecar(admin, wanted);
    if (options.follow) await follow(admin, size, wanted);
    return EXIT.done;
  },
});

/** @throws CommandError that names the kinds there are */
function kindOf(given: string | undefined): string | undefined {
  if (given === undefined || (ENTRY_KINDS as readonly string[]).includes(given)) return given;
  const meant = suggest(given, ENTRY_KINDS);
  throw usageError(
    `--kind: no entry has the kind ${shown(given)}${meant === undefined ? "" : `. Did you mean ${meant}?`}`,
    [`Kinds: ${ENTRY_KINDS.join(", ")}`],
  );
}

interface Wanted {
  readonly number: number;
  readonly kind: string | undefined;
  readonly isJson: boolean;
}

function isWanted({ entry }: LedgerEntry, { kind }: Wanted): boolean {
  return kind === undefined || entry.kind === kind;
}

async function print(entries: readonly LedgerEntry[], { isJson }: Wanted): Promise<void> {
  await writeLines(entries.map((one) => (isJson ? recorded(one.entry) : ledgerLine(one))));
}

/** The bytes that are hashed; at a terminal the same JSON, with what does not show escaped. */
function recorded(entry: JsonObject): string {
  return process.stdout.isTTY === true ? jsonLine(entry) : canonicalData(entry);
}

async function tailFiles(directory: string, wanted: Wanted) {
  let last: LedgerEntry[] = [];
  const report = verifyLedger({
    directory,
    onEntry: ({ index, text }) => {
      if (index === 0) last = []; // a pass beside a running writer may be repeated
      const one = { index, entry: JSON.parse(text) as JsonObject };
      if (!isWanted(one, wanted)) return;
      last.push(one);
      if (last.length >= 2 * wanted.number) last = last.slice(-wanted.number);
    },
  });
  await print(last.slice(-wanted.number), wanted);
  if (report.fault === undefined) {
    if (last.length === 0) await sayEmpty(wanted);
    return EXIT.done;
  }
  const { kind, expected, found } = report.fault;
  throw new CommandError("does_not_verify", `${shown(directory)}: first fault at ${kind}`, {
    exitCode: EXIT.differs,
    faults: [`expected ${expected}`, `found ${found}`],
  });
}

/** @returns the size of the log as it was read to */
async function tailSidecar(admin: AdminClient, wanted: Wanted): Promise<number> {
  const { size } = await page(admin, BEYOND, 1);
  let found: LedgerEntry[] = [];
  let start = size;
  while (start > 0 && found.length < wanted.number && size - start < LOOK_BACK_MAX) {
    const end = start;
    start = Math.max(0, start - Math.max(PAGE, wanted.number));
    found = [...(await between(admin, start, end)).filter((one) => isWanted(one, wanted)), ...found];
  }
  await print(found.slice(-wanted.number), wanted);
  if (found.length === 0) await sayEmpty(wanted);
  return size;
}

async function between(admin: AdminClient, start: number, end: number): Promise<LedgerEntry[]> {
  const entries: LedgerEntry[] = [];
  for (let next = start; next < end; ) {
    const answer = await page(admin, String(next), Math.min(PAGE, end - next));
    entries.push(...answer.entries);
    if (answer.next <= next) break; // nothing more, or a sidecar that does not move on
    next = answer.next;
  }
  return entries;
}

interface Page {
  readonly entries: readonly LedgerEntry[];
  readonly next: number;
  readonly size: number;
}

async function page(admin: AdminClient, start: string, limit: number): Promise<Page> {
  const { entries, next, size } = await admin.get("/v1/ledger/entries", { start, limit });
  if (!Array.isArray(entries) || typeof next !== "number" || typeof size !== "number")
    throw new CommandError("wrong_protocol", "The answer is no page of a ledger");
  // Entries of other tenants have a place in the log, and no text.
  const visible = (entries as readonly Json[]).filter((one) => (one as unknown as LedgerEntry).entry !== null);
  return { entries: visible as unknown as LedgerEntry[], next, size };
}

async function follow(admin: AdminClient, size: number, wanted: Wanted): Promise<void> {
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort());
  process.once("SIGTERM", () => interrupted.abort());
  const ended = AbortSignal.any([interrupted.signal, outputClosed]);
  for (let next = size; !ended.aborted; ) {
    const answer = await page(admin, String(next), PAGE);
    await print(
      answer.entries.filter((one) => isWanted(one, wanted)),
      wanted,
    );
    const isBehind = answer.next > next && answer.next < answer.size;
    next = answer.next;
    if (!isBehind) await sleep(POLL_MS, undefined, { signal: ended }).catch(() => {}); // told to end: the loop does
  }
}

async function sayEmpty({ kind }: Wanted): Promise<void> {
  await writeError(
    kind === undefined
      ? "holdpoint: no entries yet\n"
      : `holdpoint: no entries of the kind ${shown(kind)} among the last ${LOOK_BACK_MAX}\n`,
  );
}
