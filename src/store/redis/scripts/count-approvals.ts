import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "count-approvals", 2);

export interface PartitionCounts {
  readonly pending: number;
  readonly oldestPendingMs: number;
  readonly unknownExecutions: number;
}

/** Three look-ups that do not grow with what is counted: metrics ask every few seconds. */
export async function countApprovals(runner: ScriptRunner, keys: PartitionKeys): Promise<PartitionCounts> {
  const [word, pending, oldest, unknown, now] = await runner.run(SCRIPT, [keys.status("pending"), keys.unknown()], []);
  if (word !== "counts") throw badReply(SCRIPT, word);
  return {
    pending: Number(pending),
    oldestPendingMs: oldest === "" ? 0 : Math.max(0, Number(now) - Number(oldest)),
    unknownExecutions: Number(unknown),
  };
}
