/** One entry of the ledger on one line, for people. */
import type { Json, JsonObject } from "../core/types.ts";
import { cut, jsonLine, shown } from "./terminal.ts";

export interface LedgerEntry {
  readonly index: number;
  readonly entry: JsonObject;
}

const SUMMARY_CHARS_MAX = 240;

export function ledgerLine({ index, entry }: LedgerEntry): string {
  const tenant = text(entry.tenant);
  const who = tenant === "" ? "-" : tenant;
  return `${text(entry.time)}  #${index}  ${text(entry.kind)}  ${who}  ${summary(entry)}`.trimEnd();
}

function summary(entry: JsonObject): string {
  if (entry.kind === "decision") return decisionSummary(entry);
  const data = objectOf(entry.data);
  const approval = objectOf(data.approval);
  if (typeof approval.id === "string") return approvalSummary(entry.kind, approval);
  return Object.keys(data).length === 0 ? "" : cut(jsonLine(data), SUMMARY_CHARS_MAX);
}

function decisionSummary(entry: JsonObject): string {
  const decision = objectOf(entry.decision);
  const action = objectOf(decision.action);
  const actor = objectOf(objectOf(entry.input).actor);
  const observed = decision.observed_outcome;
  const [reason] = Array.isArray(decision.reasons) ? (decision.reasons as readonly Json[]) : [];
  const outcome =
    observed === undefined ? text(decision.outcome) : `${text(decision.outcome)} (observed ${text(observed)})`;
  const why = reason === undefined ? "" : ` (${text(objectOf(reason).code)})`;
  return `${outcome} ${text(action.name)} by ${text(actor.id)}${why} ${text(decision.decision_id)}`;
}

/** The newest review is the one that the entry is about; an opened or expired approval has it from before, or has none. */
function approvalSummary(kind: Json | undefined, approval: JsonObject): string {
  const reviews = Array.isArray(approval.reviews) ? (approval.reviews as readonly Json[]) : [];
  const last = kind === "approval_reviewed" ? objectOf(reviews.at(-1)) : {};
  const by = last.verdict === undefined ? "" : ` (${text(last.verdict)} by ${text(objectOf(last.reviewer).id)})`;
  return `${text(approval.id)} ${text(approval.status)}${by} ${text(objectOf(approval.action).name)}`;
}

function objectOf(value: Json | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : {};
}

function text(value: Json | undefined): string {
  if (value === undefined) return "-";
  return typeof value === "string" ? (value === "" ? "" : shown(value)) : jsonLine(value);
}
