/** Approvals: reviewers list, read, wait and act on the admin port; callers read and wait for their own on the decision port. */

import type { IncomingMessage, ServerResponse } from "node:http";
import { Router } from "express";
import type { z } from "zod";
import type { Reviewer } from "../core/caller.ts";
import { InvalidRequestError } from "../core/errors.ts";
import type { Approval, ApprovalStatus } from "../core/ports.ts";
import type { Reading } from "../core/read-json.ts";
import { parseReading } from "../core/schema.ts";
import type { Digest, JsonObject } from "../core/types.ts";
import { approvalView } from "../gate/record.ts";
import { type HttpContext, queryLimit, queryOf, queryValue, sendJson } from "./exchange.ts";
import { readOptionalBody } from "./read-body.ts";
import {
  APPROVAL_STATUSES,
  APPROVALS_PAGE,
  actSchema,
  DURATION,
  grantSchema,
  type reviewerActor,
} from "./request-schemas.ts";

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000 };

export function approvalRoutes(http: HttpContext): Router {
  const router = Router();
  router.get("/v1/approvals", (request, response) => list(http, request, response));
  router.get("/v1/approvals/:id", async (request, response) => {
    const { tenant } = await http.authenticator.operator(request);
    await answerWhenChanged(http, request, response, await http.gate.readApproval(tenant, request.params.id));
  });
  for (const verdict of ["grant", "deny", "cancel"] as const) {
    router.post(`/v1/approvals/:id/${verdict}`, (request, response) =>
      act(http, request, response, { verdict, id: request.params.id }),
    );
  }
  return router;
}

/** The same path for those who propose. */
export function ownApprovalRoutes(http: HttpContext): Router {
  const router = Router();
  router.get("/v1/approvals/:id", async (request, response) => {
    const caller = await http.authenticator.caller(request);
    await answerWhenChanged(http, request, response, await http.gate.readOwnApproval(caller, request.params.id));
  });
  return router;
}

async function list(http: HttpContext, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { tenant } = await http.authenticator.operator(request);
  const query = queryOf(request);
  const status = (queryValue(query, "status") ?? "pending") as ApprovalStatus;
  if (!APPROVAL_STATUSES.includes(status)) {
    throw new InvalidRequestError(
      "invalid_request",
      `Query parameter status: expected one of ${APPROVAL_STATUSES.join(", ")}`,
    );
  }
  const cursor = queryValue(query, "cursor");
  const limit = queryLimit(query, APPROVALS_PAGE);
  const page = await http.gate.listApprovals({ tenant, status, limit, ...(cursor === undefined ? {} : { cursor }) });
  sendJson(response, { approvals: page.approvals.map(approvalView), cursor: page.cursor ?? null });
}

async function answerWhenChanged(
  http: HttpContext,
  request: IncomingMessage,
  response: ServerResponse,
  approval: Approval,
): Promise<void> {
  const waitMs = waitOf(http, request);
  // What a client waits for is the end of pending, which may have come between its last look and this request.
  if (waitMs === 0 || approval.status !== "pending") return sendJson(response, approvalView(approval));
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  const changed = await http.gate.waitApproval(approval, waitMs, AbortSignal.any([gone.signal, http.draining]));
  if (!gone.signal.aborted) sendJson(response, approvalView(changed));
}

function waitOf(http: HttpContext, request: IncomingMessage): number {
  const text = queryValue(queryOf(request), "wait");
  if (text === undefined) return 0;
  const match = DURATION.exec(text);
  const waitMs = match === null ? Number.NaN : Number(match[1]) * UNIT_MS[match[2] ?? "s"]!;
  const { waitMsMax } = http.limits;
  if (!(waitMs <= waitMsMax)) {
    throw new InvalidRequestError(
      "invalid_request",
      `Query parameter wait: expected a duration such as 30s, at most ${waitMsMax / 1000}s`,
    );
  }
  return waitMs;
}

async function act(
  http: HttpContext,
  request: IncomingMessage,
  response: ServerResponse,
  of: { readonly verdict: "grant" | "deny" | "cancel"; readonly id: string },
): Promise<void> {
  const authenticated = await http.authenticator.reviewer(request);
  const reading = await readOptionalBody(request, http.limits);
  const schema: z.ZodType<z.infer<typeof grantSchema>> = of.verdict === "grant" ? grantSchema : actSchema;
  const body = parseReading(schema, reading, of.verdict);
  const approval = await http.gate.review({
    id: of.id,
    verdict: of.verdict,
    reviewer: reviewerOf(authenticated, body.actor),
    reason: body.reason ?? "",
    bindingEcho: body.binding_digest as Digest | undefined,
    edit: editOf(reading, body.arguments),
  });
  sendJson(response, { approval: approvalView(approval) });
}

/** INVARIANT (separate): who reviews comes from the credential; the body is asked only where there is none. */
function reviewerOf(authenticated: Reviewer | undefined, said: z.infer<typeof reviewerActor> | undefined): Reviewer {
  if (authenticated !== undefined) {
    if (said === undefined || said.id === authenticated.id) return authenticated;
    throw new InvalidRequestError("forbidden", "The reviewer is whom the credential names; leave actor out", {
      pointer: "/actor",
    });
  }
  if (said === undefined) {
    throw new InvalidRequestError("invalid_request", "Without authentication the body must name its actor", {
      pointer: "/actor",
    });
  }
  return {
    id: said.id,
    type: said.type ?? "human",
    roles: said.roles ?? [],
    isAuthenticated: false,
    tenant: "default",
    credentialId: undefined,
    actsAs: new Set(),
  };
}

function editOf(reading: Reading, args: JsonObject | undefined) {
  return args === undefined ? undefined : { arguments: args, text: reading.members!.get("arguments")!.canonical };
}
