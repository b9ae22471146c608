/** The audit timeline: what happened in one trace, or to one entity. */
import { Router } from "express";
import { InvalidRequestError } from "../core/errors.ts";
import { IDENTIFIER } from "../core/schema.ts";
import type { EntityRef } from "../core/types.ts";
import { type HttpContext, queryOf, sendJson } from "./exchange.ts";
import { cursorText, timelineQuery } from "./timeline-query.ts";

export function timelineRoutes(http: HttpContext): Router {
  const router = Router();
  router.get("/v1/traces/:id", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const traceId = request.params.id;
    const about = { kind: "trace", traceId } as const;
    const { rows, cursor } = await http.gate.readTimeline({ tenant, about, ...timelineQuery(queryOf(request)) });
    sendJson(response, { trace_id: traceId, rows, cursor: cursorText(cursor) });
  });
  router.get("/v1/entities/:type/:id/timeline", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const ref = entityOf(request.params);
    const about = { kind: "entity", ref } as const;
    const page = await http.gate.readTimeline({ tenant, about, ...timelineQuery(queryOf(request)) });
    const { rows, cursor, rebuild } = page;
    sendJson(response, { entity: ref, rows, cursor: cursorText(cursor), rebuild });
  });
  return router;
}

function entityOf({ type, id }: EntityRef): EntityRef {
  for (const [name, text] of Object.entries({ type, id })) {
    if (!IDENTIFIER.test(text)) throw new InvalidRequestError("invalid_request", `No entity has such a ${name}`);
  }
  return { type, id };
}
