import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "drop-facts", 2);

/** Between 1 and 500 ids of one partition. */
export async function dropFacts(runner: ScriptRunner, keys: PartitionKeys, factIds: readonly string[]): Promise<void> {
  const [word] = await runner.run(SCRIPT, [keys.facts(), keys.factsDue()], factIds);
  if (word !== "dropped") throw badReply(SCRIPT, word);
}
