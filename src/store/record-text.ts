/**
 * Records as JSON text and back. Both adapters keep the same texts. What is read is checked member by member: a record
 * that somebody or something else wrote is an IntegrityError, never an approval.
 */
import { IntegrityError } from "../core/errors.ts";
import { isApprovalId, isPermitId, permitOfExecution } from "../core/partition.ts";
import type { Approval, ApprovalRule, ApprovalSubject, Execution, Review, StoreFact } from "../core/ports.ts";
import type { Identity, JsonObject } from "../core/types.ts";
import { isDigest, isTenant } from "./check-request.ts";

type Check = (value: unknown) => boolean;
type Shape<T> = { readonly [Member in keyof Required<T>]: Check };

const isString: Check = (value) => typeof value === "string";
const isDigestText: Check = (value) => typeof value === "string" && isDigest(value);
const isCount: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isPositive: Check = (value) => Number.isFinite(value) && (value as number) > 0;
const isStrings: Check = (value) => Array.isArray(value) && value.every(isString);
const isObject: Check = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const oneOf =
  (...words: readonly string[]): Check =>
  (value) =>
    words.includes(value as string);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);

const RULE: Shape<ApprovalRule> = {
  roles: isStrings,
  quorum: (value) => isCount(value) && value !== 0,
  ttlSeconds: isPositive,
  grantTtlSeconds: isPositive,
  uses: (value) => isCount(value) && value !== 0,
};

const IDENTITY: Shape<Identity> = {
  id: isString,
  type: isString,
  roles: isStrings,
  isAuthenticated: (value) => typeof value === "boolean",
  issuer: optional(isString),
};

const REVIEW: Shape<Review> = {
  reviewer: (value) => fits(value, IDENTITY),
  verdict: oneOf("grant", "deny", "cancel"),
  reason: isString,
  atMs: isCount,
  bindingDigest: isDigestText,
};

const SUBJECT: Partial<Shape<ApprovalSubject>> = {
  decisionId: isString,
  proposalId: isString,
  excludedReviewers: isStrings,
  action: isString,
  actor: isObject,
  arguments: isObject,
};

const APPROVAL: Shape<Approval> = {
  id: (value) => typeof value === "string" && isApprovalId(value),
  tenant: (value) => typeof value === "string" && isTenant(value),
  status: oneOf("pending", "granted", "denied", "expired", "cancelled", "exhausted"),
  scopeDigest: isDigestText,
  bindingDigest: isDigestText,
  argumentDigest: isDigestText,
  rule: (value) => fits(value, RULE),
  reviews: (value) => Array.isArray(value) && value.every((review) => fits(review, REVIEW)),
  usesLeft: isCount,
  createdAtMs: isCount,
  expiresAtMs: isCount,
  version: isCount,
  subject: (value) => fits(value, SUBJECT),
};

const EXECUTION: Shape<Execution> = {
  executionId: (value) => typeof value === "string" && permitOfExecution(value) !== undefined,
  jti: (value) => typeof value === "string" && isPermitId(value),
  tenant: (value) => typeof value === "string" && isTenant(value),
  status: oneOf("unknown", "succeeded", "failed"),
  consumedAtMs: isCount,
  reportedAtMs: optional(isCount),
  resultDigest: optional(isDigestText),
  action: isString,
  decisionId: isString,
  traceId: isString,
};

const FACT: Shape<StoreFact> = {
  factId: isString,
  tenant: (value) => typeof value === "string" && isTenant(value),
  kind: oneOf("approval_opened", "approval_reviewed", "approval_expired", "permit_consumed", "execution_reported"),
  atMs: isCount,
  subjectId: isString,
  payload: isObject,
};

/** What the embedded store keeps of a permit; Redis keeps the same members as fields of a hash. */
export interface KeptPermit {
  readonly jti: string;
  readonly tenant: string;
  readonly approvalId?: string | undefined;
  readonly uses: number;
  readonly usesLeft: number;
  readonly expiresAtMs: number;
  readonly subjectText: string;
}

const PERMIT: Shape<KeptPermit> = {
  jti: (value) => typeof value === "string" && isPermitId(value),
  tenant: (value) => typeof value === "string" && isTenant(value),
  approvalId: optional((value) => typeof value === "string" && isApprovalId(value)),
  uses: isCount,
  usesLeft: isCount,
  expiresAtMs: isCount,
  subjectText: isString,
};

export function approvalOfText(text: string): Approval {
  const approval = parsed<Approval>("approval", text, APPROVAL);
  // More uses than the rule gave, or an open approval without a use, is a record that no transition leaves behind.
  if (approval.usesLeft > approval.rule.uses) throw corrupted("approval");
  return approval;
}

export function executionOfText(text: string): Execution {
  const { executionId, jti, tenant, status, consumedAtMs, reportedAtMs, resultDigest, action, decisionId, traceId } =
    parsed<Execution>("execution", text, EXECUTION);
  return { executionId, jti, tenant, status, consumedAtMs, reportedAtMs, resultDigest, action, decisionId, traceId };
}

export function factOfText(text: string): StoreFact {
  return parsed<StoreFact>("fact", text, FACT);
}

export function permitOfText(text: string): KeptPermit {
  const permit = parsed<KeptPermit>("permit", text, PERMIT);
  if (permit.usesLeft > permit.uses) throw corrupted("permit");
  return permit;
}

export function corrupted(name: string, cause?: unknown): IntegrityError {
  return new IntegrityError("integrity_failure", `Stored ${name} does not hold: not a record of this program`, {
    cause,
  });
}

/** The facts' payloads, made in one place for both adapters' sake: a ledger entry must not depend on the backend. */
export function approvalPayload(approval: Approval): JsonObject {
  return { approval: approval as unknown as JsonObject };
}

export function executionPayload(execution: Execution, more: JsonObject = {}): JsonObject {
  return { execution: execution as unknown as JsonObject, ...more };
}

function parsed<T>(name: string, text: string, shape: Shape<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw corrupted(name, cause);
  }
  if (!fits(value, shape)) throw corrupted(name);
  return value as T;
}

function fits(value: unknown, shape: object): boolean {
  if (!isObject(value)) return false;
  for (const [member, check] of Object.entries(shape)) {
    if (!(check as Check)((value as Record<string, unknown>)[member])) return false;
  }
  return true;
}
