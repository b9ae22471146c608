import { permitOfExecution } from "../../../core/partition.ts";
import type { Execution } from "../../../core/ports.ts";
import type { Tenant } from "../../../core/types.ts";
import { executionOfText } from "../../record-text.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "read-execution", 1);

/** Undefined where there is none, or none any more. */
export async function readExecution(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { tenant, executionId }: { readonly tenant: Tenant; readonly executionId: string },
): Promise<Execution | undefined> {
  const named = permitOfExecution(executionId);
  if (named === undefined) return undefined;
  const { jti, use } = named;
  const [word, text = ""] = await runner.run(SCRIPT, [keys.executions(jti)], [tenant, jti, use, executionId]);
  switch (word) {
    case "unknown":
    case "reported":
      return executionOfText(text);
    case "gone":
      return undefined;
    default:
      throw badReply(SCRIPT, word);
  }
}
