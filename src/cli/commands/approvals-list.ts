/** `holdpoint approvals list`: what waits for a human, and what observing would have stopped. */

import { suggest } from "../../core/suggest.ts";
import type { Json, JsonObject } from "../../core/types.ts";
import { ADMIN_OPTIONS, type AdminClient, openAdminClient } from "../admin-client.ts";
import {
  type ActorAnswer,
  type ApprovalAnswer,
  actorText,
  approvalAnswer,
  argumentLine,
  entityText,
  needsText,
  secondsUntil,
} from "../approval-answer.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION, usageError, wholeNumber } from "../command.ts";
import { readPages } from "../read-pages.ts";
import { duration, jsonPretty, plural, shown, table } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

const STATUSES = ["pending", "granted", "denied", "expired", "cancelled", "exhausted"];
const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 10_000;
/** The admin port answers no more at once. */
const PAGE_MAX = 100;
/** Observed decisions that are looked through for the summary. */
const OBSERVED_LOOKED_AT = 500;

export const approvalsListCommand = defineCommand({
  name: "approvals list",
  options: {
    status: { kind: "text", value: "STATUS", meaning: `pending (default), ${STATUSES.slice(1).join(", ")}` },
    observed: { kind: "flag", meaning: "Only what observe mode would have stopped, one by one" },
    limit: { kind: "text", value: "N", meaning: `At most so many (${LIMIT_DEFAULT})` },
    ...ADMIN_OPTIONS,
    ...JSON_OPTION,
  },
  details: `Pending approvals come oldest first, others newest first. Needs a key with the scope review or operate.
Long arguments are cut; approvals show has them whole.`,
  examples: [
    "HOLDPOINT_KEY=… holdpoint approvals list",
    "holdpoint approvals list --admin unix:/run/holdpoint/admin.sock --key-file ~/.holdpoint-key --status granted",
    "holdpoint approvals list --observed --limit 200 --json | jq '.observations[].action'",
  ],
  run: async (invocation) => {
    const { options } = invocation;
    const limit = wholeNumber("--limit", options.limit, { default: LIMIT_DEFAULT, max: LIMIT_MAX });
    const status = statusOf(options.status);
    if (options.observed && options.status !== undefined)
      throw usageError("--observed and --status exclude each other");
    const admin = await openAdminClient(invocation);
    if (options.observed) {
      await listObserved(admin, limit, options.json);
      return EXIT.done;
    }
    const approvals = await approvalsOf(admin, status, limit);
    // Only beside what waits now: another status asks about the past of approvals, not of observing.
    const observed = status === "pending" ? await observedIfAny(admin) : [];
    if (options.json) await writeOut(`${jsonPretty({ approvals, observations: observed } as unknown as Json)}\n`);
    else await writeLines([...approvalLines(approvals, status, limit), ...observedSummary(observed)]);
    return EXIT.done;
  },
});

function statusOf(given: string | undefined): string {
  const status = given ?? "pending";
  if (STATUSES.includes(status)) return status;
  const meant = suggest(status, STATUSES);
  throw usageError(
    `--status: expected one of ${STATUSES.join(", ")}${meant === undefined ? "" : `. Did you mean ${meant}?`}`,
  );
}

async function approvalsOf(admin: AdminClient, status: string, limit: number): Promise<ApprovalAnswer[]> {
  const items = await readPages(admin, {
    path: "/v1/approvals",
    member: "approvals",
    query: { status },
    limit,
    pageMax: PAGE_MAX,
  });
  return items.map(approvalAnswer);
}

function approvalLines(approvals: readonly ApprovalAnswer[], status: string, limit: number): string[] {
  if (approvals.length === 0) {
    return status === "pending"
      ? [
          "Nothing waits for a reviewer.",
          "An approval opens when policy answers escalate in enforce mode; --status granted, denied, … lists earlier ones.",
        ]
      : [`No approval is ${status}.`];
  }
  const now = new Date();
  const head = ["ID", "AGE", "ACTION", "ACTOR", "ENTITY", "RISK", "EXPIRES IN", "NEEDS"];
  const [title, ...rows] = table(
    head,
    approvals.map((approval) => row(approval, now)),
  );
  const lines = rows.flatMap((line, index) => [line, `    ${argumentLine(approvals[index]!.action.arguments)}`]);
  const more = approvals.length < limit ? [] : [`The first ${limit}; --limit N for more.`];
  return [title!, ...lines, ...more];
}

function row(approval: ApprovalAnswer, now: Date): string[] {
  const isOpen = approval.status === "pending" || approval.status === "granted";
  return [
    shown(approval.id),
    duration(-secondsUntil(approval.created_at, now)),
    shown(approval.action.name),
    actorText(approval.actor),
    entityText(approval.entity),
    shown(approval.risk),
    isOpen ? duration(secondsUntil(approval.expires_at, now)) : "-",
    needsText(approval),
  ];
}

interface Observation {
  readonly decision_id: string;
  readonly decided_at: string;
  readonly observed_outcome: string;
  readonly action: { readonly name: string; readonly arguments: JsonObject };
  readonly actor: ActorAnswer;
  readonly entity: ApprovalAnswer["entity"];
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
}

async function observationsOf(admin: AdminClient, limit: number): Promise<Observation[]> {
  const items = await readPages(admin, { path: "/v1/observations", member: "observations", limit, pageMax: PAGE_MAX });
  return items as unknown as Observation[];
}

/** A sidecar without that route, or a key that may not read it, still lists its approvals. */
async function observedIfAny(admin: AdminClient): Promise<Observation[]> {
  try {
    return await observationsOf(admin, OBSERVED_LOOKED_AT);
  } catch (thrown) {
    if (thrown instanceof CommandError && ["route_not_found", "forbidden"].includes(thrown.code)) return [];
    throw thrown;
  }
}

async function listObserved(admin: AdminClient, limit: number, isJson: boolean): Promise<void> {
  const observations = await observationsOf(admin, limit);
  if (isJson) return writeOut(`${jsonPretty({ observations } as unknown as Json)}\n`);
  if (observations.length === 0) {
    return writeLines([
      "Observe mode would have stopped nothing so far.",
      "Decisions are observed where mode is observe (the setting mode, tenants or actions).",
    ]);
  }
  await writeLines(observations.map(observationLine));
}

function observationLine(of: Observation): string {
  const why = of.reasons[0] === undefined ? "" : ` (${shown(of.reasons[0].code)})`;
  const what = `${shown(of.action.name)} by ${actorText(of.actor)} on ${entityText(of.entity)}`;
  return `${shown(of.decided_at)}  ${shown(of.observed_outcome)}  ${what}${why}  ${shown(of.decision_id)}  ${argumentLine(of.action.arguments)}`;
}

/** One row for what is the same in action, outcome and first reason; the newest of it is the example. */
function observedSummary(observations: readonly Observation[]): string[] {
  if (observations.length === 0) return [];
  const groups = new Map<string, Observation[]>();
  for (const one of observations) {
    const key = JSON.stringify([one.action.name, one.observed_outcome, one.reasons[0]?.code]);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const rows = [...groups.values()]
    .map((group) => ({ group, last: group.reduce((a, b) => (a.decided_at < b.decided_at ? b : a)) }))
    .sort((a, b) => b.group.length - a.group.length)
    .map(({ group, last }) => [
      shown(last.action.name),
      shown(last.observed_outcome),
      shown(last.reasons[0]?.code ?? "-"),
      String(group.length),
      shown(last.decided_at),
      shown(last.decision_id),
    ]);
  const head = ["ACTION", "OUTCOME", "REASON", "COUNT", "LAST SEEN", "EXAMPLE"];
  const scope =
    observations.length < OBSERVED_LOOKED_AT ? [] : [`Of the last ${plural(OBSERVED_LOOKED_AT, "such decision")}.`];
  return ["", "Would have been stopped (observe mode)", ...table(head, rows), ...scope];
}
