/** Freezes: what is stopped, by whom and why. */
import { Router } from "express";
import { InvalidRequestError } from "../core/errors.ts";
import { parseReading } from "../core/schema.ts";
import { freezeView } from "../gate/freeze.ts";
import type { Holder } from "./authenticate.ts";
import { type HttpContext, sendJson, traceIdOf } from "./exchange.ts";
import { readBody } from "./read-body.ts";
import { freezeSchema, liftSchema } from "./request-schemas.ts";

export function freezeRoutes(http: HttpContext): Router {
  const router = Router();
  router.get("/v1/freezes", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    sendJson(response, { freezes: (await http.gate.listFreezes(tenant)).map(freezeView) });
  });
  router.post("/v1/freezes", async (request, response) => {
    const holder = await http.authenticator.holder(request, "operate");
    const body = parseReading(freezeSchema, await readBody(request, http.limits), "freeze");
    const { kind, subject = "", reason, actor } = body;
    const by = operatorOf(holder, actor);
    const frozen = await http.gate.freeze({
      tenant: holder.tenant,
      kind,
      subject,
      reason,
      by,
      traceId: traceIdOf(request),
    });
    sendJson(response, { freeze: freezeView(frozen) }, 201);
  });
  router.post("/v1/freezes/:id/lift", async (request, response) => {
    const holder = await http.authenticator.holder(request, "operate");
    const { reason, actor } = parseReading(liftSchema, await readBody(request, http.limits), "lifting of a freeze");
    const { id } = request.params;
    const by = operatorOf(holder, actor);
    const lifted = await http.gate.liftFreeze({ tenant: holder.tenant, id, reason, by, traceId: traceIdOf(request) });
    sendJson(response, { freeze: freezeView(lifted), lifted_by: by });
  });
  return router;
}

/** Whom the credential names; where there is none, whom the body names. @throws InvalidRequestError where they differ */
export function operatorOf(holder: Holder, said: { readonly id: string } | undefined): string {
  if (holder.id !== undefined && said !== undefined && said.id !== holder.id) {
    throw new InvalidRequestError("forbidden", "Who asks is whom the credential names; leave actor out", {
      pointer: "/actor",
    });
  }
  return holder.id ?? said?.id ?? "unauthenticated";
}
