import type { StoreFact } from "../../../core/ports.ts";
import { factOfText } from "../../record-text.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "take-facts", 2);

export async function takeFacts(
  runner: ScriptRunner,
  keys: PartitionKeys,
  of: { readonly olderThanMs: number; readonly limit: number; readonly leaseMs: number },
): Promise<readonly StoreFact[]> {
  const [word, ...texts] = await runner.run(
    SCRIPT,
    [keys.facts(), keys.factsDue()],
    [of.olderThanMs, of.limit, of.leaseMs],
  );
  if (word !== "facts") throw badReply(SCRIPT, word);
  return texts.map(factOfText);
}
