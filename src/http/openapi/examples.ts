/**
 * One refund from proposal to report, as a sidecar with the example policies answers it, and what happens around another
 * order; the permit's text is cut.
 */
import type { SchemaName } from "./components.ts";

const ARGUMENT_DIGEST = "sha256:80cda107261534bd841313abab246564d1bd1f52e4833d638453a8b1689bb4a4";
const BINDING_DIGEST = "sha256:bf10e044297a729c966e0a60fa5576b52b1a7a48c35c837aa228b208bcdb0c60";
const POLICY_DIGEST = "sha256:8107a1c4f8aea7d899313bb28d2c5da059e436e6f413ed3517995f8a90a825fe";
const APPROVAL_ID = "appr_0f01M7X7Z0MC52E320F3245SEJXN";
const DECISION_ID = "dec_01M7X7Z0MXWBR3C6243NSZTC2D";
const PERMIT_ID = "perm_0f01M7X7Z0MYVA7SVKD3Q2GW6JQQ";
const EXECUTION_ID = "exec_0f01M7X7Z0MYVA7SVKD3Q2GW6JQQ_1";
const TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736";
const PERMIT = "eyJhbGciOiJFZERTQSJ9.eyJhY3Rpb24iOiJJU1NVRV9SRUZVTkQifQ.KuYgp3JSoj26O6s3SnJNhw";

const action = { name: "ISSUE_REFUND", arguments: { amount: 700, currency: "EUR", reason: "customer request" } };
const actor = { id: "support-agent", type: "agent", roles: ["operator"] };
const entity = { type: "order", id: "ord-81" };
const context = { session: "s-81" };

const proposal = { id: "refund-81", action, actor, entity, context };

const decision = {
  action,
  approval: { expires_at: "2026-11-20T20:02:02.936Z", id: APPROVAL_ID, status: "granted" },
  argument_digest: ARGUMENT_DIGEST,
  binding_digest: BINDING_DIGEST,
  contract: "ISSUE_REFUND",
  decided_at: "2026-11-20T19:47:02.941Z",
  decision_id: DECISION_ID,
  enforced: true,
  entity_version: 0,
  input_hash: "sha256:37dfa7df7f392431d8b57ab306b888b47074d1b69de9adadecf1ea39fb3089c8",
  mode: "enforce",
  obligations: {},
  outcome: "allow",
  output_hash: "sha256:9e83150a8610409e49228e53c2efbef6706f1d5b957db663fb3a975445e20566",
  policy: { digest: POLICY_DIGEST, entrypoint: "holdpoint/decision", revision: "" },
  proposal_id: "refund-81",
  reasons: [
    { code: "approval_granted", message: "Granted by olivia" },
    { code: "approval_required", message: "refund above 100" },
  ],
  risk: "medium",
  rules: ["contract", "contract.thresholds"],
  trace_id: TRACE_ID,
  permit: PERMIT,
  permit_id: PERMIT_ID,
};

const review = {
  reviewer: { id: "olivia", type: "human", roles: ["ops_operator"] },
  authenticated: true,
  verdict: "grant",
  reason: "checked with the customer",
  binding_digest: BINDING_DIGEST,
  at: "2026-11-20T19:47:02.936Z",
};

const approval = {
  id: APPROVAL_ID,
  status: "granted",
  tenant: "default",
  action_name: action.name,
  entity_id: entity.id,
  reviewed_by: "olivia",
  reviewed_at: "2026-11-20T19:47:02.936Z",
  action,
  actor,
  entity,
  context,
  reasons: [{ code: "approval_required", message: "refund above 100" }],
  risk: "medium",
  argument_digest: ARGUMENT_DIGEST,
  binding_digest: BINDING_DIGEST,
  policy_digest: POLICY_DIGEST,
  proposal_id: "refund-81",
  decision_id: "dec_01M7X7Z0MAHJ3VHMCRX48YQ9DC",
  trace_id: TRACE_ID,
  authenticated: true,
  binding: "exact",
  roles: ["ops_operator"],
  quorum: 1,
  uses_left: 1,
  reviews: [review],
  created_at: "2026-11-20T19:47:02.923Z",
  expires_at: "2026-11-20T20:02:02.936Z",
  version: 2,
};

const verified = {
  valid: true,
  mode: "enforce",
  enforced: true,
  permit_id: PERMIT_ID,
  uses_left: 1,
  binding_digest: BINDING_DIGEST,
  argument_digest: ARGUMENT_DIGEST,
  expires_at: "2026-11-20T19:48:02.000Z",
  decision_id: DECISION_ID,
  approval_id: APPROVAL_ID,
  policy_digest: POLICY_DIGEST,
  trace_id: TRACE_ID,
};

const event = {
  id: "evt_3Q8",
  source: "stripe",
  type: "ORDER_PAID",
  entity: { type: "order", id: "ord_002" },
  actor: { id: "stripe", type: "service" },
  time: "2026-11-20T19:40:11Z",
  data: { amount: 49 },
};

const appended = { applied: true, from: "CREATED", version: 2, trace_id: TRACE_ID };
const CHAIN = "sha256:0c38f6c30e28cbb4c7e2e8bb0f6bd2ec6f03bbf9aa5ee84d0ba5ee4ee2d5a2c3";

const freeze = {
  id: "frz_01M7X7Z0N0W0V8Q3Y5W7J1Z9AB",
  kind: "actor",
  subject: "support-agent",
  reason: "paid the same invoice twice",
  by: "olivia",
  at: "2026-11-20T19:50:00.000Z",
};

const gateIds = { decision_id: DECISION_ID, execution_id: EXECUTION_ID };

export const EXAMPLES: Readonly<Partial<Record<SchemaName, unknown>>> = {
  Proposal: proposal,
  Decision: decision,
  Approval: approval,
  Grant: { reason: "checked with the customer", binding_digest: BINDING_DIGEST },
  PermitUse: { permit: PERMIT, action, actor: { id: "support-agent" }, entity },
  PermitVerified: verified,
  PermitConsumed: { ...verified, uses_left: 0, execution_id: EXECUTION_ID },
  ExecutionReport: { permit_id: PERMIT_ID, status: "succeeded", result: { refund: "re-81" } },
  Execution: {
    permit_id: PERMIT_ID,
    execution_id: EXECUTION_ID,
    decision_id: DECISION_ID,
    trace_id: TRACE_ID,
    action: "ISSUE_REFUND",
    status: "succeeded",
    result_digest: "sha256:39f94024cbcf740958d8bb6e25095e33ee260776744698ff4e0d43a4454bf72f",
    consumed_at: "2026-11-20T19:47:02.956Z",
    reported_at: "2026-11-20T19:47:02.963Z",
  },
  Event: event,
  EventTaken: {
    event_id: event.id,
    source: event.source,
    type: event.type,
    entity: event.entity,
    sequence: 2,
    repeated: false,
    ...appended,
    state: "PAID",
  },
  EntityRead: {
    ...event.entity,
    state: "PAID",
    version: 2,
    attributes: { paid: 49 },
    events: 2,
    chain: CHAIN,
    changed_at: "2026-11-20T19:40:12.031Z",
    history: [
      {
        sequence: 2,
        received_at: "2026-11-20T19:40:12.031Z",
        ...event,
        ...appended,
        to: "PAID",
        policy_digest: POLICY_DIGEST,
      },
    ],
    cursor: 2,
    rebuild: { matches: true, events: 2 },
  },
  FreezeRequest: { kind: freeze.kind, subject: freeze.subject, reason: freeze.reason },
  Freeze: freeze,
  FreezeLift: { reason: "the agent was corrected" },
  Resolution: { status: "succeeded", reason: "the payment is in the bank's statement" },
  GateProposal: {
    id: "toolcall_01J8Z9",
    entity_id: "ord_002",
    entity_type: "order",
    action_name: "ISSUE_REFUND",
    actor_id: "support-agent",
    parameters: { amount: 4900, reason: "customer request" },
  },
  GateDecision: {
    proposal_id: "toolcall_01J8Z9",
    outcome: "approval_required",
    reasons: ["approval_required"],
    message: "request approval before executing",
    details: [{ code: "approval_required", message: "refund above 100" }],
    decision_id: DECISION_ID,
    approval_id: APPROVAL_ID,
    trace_id: TRACE_ID,
  },
  GateAction: { entity_type: "order", actor, parameters: { amount: 49, reason: "customer request" } },
  ActionExecuted: {
    result: {
      action_name: "REFUND_ORDER",
      entity_id: "ord_002",
      status: "succeeded",
      executed: true,
      message: "refund of 49.00 issued",
      output: { message: "refund of 49.00 issued" },
      event: "ORDER_REFUNDED",
      state: "REFUNDED",
      version: 3,
      ...gateIds,
    },
    trace_id: TRACE_ID,
  },
  Problem: {
    type: "urn:holdpoint:problem:already_consumed",
    title: "already consumed",
    status: 409,
    detail: `Cannot use permit "${PERMIT_ID}": it has been used`,
    code: "already_consumed",
    outcome: "deny",
    mode: "enforce",
    enforced: true,
    trace_id: TRACE_ID,
    valid: false,
  },
};
