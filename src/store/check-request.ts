/**
 * What a request must be before any of it gets into a key, an index or a record. The edges have checked all this in
 * their own terms; here it is the last door, because a tenant with a brace in it would choose its own hash slot.
 */
import { InvalidRequestError } from "../core/errors.ts";
import { isApprovalId, isPermitId, partitionOfId } from "../core/partition.ts";
import type { ApprovalRule, OpenApproval, PermitRecord } from "../core/ports.ts";
import type { Digest, Tenant } from "../core/types.ts";

const TENANT = /^[a-z0-9-]{1,63}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
/** A hundred years: past it the sum with a time is no longer a date. */
const SECONDS_MAX = 100 * 366 * 24 * 3600;
const USES_MAX = 999_999_999;

export function isTenant(tenant: Tenant): boolean {
  return TENANT.test(tenant);
}

export function isDigest(digest: string): digest is Digest {
  return DIGEST.test(digest);
}

export function checkTenant(tenant: Tenant): void {
  if (!isTenant(tenant)) refuse("tenant", tenant);
}

export function checkDigest(name: string, digest: string): void {
  if (!isDigest(digest)) refuse(name, digest);
}

export function checkOpenApproval(request: OpenApproval): void {
  checkTenant(request.tenant);
  checkDigest("scope digest", request.scopeDigest);
  checkDigest("binding digest", request.bindingDigest);
  checkDigest("argument digest", request.argumentDigest);
  checkRule(request.rule);
  if (!Number.isSafeInteger(request.pendingMax) || request.pendingMax < 0) refuse("pending limit", request.pendingMax);
}

/** A quorum of nought would be a grant by nobody. */
function checkRule(rule: ApprovalRule): void {
  if (!isCount(rule.quorum, 1_000)) refuse("quorum", rule.quorum);
  if (!isCount(rule.uses, USES_MAX)) refuse("number of uses", rule.uses);
  if (!isDuration(rule.ttlSeconds)) refuse("waiting time", rule.ttlSeconds);
  if (!isDuration(rule.grantTtlSeconds)) refuse("grant validity", rule.grantTtlSeconds);
}

export function checkPermitRecord(record: PermitRecord): void {
  checkTenant(record.tenant);
  if (!isPermitId(record.jti)) refuse("permit id", record.jti);
  if (!isCount(record.uses, USES_MAX)) refuse("number of uses", record.uses);
  if (!Number.isSafeInteger(record.expiresAtMs) || record.expiresAtMs < 0) refuse("expiry", record.expiresAtMs);
  if (record.approvalId === undefined) return;
  if (!isApprovalId(record.approvalId)) refuse("approval id", record.approvalId);
  if (partitionOfId(record.approvalId) !== partitionOfId(record.jti)) {
    throw new InvalidRequestError(
      "invalid_request",
      `Cannot issue permit "${record.jti}": it is not in the partition of approval "${record.approvalId}"`,
    );
  }
}

export function checkLimit(limit: number, max: number): void {
  if (!isCount(limit, max)) refuse("limit", limit);
}

export function checkTextBytes(name: string, text: string, bytesMax: number): void {
  const bytes = Buffer.byteLength(text);
  if (bytes > bytesMax) {
    throw new InvalidRequestError("body_too_large", `Cannot store ${name}: ${bytes} bytes, at most ${bytesMax}`);
  }
}

function isCount(value: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= 1 && value <= max;
}

function isDuration(seconds: number): boolean {
  return Number.isFinite(seconds) && seconds >= 0.001 && seconds <= SECONDS_MAX;
}

function refuse(name: string, value: unknown): never {
  const shown = JSON.stringify(typeof value === "string" ? value.slice(0, 80) : value);
  throw new InvalidRequestError("invalid_request", `Invalid ${name} ${shown}`);
}
