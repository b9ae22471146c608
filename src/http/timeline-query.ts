/** What a request for a timeline may say, as routes read it and the API's description tells it. */
import { InvalidRequestError } from "../core/errors.ts";
import type { TimelineCursor, TimelineRequest } from "../gate/timeline.ts";
import { TIMELINE_KINDS } from "../gate/timeline-rows.ts";
import { queryLimit, queryValue } from "./exchange.ts";
import type { PageSize } from "./request-schemas.ts";

export const TIMELINE_PAGE: PageSize = { default: 100, max: 500 };
export const DETAILS = ["summary", "full"] as const;
/** An entry's index, and which of its rows. */
export const CURSOR = /^([0-9]{1,15})\.([0-9]{1,3})$/;
/** Names of kinds with commas between: in full those of the ledger's entries, of which later versions have more. */
export const KINDS = /^[a-z_]{1,64}(,[a-z_]{1,64}){0,31}$/;
/** RFC 3339, section 5.6. */
export const TIME =
  /^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$/;

export type TimelineQuery = Omit<TimelineRequest, "tenant" | "about">;

/** @throws InvalidRequestError */
export function timelineQuery(query: URLSearchParams): TimelineQuery {
  const detail = detailOf(queryValue(query, "detail"));
  return {
    detail,
    kinds: kindsOf(queryValue(query, "kind"), detail),
    sinceMs: timeOf(query, "since"),
    untilMs: timeOf(query, "until"),
    limit: queryLimit(query, TIMELINE_PAGE),
    cursor: cursorOf(queryValue(query, "cursor")),
  };
}

export function cursorText(cursor: TimelineCursor | undefined): string | null {
  return cursor === undefined ? null : `${cursor.index}.${cursor.row}`;
}

function detailOf(text = "summary"): TimelineQuery["detail"] {
  const detail = DETAILS.find((one) => one === text);
  if (detail === undefined) throw invalid("detail", `expected ${DETAILS.join(" or ")}`);
  return detail;
}

function kindsOf(text: string | undefined, detail: TimelineQuery["detail"]): TimelineQuery["kinds"] {
  if (text === undefined) return undefined;
  if (!KINDS.test(text)) throw invalid("kind", "expected 1 to 32 kinds with commas between");
  const kinds = text.split(",");
  const known: readonly string[] = TIMELINE_KINDS;
  // A mistyped name would read as "nothing happened".
  const unknown = detail === "full" ? undefined : kinds.find((kind) => !known.includes(kind));
  if (unknown !== undefined) throw invalid("kind", `no row has the kind ${unknown}, but ${known.join(", ")}`);
  return new Set(kinds);
}

function timeOf(query: URLSearchParams, name: "since" | "until"): number | undefined {
  const text = queryValue(query, name);
  if (text === undefined) return undefined;
  const ms = TIME.test(text) ? Date.parse(text.toUpperCase()) : Number.NaN;
  if (Number.isNaN(ms)) throw invalid(name, "expected a time such as 2026-11-20T10:00:00Z (a + in it is written %2B)");
  return ms;
}

function cursorOf(text: string | undefined): TimelineCursor | undefined {
  if (text === undefined) return undefined;
  const match = CURSOR.exec(text);
  if (match === null) throw invalid("cursor", "expected what the page before gave");
  return { index: Number(match[1]), row: Number(match[2]) };
}

function invalid(name: string, expected: string): InvalidRequestError {
  return new InvalidRequestError("invalid_request", `Query parameter ${name}: ${expected}`);
}
