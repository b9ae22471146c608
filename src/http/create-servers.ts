/** The two listeners: the decision port for agents and executors, the admin port for reviewers and operators. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import express, { type Express, type NextFunction, type Request, type Response, type Router } from "express";
import { HoldpointError, InvalidRequestError, type NotFoundError } from "../core/errors.ts";
import type { Ledger } from "../core/ports.ts";
import { approvalRoutes, ownApprovalRoutes } from "./approval-routes.ts";
import { decisionRoutes } from "./decision-routes.ts";
import { eventRoutes } from "./event-routes.ts";
import { type HttpContext, traceIdOf } from "./exchange.ts";
import { executionRoutes } from "./execution-routes.ts";
import { freezeRoutes } from "./freeze-routes.ts";
import { ledgerRoutes } from "./ledger-routes.ts";
import { observationRoutes } from "./observation-routes.ts";
import { commonRoutes, type Operations, operationRoutes } from "./operation-routes.ts";
import { problemOf, sendProblem } from "./problem.ts";
import { statusRoutes } from "./status-routes.ts";
import { timelineRoutes } from "./timeline-routes.ts";
import { webhookRoutes } from "./webhook-routes.ts";

export interface ServerOptions {
  readonly connectionsMax: number;
  /** Of other protocols that this port speaks. */
  readonly routers: readonly Router[];
  /** A TCP listener without authentication, which trusts whoever is on this machine. */
  readonly isLocalOnly: boolean;
  /** A listener that others reach, too (probes, scrapes, reviewers): this machine's own may not take all its connections. */
  readonly isForOthers: boolean;
}

/** How long a client may take over its headers and over its whole request; slow ones are cut off. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How often those are looked at; with Node's own 30 s a slow client would have up to 40 s for its headers. */
const TIMEOUT_CHECK_MS = 1_000;
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const HEADER_BYTES_MAX = 16 * 1024;

/** Where a path's answers say what they mean for an action. */
const DECISION_PATH = /^\/v1\/(?:(?:decisions|permits|executions|proposals)(?:\/|$)|entities\/[^/]+\/actions\/)/;

export function createDecisionServer(http: HttpContext, operations: Operations, options: ServerOptions): Server {
  const app = createApp(http, [commonRoutes(operations, http.limits), ownApprovalRoutes(http), ...options.routers]);
  return createListener(http, app, options);
}

export function createAdminServer(
  http: HttpContext,
  operations: Operations,
  options: ServerOptions & { readonly ledger: Ledger },
): Server {
  const app = createApp(http, [
    commonRoutes(operations, http.limits),
    operationRoutes(http, operations),
    approvalRoutes(http),
    observationRoutes(http),
    executionRoutes(http),
    eventRoutes(http),
    webhookRoutes(http),
    freezeRoutes(http),
    timelineRoutes(http),
    ...options.routers,
    ledgerRoutes(http, options.ledger),
    statusRoutes(http, operations),
  ]);
  return createListener(http, app, options);
}

function createListener(http: HttpContext, app: Express, options: ServerOptions): Server {
  const fastLane = decisionRoutes(http);
  const limits = { maxHeaderSize: HEADER_BYTES_MAX, connectionsCheckingInterval: TIMEOUT_CHECK_MS };
  const server = createServer(limits, (request, response) => {
    // Draining: the client is told to open its next connection elsewhere.
    if (!server.listening) response.setHeader("connection", "close");
    if (options.isLocalOnly && isFromElsewhere(request)) return refuseElsewhere(http, request, response);
    const handler = fastLane.get(`${request.method} ${request.url}`);
    if (handler === undefined) app(request, response);
    else void handler(request, response);
  });
  server.headersTimeout = HEADERS_TIMEOUT_MS;
  server.requestTimeout = REQUEST_TIMEOUT_MS;
  server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
  server.maxConnections = options.connectionsMax;
  if (options.isForOthers) keepRoomForOthers(server, Math.max(1, Math.floor(options.connectionsMax * LOCAL_SHARE)));
  return server;
}

/** Of the connections of a port that is for others, too, what the programs on this machine may have. */
export const LOCAL_SHARE = 0.5;

/** INVARIANT: the agent beside us cannot keep probes out, and so have us restarted. */
function keepRoomForOthers(server: Server, localMax: number): void {
  let locals = 0;
  server.on("connection", (socket) => {
    const { remoteAddress, localAddress } = socket;
    if (remoteAddress !== localAddress && !LOOPBACK.test(remoteAddress ?? "")) return;
    if (locals >= localMax) return void socket.destroy();
    locals += 1;
    socket.once("close", () => {
      locals -= 1;
    });
  });
}

const LOOPBACK = /^(::ffff:)?127\.|^::1$/;
const LOCAL_HOST = /^(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?$/i;

/**
 * A page of some web site, in a browser on this machine: it has this port's address under a name of its own (DNS
 * rebinding), or the browser says where the request comes from. Without authentication nothing else would stop it.
 */
function isFromElsewhere({ headers, headersDistinct }: IncomingMessage): boolean {
  const site = headers["sec-fetch-site"];
  return (
    (headersDistinct.host?.length ?? 0) > 1 ||
    !LOCAL_HOST.test(headers.host ?? "") ||
    !(site === undefined || site === "same-origin" || site === "none")
  );
}

function refuseElsewhere(http: HttpContext, request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  const error = new InvalidRequestError(
    "forbidden",
    "Without authentication this port is for programs on this machine, by the names localhost, 127.0.0.1 or [::1]",
  );
  answerError(http, error, request, response);
}

function createApp(http: HttpContext, routers: readonly Router[]): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("query parser", false);
  app.set("case sensitive routing", true);
  app.set("strict routing", true);
  for (const router of routers) app.use(router);
  const fastLane = decisionRoutes(http);
  app.use((request: Request) => {
    const hasOtherMethod = fastLane.has(`POST ${request.path}`) && request.method !== "POST";
    if (hasOtherMethod) {
      throw new InvalidRequestError("method_not_allowed", `${request.path} takes POST, not ${request.method}`);
    }
    throw new InvalidRequestError("route_not_found", `No route ${request.method} ${request.path}`);
  });
  app.use((thrown: unknown, request: Request, response: Response, _next: NextFunction) =>
    answerError(http, thrown, request, response),
  );
  return app;
}

function answerError(http: HttpContext, thrown: unknown, request: IncomingMessage, response: ServerResponse): void {
  const error = malformedUrl(thrown) ?? thrown;
  http.onProblem(error instanceof HoldpointError ? error.code : "internal_error");
  if (!(error instanceof HoldpointError)) http.onInternalError(error as Error);
  const mode = DECISION_PATH.test(request.url ?? "") ? http.gate.modeOf(undefined) : undefined;
  sendProblem(response, problemOf(error, { mode, traceId: traceIdOf(request) }));
}

/** Express says so of a path that cannot be decoded. */
function malformedUrl(thrown: unknown): NotFoundError | InvalidRequestError | undefined {
  return thrown instanceof URIError
    ? new InvalidRequestError("invalid_request", "The path is not well-formed")
    : undefined;
}
