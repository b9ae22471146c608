/** `holdpoint freeze` and `holdpoint unfreeze`: stop what goes wrong, and let it go again. */
import { suggest } from "../../core/suggest.ts";
import type { JsonObject } from "../../core/types.ts";
import { openAdminClient } from "../admin-client.ts";
import { defineCommand, EXIT, usageError } from "../command.ts";
import { FREEZE_KINDS, freezeAnswer, frozenText } from "../freeze-answer.ts";
import { OPERATOR_OPTIONS, operatorBody, operatorHints } from "../operator-options.ts";
import { jsonPretty, shown } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

const HINTS = operatorHints("holdpoint freezes list", [
  ["freeze_not_found", "holdpoint freezes list shows those of your tenant; one that was lifted is gone"],
  ["overloaded", "holdpoint freezes list shows what there is; holdpoint freeze tenant stops everything at once"],
]);

export const freezeCommand = defineCommand({
  name: "freeze",
  words: { usage: `${FREEZE_KINDS.join("|")} [SUBJECT]`, min: 1, max: 2 },
  options: OPERATOR_OPTIONS,
  details: `SUBJECT is the id of an actor (or of somebody it acts for, or of a credential), TYPE/ID of an entity, or the name
of an action; a freeze of the tenant has none, and stops everything. From then on nothing of it is allowed, and permits
that were given are refused: at once on the sidecar that is asked, within freeze_age_max_ms (1 s) on others of its store.
Needs a key with the scope operate.`,
  examples: [
    "holdpoint freeze actor support-agent --reason 'Pays invoices twice'",
    "holdpoint freeze entity order/ord_002 --reason 'Under investigation'",
    "holdpoint freeze tenant --reason 'Incident 81'",
  ],
  run: async (invocation) => {
    const { words, options } = invocation;
    const body = { ...whatOf(words), ...operatorBody(options) };
    const answer = await (await openAdminClient(invocation, HINTS)).post("/v1/freezes", body);
    const freeze = freezeAnswer(answer.freeze);
    if (options.json) await writeOut(`${jsonPretty(answer)}\n`);
    else
      await writeLines([
        `Frozen: ${frozenText(freeze)}, by ${shown(freeze.by)} (${shown(freeze.id)})`,
        `Until it is lifted: holdpoint unfreeze ${shown(freeze.id)} --reason TEXT`,
      ]);
    return EXIT.done;
  },
});

/** What the sidecar would refuse, said before anybody is asked. */
function whatOf([kind = "", subject]: readonly string[]): JsonObject {
  if (!(FREEZE_KINDS as readonly string[]).includes(kind)) {
    const meant = suggest(kind, FREEZE_KINDS);
    throw usageError(
      `Cannot freeze ${shown(kind)}: expected one of ${FREEZE_KINDS.join(", ")}${meant === undefined ? "" : `. Did you mean ${meant}?`}`,
    );
  }
  if (kind === "tenant") {
    if (subject !== undefined) throw usageError("The tenant is the key's: leave its name out");
    return { kind };
  }
  if (subject === undefined) throw usageError(`Which ${kind}? Expected: holdpoint freeze ${kind} ${subjectOf(kind)}`);
  if (kind === "entity" && !/.\/./.test(subject)) throw usageError("An entity is TYPE/ID, such as order/ord_002");
  return { kind, subject };
}

function subjectOf(kind: string): string {
  return kind === "entity" ? "TYPE/ID" : kind === "action" ? "NAME" : "ID";
}

export const unfreezeCommand = defineCommand({
  name: "unfreeze",
  words: { usage: "ID", min: 1, max: 1 },
  options: OPERATOR_OPTIONS,
  details: `ID is a freeze's: holdpoint freezes list shows them. What another freeze is about stays stopped.
Needs a key with the scope operate.`,
  examples: [
    "holdpoint unfreeze frz_01M7X7… --reason 'The agent was corrected'",
    "holdpoint unfreeze frz_01M7X7… --reason 'Incident over' --json",
  ],
  run: async (invocation) => {
    const { words, options } = invocation;
    const body = operatorBody(options);
    const admin = await openAdminClient(invocation, HINTS);
    const answer = await admin.post(`/v1/freezes/${encodeURIComponent(words[0]!)}/lift`, body);
    const freeze = freezeAnswer(answer.freeze);
    if (options.json) await writeOut(`${jsonPretty(answer)}\n`);
    else await writeOut(`Lifted ${shown(freeze.id)}: ${frozenText(freeze)} is frozen no more by it\n`);
    return EXIT.done;
  },
});
