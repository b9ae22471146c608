/** What observe mode let pass and enforce mode would have stopped. */
import { Router } from "express";
import { InvalidRequestError } from "../core/errors.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendJson } from "./exchange.ts";

const PAGE_DEFAULT = 50;
const PAGE_MAX = 500;

export function observationRoutes(http: HttpContext): Router {
  const router = Router();
  router.get("/v1/observations", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const query = queryOf(request);
    const limit = queryLimit(query, PAGE_DEFAULT, PAGE_MAX);
    const page = await http.gate.listObservations({ tenant, limit, before: cursorOf(queryValue(query, "cursor")) });
    sendJson(response, { observations: page.observations, cursor: page.cursor?.toString() ?? null });
  });
  return router;
}

function cursorOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,15}$/.test(text))
    throw new InvalidRequestError("invalid_request", "Query parameter cursor: expected what the page before gave");
  return Number(text);
}
