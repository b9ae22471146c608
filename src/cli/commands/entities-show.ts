/** `holdpoint entities show`: where an entity stands, how it came there, and whether its events alone say the same. */

import { ADMIN_OPTIONS, type Hints, openAdminClient } from "../admin-client.ts";
import { defineCommand, EXIT, JSON_OPTION, usageError, wholeNumber } from "../command.ts";
import { type EntityAnswer, entityAnswer, entityPage } from "../entity-answer.ts";
import { READ_HINTS } from "../operator-options.ts";
import { jsonPretty } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

const HISTORY_DEFAULT = 10;
/** The admin port answers no more at once. */
const HISTORY_MAX = 500;

const HINTS: Hints = new Map([
  ...READ_HINTS,
  ["entity_not_found", "An entity is known from its first event on: holdpoint events send FILE"],
]);

export const entitiesShowCommand = defineCommand({
  name: "entities show",
  words: { usage: "TYPE/ID", min: 1, max: 1 },
  options: {
    history: { kind: "text", value: "N", meaning: `Newest events to show, up to ${HISTORY_MAX} (${HISTORY_DEFAULT})` },
    rebuild: {
      kind: "text",
      value: "full|none",
      meaning: "Rebuild it from its events however many those are, or not at all",
    },
    ...ADMIN_OPTIONS,
    ...JSON_OPTION,
  },
  details: `Exit code 3 where the entity's events do not give the state that is kept of it. Needs a key with the scope review
or operate. A slash in an entity's type is written %2F.`,
  examples: [
    "HOLDPOINT_KEY=… holdpoint entities show order/ord_002",
    "holdpoint entities show order/ord_002 --history 500 --rebuild full",
    "holdpoint entities show order/ord_002 --json | jq -r .state",
  ],
  run: async (invocation) => {
    const { words, options } = invocation;
    const path = pathOf(words[0]!);
    const limit = wholeNumber("--history", options.history, { default: HISTORY_DEFAULT, max: HISTORY_MAX });
    const { rebuild } = options;
    if (rebuild !== undefined && rebuild !== "full" && rebuild !== "none")
      throw usageError("--rebuild: expected full or none");
    const answer = await (await openAdminClient(invocation, HINTS)).get(path, { limit, rebuild });
    const entity = entityAnswer(answer);
    if (options.json) await writeOut(`${jsonPretty(answer)}\n`);
    else await writeLines(entityPage(entity, new Date()));
    return exitCodeOf(entity);
  },
});

function pathOf(word: string): string {
  const slash = word.indexOf("/");
  if (slash < 1 || slash === word.length - 1) throw usageError("Expected TYPE/ID, such as order/ord_002");
  const type = word.slice(0, slash).replaceAll("%2F", "/");
  return `/v1/entities/${encodeURIComponent(type)}/${encodeURIComponent(word.slice(slash + 1))}`;
}

function exitCodeOf({ rebuild }: EntityAnswer) {
  return rebuild?.matches === false ? EXIT.differs : EXIT.done;
}
