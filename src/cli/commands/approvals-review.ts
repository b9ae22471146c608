/** `holdpoint approvals grant`, `deny` and `cancel`. */
import { isDigest } from "../../core/digest.ts";
import type { JsonObject } from "../../core/types.ts";
import { ADMIN_OPTIONS, type AdminClient, openAdminClient } from "../admin-client.ts";
import { type ApprovalAnswer, approvalAnswer, approvalPage, needsText } from "../approval-answer.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION, type OptionSpecs, usageError } from "../command.ts";
import { jsonPretty, shown } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

const REVIEW_OPTIONS = {
  reason: { kind: "text", value: "TEXT", meaning: "Why; it is recorded" },
  as: { kind: "text", value: "ID", meaning: "Who you are, where the admin port asks for no key (development)" },
  role: { kind: "list", value: "ROLE", meaning: "A role you hold, with --as" },
  ...ADMIN_OPTIONS,
  ...JSON_OPTION,
} as const satisfies OptionSpecs;

type ReviewWords = {
  readonly reason?: string | undefined;
  readonly as?: string | undefined;
  readonly role: readonly string[];
};

export const approvalsGrantCommand = defineCommand({
  name: "approvals grant",
  words: { usage: "ID", min: 1, max: 1 },
  options: {
    ...REVIEW_OPTIONS,
    digest: { kind: "text", value: "sha256:…", meaning: "Grant only if the approval has this binding digest" },
  },
  details: `Reads the approval, prints what is granted, and sends the binding digest of what it read along: if the approval
changes in between, nothing is granted. With --digest that of an earlier look must still be right.`,
  examples: [
    "holdpoint approvals grant appr_0801M7X7… --reason 'Checked with the customer'",
    "holdpoint approvals grant appr_0801M7X7… --digest sha256:9f86d0…",
    "holdpoint approvals grant appr_0801M7X7… --as olivia --role ops_operator",
  ],
  run: async (invocation) => {
    const { options, words } = invocation;
    const body = reviewBody(options);
    if (options.digest !== undefined && !isDigest(options.digest))
      throw usageError("--digest: expected sha256: and 64 hexadecimal digits");
    const admin = await openAdminClient(invocation);
    const id = words[0]!;
    const read = approvalAnswer(await admin.get(pathOf(id)));
    if (options.digest !== undefined && options.digest !== read.binding_digest)
      throw new CommandError("binding_mismatch", `The approval has the binding digest ${shown(read.binding_digest)}`, {
        hints: ["Nothing was granted. holdpoint approvals show tells what it binds now"],
      });
    if (!options.json) await writeLines([...approvalPage(read, new Date()), ""]);
    const answer = await admin.post(`${pathOf(id)}/grant`, { ...body, binding_digest: read.binding_digest });
    await tell(answer, options.json, (approval) => grantedText(approval));
    return EXIT.done;
  },
});

export const approvalsDenyCommand = defineCommand({
  name: "approvals deny",
  words: { usage: "ID", min: 1, max: 1 },
  options: REVIEW_OPTIONS,
  examples: [
    "holdpoint approvals deny appr_0801M7X7… --reason 'Wrong account'",
    "holdpoint approvals deny appr_0801M7X7… --admin https://holdpoint.internal:8283 --key-file key",
  ],
  run: async (invocation) => {
    await act(await openAdminClient(invocation), "deny", invocation);
    return EXIT.done;
  },
});

export const approvalsCancelCommand = defineCommand({
  name: "approvals cancel",
  words: { usage: "ID", min: 1, max: 1 },
  options: REVIEW_OPTIONS,
  examples: [
    "holdpoint approvals cancel appr_0801M7X7… --reason 'Incident over'",
    "holdpoint approvals cancel appr_0801M7X7… --json",
  ],
  run: async (invocation) => {
    await act(await openAdminClient(invocation), "cancel", invocation);
    return EXIT.done;
  },
});

async function act(
  admin: AdminClient,
  verdict: "deny" | "cancel",
  of: { readonly words: readonly string[]; readonly options: ReviewWords & { readonly json: boolean } },
): Promise<void> {
  const answer = await admin.post(`${pathOf(of.words[0]!)}/${verdict}`, reviewBody(of.options));
  await tell(
    answer,
    of.options.json,
    ({ id, status, action }) => `${shown(id)} is ${shown(status)}: ${shown(action.name)}`,
  );
}

function pathOf(id: string): string {
  return `/v1/approvals/${encodeURIComponent(id)}`;
}

function reviewBody({ reason, as, role }: ReviewWords): JsonObject {
  if (as === undefined && role.length > 0)
    throw usageError("--role goes with --as: otherwise the key says what you are");
  return {
    ...(reason === undefined ? {} : { reason }),
    ...(as === undefined ? {} : { actor: { id: as, type: "human", roles: role } }),
  };
}

async function tell(
  answer: JsonObject,
  isJson: boolean,
  sentence: (approval: ApprovalAnswer) => string,
): Promise<void> {
  const approval = approvalAnswer(answer.approval);
  await writeOut(isJson ? `${jsonPretty(answer)}\n` : `${sentence(approval)}\n`);
}

function grantedText(approval: ApprovalAnswer): string {
  const { id, status, expires_at } = approval;
  if (status === "granted") return `Granted ${shown(id)}; to be used until ${shown(expires_at)}`;
  return `Your grant of ${shown(id)} counts, and it is ${shown(status)} still: ${needsText(approval)}`;
}
