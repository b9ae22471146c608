/** Where the ledger of a data directory is. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { usageError } from "./command.ts";
import { shown } from "./terminal.ts";

/** @throws CommandError where nothing was ever recorded: a name that is wrong, rather than a ledger that does not verify */
export function ledgerDirectory(dataDir: string): string {
  const directory = join(dataDir, "ledger");
  if (!existsSync(directory))
    throw usageError(`There is no ledger in ${shown(dataDir)}`, [
      "Expected the data directory of a sidecar (data_dir)",
    ]);
  return directory;
}
