/** An entity as the admin port answers it. */
import type { Json, JsonObject } from "../core/types.ts";
import { secondsUntil } from "./approval-answer.ts";
import { CommandError } from "./command.ts";
import { duration, fields, jsonLine, jsonPretty, plural, shown, spoken, table } from "./terminal.ts";

export interface EntityAnswer {
  readonly type: string;
  readonly id: string;
  readonly state: string | null;
  readonly version: number;
  readonly attributes: JsonObject;
  readonly events: number;
  readonly chain: string;
  readonly changed_at: string;
  readonly history: readonly HistoryRow[];
  /** Absent where nobody asked for it. */
  readonly rebuild?: RebuildAnswer;
}

interface HistoryRow {
  readonly sequence: number;
  readonly received_at: string;
  readonly type: string;
  readonly source: string;
  readonly id: string;
  readonly actor: { readonly id: string };
  readonly applied: boolean;
  readonly from: string | null;
  readonly to: string | null;
}

interface RebuildAnswer {
  readonly matches: boolean | null;
  readonly events: number;
  readonly reason?: string;
  readonly rebuilt?: { readonly state: string | null; readonly version: number; readonly attributes: JsonObject };
}

/** @throws CommandError: an answer without the members that are looked at here is another program's */
export function entityAnswer(value: Json): EntityAnswer {
  const entity = value as unknown as EntityAnswer | null;
  const isEntity =
    typeof entity?.type === "string" &&
    typeof entity.id === "string" &&
    typeof entity.changed_at === "string" &&
    typeof entity.chain === "string" &&
    (entity.rebuild === undefined || [null, true, false].includes(entity.rebuild?.matches)) &&
    Array.isArray(entity.history) &&
    entity.history.every(isHistoryRow);
  if (!isEntity) throw new CommandError("wrong_protocol", "The answer is not an entity of Holdpoint");
  return entity;
}

function isHistoryRow(value: HistoryRow | null): boolean {
  const texts = [value?.received_at, value?.type, value?.source, value?.id, value?.actor?.id];
  return texts.every((text) => typeof text === "string");
}

export function entityPage(entity: EntityAnswer, now: Date): string[] {
  const { type, id, state, version, attributes, events, chain, changed_at, history } = entity;
  const shownRows = history.length;
  return [
    `${shown(type)}/${shown(id)}  ${stateText(state)}`,
    "",
    ...fields([
      ["version", String(version)],
      ["changed", `${shown(changed_at)} (${duration(-secondsUntil(changed_at, now))} ago)`],
      ["events", String(events)],
      ["chain", shown(chain)],
      ["rebuild", entity.rebuild === undefined ? "not asked for" : rebuildText(entity.rebuild)],
    ]),
    ...rebuiltLines(entity),
    "",
    ...(Object.keys(attributes).length === 0 ? ["attributes: none"] : ["attributes", ...block(attributes)]),
    "",
    shownRows === events
      ? "history, newest first"
      : `history, the newest ${shownRows} of ${events}; --history N for more`,
    ...table(["#", "RECEIVED", "EVENT", "BY", "EFFECT", "SOURCE", "ID"], history.map(cells)).map((line) => `  ${line}`),
  ];
}

function stateText(state: string | null): string {
  return state === null ? "(no state yet)" : shown(state);
}

function cells(row: HistoryRow): string[] {
  const { sequence, received_at, type, actor, source, id } = row;
  return [String(sequence), shown(received_at), shown(type), shown(actor.id), effectOf(row), shown(source), shown(id)];
}

function effectOf({ applied, from, to }: HistoryRow): string {
  if (!applied) return `none: it led nowhere from ${stateText(from)}`;
  return from === to ? `${stateText(to)} still` : `${stateText(from)} to ${stateText(to)}`;
}

function rebuildText({ matches, events, reason }: RebuildAnswer): string {
  const why = typeof reason === "string" ? `: ${spoken(reason)}` : "";
  if (matches === null) return `not tried${why}`;
  const which = plural(events, "event");
  const [gives, givesNot] = events === 1 ? ["gives", "does NOT give"] : ["give", "do NOT give"];
  return matches ? `the ${which} alone ${gives} what is kept` : `the ${which} ${givesNot} what is kept${why}`;
}

function rebuiltLines({ rebuild }: EntityAnswer): string[] {
  const rebuilt = rebuild?.rebuilt;
  if (rebuilt === undefined) return [];
  const { state, version, attributes } = rebuilt;
  return ["", `events alone give ${stateText(state)}, version ${version}, attributes ${jsonLine(attributes)}`];
}

function block(value: Json): string[] {
  return jsonPretty(value)
    .split("\n")
    .map((line) => `  ${line}`);
}
