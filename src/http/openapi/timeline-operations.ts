/** The timeline's routes, as the API's description tells them. */
import type { ErrorCode } from "../../core/errors.ts";
import type { Operation } from "./operations.ts";

const QUERY = ["TimelineDetail", "TimelineKinds", "Since", "Until", "TimelineLimit", "TimelineCursor"] as const;
const PROBLEMS: readonly ErrorCode[] = [
  "forbidden",
  "internal_error",
  "unauthenticated",
  "too_many_attempts",
  "identity_unavailable",
  "ledger_unavailable",
  "overloaded",
  "shutting_down",
  "integrity_failure",
  "invalid_request",
];
const DESCRIPTION =
  "Oldest first. A page may hold fewer rows than were asked for, or none; `cursor` is null on the last one.";

export const timelineOperations: readonly Operation[] = [
  {
    method: "get",
    path: "/v1/traces/{id}",
    id: "readTrace",
    tag: "timelines",
    summary: "What happened in one trace",
    description: DESCRIPTION,
    scopes: { admin: ["operate", "review"] },
    parameters: ["TraceIdInPath", ...QUERY],
    answers: { 200: { description: "One page", content: { type: "application/json", schema: "TraceTimeline" } } },
    problems: [...PROBLEMS, "trace_not_found"],
  },
  {
    method: "get",
    path: "/v1/entities/{type}/{id}/timeline",
    id: "readEntityTimeline",
    tag: "timelines",
    summary: "What happened to one entity",
    description: `${DESCRIPTION} The last page says whether the entity's events alone give the state it has.`,
    scopes: { admin: ["operate", "review"] },
    parameters: ["EntityType", "EntityId", ...QUERY],
    answers: { 200: { description: "One page", content: { type: "application/json", schema: "EntityTimeline" } } },
    problems: [...PROBLEMS, "entity_not_found"],
  },
];
