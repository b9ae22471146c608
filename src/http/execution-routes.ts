/** Executions that nobody reported: outcome unknown. */
import { Router } from "express";
import { InvalidRequestError } from "../core/errors.ts";
import { parseReading } from "../core/schema.ts";
import { executionView } from "../gate/report-execution.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendJson } from "./exchange.ts";
import { operatorOf } from "./freeze-routes.ts";
import { readBody } from "./read-body.ts";
import { EXECUTIONS_PAGE, resolveSchema } from "./request-schemas.ts";

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
    const limit = queryLimit(query, EXECUTIONS_PAGE);
    const page = await http.gate.listUnknownExecutions(tenant, limit, queryValue(query, "cursor"));
    sendJson(response, { executions: page.executions.map(executionView), cursor: page.cursor ?? null });
  });
  router.post("/v1/executions/:id/resolve", async (request, response) => {
    const holder = await http.authenticator.holder(request, "operate");
    const { status, reason, actor } = parseReading(resolveSchema, await readBody(request, http.limits), "resolution");
    const { tenant } = holder;
    const executionId = request.params.id;
    const by = operatorOf(holder, actor);
    const execution = await http.gate.resolveExecution({ tenant, executionId, status, reason, by });
    sendJson(response, executionView(execution));
  });
  return router;
}
