import { millisecondsOf } from "../../../core/approval-state.ts";
import type { Approval, OpenApproval } from "../../../core/ports.ts";
import { approvalOfText } from "../../record-text.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "open-approval", 7);

export type OpenApprovalReply =
  | { readonly kind: "opened"; readonly approval: Approval; readonly factId: string }
  | { readonly kind: "existing"; readonly approval: Approval }
  | { readonly kind: "full" }
  /** The scope points to another approval than `newestId`: call again with this one ("" for none). */
  | { readonly kind: "newest_is"; readonly id: string };

export interface OpenApprovalArguments {
  readonly request: OpenApproval;
  readonly subjectText: string;
  readonly id: string;
  readonly newestId: string;
  readonly retentionMs: number;
}

export async function openApproval(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { request, subjectText, id, newestId, retentionMs }: OpenApprovalArguments,
): Promise<OpenApprovalReply> {
  const { rule } = request;
  const approval = keys.approval(id);
  const newest = newestId === "" ? approval : keys.approval(newestId);
  const [word, text = "", factId = ""] = await runner.run(
    SCRIPT,
    [
      keys.scope(request.scopeDigest),
      approval,
      newest,
      keys.status("pending"),
      keys.due("pending"),
      keys.facts(),
      keys.factsDue(),
    ],
    [
      newestId,
      id,
      request.tenant,
      request.pendingMax,
      millisecondsOf(rule.ttlSeconds),
      millisecondsOf(rule.grantTtlSeconds),
      rule.quorum,
      rule.uses,
      retentionMs,
      request.scopeDigest,
      request.bindingDigest,
      request.argumentDigest,
      JSON.stringify(rule),
      subjectText,
    ],
  );
  switch (word) {
    case "opened":
      return { kind: "opened", approval: approvalOfText(text), factId };
    case "existing":
      return { kind: "existing", approval: approvalOfText(text) };
    case "full":
      return { kind: "full" };
    case "newest_is":
      return { kind: "newest_is", id: text };
    default:
      throw badReply(SCRIPT, word);
  }
}
