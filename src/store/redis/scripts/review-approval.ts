import type { Approval, ReviewApproval } from "../../../core/ports.ts";
import { approvalOfText } from "../../record-text.ts";
import { CHANGED_CHANNEL, type PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "review-approval", 10);

export type ReviewApprovalReply =
  | { readonly kind: "reviewed"; readonly approval: Approval; readonly factId: string }
  | { readonly kind: "not_pending" | "already_reviewed" | "version_changed"; readonly approval: Approval }
  | { readonly kind: "not_found" }
  | { readonly kind: "too_many_edits" };

export interface ReviewApprovalArguments {
  readonly request: ReviewApproval;
  readonly editedSubjectText: string;
  readonly retentionMs: number;
  readonly editsMax: number;
}

export async function reviewApproval(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { request, editedSubjectText, retentionMs, editsMax }: ReviewApprovalArguments,
): Promise<ReviewApprovalReply> {
  const { reviewer, verdict, reason, edit } = request;
  // An open object: the script appends the time and the binding, which only it knows.
  const reviewText = JSON.stringify({ reviewer, verdict, reason }).slice(0, -1);
  const [word, text = "", factId = ""] = await runner.run(
    SCRIPT,
    [
      keys.approval(request.id),
      keys.status("pending"),
      keys.due("pending"),
      keys.status("granted"),
      keys.due("granted"),
      keys.status("denied"),
      keys.status("cancelled"),
      keys.purge(),
      keys.facts(),
      keys.factsDue(),
    ],
    [
      verdict,
      reviewer.id,
      reviewText,
      request.expectedVersion,
      retentionMs,
      editsMax,
      edit?.bindingDigest ?? "",
      edit?.argumentDigest ?? "",
      editedSubjectText,
      CHANGED_CHANNEL,
    ],
  );
  switch (word) {
    case "reviewed":
      return { kind: "reviewed", approval: approvalOfText(text), factId };
    case "not_pending":
    case "already_reviewed":
    case "version_changed":
      return { kind: word, approval: approvalOfText(text) };
    case "not_found":
    case "too_many_edits":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}
