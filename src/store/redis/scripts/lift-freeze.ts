import type { Freeze } from "../../../core/context.ts";
import type { Tenant } from "../../../core/types.ts";
import { freezeOfText } from "../../context-text.ts";
import type { ContextKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { membersText } from "./open-object-text.ts";
import { freezeFactPrefix } from "./put-freeze.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "lift-freeze", 3);

export async function liftFreeze(
  runner: ScriptRunner,
  keys: ContextKeys,
  lift: { readonly tenant: Tenant; readonly id: string; readonly by: string; readonly reason: string },
): Promise<{ readonly freeze: Freeze; readonly factId: string } | undefined> {
  const { tenant, id, by, reason } = lift;
  const [word, text = "", factId = ""] = await runner.run(
    SCRIPT,
    [keys.freezes(), keys.facts(), keys.factsDue()],
    [tenant, id, membersText({ by, reason }), JSON.stringify(id), freezeFactPrefix(id)],
  );
  switch (word) {
    case "lifted":
      return { freeze: freezeOfText(text), factId };
    case "not_found":
      return undefined;
    default:
      throw badReply(SCRIPT, word);
  }
}
