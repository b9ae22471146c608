/** Webhooks of others: who sent it is proven by its signature, or by a credential where it has none. */
import type { IncomingMessage } from "node:http";
import { Router } from "express";
import { InvalidRequestError, NotFoundError } from "../core/errors.ts";
import type { WebhookAdapter } from "../core/webhook-adapter.ts";
import { eventView } from "./event-routes.ts";
import { type HttpContext, sendJson, traceIdOf } from "./exchange.ts";
import { refusedProblem, sendProblem } from "./problem.ts";
import { readBytes } from "./read-body.ts";

export function webhookRoutes(http: HttpContext): Router {
  const router = Router();
  router.post("/v1/ingest/:adapter", async (request, response) => {
    const adapter = http.adapters.get(request.params.adapter);
    if (adapter === undefined) throw unknownAdapter(request.params.adapter);
    const producer = adapter.needsCredential ? await requireHolder(http, request, adapter) : undefined;
    const rawBody = await readBytes(request, http.limits.bytesMax);
    const traceId = traceIdOf(request);
    const nowMs = http.now().getTime();
    const answer = adapter.receive({ headers: request.headers, rawBody, nowMs });
    switch (answer.kind) {
      case "ignored":
        return sendJson(response, { ignored: true, reason: answer.reason, trace_id: traceId });
      case "refused":
        http.onProblem(answer.code);
        return sendProblem(response, refusedProblem(answer, traceId));
      case "event": {
        const ingested = await http.gate.ingestEvent({
          tenant: adapter.tenant,
          event: { ...answer.event, source: adapter.source },
          expectedVersion: undefined,
          traceId,
          producer: producer ?? `adapter:${request.params.adapter}`,
        });
        return sendJson(response, eventView(ingested));
      }
    }
  });
  return router;
}

/** Without a signature the adapter is for credentials of its own tenant. */
async function requireHolder(
  http: HttpContext,
  request: IncomingMessage,
  { tenant }: WebhookAdapter,
): Promise<string | undefined> {
  const holder = await http.authenticator.holder(request, "ingest");
  if (holder.tenant === tenant) return holder.id;
  throw new InvalidRequestError("forbidden", "This adapter brings events of another tenant");
}

function unknownAdapter(name: string): NotFoundError {
  return new NotFoundError("adapter_not_found", `No webhook adapter ${JSON.stringify(name)} is configured`);
}
