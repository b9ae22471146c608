/** Health, readiness, metrics, keys and the active policy. */
import { Router } from "express";
import type { PermitVerifier, PolicySource } from "../core/ports.ts";
import type { Mode } from "../core/types.ts";
import { type HttpContext, sendJson, sendText } from "./exchange.ts";

export interface Readiness {
  readonly isReady: boolean;
  /** Each part with "ok" or what is wrong. */
  readonly checks: Readonly<Record<string, string>>;
}

export interface Operations {
  readonly policy: PolicySource;
  readonly verifier: PermitVerifier;
  readonly mode: Mode;
  readonly isAuthenticated: { readonly callers: boolean; readonly admins: boolean };
  readiness(): Promise<Readiness>;
  /** OpenMetrics or Prometheus text. */
  metrics(): Promise<{ readonly text: string; readonly contentType: string }>;
}

/** Served by both ports. */
export function commonRoutes(operations: Operations): Router {
  const router = Router();
  router.get("/healthz", (_, response) => sendJson(response, { status: "ok" }));
  router.get("/readyz", async (_, response) => {
    const { isReady, checks } = await operations.readiness();
    sendJson(response, { status: isReady ? "ok" : "unavailable", checks }, isReady ? 200 : 503);
  });
  router.get("/.well-known/jwks.json", (_, response) => sendJson(response, operations.verifier.jwks()));
  return router;
}

/** Served by the admin port. */
export function operationRoutes(http: HttpContext, operations: Operations): Router {
  const router = Router();
  router.get("/metrics", async (_, response) => {
    const { text, contentType } = await operations.metrics();
    sendText(response, 200, text, contentType);
  });
  router.get("/v1/policy", (request, response) => {
    http.authenticator.operator(request);
    sendJson(response, policyView(operations));
  });
  return router;
}

function policyView(operations: Operations): object {
  const { active, lastError } = operations.policy.status();
  return {
    active:
      active === undefined
        ? null
        : {
            digest: active.digest,
            revision: active.revision,
            entrypoint: active.entrypoint,
            loaded_at: active.loadedAt.toISOString(),
          },
    last_error:
      lastError === undefined
        ? null
        : { code: lastError.code, message: lastError.message, at: lastError.at.toISOString() },
    mode: operations.mode,
    authentication: operations.isAuthenticated,
  };
}
