import { executionPrefixOf } from "../../../core/partition.ts";
import type { ReportExecution, ReportExecutionResult } from "../../../core/ports.ts";
import { executionOfText } from "../../record-text.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "report-execution", 5);

export interface ReportExecutionArguments {
  readonly request: ReportExecution;
  /** Which use of the permit; undefined for the only one. */
  readonly use: number | undefined;
  readonly retentionMs: number;
}

export async function reportExecution(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { request, use, retentionMs }: ReportExecutionArguments,
): Promise<ReportExecutionResult & { readonly factId?: string }> {
  const { tenant, jti, status, resultDigest } = request;
  const [word, text = "", factId = ""] = await runner.run(
    SCRIPT,
    [keys.permit(jti), keys.executions(jti), keys.unknown(), keys.facts(), keys.factsDue()],
    [tenant, jti, use ?? "", executionPrefixOf(jti), status, resultDigest ?? "", retentionMs],
  );
  switch (word) {
    case "reported":
      return { kind: "reported", execution: executionOfText(text), factId };
    case "repeated":
    case "conflict":
      return { kind: word, execution: executionOfText(text) };
    case "not_consumed":
    case "not_found":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}
