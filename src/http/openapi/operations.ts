/** Every route of both ports: what it takes, what it answers, who may ask. A test holds this list to the real routers. */
import { type ErrorCode, PERMIT_CODES } from "../../core/errors.ts";
import type { Scope } from "../credential.ts";
import type { SchemaName } from "./components.ts";
import type { ParameterName } from "./parameters.ts";

export type Port = "decision" | "admin";

/** Whose credentials serve: any one of the scopes; without any, nobody is asked. */
type Scopes = readonly Scope[];

export interface Content {
  readonly type: string;
  /** Of text: nothing is said about its inside. */
  readonly schema?: SchemaName;
}

export interface Answer {
  readonly description: string;
  readonly content?: Content;
}

export interface Operation {
  readonly method: "get" | "post";
  readonly path: string;
  readonly id: string;
  readonly tag: Tag;
  readonly summary: string;
  readonly description?: string;
  /** By the ports that serve it. */
  readonly scopes: Readonly<Partial<Record<Port, Scopes>>>;
  /** For people with browsers: takes the token as a password, too, and says in HTML what is wrong. */
  readonly isPage?: true;
  readonly parameters?: readonly ParameterName[];
  readonly body?: { readonly schema: SchemaName; readonly isRequired: boolean };
  readonly answers: Readonly<Record<number, Answer>>;
  readonly problems: readonly ErrorCode[];
}

export const TAGS = {
  decisions: "What an agent wants to do, and whether it may",
  permits: "Checked where the action runs, each use once",
  executions: "What became of what was permitted",
  approvals: "What people decide",
  observations: "What observe mode let pass, and enforcing would have stopped",
  ledger: "The record of all of it: a Merkle log",
  policy: "Which policy decides",
  operations: "Health, metrics, keys, this description",
  status: "The sidecar at a glance, for people",
} as const;

export type Tag = keyof typeof TAGS;

const DECIDE: Operation["scopes"] = { decision: ["decide"], admin: ["decide"] };
const READ: Operation["scopes"] = { admin: ["operate", "review"] };
const REVIEW: Operation["scopes"] = { admin: ["review"] };
const ANYBODY: Operation["scopes"] = { decision: [], admin: [] };

/** A page of some web site meets a port without authentication; whatever else goes wrong. */
const ANYWHERE = ["forbidden", "internal_error"] as const;
const CREDENTIAL = [...ANYWHERE, "unauthenticated", "too_many_attempts", "identity_unavailable"] as const;
const BODY = [
  "malformed_json",
  "duplicate_key",
  "ill_formed_unicode",
  "inexact_number",
  "depth_exceeded",
  "invalid_request",
  "body_too_large",
  "wrong_content_type",
  "wrong_content_encoding",
] as const;
const STORE = ["store_unavailable", "overloaded", "shutting_down", "integrity_failure"] as const;
const LEDGER = ["ledger_unavailable", "overloaded", "shutting_down", "integrity_failure"] as const;
const DECIDING = [...STORE, ...LEDGER, "signing_unavailable"] as const;
const PERMIT = [...PERMIT_CODES, "policy_not_loaded"] as const;
const REVIEWING = [
  "approval_not_found",
  "self_approval",
  "role_missing",
  "approval_not_pending",
  "approval_changed",
  "already_reviewed",
] as const;

const json = (schema: SchemaName): Content => ({ type: "application/json", schema });
export const HTML: Content = { type: "text/html; charset=utf-8" };

const decisionOperations: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/decisions",
    id: "decide",
    tag: "decisions",
    summary: "Ask whether an action may run",
    description:
      "A denial is an answer, with status 200. The same proposal once more is answered the same, or with what became of " +
      "its approval; the same id with other content is a conflict.",
    scopes: DECIDE,
    body: { schema: "Proposal", isRequired: true },
    answers: { 200: { description: "The decision, recorded", content: json("Decision") } },
    problems: [...CREDENTIAL, ...BODY, ...DECIDING, "approval_not_found", "proposal_conflict"],
  },
  {
    method: "post",
    path: "/v1/decisions/batch",
    id: "decideBatch",
    tag: "decisions",
    summary: "Ask about several actions at once",
    description:
      "Each proposal is decided on its own. One that is malformed or fails has its problem in its place, and does not " +
      "keep the others from their decisions.",
    scopes: DECIDE,
    body: { schema: "Batch", isRequired: true },
    answers: { 200: { description: "A decision or a problem for each proposal", content: json("Decisions") } },
    problems: [...CREDENTIAL, ...BODY, "batch_too_large"],
  },
  {
    method: "post",
    path: "/v1/permits/verify",
    id: "verifyPermit",
    tag: "permits",
    summary: "Check a permit against what is about to run",
    description: "Uses up nothing.",
    scopes: DECIDE,
    body: { schema: "PermitUse", isRequired: true },
    answers: { 200: { description: "It may run", content: json("PermitVerifiedOrObserved") } },
    problems: [...CREDENTIAL, ...BODY, ...PERMIT, ...STORE],
  },
  {
    method: "post",
    path: "/v1/permits/consume",
    id: "consumePermit",
    tag: "permits",
    summary: "Check a permit and use it up, right before the action runs",
    description: "Of several that try, one is told to go ahead. Report the end of the execution afterwards.",
    scopes: DECIDE,
    body: { schema: "PermitUse", isRequired: true },
    answers: { 200: { description: "It may run, now and once", content: json("PermitConsumedOrObserved") } },
    problems: [...CREDENTIAL, ...BODY, ...PERMIT, ...STORE, ...LEDGER],
  },
  {
    method: "post",
    path: "/v1/executions",
    id: "reportExecution",
    tag: "executions",
    summary: "Report how an execution ended",
    description: "By the credential that consumed the permit. The same report once more is answered the same.",
    scopes: DECIDE,
    body: { schema: "ExecutionReport", isRequired: true },
    answers: { 200: { description: "The execution, closed", content: json("Execution") } },
    problems: [
      ...CREDENTIAL,
      ...BODY,
      ...STORE,
      ...LEDGER,
      "permit_not_found",
      "execution_conflict",
      "execution_not_consumed",
    ],
  },
];

const approvalOperations: readonly Operation[] = [
  {
    method: "get",
    path: "/v1/approvals",
    id: "listApprovals",
    tag: "approvals",
    summary: "List approvals",
    description: "Pending ones oldest first, others newest first.",
    scopes: READ,
    parameters: ["Status", "ApprovalsLimit", "Cursor"],
    answers: { 200: { description: "One page", content: json("ApprovalPage") } },
    problems: [...CREDENTIAL, ...STORE, "invalid_request"],
  },
  {
    method: "get",
    path: "/v1/approvals/{id}",
    id: "readApproval",
    tag: "approvals",
    summary: "Read an approval, or wait until it is no longer pending",
    description: "On the decision port callers read their own.",
    scopes: { decision: ["decide"], ...READ },
    parameters: ["ApprovalId", "Wait"],
    answers: { 200: { description: "The approval as it is", content: json("Approval") } },
    problems: [...CREDENTIAL, ...STORE, "invalid_request", "approval_not_found"],
  },
  {
    method: "post",
    path: "/v1/approvals/{id}/grant",
    id: "grantApproval",
    tag: "approvals",
    summary: "Grant an approval",
    description: "With `arguments` the reviewer grants an edit: policy decides it first, and other grants are dropped.",
    scopes: REVIEW,
    parameters: ["ApprovalId"],
    body: { schema: "Grant", isRequired: false },
    answers: { 200: { description: "Granted, or one grant closer to the quorum", content: json("Reviewed") } },
    problems: [
      ...CREDENTIAL,
      ...BODY,
      ...STORE,
      ...LEDGER,
      ...REVIEWING,
      "binding_echo_required",
      "binding_mismatch",
      "edit_refused",
    ],
  },
  {
    method: "post",
    path: "/v1/approvals/{id}/deny",
    id: "denyApproval",
    tag: "approvals",
    summary: "Deny an approval",
    description: "Final for this action, arguments, entity, actor and context.",
    scopes: REVIEW,
    parameters: ["ApprovalId"],
    body: { schema: "DenialOrCancellation", isRequired: false },
    answers: { 200: { description: "Denied", content: json("Reviewed") } },
    problems: [...CREDENTIAL, ...BODY, ...STORE, ...LEDGER, ...REVIEWING],
  },
  {
    method: "post",
    path: "/v1/approvals/{id}/cancel",
    id: "cancelApproval",
    tag: "approvals",
    summary: "Cancel a pending approval, or revoke a grant",
    scopes: REVIEW,
    parameters: ["ApprovalId"],
    body: { schema: "DenialOrCancellation", isRequired: false },
    answers: { 200: { description: "Cancelled", content: json("Reviewed") } },
    problems: [...CREDENTIAL, ...BODY, ...STORE, ...LEDGER, ...REVIEWING],
  },
];

const readingOperations: readonly Operation[] = [
  {
    method: "get",
    path: "/v1/executions",
    id: "listExecutions",
    tag: "executions",
    summary: "List executions that nobody reported: outcome unknown",
    scopes: READ,
    parameters: ["ExecutionStatus", "ExecutionsLimit", "Cursor"],
    answers: { 200: { description: "One page, oldest first", content: json("ExecutionPage") } },
    problems: [...CREDENTIAL, ...STORE, "invalid_request"],
  },
  {
    method: "get",
    path: "/v1/observations",
    id: "listObservations",
    tag: "observations",
    summary: "List what observe mode let pass",
    description: "A page may hold fewer than were asked for, or none; `cursor` is null at the ledger's beginning.",
    scopes: READ,
    parameters: ["ObservationsLimit", "EntryCursor"],
    answers: { 200: { description: "One page, newest first", content: json("ObservationPage") } },
    problems: [...CREDENTIAL, ...LEDGER, "invalid_request"],
  },
  {
    method: "get",
    path: "/v1/ledger/checkpoint",
    id: "readCheckpoint",
    tag: "ledger",
    summary: "The ledger's size and root, signed",
    scopes: READ,
    answers: {
      200: {
        description: "A C2SP checkpoint: a signed note. One kept elsewhere shows a ledger that was cut or rewritten",
        content: { type: "text/plain; charset=utf-8" },
      },
    },
    problems: [...CREDENTIAL, ...LEDGER],
  },
  {
    method: "get",
    path: "/v1/ledger/entries",
    id: "listEntries",
    tag: "ledger",
    summary: "Read the ledger, entry by entry",
    description: "A page may end early; `next` says where to go on.",
    scopes: READ,
    parameters: ["Start", "EntriesLimit"],
    answers: { 200: { description: "Entries, oldest first", content: json("LedgerPage") } },
    problems: [...CREDENTIAL, ...LEDGER, "invalid_request"],
  },
  {
    method: "get",
    path: "/v1/ledger/entries/{index}",
    id: "readEntry",
    tag: "ledger",
    summary: "Read one entry of the ledger",
    scopes: READ,
    parameters: ["EntryIndex"],
    answers: { 200: { description: "The entry", content: json("IndexedEntry") } },
    problems: [...CREDENTIAL, ...LEDGER, "invalid_request", "entry_not_found"],
  },
  {
    method: "get",
    path: "/v1/policy",
    id: "readPolicy",
    tag: "policy",
    summary: "The active policy, and the modes it is applied in",
    scopes: READ,
    answers: { 200: { description: "As it is now", content: json("Policy") } },
    problems: CREDENTIAL,
  },
  {
    method: "get",
    path: "/metrics",
    id: "readMetrics",
    tag: "operations",
    summary: "Metrics for Prometheus",
    description: "For anybody who reaches the port, unless `metrics_auth` asks for a credential.",
    scopes: { admin: ["operate"] },
    answers: {
      200: { description: "Prometheus' text format", content: { type: "text/plain; version=0.0.4; charset=utf-8" } },
    },
    problems: CREDENTIAL,
  },
];

const commonOperations: readonly Operation[] = [
  {
    method: "get",
    path: "/healthz",
    id: "readHealth",
    tag: "operations",
    summary: "Whether the process answers",
    scopes: ANYBODY,
    answers: { 200: { description: "It does", content: json("Health") } },
    problems: ANYWHERE,
  },
  {
    method: "get",
    path: "/readyz",
    id: "readReadiness",
    tag: "operations",
    summary: "Whether the sidecar can decide",
    scopes: ANYBODY,
    answers: {
      200: { description: "It can", content: json("Readiness") },
      503: { description: "Some part is out", content: json("Readiness") },
    },
    problems: ANYWHERE,
  },
  {
    method: "get",
    path: "/.well-known/jwks.json",
    id: "readKeys",
    tag: "operations",
    summary: "Public keys that permits are verified with",
    scopes: ANYBODY,
    answers: { 200: { description: "JWK Set (RFC 7517)", content: json("Keys") } },
    problems: ANYWHERE,
  },
  {
    method: "get",
    path: "/openapi.json",
    id: "readDescription",
    tag: "operations",
    summary: "This description",
    scopes: ANYBODY,
    answers: { 200: { description: "OpenAPI 3.1", content: { type: "application/json", schema: "Description" } } },
    problems: ANYWHERE,
  },
];

const statusOperations: readonly Operation[] = [
  {
    method: "get",
    path: "/",
    id: "readFront",
    tag: "status",
    summary: "Leads to the status page",
    scopes: { admin: [] },
    answers: { 303: { description: "See /status" } },
    problems: ANYWHERE,
  },
  {
    method: "get",
    path: "/status",
    id: "readStatus",
    tag: "status",
    summary: "The status page",
    scopes: READ,
    isPage: true,
    parameters: ["Refresh"],
    answers: { 200: { description: "A page for people, without script", content: HTML } },
    problems: [...CREDENTIAL, "invalid_request"],
  },
  {
    method: "get",
    path: "/status.css",
    id: "readStatusStyle",
    tag: "status",
    summary: "How the status page looks",
    scopes: { admin: [] },
    answers: { 200: { description: "A style sheet", content: { type: "text/css; charset=utf-8" } } },
    problems: ANYWHERE,
  },
  {
    method: "get",
    path: "/status.svg",
    id: "readStatusIcon",
    tag: "status",
    summary: "The status page's icon",
    scopes: { admin: [] },
    answers: { 200: { description: "An image", content: { type: "image/svg+xml" } } },
    problems: ANYWHERE,
  },
];

export const OPERATIONS: readonly Operation[] = [
  ...decisionOperations,
  ...approvalOperations,
  ...readingOperations,
  ...commonOperations,
  ...statusOperations,
];
