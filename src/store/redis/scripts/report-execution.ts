import { executionPrefixOf } from "../../../core/partition.ts";
import type { ReportExecution, ReportExecutionResult } from "../../../core/ports.ts";
import { executionOfText } from "../../record-text.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { type HeldInContext, LIMITS_MAX, limitsOf, type Reread } from "./held.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "report-execution", 5, 6 + 2 * LIMITS_MAX);

export interface ReportExecutionArguments {
  readonly request: ReportExecution;
  /** Which use of the permit; undefined for the only one. */
  readonly use: number | undefined;
  readonly retentionMs: number;
  /** Of a permit in the context's partition. */
  readonly held?: HeldInContext | undefined;
}

export async function reportExecution(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { request, use, retentionMs, held }: ReportExecutionArguments,
): Promise<(ReportExecutionResult & { readonly factId?: string }) | Reread> {
  const { tenant, jti, status, resultDigest } = request;
  const [word, text = "", factId = ""] = await runner.run(
    SCRIPT,
    [
      keys.permit(jti),
      keys.executions(jti),
      keys.unknown(),
      keys.facts(),
      keys.factsDue(),
      ...(held === undefined ? [] : contextKeys(held, keys.permit(jti))),
    ],
    [
      tenant,
      jti,
      use ?? "",
      executionPrefixOf(jti),
      status,
      resultDigest ?? "",
      retentionMs,
      held?.reserved ?? "",
      held?.lock ?? "",
    ],
  );
  switch (word) {
    case "reported":
      return { kind: "reported", execution: executionOfText(text), factId };
    case "repeated":
    case "conflict":
      return { kind: word, execution: executionOfText(text) };
    case "not_consumed":
    case "not_found":
    case "reread":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}

function contextKeys({ keys, reserved, lock }: HeldInContext, permit: string): string[] {
  return [
    lock === "" ? permit : keys.lock(lock),
    ...limitsOf(reserved).flatMap((hash) => [keys.limit(hash), keys.limitValues(hash)]),
  ];
}
