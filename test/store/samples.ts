import { createHash, randomBytes } from "node:crypto";
import { partitionOfId, partitionOfUnique, permitIdIn } from "../../src/core/partition.ts";
import type {
  ApprovalRule,
  ApprovalSubject,
  ConsumePermit,
  OpenApproval,
  PermitRecord,
  ReviewApproval,
} from "../../src/core/ports.ts";
import type { Digest, Identity } from "../../src/core/types.ts";

export const digestOf = (text: string): Digest => `sha256:${createHash("sha256").update(text).digest("hex")}`;
export const reviewer = (id: string): Identity => ({ id, type: "human", roles: ["ops"], isAuthenticated: true });

let tenants = 0;
/** Every test has a tenant to itself, so that one server serves them all. */
export function freshTenant(): string {
  tenants += 1;
  return `t-${process.pid}-${tenants}`;
}

export const RULE: ApprovalRule = { roles: ["ops"], quorum: 1, ttlSeconds: 1_000, grantTtlSeconds: 2_000, uses: 1 };

export const SUBJECT: ApprovalSubject = {
  decisionId: "dec_1",
  proposalId: 'call {1}\n\u0000\u202e"quoted\\" 🙂',
  traceId: "4bf9",
  excludedReviewers: ["agent"],
  action: "ISSUE_REFUND",
  actor: { id: "agent", type: "agent", on_behalf_of: { id: "alice" } },
  entity: { type: "order", id: "ord_002" },
  context: { empty: {}, list: [] },
  // Members that trip readers: all of them are data.
  arguments: JSON.parse(
    '{"amount":4900,"f":0.30000000000000004,"big":6.022e23,"none":null,"list":[],"empty":{},"toJSON":"x","__proto__":{"a":1}}',
  ),
  originalArgumentDigest: digestOf("original"),
  envelope: null,
  policyDigest: digestOf("policy"),
  reasons: [{ code: "approval_required", message: "refund above 100" }],
  risk: "high",
  credentialId: "key_1",
};

export function anOpening(tenant: string, scope = "scope", more: Partial<OpenApproval> = {}): OpenApproval {
  return {
    tenant,
    scopeDigest: digestOf(scope),
    bindingDigest: digestOf("binding"),
    argumentDigest: digestOf("arguments"),
    rule: RULE,
    subject: SUBJECT,
    pendingMax: 100,
    ...more,
  };
}

export function aReview(
  approval: { readonly tenant: string; readonly id: string; readonly version: number },
  more: Partial<ReviewApproval> = {},
): ReviewApproval {
  const { tenant, id, version } = approval;
  return { tenant, id, reviewer: reviewer("bob"), verdict: "grant", reason: "ok", expectedVersion: version, ...more };
}

export const unique = (): string => randomBytes(13).toString("hex").toUpperCase();

export function aPermit(tenant: string, approvalId?: string, more: Partial<PermitRecord> = {}): PermitRecord {
  const text = unique();
  const partition = approvalId === undefined ? partitionOfUnique(text) : partitionOfId(approvalId)!;
  const jti = permitIdIn(partition, text);
  return { jti, tenant, approvalId, uses: 1, expiresAtMs: Date.now() + 600_000, subjectText: '{"a":"{}"}', ...more };
}

export function aUse(permit: PermitRecord): ConsumePermit {
  const { tenant, jti, approvalId } = permit;
  return { tenant, jti, approvalId, action: 'REFUND "x"', decisionId: "dec_1", traceId: "4bf9", consumer: "bot" };
}

export const HOSTILE_IDS: readonly string[] = [
  "",
  " ",
  "appr_",
  "appr_00",
  "perm_00",
  "appr_{}:00x",
  "appr_00}x",
  "appr_00a b",
  "appr_00a\n",
  "appr_00a\u0000",
  "\u0000",
  "appr_00*",
  "appr_11ABC",
  "perm_11ABC",
  "appr_zzABC",
  "APPR_00ABC",
  "appr_00é",
  `appr_00${"A".repeat(65)}`,
  "A".repeat(100_000),
  "__proto__",
  "exec_00ABC_1",
  "perm_00ABC_1",
  "appr_00ABC_1",
  "../../etc/passwd",
];
export const HOSTILE_TENANTS: readonly string[] = [
  "",
  "a b",
  "a}b",
  "{a}",
  "A",
  "a\n",
  "a\u0000",
  "é",
  "a".repeat(64),
  "a:b",
  "*",
];
