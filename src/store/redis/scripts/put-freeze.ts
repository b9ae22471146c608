import { FREEZES_MAX, type Freeze } from "../../../core/context.ts";
import type { Tenant } from "../../../core/types.ts";
import { freezeHash } from "../../context-names.ts";
import { freezeOfText } from "../../context-text.ts";
import type { ContextKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { openObjectText } from "./open-object-text.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "put-freeze", 3);

/** "other": something else is frozen under this id. */
export async function putFreeze(
  runner: ScriptRunner,
  keys: ContextKeys,
  { tenant, freeze }: { readonly tenant: Tenant; readonly freeze: Omit<Freeze, "atMs"> },
): Promise<
  | { readonly kind: "set"; readonly freeze: Freeze; readonly factId: string }
  | { readonly kind: "other" }
  | { readonly kind: "full" }
> {
  const { id, kind, subject, reason, by } = freeze;
  const [word, text = "", factId = ""] = await runner.run(
    SCRIPT,
    [keys.freezes(), keys.facts(), keys.factsDue()],
    [
      tenant,
      id,
      openObjectText({ id, kind, subject, reason, by }),
      FREEZES_MAX,
      JSON.stringify(id),
      freezeFactPrefix(id),
    ],
  );
  switch (word) {
    case "set":
      return { kind: "set", freeze: freezeOfText(text), factId };
    case "other":
    case "full":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}

/** As freezeFactId, up to the time, which is the store's to say. */
export function freezeFactPrefix(id: string): string {
  return `freeze:${freezeHash(id)}`;
}
