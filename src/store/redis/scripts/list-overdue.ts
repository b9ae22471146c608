import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "list-overdue", 8);

export interface OverdueRow {
  /** The approval's row in the indexes, `<created>:<id>`. */
  readonly row: string;
  readonly deadlineMs: number;
}

export async function listOverdue(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { limit, retentionMs }: { readonly limit: number; readonly retentionMs: number },
): Promise<readonly OverdueRow[]> {
  const [word, ...values] = await runner.run(
    SCRIPT,
    [
      keys.due("pending"),
      keys.due("granted"),
      keys.purge(),
      keys.unknown(),
      keys.status("denied"),
      keys.status("expired"),
      keys.status("cancelled"),
      keys.status("exhausted"),
    ],
    [limit, retentionMs],
  );
  if (word !== "overdue") throw badReply(SCRIPT, word);
  const rows: OverdueRow[] = [];
  for (let index = 0; index + 1 < values.length; index += 2) {
    rows.push({ row: values[index]!, deadlineMs: Number(values[index + 1]) });
  }
  return rows;
}
