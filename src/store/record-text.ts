/**
 * Records as JSON text and back. Both adapters keep the same texts. What is read is checked member by member: a record
 * that somebody or something else wrote is an IntegrityError, never an approval.
 */
import { isApprovalId, isPermitId, permitOfExecution } from "../core/partition.ts";
import type { Approval, ApprovalRule, ApprovalSubject, Execution, Review, StoreFact } from "../core/ports.ts";
import type { Identity, JsonObject } from "../core/types.ts";
import { isDigest, isTenant } from "./check-request.ts";
import {
  type Check,
  corrupted,
  fits,
  isBoolean,
  isCount,
  isObject,
  isPositive,
  isString,
  isStrings,
  oneOf,
  optional,
  parsed,
  type Shape,
} from "./record-shape.ts";

const isDigestText: Check = (value) => typeof value === "string" && isDigest(value);

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
  isAuthenticated: isBoolean,
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
  consumer: optional(isString),
};

const FACT: Shape<StoreFact> = {
  factId: isString,
  tenant: (value) => typeof value === "string" && isTenant(value),
  kind: oneOf(
    "approval_opened",
    "approval_reviewed",
    "approval_expired",
    "permit_consumed",
    "execution_reported",
    "event_appended",
    "freeze_set",
    "freeze_lifted",
  ),
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
  /** Never used, and made unusable. */
  readonly isCancelled?: boolean | undefined;
}

const PERMIT: Shape<KeptPermit> = {
  jti: (value) => typeof value === "string" && isPermitId(value),
  tenant: (value) => typeof value === "string" && isTenant(value),
  approvalId: optional((value) => typeof value === "string" && isApprovalId(value)),
  uses: isCount,
  usesLeft: isCount,
  expiresAtMs: isCount,
  subjectText: isString,
  isCancelled: optional(isBoolean),
};

export function approvalOfText(text: string): Approval {
  const approval = parsed<Approval>("approval", text, APPROVAL);
  // More uses than the rule gave, or an open approval without a use, is a record that no transition leaves behind.
  if (approval.usesLeft > approval.rule.uses) throw corrupted("approval");
  return approval;
}

export function executionOfText(text: string): Execution {
  const read = parsed<Execution>("execution", text, EXECUTION);
  const { executionId, jti, tenant, status, consumedAtMs, reportedAtMs, resultDigest } = read;
  const { action, decisionId, traceId, consumer } = read;
  const about = { action, decisionId, traceId, ...(consumer === undefined ? {} : { consumer }) };
  return { executionId, jti, tenant, status, consumedAtMs, reportedAtMs, resultDigest, ...about };
}

export function factOfText(text: string): StoreFact {
  return parsed<StoreFact>("fact", text, FACT);
}

export function permitOfText(text: string): KeptPermit {
  const permit = parsed<KeptPermit>("permit", text, PERMIT);
  if (permit.usesLeft > permit.uses) throw corrupted("permit");
  return permit;
}

export { corrupted };

/** The facts' payloads, made in one place for both adapters' sake: a ledger entry must not depend on the backend. */
export function approvalPayload(approval: Approval): JsonObject {
  return { approval: approval as unknown as JsonObject };
}

export function executionPayload(execution: Execution, more: JsonObject = {}): JsonObject {
  return { execution: execution as unknown as JsonObject, ...more };
}
