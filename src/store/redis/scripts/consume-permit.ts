import { executionPrefixOf } from "../../../core/partition.ts";
import type { ApprovalStatus, ConsumePermit, ConsumePermitResult } from "../../../core/ports.ts";
import { entityHash } from "../../context-names.ts";
import { entityOfText } from "../../context-text.ts";
import { CHANGED_CHANNEL, type PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { type HeldInContext, LIMITS_MAX, limitsOf, type Reread } from "./held.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "consume-permit", 10, 12 + LIMITS_MAX);
const STATUSES: ReadonlySet<string> = new Set([
  "pending",
  "granted",
  "denied",
  "expired",
  "cancelled",
  "exhausted",
  "absent",
]);

export interface ConsumePermitArguments {
  readonly request: ConsumePermit;
  readonly retentionMs: number;
  /** Of a permit in the context's partition. */
  readonly held?: HeldInContext | undefined;
}

export async function consumePermit(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { request, retentionMs, held }: ConsumePermitArguments,
): Promise<(ConsumePermitResult & { readonly factId?: string }) | Reread> {
  const { tenant, jti, approvalId, action, decisionId, traceId, consumer } = request;
  const permit = keys.permit(jti);
  // JSON members for the execution's record: the script never has to quote a text.
  const about = JSON.stringify({ action, decisionId, traceId, consumer }).slice(1, -1);
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
      ...(held === undefined ? [] : contextKeys(held, request, permit)),
    ],
    [
      tenant,
      jti,
      approvalId ?? "",
      executionPrefixOf(jti),
      about,
      retentionMs,
      CHANGED_CHANNEL,
      request.entity?.version ?? "",
      held?.reserved ?? "",
      held?.lock ?? "",
    ],
  );
  switch (word) {
    case "consumed":
      return { kind: "consumed", executionId: first, usesLeft: Number(usesLeft), atMs: Number(atMs), factId };
    case "approval_revoked":
      if (!STATUSES.has(first)) throw badReply(SCRIPT, "corrupt");
      return { kind: "approval_revoked", status: first as ApprovalStatus | "absent" };
    case "state_changed":
      return { kind: "state_changed", entity: first === "" ? undefined : entityOfText(first, request.entity!.ref) };
    case "already_consumed":
    case "expired":
    case "lock_lost":
    case "reread":
    case "unknown_permit":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}

function contextKeys({ keys, reserved, lock }: HeldInContext, { entity }: ConsumePermit, permit: string): string[] {
  return [
    entity === undefined ? permit : keys.entity(entityHash(entity.ref)),
    lock === "" ? permit : keys.lock(lock),
    ...limitsOf(reserved).map((hash) => keys.limitPending(hash)),
  ];
}
