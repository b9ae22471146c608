/** What stands in paths and queries of the timeline. */
import { TIMELINE_KINDS } from "../../gate/timeline-rows.ts";
import { CURSOR, DETAILS, KINDS, TIMELINE_PAGE } from "../timeline-query.ts";

const query = (name: string, description: string, schema: object) => ({ name, in: "query", description, schema });
const path = (name: string, description: string) => ({
  name,
  in: "path",
  required: true,
  description,
  schema: { type: "string" },
});
const time = { type: "string", format: "date-time" };

export const TIMELINE_PARAMETERS = {
  TraceIdInPath: path("id", "32 hexadecimal digits, as the decision had it"),
  TimelineDetail: query("detail", "`full`: every entry of the ledger, under its own kind", {
    type: "string",
    enum: DETAILS,
    default: "summary",
  }),
  TimelineKinds: query("kind", `Rows of these kinds only, of ${TIMELINE_KINDS.join(", ")}; in full, of the ledger's`, {
    type: "string",
    pattern: KINDS.source,
  }),
  Since: query("since", "Rows from this time on (RFC 3339)", time),
  Until: query("until", "Rows before this time (RFC 3339)", time),
  TimelineCursor: query("cursor", "`cursor` of the page before", { type: "string", pattern: CURSOR.source }),
  TimelineLimit: query("limit", "Rows of one page", {
    type: "integer",
    minimum: 1,
    maximum: TIMELINE_PAGE.max,
    default: TIMELINE_PAGE.default,
  }),
} as const;
