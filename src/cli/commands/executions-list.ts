/** `holdpoint executions list`: what was begun, and of which nobody said how it ended. */
import type { Json } from "../../core/types.ts";
import { ADMIN_OPTIONS, openAdminClient } from "../admin-client.ts";
import { secondsUntil } from "../approval-answer.ts";
import { defineCommand, EXIT, JSON_OPTION, wholeNumber } from "../command.ts";
import { type ExecutionAnswer, executionAnswer } from "../execution-answer.ts";
import { READ_HINTS } from "../operator-options.ts";
import { readPages } from "../read-pages.ts";
import { duration, jsonPretty, shown, table } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 10_000;
/** The admin port answers no more at once. */
const PAGE_MAX = 500;

export const executionsListCommand = defineCommand({
  name: "executions list",
  options: {
    limit: { kind: "text", value: "N", meaning: `At most so many (${LIMIT_DEFAULT})` },
    ...ADMIN_OPTIONS,
    ...JSON_OPTION,
  },
  details: `Oldest first. A permit was consumed, and no report followed: the executor broke off, or it is still at it.
What was reported is in the ledger: holdpoint ledger tail --kind execution_reported. Needs a key with the scope review or
operate.`,
  examples: [
    "HOLDPOINT_KEY=… holdpoint executions list",
    "holdpoint executions list --limit 1000 --json | jq -r '.executions[].execution_id'",
  ],
  run: async (invocation) => {
    const { options } = invocation;
    const limit = wholeNumber("--limit", options.limit, { default: LIMIT_DEFAULT, max: LIMIT_MAX });
    const admin = await openAdminClient(invocation, READ_HINTS);
    const items = await readPages(admin, { path: "/v1/executions", member: "executions", limit, pageMax: PAGE_MAX });
    const executions = items.map(executionAnswer);
    if (options.json) await writeOut(`${jsonPretty({ executions } as unknown as Json)}\n`);
    else await writeLines(lines(executions, limit));
    return EXIT.done;
  },
});

function lines(executions: readonly ExecutionAnswer[], limit: number): string[] {
  if (executions.length === 0) {
    return [
      "Every execution was reported: no outcome is unknown.",
      "One is listed here from the consumption of its permit until POST /v1/executions says how it ended.",
    ];
  }
  const now = new Date();
  const rows = executions.map(({ execution_id, consumed_at, action, decision_id }) => [
    shown(execution_id),
    duration(-secondsUntil(consumed_at, now)),
    shown(action),
    shown(decision_id),
  ]);
  const more = executions.length < limit ? [] : [`The first ${limit}; --limit N for more.`];
  return [
    ...table(["ID", "AGE", "ACTION", "DECISION"], rows),
    ...more,
    "Look what became of one, and say it: holdpoint executions resolve ID --status succeeded|failed --reason TEXT",
  ];
}
