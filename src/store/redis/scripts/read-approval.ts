import type { Approval } from "../../../core/ports.ts";
import { approvalOfText } from "../../record-text.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "read-approval", 1);

export async function readApproval(
  runner: ScriptRunner,
  keys: PartitionKeys,
  id: string,
): Promise<Approval | undefined> {
  const [word, text = ""] = await runner.run(SCRIPT, [keys.approval(id)], []);
  switch (word) {
    case "found":
      return approvalOfText(text);
    case "not_found":
      return undefined;
    default:
      throw badReply(SCRIPT, word);
  }
}
