/** Errors on the wire: RFC 9457 problem details. One table turns codes into statuses. */
import type { ServerResponse } from "node:http";
import { type ErrorCode, HoldpointError, IntegrityError, toError } from "../core/errors.ts";
import type { Mode } from "../core/types.ts";

export const STATUS: Readonly<Record<ErrorCode, number>> = {
  malformed_json: 400,
  duplicate_key: 400,
  ill_formed_unicode: 400,
  inexact_number: 400,
  depth_exceeded: 400,
  body_too_large: 413,
  wrong_content_type: 415,
  wrong_content_encoding: 415,
  invalid_request: 400,
  batch_too_large: 413,
  route_not_found: 404,
  method_not_allowed: 405,
  unauthenticated: 401,
  forbidden: 403,
  too_many_attempts: 429,
  self_approval: 403,
  role_missing: 403,
  binding_echo_required: 400,
  entity_type_unknown: 422,
  event_type_unknown: 422,
  event_data_invalid: 422,
  webhook_signature_invalid: 401,
  webhook_signature_expired: 401,
  webhook_mapping_failed: 422,
  approval_not_found: 404,
  permit_not_found: 404,
  entry_not_found: 404,
  entity_not_found: 404,
  freeze_not_found: 404,
  execution_not_found: 404,
  adapter_not_found: 404,
  trace_not_found: 404,
  proposal_conflict: 409,
  approval_not_pending: 409,
  approval_changed: 409,
  already_reviewed: 409,
  binding_mismatch: 409,
  edit_refused: 409,
  execution_conflict: 409,
  execution_not_consumed: 409,
  event_conflict: 409,
  version_conflict: 409,
  bad_signature: 403,
  unknown_key: 403,
  wrong_type: 403,
  not_yet_valid: 403,
  expired: 403,
  wrong_audience: 403,
  wrong_tenant: 403,
  wrong_scope: 403,
  digest_mismatch: 403,
  arguments_rejected: 403,
  approval_revoked: 403,
  policy_changed: 403,
  frozen: 403,
  state_changed: 409,
  lock_lost: 409,
  unknown_permit: 404,
  already_consumed: 409,
  policy_not_loaded: 503,
  policy_fault: 503,
  policy_result_invalid: 503,
  store_unavailable: 503,
  ledger_unavailable: 503,
  signing_unavailable: 503,
  identity_unavailable: 503,
  overloaded: 503,
  shutting_down: 503,
  integrity_failure: 500,
  internal_error: 500,
  config_invalid: 500,
  bundle_invalid: 500,
  bundle_builtin_refused: 500,
};

export interface ProblemContext {
  /** On decision routes the problem says what it means for the action; elsewhere undefined. */
  readonly mode: Mode | undefined;
  readonly traceId: string;
}

export interface Problem {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** Anything thrown becomes a problem; what is not ours is an internal error whose inside stays inside. */
export function problemOf(thrown: unknown, context: ProblemContext): Problem {
  const error =
    thrown instanceof HoldpointError
      ? thrown
      : new IntegrityError("internal_error", "Something went wrong in the sidecar", { cause: toError(thrown) });
  const status = STATUS[error.code];
  const body = {
    ...naming(error.code, status, error.message),
    ...(error.pointer === undefined ? {} : { pointer: error.pointer }),
    ...error.facts,
    ...meaning(context.mode),
    trace_id: context.traceId,
  };
  return { status, body };
}

/** A refusal that came as a value. */
export function refusedProblem(
  refused: { readonly code: ErrorCode; readonly message: string; readonly pointer?: string },
  traceId: string,
): Problem {
  const { code, message, pointer } = refused;
  const status = STATUS[code];
  return {
    status,
    body: { ...naming(code, status, message), ...(pointer === undefined ? {} : { pointer }), trace_id: traceId },
  };
}

function naming(code: ErrorCode, status: number, detail: string): object {
  return { type: `urn:holdpoint:problem:${code}`, title: code.replaceAll("_", " "), status, detail, code };
}

/** INVARIANTS (closed, transparent): an error ends in not allowed, except where observing must not get in anybody's way. */
function meaning(mode: Mode | undefined): object {
  switch (mode) {
    case undefined:
      return {};
    case "enforce":
      return { outcome: "deny", mode, enforced: true };
    case "observe":
      return { outcome: "allow", mode, enforced: false };
  }
}

/** After this long there is room for another attempt. */
const RETRY_AFTER_SECONDS = 1;

export function sendProblem(response: ServerResponse, problem: Problem): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const text = JSON.stringify(problem.body);
  const headers: Record<string, string | number> = {
    "content-type": "application/problem+json",
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
  };
  if (problem.status === 401) headers["www-authenticate"] = 'Bearer realm="holdpoint"';
  if (problem.status === 413 || problem.status === 415 || problem.status === 429) headers.connection = "close";
  if (problem.status === 429) headers["retry-after"] = RETRY_AFTER_SECONDS;
  response.writeHead(problem.status, headers);
  response.end(text);
}
