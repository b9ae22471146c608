import type { PermitRecord } from "../../../core/ports.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "issue-permit", 1);

/** False where the id is there already. */
export async function issuePermit(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { record, graceMs }: { readonly record: PermitRecord; readonly graceMs: number },
): Promise<boolean> {
  const [word] = await runner.run(
    SCRIPT,
    [keys.permit(record.jti)],
    [record.tenant, record.approvalId ?? "", record.uses, record.expiresAtMs, graceMs, record.subjectText],
  );
  switch (word) {
    case "issued":
      return true;
    case "exists":
      return false;
    default:
      throw badReply(SCRIPT, word);
  }
}
