/** `holdpoint executions resolve`: say what became of an execution that nobody reported. */
import { openAdminClient } from "../admin-client.ts";
import { defineCommand, EXIT, usageError } from "../command.ts";
import { executionAnswer } from "../execution-answer.ts";
import { OPERATOR_OPTIONS, operatorBody, operatorHints } from "../operator-options.ts";
import { jsonPretty, shown } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

const STATUSES = ["succeeded", "failed"];

const HINTS = operatorHints("holdpoint executions list", [
  ["execution_not_found", "holdpoint executions list shows those that nobody reported; the id is execution_id"],
  ["execution_conflict", "What was reported stands: holdpoint ledger tail --kind execution_reported shows it"],
]);

export const executionsResolveCommand = defineCommand({
  name: "executions resolve",
  words: { usage: "ID", min: 1, max: 1 },
  options: {
    status: { kind: "text", value: "STATUS", meaning: "succeeded or failed (required): what really became of it" },
    ...OPERATOR_OPTIONS,
  },
  details: `Look first: where the action runs somebody knows. What is said here is recorded with your name and is final.
An action that this sidecar had run by an executor moves its entity now, where it succeeded; any other entity moves by the
event that its source sends. Needs a key with the scope operate.`,
  examples: [
    "holdpoint executions resolve exec_0f01M7… --status succeeded --reason 'Refund re_81 is in the books'",
    "holdpoint executions resolve exec_0f01M7… --status failed --reason 'The connection broke before it was sent'",
  ],
  run: async (invocation) => {
    const { words, options } = invocation;
    const { status } = options;
    if (status === undefined || !STATUSES.includes(status))
      throw usageError("Say what became of it: --status succeeded or --status failed");
    const body = { status, ...operatorBody(options) };
    const admin = await openAdminClient(invocation, HINTS);
    const answer = await admin.post(`/v1/executions/${encodeURIComponent(words[0]!)}/resolve`, body);
    const execution = executionAnswer(answer);
    if (options.json) await writeOut(`${jsonPretty(answer)}\n`);
    else await writeOut(`${shown(execution.execution_id)} is ${shown(execution.status)}: ${shown(execution.action)}\n`);
    return EXIT.done;
  },
});
