/** What stands in paths and queries. Routes read these themselves; the numbers and patterns here are theirs. */
import {
  APPROVAL_STATUSES,
  APPROVALS_PAGE,
  DURATION,
  ENTRIES_PAGE,
  EXECUTIONS_PAGE,
  HISTORY_PAGE,
  OBSERVATIONS_PAGE,
  type PageSize,
} from "../request-schemas.ts";
import { TIMELINE_PARAMETERS } from "./timeline-parameters.ts";

/** Fifteen digits: every one is an exact number in JSON. */
const INDEX_MAX = 999_999_999_999_999;

const query = (name: string, description: string, schema: object) => ({ name, in: "query", description, schema });
const path = (name: string, description: string, schema: object) => ({
  name,
  in: "path",
  required: true,
  description,
  schema,
});
const limit = (size: PageSize) =>
  query("limit", "Items of one page", { type: "integer", minimum: 1, maximum: size.max, default: size.default });
const index = { type: "integer", minimum: 0, maximum: INDEX_MAX };

export type ParameterName = keyof ReturnType<typeof describeParameters>;

export function describeParameters(waitMsMax: number) {
  return {
    Traceparent: {
      name: "traceparent",
      in: "header",
      description: "W3C Trace Context: the answer and the record carry its trace id. One that is malformed is ignored",
      schema: { type: "string" },
      example: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
    ApprovalId: path("id", "As the decision had it", { type: "string" }),
    Status: query("status", "In which state they are", {
      type: "string",
      enum: APPROVAL_STATUSES,
      default: "pending",
    }),
    ExecutionStatus: query("status", "Reported ones are in the ledger", { type: "string", enum: ["unknown"] }),
    Wait: query(
      "wait",
      `How long the answer may wait for a pending approval: 30s, 500ms, 1m, or a number of seconds; at most ${waitMsMax / 1000}s`,
      { type: "string", pattern: DURATION.source },
    ),
    Cursor: query("cursor", "`cursor` of the page before", { type: "string" }),
    EntryCursor: query("cursor", "`cursor` of the page before", index),
    ApprovalsLimit: limit(APPROVALS_PAGE),
    ExecutionsLimit: limit(EXECUTIONS_PAGE),
    ObservationsLimit: limit(OBSERVATIONS_PAGE),
    EntriesLimit: limit(ENTRIES_PAGE),
    Refresh: query("refresh", "The page loads itself anew, unless this is off", { type: "string", enum: ["off"] }),
    Start: query("start", "Index of the first entry", { ...index, default: 0 }),
    EntryIndex: path("index", "Of the entry", index),
    ExecutionId: path("id", "`execution_id` of the consumption", { type: "string" }),
    FreezeId: path("id", "As the freeze had it", { type: "string" }),
    AdapterName: path("adapter", "As the sidecar's configuration names it", { type: "string" }),
    EntityType: path("type", "Of the entity", { type: "string" }),
    EntityId: path("id", "Of the entity; percent-encoded where it holds slashes", { type: "string" }),
    ActionName: path("action", "Name of the action; percent-encoded where it holds slashes", { type: "string" }),
    HistoryLimit: limit(HISTORY_PAGE),
    HistoryCursor: query("cursor", "`cursor` of the page before", { ...index, minimum: 1 }),
    Rebuild: query("rebuild", "`full`: rebuild the entity however many events it has; `none`: leave that out", {
      type: "string",
      enum: ["full", "none"],
    }),
    ...TIMELINE_PARAMETERS,
  };
}
