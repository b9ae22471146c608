/** Executions that nobody reported: outcome unknown. */
import { Router } from "express";
import { InvalidRequestError } from "../core/errors.ts";
import { executionView } from "../gate/report-execution.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendJson } from "./exchange.ts";

const PAGE_DEFAULT = 50;
const PAGE_MAX = 500;

export function executionRoutes(http: HttpContext): Router {
  const router = Router();
  router.get("/v1/executions", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    const query = queryOf(request);
    if ((queryValue(query, "status") ?? "unknown") !== "unknown") {
      throw new InvalidRequestError(
        "invalid_request",
        "Query parameter status: expected unknown; reported ones are in the ledger",
      );
    }
    const limit = queryLimit(query, PAGE_DEFAULT, PAGE_MAX);
    const page = await http.gate.listUnknownExecutions(tenant, limit, queryValue(query, "cursor"));
    sendJson(response, { executions: page.executions.map(executionView), cursor: page.cursor ?? null });
  });
  return router;
}
