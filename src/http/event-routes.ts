/** Events and the entities they move. */
import { Router } from "express";
import { HoldpointError, InvalidRequestError } from "../core/errors.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import { parseReading } from "../core/schema.ts";
import type { ActorRef } from "../core/types.ts";
import { OWN_SOURCE } from "../gate/follow-execution.ts";
import type { IngestAnswer } from "../gate/ingest-event.ts";
import type { EntityAnswer, Rebuild } from "../gate/read-entity.ts";
import type { Holder } from "./authenticate.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendJson, traceIdOf } from "./exchange.ts";
import { problemOf } from "./problem.ts";
import { readBody } from "./read-body.ts";
import { eventSchema, eventsSchema, HISTORY_PAGE } from "./request-schemas.ts";

export function eventRoutes(http: HttpContext): Router {
  const router = Router();
  router.post("/v1/events", async (request, response) => {
    const holder = await http.authenticator.holder(request, "ingest");
    const traceId = traceIdOf(request);
    const { depthMax, bytesMax } = http.limits;
    const reading = await readBody(request, { bytesMax, depthMax: depthMax + 2 });
    if (reading.members?.has("events") !== true) {
      return sendJson(response, eventView(await ingest(http, { holder, traceId, reading })));
    }
    sendJson(response, { events: await ingestBatch(http, { holder, traceId, reading }) });
  });
  router.get("/v1/entities/:type/:id", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const { type, id } = request.params;
    const query = queryOf(request);
    const limit = queryLimit(query, HISTORY_PAGE);
    const ref = { type, id };
    const answer = await http.gate.readEntity({ tenant, ref, limit, before: beforeOf(query) });
    const wanted = rebuildOf(query);
    const rebuild = wanted === "none" ? undefined : await http.gate.rebuildEntity(tenant, ref, wanted === "full");
    sendJson(response, entityView(answer, rebuild));
  });
  return router;
}

interface Incoming {
  readonly holder: Holder;
  readonly traceId: string;
  readonly reading: Reading;
}

async function ingest(http: HttpContext, { holder, traceId, reading }: Incoming): Promise<IngestAnswer> {
  const body = parseReading(eventSchema, reading, "event");
  if (body.source === OWN_SOURCE) {
    const message = `Source ${JSON.stringify(OWN_SOURCE)} is for the events that follow from executions here`;
    throw new InvalidRequestError("forbidden", message, { pointer: "/source" });
  }
  const isAdapters = [...http.adapters.values()].some(
    (adapter) => adapter.source === body.source && adapter.tenant === holder.tenant && !adapter.needsCredential,
  );
  if (isAdapters) {
    const message = `Source ${JSON.stringify(body.source)} signs its webhooks: its events come by its adapter`;
    throw new InvalidRequestError("forbidden", message, { pointer: "/source" });
  }
  const { id, source, type, entity, time, data = {}, expected_version } = body;
  const actor = body.actor as ActorRef;
  return http.gate.ingestEvent({
    tenant: holder.tenant,
    event: { id, source, type, entity, actor, time, data },
    expectedVersion: expected_version,
    traceId,
    producer: holder.id,
  });
}

/** One after the other: events of one entity count in the order in which they are given. */
async function ingestBatch(http: HttpContext, { holder, traceId, reading }: Incoming): Promise<readonly object[]> {
  const { events } = parseReading(eventsSchema, reading, "batch");
  const { batchMax } = http.limits;
  if (events.length > batchMax) {
    throw new InvalidRequestError("batch_too_large", `Batch of ${events.length} events, expected at most ${batchMax}`, {
      pointer: "/events",
      facts: { limit: batchMax },
    });
  }
  const answers: object[] = [];
  for (const [index, event] of events.entries()) {
    answers.push(await ingestInBatch(http, { holder, traceId, event, index }));
  }
  return answers;
}

async function ingestInBatch(
  http: HttpContext,
  of: Omit<Incoming, "reading"> & { readonly event: unknown; readonly index: number },
): Promise<object> {
  try {
    const reading = readJson(JSON.stringify(of.event), http.limits);
    return eventView(await ingest(http, { ...of, reading }));
  } catch (thrown) {
    http.onProblem(thrown instanceof HoldpointError ? thrown.code : "internal_error");
    if (!(thrown instanceof HoldpointError)) http.onInternalError(thrown as Error);
    const { body } = problemOf(thrown, { mode: undefined, traceId: of.traceId });
    return { ...body, pointer: `/events/${of.index}${body.pointer ?? ""}` };
  }
}

/** What became of an event, whoever brought it. */
export function eventView({ event, sequence, isRepeated }: IngestAnswer): object {
  const { id, source, type, entity, applied, from, to, version, trace_id } = event;
  const stood = from === null ? "it has no state yet" : `it is ${from}`;
  return {
    event_id: id,
    source,
    type,
    entity,
    sequence,
    repeated: isRepeated,
    applied,
    from,
    state: to,
    version,
    ...(applied
      ? {}
      : { refusal: { code: "no_transition", message: `${type} leads nowhere: ${stood}`, current_state: from } }),
    trace_id,
  };
}

function entityView({ entity, history, cursor }: EntityAnswer, rebuild: Rebuild | undefined): object {
  const { ref, state, version, attributes, events, chain, changedAtMs } = entity;
  return {
    ...ref,
    state,
    version,
    attributes,
    events,
    chain,
    changed_at: new Date(changedAtMs).toISOString(),
    history,
    cursor: cursor ?? null,
    ...(rebuild === undefined ? {} : { rebuild }),
  };
}

function beforeOf(query: URLSearchParams): number | undefined {
  const text = queryValue(query, "cursor");
  if (text === undefined) return undefined;
  if (/^[1-9][0-9]{0,14}$/.test(text)) return Number(text);
  throw new InvalidRequestError("invalid_request", "Query parameter cursor: expected one of a page before");
}

function rebuildOf(query: URLSearchParams): "none" | "full" | undefined {
  const text = queryValue(query, "rebuild");
  if (text === undefined || text === "full" || text === "none") return text;
  throw new InvalidRequestError("invalid_request", "Query parameter rebuild: expected full or none");
}
