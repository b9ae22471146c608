/** `holdpoint ledger verify`: says what holds, and names the first fault. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ConfigError, toError } from "../core/errors.ts";
import { type LedgerReport, verifyLedger } from "../ledger/verify-ledger.ts";

export interface VerifyLedgerCommand {
  readonly dataDir: string;
  readonly checkpointPath: string | undefined;
  /** Defaults to the key that lies beside the ledger: good against accidents, not against whoever can write there. */
  readonly vkey: string | undefined;
  readonly isJson: boolean;
}

/** Exit code: 0 it verifies, 3 it does not. */
export function verifyLedgerCommand(command: VerifyLedgerCommand): number {
  const directory = join(command.dataDir, "ledger");
  const vkey = command.vkey ?? readIfThere(join(directory, "checkpoint-key.pub"));
  const report = verifyLedger({
    directory,
    ...(command.checkpointPath === undefined ? {} : { checkpoint: readCheckpoint(command.checkpointPath) }),
    ...(vkey === undefined ? {} : { vkey: vkey.trim() }),
  });
  const checked = command.vkey === undefined ? report : requireSigned(report);
  process.stdout.write(command.isJson ? `${JSON.stringify(checked)}\n` : sentence(directory, checked));
  return checked.fault === undefined ? 0 : 3;
}

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
  if (fault === undefined)
    return `VERIFIED ${directory}: ${entries} entries, root ${root}, log ${report.origin ?? "unnamed"}\n`;
  const place = fault.index !== undefined ? ` ${fault.index}` : fault.tile !== undefined ? ` ${fault.tile}` : "";
  return `DOES NOT VERIFY ${directory}: first fault at ${fault.kind}${place}\n  expected ${fault.expected}\n  found    ${fault.found}\n`;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function readCheckpoint(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (thrown) {
    throw new ConfigError("config_invalid", `Cannot read the checkpoint ${path}`, [
      `--checkpoint: ${toError(thrown).message}`,
    ]);
  }
}
