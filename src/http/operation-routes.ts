/** Health, readiness, metrics, keys and the active policy. */
import { Router } from "express";
import type { PermitVerifier, PolicySource } from "../core/ports.ts";
import type { Mode, Tenant } from "../core/types.ts";
import type { AuthWord } from "./authenticate.ts";
import { type HttpContext, sendJson, sendText } from "./exchange.ts";

export interface Readiness {
  readonly isReady: boolean;
  /** Each part with "ok" or what is wrong. */
  readonly checks: Readonly<Record<string, string>>;
}

export interface Operations {
  readonly policy: PolicySource;
  readonly verifier: PermitVerifier;
  /** Modes as configured now. */
  modes(): {
    readonly mode: Mode;
    readonly tenants: Readonly<Record<string, { readonly mode: Mode }>>;
    readonly actions: Readonly<Record<string, { readonly mode: Mode }>>;
    readonly policy_may_observe: boolean;
  };
  /** What each port asks for. */
  authentication(): {
    readonly callers: readonly AuthWord[];
    readonly admins: readonly AuthWord[];
    readonly metrics: readonly AuthWord[];
  };
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
  router.get("/metrics", async (request, response) => {
    await http.authenticator.scraper(request);
    const { text, contentType } = await operations.metrics();
    sendText(response, 200, text, contentType);
  });
  router.get("/v1/policy", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    sendJson(response, policyView(operations, tenant));
  });
  return router;
}

/** INVARIANT (isolated): of tenants' modes each sees its own. */
function policyView(operations: Operations, tenant: Tenant): object {
  const { active, lastError } = operations.policy.status();
  const { mode, tenants, actions, policy_may_observe } = operations.modes();
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
    mode: tenants[tenant]?.mode ?? mode,
    actions,
    policy_may_observe,
    authentication: operations.authentication(),
  };
}
