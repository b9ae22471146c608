/** What observe mode let pass and enforce mode would have stopped. */
import { Router } from "express";
import { InvalidRequestError } from "../core/errors.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendJson } from "./exchange.ts";
import { INDEX, OBSERVATIONS_PAGE } from "./request-schemas.ts";

export function observationRoutes(http: HttpContext): Router {
  const router = Router();
  router.get("/v1/observations", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const query = queryOf(request);
    const limit = queryLimit(query, OBSERVATIONS_PAGE);
    const page = await http.gate.listObservations({ tenant, limit, before: cursorOf(queryValue(query, "cursor")) });
    sendJson(response, { observations: page.observations, cursor: page.cursor?.toString() ?? null });
  });
  return router;
}

function cursorOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!INDEX.test(text))
    throw new InvalidRequestError("invalid_request", "Query parameter cursor: expected what the page before gave");
  return Number(text);
}
