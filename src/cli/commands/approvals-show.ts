/** `holdpoint approvals show`: one approval, with its exact arguments. */
import { ADMIN_OPTIONS, openAdminClient } from "../admin-client.ts";
import { approvalAnswer, approvalPage } from "../approval-answer.ts";
import { defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { jsonPretty } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

export const approvalsShowCommand = defineCommand({
  name: "approvals show",
  words: { usage: "ID", min: 1, max: 1 },
  options: { ...ADMIN_OPTIONS, ...JSON_OPTION },
  details: `Control, invisible and bidirectional characters in what callers wrote are shown as \\uXXXX.`,
  examples: [
    "holdpoint approvals show appr_0801M7X7…",
    "holdpoint approvals show appr_0801M7X7… --json | jq .action.arguments",
  ],
  run: async (invocation) => {
    const admin = await openAdminClient(invocation);
    const answer = await admin.get(`/v1/approvals/${encodeURIComponent(invocation.words[0]!)}`);
    const approval = approvalAnswer(answer);
    if (invocation.options.json) await writeOut(`${jsonPretty(answer)}\n`);
    else await writeLines(approvalPage(approval, new Date()));
    return EXIT.done;
  },
});
