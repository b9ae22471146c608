/** One request and its answer, as every route sees them. */
import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Caller } from "../core/caller.ts";
import { type ErrorCode, InvalidRequestError } from "../core/errors.ts";
import type { ReadLimits } from "../core/read-json.ts";
import { parseTraceparent } from "../core/trace.ts";
import type { WebhookAdapter } from "../core/webhook-adapter.ts";
import type { Gate } from "../gate/gate.ts";
import type { Authenticator } from "./authenticate.ts";
import type { PageSize } from "./request-schemas.ts";

export interface HttpLimits extends ReadLimits {
  readonly batchMax: number;
  readonly waitMsMax: number;
}

export interface HttpContext {
  readonly gate: Gate;
  readonly authenticator: Authenticator;
  readonly limits: HttpLimits;
  /** By the names under which their webhooks arrive. */
  readonly adapters: ReadonlyMap<string, WebhookAdapter>;
  /** The sidecar's clock. */
  now(): Date;
  /** Aborts when the sidecar begins to shut down: whoever waits is answered with what is. */
  readonly draining: AbortSignal;
  /** Internal errors, for the log. */
  readonly onInternalError: (error: Error) => void;
  /** Told of a good credential whose bearer claimed more than it allows. */
  readonly onOverreach: (overreach: { readonly caller: Caller; readonly source: string }) => void;
  /** Told the code of every problem that is answered. */
  readonly onProblem: (code: ErrorCode) => void;
}

export function traceIdOf(request: IncomingMessage): string {
  const header = request.headers.traceparent;
  const given = typeof header === "string" ? parseTraceparent(header) : undefined;
  return given ?? randomBytes(16).toString("hex");
}

export function sendText(response: ServerResponse, status: number, text: string, type = "application/json"): void {
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  });
  response.end(text);
}

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  sendText(response, status, JSON.stringify(value));
}

/** One value of a query parameter; twice the same parameter is refused, as readers would disagree on it. */
export function queryValue(query: URLSearchParams, name: string): string | undefined {
  const values = query.getAll(name);
  if (values.length > 1) throw new InvalidRequestError("invalid_request", `Query parameter ${name} stands twice`);
  return values[0];
}

export function queryOf(request: IncomingMessage): URLSearchParams {
  const url = request.url ?? "/";
  const mark = url.indexOf("?");
  return new URLSearchParams(mark === -1 ? "" : url.slice(mark + 1));
}

/** How many items are asked for: 1 to `size.max`. */
export function queryLimit(query: URLSearchParams, size: PageSize): number {
  const text = queryValue(query, "limit");
  if (text === undefined) return size.default;
  const limit = /^[0-9]{1,6}$/.test(text) ? Number(text) : Number.NaN;
  if (!(limit >= 1 && limit <= size.max))
    throw new InvalidRequestError("invalid_request", `Query parameter limit: expected 1 to ${size.max}`);
  return limit;
}
