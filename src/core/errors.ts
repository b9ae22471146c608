/**
 * Everything that can go wrong, as values with stable codes. Sentences may change; codes and their meaning may not.
 *
 * A deny is not an error: it is a decision, and is answered with HTTP 200.
 */

import type { Mode } from "./types.ts";

/** The caller must change the request. */
export const INVALID_REQUEST_CODES = [
  "malformed_json",
  "duplicate_key",
  "ill_formed_unicode",
  "inexact_number",
  "depth_exceeded",
  "body_too_large",
  "wrong_content_type",
  "wrong_content_encoding",
  "invalid_request",
  "batch_too_large",
  "route_not_found",
  "method_not_allowed",
  "unauthenticated",
  "forbidden",
  "too_many_attempts",
  "self_approval",
  "role_missing",
  "binding_echo_required",
  "entity_type_unknown",
  "event_type_unknown",
  "event_data_invalid",
  "webhook_signature_invalid",
  "webhook_signature_expired",
  "webhook_mapping_failed",
] as const;

/** Unknown things, and things that belong to another tenant: the same answer, so that neither can be probed. */
export const NOT_FOUND_CODES = [
  "approval_not_found",
  "permit_not_found",
  "entry_not_found",
  "entity_not_found",
  "freeze_not_found",
  "execution_not_found",
  "adapter_not_found",
  "trace_not_found",
] as const;

/** It was true once, or is true of something else: used up, decided, expired, other content. */
export const CONFLICT_CODES = [
  "proposal_conflict",
  "approval_not_pending",
  "approval_changed",
  "already_reviewed",
  "binding_mismatch",
  "edit_refused",
  "execution_conflict",
  "execution_not_consumed",
  "event_conflict",
  "version_conflict",
] as const;

/** What stands between a permit and its use, in the order in which it is checked. */
export const PERMIT_CODES = [
  "bad_signature",
  "unknown_key",
  "wrong_type",
  "not_yet_valid",
  "expired",
  "wrong_audience",
  "wrong_tenant",
  "wrong_scope",
  "digest_mismatch",
  "arguments_rejected",
  "frozen",
  "approval_revoked",
  "policy_changed",
  "unknown_permit",
  "already_consumed",
  "lock_lost",
  "state_changed",
] as const;

/** Redis, WASM, the ledger or a key is out. Try later; never an allow. */
export const UNAVAILABLE_CODES = [
  "policy_not_loaded",
  "policy_fault",
  "policy_result_invalid",
  "store_unavailable",
  "ledger_unavailable",
  "signing_unavailable",
  "identity_unavailable",
  "overloaded",
  "shutting_down",
] as const;

/** A signature, a chain or a record does not hold: count it, wake someone. */
export const INTEGRITY_CODES = ["integrity_failure", "internal_error"] as const;

/** Before listening only. */
export const CONFIG_CODES = ["config_invalid", "bundle_invalid", "bundle_builtin_refused"] as const;

export type InvalidRequestCode = (typeof INVALID_REQUEST_CODES)[number];
export type NotFoundCode = (typeof NOT_FOUND_CODES)[number];
export type ConflictCode = (typeof CONFLICT_CODES)[number];
export type PermitCode = (typeof PERMIT_CODES)[number];
export type UnavailableCode = (typeof UNAVAILABLE_CODES)[number];
export type IntegrityCode = (typeof INTEGRITY_CODES)[number];
export type ConfigCode = (typeof CONFIG_CODES)[number];

export type ErrorCode =
  | InvalidRequestCode
  | NotFoundCode
  | ConflictCode
  | PermitCode
  | UnavailableCode
  | IntegrityCode
  | ConfigCode;

export interface ErrorDetail {
  /** RFC 6901 JSON Pointer to the place in the request body, "" being the whole of it. */
  readonly pointer?: string;
  readonly cause?: unknown;
  /** Further members for the answer; must not carry secrets or arguments. */
  readonly facts?: Readonly<Record<string, string | number | boolean>>;
}

export abstract class HoldpointError extends Error {
  readonly code: ErrorCode;
  readonly pointer: string | undefined;
  readonly facts: Readonly<Record<string, string | number | boolean>>;
  /** The mode of the action that failed, where the gate came to know it: decides what the failure means for the caller. */
  mode: Mode | undefined;

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = new.target.name;
    this.code = code;
    this.pointer = detail.pointer;
    this.facts = detail.facts ?? {};
  }
}

/** 4xx. Codes that are not about the body's text have their own status in the table of http/problem.ts. */
export class InvalidRequestError extends HoldpointError {
  constructor(code: InvalidRequestCode, message: string, detail?: ErrorDetail) {
    super(code, message, detail);
  }
}

/** 404. */
export class NotFoundError extends HoldpointError {
  constructor(code: NotFoundCode, message: string, detail?: ErrorDetail) {
    super(code, message, detail);
  }
}

/** 409. */
export class ConflictError extends HoldpointError {
  constructor(code: ConflictCode, message: string, detail?: ErrorDetail) {
    super(code, message, detail);
  }
}

/** A permit that does not authorise what is about to run; 4xx by the failed check. */
export class PermitError extends HoldpointError {
  declare readonly code: PermitCode;
  constructor(code: PermitCode, message: string, detail?: ErrorDetail) {
    super(code, message, detail);
  }
}

/** 503. */
export class UnavailableError extends HoldpointError {
  constructor(code: UnavailableCode, message: string, detail?: ErrorDetail) {
    super(code, message, detail);
  }
}

/** 500. */
export class IntegrityError extends HoldpointError {
  constructor(code: IntegrityCode, message: string, detail?: ErrorDetail) {
    super(code, message, detail);
  }
}

/** Thrown before the sidecar listens, or by a command line; lists every fault at once. */
export class ConfigError extends HoldpointError {
  readonly faults: readonly string[];
  constructor(code: ConfigCode, message: string, faults: readonly string[] = [], detail?: ErrorDetail) {
    super(code, message, detail);
    this.faults = faults;
  }
}

/** What dependencies throw (strings, object literals, Errors) as one Error. */
export function toError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  if (typeof thrown === "string") return new Error(thrown);
  if (typeof thrown === "object" && thrown !== null && "message" in thrown && typeof thrown.message === "string") {
    return new Error(thrown.message, { cause: thrown });
  }
  return new Error(`Unexpected value thrown: ${typeof thrown}`, { cause: thrown });
}
