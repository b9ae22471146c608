/** `holdpoint ledger verify`: says what holds, and names the first fault. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseCheckpoint } from "../../core/checkpoint.ts";
import { toError } from "../../core/errors.ts";
import { parseNote } from "../../core/signed-note.ts";
import type { Json } from "../../core/types.ts";
import { type LedgerReport, verifyLedger } from "../../ledger/verify-ledger.ts";
import { CONFIG_OPTION, defineCommand, EXIT, JSON_OPTION, usageError } from "../command.ts";
import { ledgerDirectory } from "../ledger-directory.ts";
import { jsonLine, shown } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

export const ledgerVerifyCommand = defineCommand({
  name: "ledger verify",
  options: {
    "data-dir": { kind: "text", value: "DIR", meaning: "Data directory; the setting data_dir where nothing is given" },
    checkpoint: {
      kind: "text",
      value: "FILE",
      meaning: "A checkpoint saved earlier, which the log must still contain",
    },
    vkey: { kind: "text", value: "KEY", meaning: "Key that must vouch for the log; else the one that lies beside it" },
    ...CONFIG_OPTION,
    ...JSON_OPTION,
  },
  details: `Reads the database file itself, beside a running sidecar too. With a checkpoint saved earlier (GET
/v1/ledger/checkpoint) a log that was cut short or rewritten since is found, too.`,
  examples: [
    "holdpoint ledger verify --data-dir /var/lib/holdpoint",
    'holdpoint ledger verify --data-dir data --checkpoint checkpoint --vkey "$(cat key.pub)"',
  ],
  run: async ({ options, config }) => {
    const directory = ledgerDirectory(options["data-dir"] ?? (await config()).data_dir);
    const checkpoint = options.checkpoint === undefined ? undefined : readCheckpoint(options.checkpoint);
    // The key beside the ledger is good against accidents, not against whoever can write there.
    const vkey = options.vkey ?? readIfThere(join(directory, "checkpoint-key.pub"));
    const report = verifyLedger({
      directory,
      ...(checkpoint === undefined ? {} : { checkpoint }),
      ...(vkey === undefined ? {} : { vkey: vkey.trim() }),
    });
    const checked = options.vkey === undefined ? report : requireSigned(report);
    await writeOut(options.json ? `${jsonLine(checked as unknown as Json)}\n` : sentence(directory, checked));
    return checked.fault === undefined ? EXIT.done : EXIT.differs;
  },
});

/** Who gives a key asks whether it vouches for this log; a log without any checkpoint answers no. */
function requireSigned(report: LedgerReport): LedgerReport {
  if (report.fault !== undefined || report.signedCheckpoints > 0) return report;
  return {
    ...report,
    fault: { kind: "checkpoint", expected: "a checkpoint signed with the key given", found: "none" },
  };
}

function sentence(directory: string, report: LedgerReport): string {
  const { fault, entries, root } = report;
  const where = shown(directory);
  if (fault === undefined)
    return `VERIFIED ${where}: ${entries} entries, root ${root}, log ${shown(report.origin ?? "unnamed")}\n`;
  const place = fault.index !== undefined ? ` ${fault.index}` : fault.tile !== undefined ? ` ${fault.tile}` : "";
  return `DOES NOT VERIFY ${where}: first fault at ${fault.kind}${place}\n  expected ${shown(fault.expected)}\n  found    ${shown(fault.found)}\n`;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** @throws CommandError where the file is none, so that the ledger is not blamed for it */
function readCheckpoint(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (thrown) {
    throw usageError(`--checkpoint: ${toError(thrown).message}`);
  }
  const note = parseNote(text);
  const fault =
    "fault" in note ? note.fault : parseCheckpoint(note.text) === undefined ? "no size and root" : undefined;
  if (fault === undefined) return text;
  const problem = codeOfProblem(text);
  const what = problem === undefined ? fault : `it is an error answer, ${shown(problem)}`;
  throw usageError(`--checkpoint: ${shown(path)} is no checkpoint: ${what}`, [
    "Save the body of a GET /v1/ledger/checkpoint that answers 200 (curl --fail)",
  ]);
}

/** What a request without a key has saved instead. */
function codeOfProblem(text: string): string | undefined {
  try {
    const { code } = JSON.parse(text) as { readonly code?: unknown };
    return typeof code === "string" ? code : undefined;
  } catch {
    return undefined;
  }
}
