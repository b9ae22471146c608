import type { Approval } from "../../../core/ports.ts";
import { idOfSortKey } from "../../page-cursor.ts";
import { approvalOfText } from "../../record-text.ts";
import { CHANGED_CHANNEL, type PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "expire-approval", 9);

/** The expired approval, to the one caller that expired it. A corrupted record is left for whoever reads it. */
export async function expireApproval(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { row, retentionMs }: { readonly row: string; readonly retentionMs: number },
): Promise<{ readonly approval: Approval; readonly factId: string } | undefined> {
  const [word, text = "", factId = ""] = await runner.run(
    SCRIPT,
    [
      keys.approval(idOfSortKey(row)),
      keys.status("pending"),
      keys.due("pending"),
      keys.status("granted"),
      keys.due("granted"),
      keys.status("expired"),
      keys.purge(),
      keys.facts(),
      keys.factsDue(),
    ],
    [row, retentionMs, CHANGED_CHANNEL],
  );
  switch (word) {
    case "expired":
      return { approval: approvalOfText(text), factId };
    case "not_overdue":
    case "not_found":
    case "corrupt":
      return undefined;
    default:
      throw badReply(SCRIPT, word);
  }
}
