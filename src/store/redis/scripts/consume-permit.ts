import { executionPrefixOf } from "../../../core/partition.ts";
import type { ApprovalStatus, ConsumePermit, ConsumePermitResult } from "../../../core/ports.ts";
import { CHANGED_CHANNEL, type PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "consume-permit", 10);
const STATUSES: ReadonlySet<string> = new Set([
  "pending",
  "granted",
  "denied",
  "expired",
  "cancelled",
  "exhausted",
  "absent",
]);

export async function consumePermit(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { request, retentionMs }: { readonly request: ConsumePermit; readonly retentionMs: number },
): Promise<ConsumePermitResult & { readonly factId?: string }> {
  const { tenant, jti, approvalId, action, decisionId, traceId } = request;
  const permit = keys.permit(jti);
  // JSON members for the execution's record: the script never has to quote a text.
  const about = JSON.stringify({ action, decisionId, traceId }).slice(1, -1);
  const [word, first = "", usesLeft, atMs, factId = ""] = await runner.run(
    SCRIPT,
    [
      permit,
      approvalId === undefined ? permit : keys.approval(approvalId),
      keys.executions(jti),
      keys.unknown(),
      keys.status("granted"),
      keys.due("granted"),
      keys.status("exhausted"),
      keys.purge(),
      keys.facts(),
      keys.factsDue(),
    ],
    [tenant, jti, approvalId ?? "", executionPrefixOf(jti), about, retentionMs, CHANGED_CHANNEL],
  );
  switch (word) {
    case "consumed":
      return { kind: "consumed", executionId: first, usesLeft: Number(usesLeft), atMs: Number(atMs), factId };
    case "approval_revoked":
      if (!STATUSES.has(first)) throw badReply(SCRIPT, "corrupt");
      return { kind: "approval_revoked", status: first as ApprovalStatus | "absent" };
    case "already_consumed":
    case "expired":
    case "unknown_permit":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}
