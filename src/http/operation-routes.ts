/** Health, readiness, metrics, keys and the active policy. */
import { Router } from "express";
import type { PermitVerifier, PolicySource, RecentActivity } from "../core/ports.ts";
import type { Mode, Tenant } from "../core/types.ts";
import type { AuthWord } from "./authenticate.ts";
import { type HttpContext, type HttpLimits, sendJson, sendText } from "./exchange.ts";
import type { PolicyAnswer, ReadinessAnswer } from "./openapi/response-schemas.ts";
import { packageVersion } from "./package-version.ts";
import { SCRAPE_BUDGET, withinBudget } from "./within-budget.ts";

export interface Readiness {
  readonly isReady: boolean;
  /** Each part with "ok" or what is wrong. */
  readonly checks: Readonly<Record<string, string>>;
}

export interface Operations {
  /** This sidecar's name. */
  readonly issuer: string;
  /** The sidecar's clock. */
  now(): Date;
  activity(tenant: Tenant): Promise<RecentActivity>;
  /** How many approvals of this tenant wait. @throws UnavailableError */
  pendingApprovals(tenant: Tenant): Promise<number>;
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
export function commonRoutes(operations: Operations, limits: HttpLimits): Router {
  const router = Router();
  router.get("/healthz", (_, response) => sendJson(response, { status: "ok" }));
  router.get("/readyz", async (_, response) => {
    const { isReady, checks } = await operations.readiness();
    const answer: ReadinessAnswer = { status: isReady ? "ok" : "unavailable", checks };
    sendJson(response, answer, isReady ? 200 : 503);
  });
  router.get("/.well-known/jwks.json", (_, response) => sendJson(response, operations.verifier.jwks()));
  const version = packageVersion();
  let description: Promise<Buffer> | undefined;
  router.get("/openapi.json", async (_, response) => {
    description ??= describe(limits, version);
    const bytes = await description;
    response.writeHead(200, {
      "content-type": "application/json",
      "content-length": bytes.length,
      "cache-control": "public, max-age=300",
    });
    response.end(bytes);
  });
  return router;
}

/** Few ask, so it is neither loaded nor made before somebody does. */
async function describe(limits: HttpLimits, version: string): Promise<Buffer> {
  const { openApiText } = await import("./openapi.ts");
  return Buffer.from(openApiText(limits, version));
}

/** Served by the admin port. */
export function operationRoutes(http: HttpContext, operations: Operations): Router {
  const router = Router();
  const scrape = withinBudget(
    () => operations.metrics(),
    () => performance.now(),
    SCRAPE_BUDGET,
  );
  router.get("/metrics", async (request, response) => {
    await http.authenticator.scraper(request);
    const { text, contentType } = await scrape();
    sendText(response, 200, text, contentType);
  });
  router.get("/v1/policy", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    sendJson(response, policyView(operations, tenant));
  });
  return router;
}

/** INVARIANT (isolated): of tenants' modes each sees its own. */
function policyView(operations: Operations, tenant: Tenant): PolicyAnswer {
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
