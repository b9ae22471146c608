import type { ContextKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "leave-queue", 2);

export async function leaveQueue(
  runner: ScriptRunner,
  keys: ContextKeys,
  { lock, jti }: { readonly lock: string; readonly jti: string },
): Promise<void> {
  const [word] = await runner.run(SCRIPT, [keys.lockQueue(lock), keys.lockTickets(lock)], [jti]);
  if (word !== "left") throw badReply(SCRIPT, word);
}
