/** A first look for people with a browser, on the admin port: HTML, a style sheet and an icon, and no script. */
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Router } from "express";
import { HoldpointError, InvalidRequestError, toError } from "../core/errors.ts";
import type { Tenant } from "../core/types.ts";
import type { Operator } from "./authenticate.ts";
import { type HttpContext, queryOf, queryValue, traceIdOf } from "./exchange.ts";
import type { Operations } from "./operation-routes.ts";
import { problemOf } from "./problem.ts";
import type { ObservedView, Part, PendingView } from "./status-approvals.ts";
import { refusedPage, statusPage } from "./status-page.ts";
import { PAGE_BUDGET, withinBudget } from "./within-budget.ts";

/** Approvals on one page. */
export const PENDING_SHOWN_MAX = 50;
const OBSERVED_SHOWN_MAX = 20;

const HEADERS = {
  "content-security-policy":
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
  "x-frame-options": "DENY",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
} as const;

const HTML = "text/html; charset=utf-8";
const STYLE = readFileSync(new URL("./status.css", import.meta.url), "utf8");
const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" fill="#1f4fd8"/><path d="M10 8v16M22 8v16M10 16h12" stroke="#fff" stroke-width="4" stroke-linecap="round" fill="none"/></svg>`;

export function statusRoutes(http: HttpContext, operations: Operations): Router {
  const router = Router();
  router.get("/", (_, response) => {
    response.writeHead(303, { ...HEADERS, location: "/status", "content-length": 0 });
    response.end();
  });
  router.get("/status.css", (_, response) => send(response, 200, STYLE, "text/css; charset=utf-8"));
  router.get("/status.svg", (_, response) => send(response, 200, ICON, "image/svg+xml"));
  const page = createPages((of) => pageFor(http, operations, of));
  router.get("/status", async (request, response) => {
    try {
      // The one route where a browser's own sign-in counts: it reads, and changes nothing.
      const visitor = await http.authenticator.visitor(request);
      send(response, 200, await page(visitor, refreshes(request))(), HTML);
    } catch (thrown) {
      refuse(http, thrown, request, response);
    }
  });
  return router;
}

/** Pages that are kept at once; they differ by tenant and little else. */
const PAGES_MAX = 500;

/** One page for all viewers of a tenant: what it takes from deciding does not grow with their number. */
function createPages(render: (of: { readonly visitor: Operator; readonly refreshes: boolean }) => Promise<string>) {
  const pages = new Map<string, () => Promise<string>>();
  return (visitor: Operator, refreshes: boolean): (() => Promise<string>) => {
    const key = `${visitor.tenant} ${visitor.isAuthenticated} ${refreshes}`;
    const known = pages.get(key);
    if (known !== undefined) return known;
    if (pages.size >= PAGES_MAX) pages.clear();
    const page = withinBudget(
      () => render({ visitor, refreshes }),
      () => performance.now(),
      PAGE_BUDGET,
    );
    pages.set(key, page);
    return page;
  };
}

function refreshes(request: IncomingMessage): boolean {
  const word = queryValue(queryOf(request), "refresh");
  if (word === undefined || word === "off") return word === undefined;
  throw new InvalidRequestError("invalid_request", "Query parameter refresh: expected off");
}

async function pageFor(
  http: HttpContext,
  operations: Operations,
  of: { readonly visitor: Operator; readonly refreshes: boolean },
): Promise<string> {
  const { tenant } = of.visitor;
  const [readiness, activity, pending, observed] = await Promise.all([
    operations.readiness(),
    operations.activity(tenant),
    part(http, readPending(http, operations, of.visitor)),
    part(http, readObserved(http, operations, tenant)),
  ]);
  return statusPage({
    tenant,
    refreshes: of.refreshes,
    now: operations.now(),
    issuer: operations.issuer,
    modes: operations.modes(),
    authentication: operations.authentication(),
    policy: operations.policy.status(),
    readiness,
    activity,
    pending,
    observed,
  });
}

/** The rest of the page is shown when this part of it cannot be read. */
async function part<T>(http: HttpContext, reading: Promise<T>): Promise<Part<T>> {
  try {
    return { kind: "known", value: await reading };
  } catch (thrown) {
    if (thrown instanceof HoldpointError) return { kind: "away", message: thrown.message };
    http.onInternalError(toError(thrown));
    return { kind: "away", message: "Something went wrong in the sidecar; its log says what" };
  }
}

async function readPending(
  http: HttpContext,
  operations: Operations,
  { tenant, isAuthenticated }: Operator,
): Promise<PendingView> {
  const { approvals, cursor } = await http.gate.listApprovals({ tenant, status: "pending", limit: PENDING_SHOWN_MAX });
  if (cursor === undefined) return { approvals, isAuthenticated, total: approvals.length };
  // Counted a moment later: more may have come or gone, but there are at least those that are shown.
  const total = Math.max(approvals.length, await operations.pendingApprovals(tenant));
  return { approvals, isAuthenticated, total };
}

/** The ledger is read through for it, so only where something can be observed at all. */
async function readObserved(
  http: HttpContext,
  operations: Operations,
  tenant: Tenant,
): Promise<readonly ObservedView[]> {
  const { mode, tenants, actions, policy_may_observe } = operations.modes();
  const isObserved = (of: { readonly mode: string } | undefined) => of?.mode === "observe";
  const own = tenants[tenant] ?? { mode };
  if (!policy_may_observe && !isObserved(own) && !Object.values(actions).some(isObserved)) return [];
  const page = await http.gate.listObservations({ tenant, limit: OBSERVED_SHOWN_MAX, before: undefined });
  return page.observations as unknown as readonly ObservedView[];
}

function refuse(http: HttpContext, thrown: unknown, request: IncomingMessage, response: ServerResponse): void {
  const traceId = traceIdOf(request);
  const { status, body } = problemOf(thrown, { mode: undefined, traceId });
  http.onProblem(thrown instanceof HoldpointError ? thrown.code : "internal_error");
  if (!(thrown instanceof HoldpointError)) http.onInternalError(toError(thrown));
  if (status === 401) response.setHeader("www-authenticate", 'Basic realm="holdpoint", charset="UTF-8"');
  if (status === 429) response.setHeader("retry-after", 1);
  send(response, status, refusedPage({ status, code: String(body.code), detail: String(body.detail), traceId }), HTML);
}

function send(response: ServerResponse, status: number, text: string, type: string): void {
  response.writeHead(status, { ...HEADERS, "content-type": type, "content-length": Buffer.byteLength(text) });
  response.end(text);
}
