/** An approval as the admin port answers it. */
import type { Json, JsonObject } from "../core/types.ts";
import { CommandError } from "./command.ts";
import { cut, duration, fields, jsonLine, jsonPretty, shown } from "./terminal.ts";

export interface ApprovalAnswer {
  readonly id: string;
  readonly status: string;
  readonly action: { readonly name: string; readonly arguments: JsonObject };
  readonly actor: ActorAnswer;
  readonly entity: { readonly type: string; readonly id: string } | null;
  readonly context: JsonObject;
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
  readonly risk: string;
  readonly argument_digest: string;
  readonly original_argument_digest?: string;
  readonly binding_digest: string;
  readonly policy_digest: string;
  readonly proposal_id: string;
  readonly decision_id: string;
  readonly authenticated: boolean;
  readonly binding: "exact" | "envelope";
  readonly envelope?: JsonObject;
  readonly roles: readonly string[];
  readonly quorum: number;
  readonly uses_left: number;
  readonly reviews: readonly ReviewAnswer[];
  readonly created_at: string;
  readonly expires_at: string;
}

export interface ActorAnswer {
  readonly id: string;
  readonly type?: string;
  readonly roles?: readonly string[];
  readonly on_behalf_of?: ActorAnswer;
}

interface ReviewAnswer {
  readonly reviewer: { readonly id: string; readonly type: string };
  readonly authenticated: boolean;
  readonly verdict: string;
  readonly reason: string;
  readonly at: string;
}

/** Members that everything here looks at; an answer without them is another program's. */
export function approvalAnswer(value: Json | undefined): ApprovalAnswer {
  const approval = value as unknown as ApprovalAnswer | undefined;
  const isApproval =
    typeof approval?.id === "string" &&
    typeof approval.action?.name === "string" &&
    typeof approval.actor?.id === "string" &&
    typeof approval.binding_digest === "string" &&
    Array.isArray(approval.roles) &&
    Array.isArray(approval.reviews) &&
    Array.isArray(approval.reasons);
  if (!isApproval) throw new CommandError("wrong_protocol", "The answer is not an approval of Holdpoint");
  return approval;
}

export function actorText(actor: ActorAnswer): string {
  const principal = actor.on_behalf_of;
  return principal === undefined ? shown(actor.id) : `${shown(actor.id)} for ${actorText(principal)}`;
}

export function entityText(entity: ApprovalAnswer["entity"]): string {
  return entity === null ? "-" : `${shown(entity.type)}/${shown(entity.id)}`;
}

/** `1 of ops_operator`, with what is there already: `1/2 of ops_operator`. */
export function needsText({ quorum, roles, reviews }: ApprovalAnswer): string {
  const given = reviews.filter(({ verdict }) => verdict === "grant").length;
  const who = roles.length === 0 ? "any reviewer" : roles.map(shown).join(" or ");
  return `${given === 0 ? quorum : `${given}/${quorum}`} of ${who}`;
}

export function secondsUntil(time: string, now: Date): number {
  return (Date.parse(time) - now.getTime()) / 1000;
}

/** Everything a reviewer decides on; arguments are the exact ones that a grant binds. */
export function approvalPage(approval: ApprovalAnswer, now: Date): string[] {
  const { action, actor, context, status } = approval;
  const left = secondsUntil(approval.expires_at, now);
  const isOpen = status === "pending" || status === "granted";
  const expiry = isOpen ? `${approval.expires_at} (in ${duration(left)})` : approval.expires_at;
  return [
    `${shown(approval.id)}  ${shown(status)}`,
    ...approval.reasons.map(({ code, message }) => `  ${shown(code)}: ${shown(message)}`),
    "",
    ...fields([
      ["action", shown(action.name)],
      ["actor", `${actorText(actor)}${roleText(actor)}${approval.authenticated ? "" : " (NOT authenticated)"}`],
      ["entity", entityText(approval.entity)],
      ["risk", shown(approval.risk)],
      ["needs", needsText(approval)],
      ["created", `${approval.created_at} (${duration(-secondsUntil(approval.created_at, now))} ago)`],
      ["expires", expiry],
      ["proposal", shown(approval.proposal_id)],
      ["decision", shown(approval.decision_id)],
    ]),
    "",
    approval.binding === "envelope" ? "arguments proposed; a grant covers all that the envelope accepts" : "arguments",
    ...block(action.arguments),
    ...(approval.envelope === undefined ? [] : [`envelope, ${approval.uses_left} uses`, ...block(approval.envelope)]),
    ...(Object.keys(context).length === 0 ? [] : ["context", ...block(context)]),
    "",
    ...fields([
      ["binding digest", shown(approval.binding_digest)],
      ["argument digest", shown(approval.argument_digest)],
      [
        "originally",
        approval.original_argument_digest === undefined
          ? undefined
          : `${shown(approval.original_argument_digest)} (rewritten by policy or a reviewer)`,
      ],
      ["policy digest", shown(approval.policy_digest)],
    ]),
    ...reviewLines(approval),
  ];
}

function roleText({ roles = [] }: ActorAnswer): string {
  return roles.length === 0 ? "" : `, ${roles.map(shown).join(", ")}`;
}

function reviewLines({ reviews }: ApprovalAnswer): string[] {
  if (reviews.length === 0) return ["", "reviews: none yet"];
  const lines = reviews.map(({ reviewer, verdict, reason, at, authenticated }) => {
    const who = `${shown(reviewer.id)}${authenticated ? "" : " (NOT authenticated)"}`;
    return `  ${at}  ${shown(verdict)} by ${who}${reason === "" ? "" : `: ${shown(reason)}`}`;
  });
  return ["", "reviews", ...lines];
}

function block(value: Json): string[] {
  return jsonPretty(value)
    .split("\n")
    .map((line) => `  ${line}`);
}

/** Long arguments are cut here, and only here: what a grant covers is shown whole by `approvals show`. */
const LINE_CHARS_MAX = 400;

export function argumentLine(args: JsonObject): string {
  return cut(jsonLine(args), LINE_CHARS_MAX);
}
