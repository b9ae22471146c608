/** One entry of the ledger on one line, for people. */
import type { Json, JsonObject } from "../core/types.ts";
import { cut, jsonLine, shown } from "./terminal.ts";

/** Every kind that a sidecar records. */
export const ENTRY_KINDS = [
  "decision",
  "approval_opened",
  "approval_reviewed",
  "approval_expired",
  "permit_consumed",
  "permit_refused",
  "execution_reported",
  "execution_unknown",
  "event_ingested",
  "state_changed",
  "freeze_set",
  "freeze_lifted",
  "credentials_refused",
  "credentials_changed",
  "policy_activated",
  "policy_refused",
  "policy_restored",
  "configuration_changed",
  "configuration_refused",
  "configuration_restored",
  "tenant_mode_changed",
  "sidecar_started",
  "ledger_recovered",
] as const;

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
  const known = KNOWN.get(text(entry.kind));
  if (data.recovered === true) return cut(recoveredSummary(data, known), SUMMARY_CHARS_MAX);
  if (known !== undefined) return cut(known(data), SUMMARY_CHARS_MAX);
  return Object.keys(data).length === 0 ? "" : cut(jsonLine(data), SUMMARY_CHARS_MAX);
}

type Summary = (data: JsonObject) => string;

/** What a crash left behind is recorded as the store had it. Only a freeze has the same members there. */
function recoveredSummary({ subject_id, payload }: JsonObject, known: Summary | undefined): string {
  const left = objectOf(payload);
  const what = left.freeze === undefined || known === undefined ? `${text(subject_id)} ${jsonLine(left)}` : known(left);
  return `recovered: ${what}`;
}

/** What the other kinds say, beginning with what somebody looks for. */
const KNOWN: ReadonlyMap<string, Summary> = new Map<string, Summary>([
  [
    "permit_consumed",
    (data) =>
      `${text(data.permit_id)} ${text(data.action)} by ${text(data.actor)}, ${text(data.uses_left)} uses left ${text(data.execution_id)}`,
  ],
  ["permit_refused", (data) => `${text(data.code)} ${text(data.action)} by ${text(data.actor)}${observing(data)}`],
  [
    "execution_reported",
    (data) =>
      `${text(data.permit_id)} ${text(data.action)} ${text(data.status)} ${text(data.execution_id)}${resolved(data)}`,
  ],
  [
    "execution_unknown",
    (data) => `${text(data.permit_id)} ${text(data.action)} ${text(data.execution_id)} ${text(data.reason)}`,
  ],
  ["event_ingested", eventSummary],
  [
    "state_changed",
    (data) =>
      `${entityText(data.entity)} ${stateText(data.from)} to ${stateText(data.to)} by ${text(data.event)}, version ${text(data.version)}`,
  ],
  [
    "freeze_set",
    (data) => `${freezeText(data)}, by ${text(objectOf(data.freeze).by)}: ${text(objectOf(data.freeze).reason)}`,
  ],
  ["freeze_lifted", (data) => `${freezeText(data)}, by ${text(data.by)}: ${text(data.reason)}`],
  [
    "credentials_refused",
    (data) => {
      const sources = listed(data.sources);
      const good = listed(data.credentials);
      const from = sources === "" ? "" : ` from ${sources}`;
      return `${text(data.count)} refused: ${counts(data.by_reason)}${from}${good === "" ? "" : `, credentials ${good}`}`;
    },
  ],
  ["policy_activated", (data) => `${text(data.digest)}${revision(data)} ${text(data.entrypoint)}`],
  ["policy_restored", (data) => `${text(data.digest)}${revision(data)}`],
  ["policy_refused", (data) => `${text(data.code)}: ${text(data.message)}`],
  ["configuration_changed", (data) => `applied ${listed(data.applied)}, mode ${text(data.mode)}`],
  ["configuration_refused", (data) => `${text(data.faults)} faults: the configuration before stays`],
  ["tenant_mode_changed", (data) => `mode ${text(data.mode)}`],
  [
    "sidecar_started",
    (data) => `mode ${text(data.mode)}, auth ${listed(data.auth)}, admin_auth ${listed(data.admin_auth)}`,
  ],
]);

function eventSummary(data: JsonObject): string {
  const { type, entity, source, id, actor } = objectOf(data.event);
  const effect = data.applied === false ? `, leads nowhere from ${stateText(data.from)}` : "";
  return `${text(type)} of ${entityText(entity)} by ${text(objectOf(actor).id)}${effect} ${text(source)} ${text(id)}`;
}

function entityText(value: Json | undefined): string {
  const { type, id } = objectOf(value);
  return `${text(type)}/${text(id)}`;
}

function stateText(state: Json | undefined): string {
  return state === null ? "no state" : text(state);
}

function freezeText(data: JsonObject): string {
  const { id, kind, subject } = objectOf(data.freeze);
  return `${text(id)} ${text(kind)}${subject === undefined || subject === "" ? "" : ` ${text(subject)}`}`;
}

/** Nobody had reported it: an operator looked. */
function resolved(data: JsonObject): string {
  const { by, reason } = objectOf(data.resolved);
  return by === undefined ? "" : ` (resolved by ${text(by)}: ${text(reason)})`;
}

function observing({ mode }: JsonObject): string {
  return mode === "observe" ? " (observed, not enforced)" : "";
}

function revision(data: JsonObject): string {
  return data.revision === undefined || data.revision === "" ? "" : ` revision ${text(data.revision)}`;
}

function listed(value: Json | undefined): string {
  return Array.isArray(value) ? (value as readonly Json[]).map(text).join(", ") : text(value);
}

function counts(value: Json | undefined): string {
  return Object.entries(objectOf(value))
    .map(([name, count]) => `${text(name)} ${text(count)}`)
    .join(", ");
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
