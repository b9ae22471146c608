/** `holdpoint freezes list`: what is stopped, by whom and why. */
import type { Json } from "../../core/types.ts";
import { ADMIN_OPTIONS, openAdminClient } from "../admin-client.ts";
import { secondsUntil } from "../approval-answer.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { FREEZE_KINDS, type FreezeAnswer, freezeAnswer } from "../freeze-answer.ts";
import { READ_HINTS } from "../operator-options.ts";
import { cut, duration, jsonPretty, shown, table } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

const REASON_CHARS_MAX = 120;

export const freezesListCommand = defineCommand({
  name: "freezes list",
  options: { ...ADMIN_OPTIONS, ...JSON_OPTION },
  details: `Every freeze of the key's tenant that is in force. Needs a key with the scope review or operate.
Long reasons are cut; --json has them whole.`,
  examples: [
    "HOLDPOINT_KEY=… holdpoint freezes list",
    "holdpoint freezes list --json | jq -r '.freezes[] | select(.kind == \"actor\").subject'",
  ],
  run: async (invocation) => {
    const answer = await (await openAdminClient(invocation, READ_HINTS)).get("/v1/freezes");
    if (!Array.isArray(answer.freezes)) throw new CommandError("wrong_protocol", "The answer has no freezes");
    const freezes = (answer.freezes as readonly Json[]).map(freezeAnswer);
    if (invocation.options.json) await writeOut(`${jsonPretty(answer)}\n`);
    else await writeLines(lines(freezes));
    return EXIT.done;
  },
});

function lines(freezes: readonly FreezeAnswer[]): string[] {
  if (freezes.length === 0) {
    return [
      "Nothing is frozen.",
      `holdpoint freeze ${FREEZE_KINDS.join("|")} [SUBJECT] --reason TEXT stops something.`,
    ];
  }
  const now = new Date();
  const rows = freezes.map(({ id, kind, subject, at, by, reason }) => [
    shown(id),
    shown(kind),
    subject === undefined ? "-" : shown(subject),
    duration(-secondsUntil(at, now)),
    shown(by),
    cut(shown(reason), REASON_CHARS_MAX),
  ]);
  return table(["ID", "KIND", "SUBJECT", "AGE", "BY", "REASON"], rows);
}
