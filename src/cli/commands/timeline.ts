/** `holdpoint timeline`: what happened in one trace, or to one entity, from a running sidecar. */
import type { Json, JsonObject } from "../../core/types.ts";
import { ADMIN_OPTIONS, type AdminClient, openAdminClient } from "../admin-client.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION, usageError, wholeNumber } from "../command.ts";
import { cut, jsonPretty, shown, spoken, table } from "../terminal.ts";
import { writeError, writeLines, writeOut } from "../write-out.ts";

const LIMIT_DEFAULT = 1_000;
const LIMIT_MAX = 100_000;
/** The admin port answers no more at once. */
const PAGE_MAX = 500;
const SUMMARY_CHARS_MAX = 120;

export const timelineCommand = defineCommand({
  name: "timeline",
  options: {
    trace: { kind: "text", value: "ID", meaning: "Of this trace: trace_id of a decision" },
    entity: { kind: "text", value: "TYPE/ID", meaning: "Of this entity, with the rebuild check at the end" },
    kind: { kind: "list", value: "KIND", meaning: "Only rows of this kind, or of several (a,b)" },
    since: { kind: "text", value: "TIME", meaning: "From this time on: 2026-11-20T10:00:00Z" },
    until: { kind: "text", value: "TIME", meaning: "Before this time" },
    full: { kind: "flag", meaning: "Every entry of the ledger, under its own kind" },
    limit: { kind: "text", value: "N", meaning: `At most so many rows (${LIMIT_DEFAULT})` },
    ...ADMIN_OPTIONS,
    ...JSON_OPTION,
  },
  details: `Needs a key with the scope review or operate. Exit code 3 where an entity's events do not give the state that is
kept of it. A slash in an entity's type is written %2F.`,
  examples: [
    "HOLDPOINT_KEY=… holdpoint timeline --entity order/ord_002",
    "holdpoint timeline --trace 4bf92f3577b34da6a3ce929d0e0e4736 --full",
    "holdpoint timeline --entity order/ord_002 --kind action_executed,action_failed --json | jq '.rows[].time'",
  ],
  run: async (invocation) => {
    const { options } = invocation;
    const limit = wholeNumber("--limit", options.limit, { default: LIMIT_DEFAULT, max: LIMIT_MAX });
    const path = pathOf(options.trace, options.entity);
    const query = {
      kind: options.kind.length === 0 ? undefined : options.kind.join(","),
      since: options.since,
      until: options.until,
      detail: options.full ? "full" : undefined,
    };
    const timeline = await readTimeline(await openAdminClient(invocation), { path, query, limit });
    if (options.json) await writeOut(`${jsonPretty(timeline as unknown as Json)}\n`);
    else await print(timeline, limit);
    return timeline.rebuild?.matches === false ? EXIT.differs : EXIT.done;
  },
});

function pathOf(trace: string | undefined, entity: string | undefined): string {
  if ((trace === undefined) === (entity === undefined)) throw usageError("Give --trace ID or --entity TYPE/ID");
  if (trace !== undefined) return `/v1/traces/${encodeURIComponent(trace)}`;
  const slash = entity!.indexOf("/");
  if (slash < 1 || slash === entity!.length - 1) throw usageError("--entity: expected TYPE/ID, such as order/ord_002");
  const type = entity!.slice(0, slash).replaceAll("%2F", "/");
  return `/v1/entities/${encodeURIComponent(type)}/${encodeURIComponent(entity!.slice(slash + 1))}/timeline`;
}

interface Row {
  readonly time: string;
  readonly kind: string;
  readonly actor: string | null;
  readonly summary: string;
}

interface Timeline {
  readonly rows: readonly Row[];
  /** Null where that was all. */
  readonly cursor: string | null;
  readonly rebuild?: { readonly matches: boolean | null; readonly reason?: string };
}

interface Wanted {
  readonly path: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly limit: number;
}

async function readTimeline(admin: AdminClient, { path, query, limit }: Wanted): Promise<Timeline> {
  const rows: Row[] = [];
  let cursor: string | undefined;
  for (;;) {
    const size = Math.min(PAGE_MAX, limit - rows.length);
    const page = timelineOf(await admin.get(path, { ...query, limit: size, cursor }));
    rows.push(...page.rows);
    if (page.cursor === null || rows.length >= limit) return { ...page, rows };
    if (page.cursor === cursor) throw new CommandError("wrong_protocol", "The answer's pages do not go on");
    cursor = page.cursor;
  }
}

function timelineOf(answer: JsonObject): Timeline {
  const page = answer as unknown as Timeline;
  const isCursor = page.cursor === null || typeof page.cursor === "string";
  if (!Array.isArray(page.rows) || !page.rows.every(isRow) || !isCursor)
    throw new CommandError("wrong_protocol", "The answer is no timeline");
  return page;
}

function isRow(value: Json): boolean {
  const row = value as unknown as Row | null;
  const isText = [row?.time, row?.kind, row?.summary].every((text) => typeof text === "string");
  return isText && (row!.actor === null || typeof row!.actor === "string");
}

async function print({ rows, cursor, rebuild }: Timeline, limit: number): Promise<void> {
  if (rows.length === 0) await writeError("holdpoint: no rows\n");
  else await writeLines(table(["TIME", "KIND", "ACTOR", "SUMMARY"], rows.map(cells)));
  if (cursor !== null)
    await writeLines([`The first ${limit}; --limit N for more, or --since ${shown(rows.at(-1)!.time)}.`]);
  if (rebuild !== undefined) await writeLines(["", rebuildLine(rebuild)]);
}

function cells({ time, kind, actor, summary }: Row): string[] {
  return [
    shown(time),
    shown(kind),
    actor === null ? "-" : shown(actor),
    summary === "" ? "" : cut(shown(summary), SUMMARY_CHARS_MAX),
  ];
}

function rebuildLine({ matches, reason }: NonNullable<Timeline["rebuild"]>): string {
  const why = typeof reason === "string" ? `: ${spoken(reason)}` : "";
  if (matches === true) return "rebuild: the events alone give the state that is kept ✓";
  if (matches === false) return `rebuild: the events do NOT give the state that is kept ✗${why}`;
  return `rebuild: not checked${why}`;
}
