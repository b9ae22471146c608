/** What answers say, to the last member: the API's description is generated from these, and tests hold real answers to them. */
import { z } from "zod";
import {
  CONFLICT_CODES,
  INTEGRITY_CODES,
  INVALID_REQUEST_CODES,
  NOT_FOUND_CODES,
  PERMIT_CODES,
  UNAVAILABLE_CODES,
} from "../../core/errors.ts";
import { actor, digestText, entity, identifier, jsonObject, roles, tenantName } from "../../core/schema.ts";
import { APPROVAL_STATUSES } from "../request-schemas.ts";

export const time = z
  .string()
  .regex(/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/)
  .meta({ format: "date-time" });
export const traceId = z.string().regex(/^[0-9a-f]{32}$/);
export const mode = z.enum(["enforce", "observe"]);
export const outcome = z.enum(["allow", "deny", "compute", "escalate"]);
export const approvalStatus = z.enum(APPROVAL_STATUSES);
export const action = z.strictObject({ name: identifier, arguments: jsonObject });
export const reason = z.strictObject({ code: identifier, message: z.string() });
const count = z.int().min(0);
const cursor = z.string().nullable().describe("For the next page; null where there is none");

/** Codes that can be answered; those of configuration end a start before anybody listens. */
export const PROBLEM_CODES = [
  ...INVALID_REQUEST_CODES,
  ...NOT_FOUND_CODES,
  ...CONFLICT_CODES,
  ...PERMIT_CODES,
  ...UNAVAILABLE_CODES,
  ...INTEGRITY_CODES,
] as const;

export const problemCode = z.enum(PROBLEM_CODES);

export const problem = z.strictObject({
  type: z.string().regex(/^urn:holdpoint:problem:[a-z_]+$/),
  title: z.string(),
  status: z.int().min(400).max(599),
  detail: z.string().describe("For people; sentences may change"),
  code: problemCode,
  pointer: z.string().optional().describe("Place in the request body, as a JSON Pointer (RFC 6901)"),
  limit: count.optional().describe("The number that was exceeded"),
  offset: count.optional().describe("Character of the body at which it stops being JSON"),
  approval_status: approvalStatus.optional(),
  execution_status: z.enum(["succeeded", "failed"]).optional(),
  current_state: z.string().optional().describe("Of the entity; empty before its first transition"),
  current_version: count.optional().describe("Of the entity"),
  outcome: z
    .enum(["allow", "deny"])
    .optional()
    .describe("What the problem means for the action: deny, or allow where observing must not get in anybody's way"),
  mode: mode.optional(),
  enforced: z.boolean().optional(),
  valid: z.literal(false).optional().describe("Of a permit"),
  trace_id: traceId,
});

export const limit = z.strictObject({
  key: z.string().describe("As policy built it"),
  limit: z.number(),
  used: z.number(),
  remaining: z.number(),
  window_seconds: z.number(),
  resets_at: time.describe("When the window, or the oldest used part of a sliding one, ends"),
});

const lock = z.strictObject({
  key: z.string().describe("As policy built it"),
  fence: count.describe("Grows with every holder: what is behind the lock refuses a smaller one than it has seen"),
  expires_at: time,
});

export const decision = z.strictObject({
  decision_id: identifier,
  proposal_id: identifier,
  outcome: outcome.describe("allow and compute: run `action`, as it stands here. escalate: wait for `approval`"),
  mode,
  enforced: z.boolean(),
  observed_outcome: outcome.optional().describe("In observe mode: what enforcing would have answered"),
  reasons: z.array(reason),
  action: action.describe("What may run, with arguments as policy or a reviewer rewrote them"),
  approval: z.strictObject({ id: identifier, status: approvalStatus, expires_at: time }).optional(),
  permit: z.string().optional().describe("Compact JWS: shown where the action runs, to be consumed"),
  permit_id: identifier.optional(),
  limits: z.array(limit).optional().describe("What this action adds to, after it was charged where it may run"),
  lock: lock.optional().describe("Held for this action until its permit is used or expires"),
  entity_version: count.optional().describe("Of the entity that was decided on, where the domain knows it"),
  argument_digest: digestText,
  original_argument_digest: digestText.optional().describe("Of the arguments as proposed, where they were rewritten"),
  observed_argument_digest: digestText.optional().describe("In observe mode: of the arguments policy would have made"),
  binding_digest: digestText,
  input_hash: digestText,
  output_hash: digestText.nullable(),
  policy: z.strictObject({ digest: digestText, entrypoint: z.string(), revision: z.string() }).nullable(),
  contract: identifier.optional(),
  risk: identifier.optional(),
  rules: z.array(identifier).optional(),
  obligations: jsonObject.describe("What policy asks of whoever runs the action"),
  decided_at: time,
  trace_id: traceId,
});

export const decisions = z.strictObject({
  decisions: z.array(z.union([decision, problem])).describe("In the order of the proposals"),
});

const used = {
  valid: z.literal(true),
  mode,
  enforced: z.boolean(),
  permit_id: identifier,
  uses_left: count,
  binding_digest: digestText,
  argument_digest: digestText.nullable().describe("Null under an envelope"),
  expires_at: time,
  decision_id: identifier,
  approval_id: identifier.nullable(),
  policy_digest: digestText.nullable(),
  trace_id: traceId.describe("Of the decision"),
};

export const permitVerified = z.strictObject(used);

export const permitConsumed = z.strictObject({
  ...used,
  execution_id: identifier.describe("Names this use; report its end under it"),
});

export const permitObserved = z.strictObject({
  valid: z.literal(true),
  mode: z.literal("observe"),
  enforced: z.literal(false),
  observed: z
    .strictObject({ valid: z.literal(false), code: problemCode, detail: z.string() })
    .describe("What enforcing would have refused"),
  trace_id: traceId,
});

export const execution = z.strictObject({
  permit_id: identifier,
  execution_id: identifier,
  decision_id: identifier,
  trace_id: traceId,
  action: identifier,
  status: z.enum(["unknown", "succeeded", "failed"]),
  result_digest: digestText.nullable(),
  consumed_at: time,
  reported_at: time.nullable(),
});

export const executions = z.strictObject({ executions: z.array(execution), cursor });

export const review = z.strictObject({
  reviewer: z.strictObject({ id: identifier, type: identifier, roles, issuer: identifier.optional() }),
  authenticated: z.boolean(),
  verdict: z.enum(["grant", "deny", "cancel"]),
  reason: z.string(),
  binding_digest: digestText.describe("What this reviewer saw"),
  at: time,
});

export const approval = z.strictObject({
  id: identifier,
  status: approvalStatus,
  tenant: tenantName,
  action_name: identifier,
  entity_id: identifier.optional(),
  reviewed_by: identifier.optional().describe("Who reviewed last"),
  reviewed_at: time.optional(),
  action,
  actor,
  entity: entity.nullable(),
  context: jsonObject,
  reasons: z.array(reason),
  risk: identifier,
  argument_digest: digestText,
  original_argument_digest: digestText.optional().describe("Of the arguments as proposed, where they were rewritten"),
  binding_digest: digestText,
  policy_digest: digestText,
  proposal_id: identifier,
  decision_id: identifier,
  trace_id: traceId,
  authenticated: z.boolean().describe("Whether the proposer showed a credential"),
  binding: z.enum(["exact", "envelope"]),
  envelope: jsonObject.optional().describe("JSON Schema: what is granted is whatever it accepts"),
  roles: roles.describe("A reviewer holds one of these; empty: any reviewer"),
  quorum: z.int().min(1).describe("Reviewers that must grant"),
  uses_left: count,
  reviews: z.array(review),
  created_at: time,
  expires_at: time.describe("End of waiting while pending, end of the grant once granted"),
  version: count.describe("Grows with every change"),
});

export const approvals = z.strictObject({ approvals: z.array(approval), cursor });
export const reviewed = z.strictObject({ approval });

/** Of an entity that the domain knows, as it was decided on. */
const decidedEntity = entity.extend({
  state: identifier.nullable().optional(),
  version: count.optional(),
  attributes: jsonObject.optional(),
});

export const observation = z.strictObject({
  index: count.describe("Of the entry in the ledger"),
  observed_outcome: z.enum(["deny", "compute", "escalate"]),
  decision_id: identifier,
  proposal_id: identifier,
  decided_at: time,
  action,
  actor,
  entity: decidedEntity.nullable(),
  reasons: z.array(reason),
  contract: identifier.optional(),
  rules: z.array(identifier).optional(),
  risk: identifier.optional(),
  trace_id: traceId,
});

export const observations = z.strictObject({ observations: z.array(observation), cursor });

/** Its members beyond these are those of its kind, and of its version. */
export const ledgerEntry = z.looseObject({
  v: z.int().min(1).describe("Version of the layout"),
  kind: z.string(),
  tenant: z.string().describe("Empty where the entry is about the sidecar"),
  time,
  trace_id: z.string(),
});

export const indexedEntry = z.strictObject({ index: count, entry: ledgerEntry });

export const ledgerPage = z.strictObject({
  entries: z.array(indexedEntry.extend({ entry: ledgerEntry.nullable().describe("Null: of another tenant") })),
  next: count.describe("Where to go on"),
  size: count.describe("Entries in the ledger"),
});

const authentication = z.array(z.enum(["none", "api_key", "jwt"]));

export const policy = z.strictObject({
  active: z
    .strictObject({ digest: digestText, revision: z.string(), entrypoint: z.string(), loaded_at: time })
    .nullable(),
  last_error: z
    .strictObject({ code: z.string(), message: z.string(), at: time })
    .nullable()
    .describe("Of the last load that failed, until one succeeds"),
  mode: mode.describe("Of this tenant"),
  actions: z.record(z.string(), z.strictObject({ mode })).describe("Modes by action"),
  policy_may_observe: z.boolean(),
  authentication: z.strictObject({ callers: authentication, admins: authentication, metrics: authentication }),
});

export const health = z.strictObject({ status: z.literal("ok") });

export const readiness = z.strictObject({
  status: z.enum(["ok", "unavailable"]),
  checks: z.record(z.string(), z.string()).describe('Each part with "ok" or what is wrong'),
});

export const jwks = z.strictObject({
  keys: z.array(
    z.strictObject({
      kty: z.literal("OKP"),
      crv: z.literal("Ed25519"),
      x: z.string(),
      kid: z.string(),
      alg: z.literal("EdDSA"),
      use: z.literal("sig"),
    }),
  ),
});

type DeepReadonly<T> = T extends object ? { readonly [K in keyof T]: DeepReadonly<T[K]> } : T;

export type PolicyAnswer = DeepReadonly<z.infer<typeof policy>>;
export type ReadinessAnswer = DeepReadonly<z.infer<typeof readiness>>;
