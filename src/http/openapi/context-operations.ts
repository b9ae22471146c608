/** Routes around an action: events and the entities they move, freezes, executions that nobody reported. */
import {
  BODY,
  CREDENTIAL,
  EVENT,
  INGEST,
  json,
  LEDGER,
  OPERATE,
  type Operation,
  READ,
  STORE,
  TEXT,
} from "./operation.ts";

export const eventOperations: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/events",
    id: "sendEvents",
    tag: "events",
    summary: "Say what happened to an entity: one event, or several",
    description:
      "The only way an entity's state changes. The same event once more is answered with what is on record; the same id " +
      "with other content is a conflict. An event that leads nowhere from the state the entity has is recorded, and moves " +
      "nothing. Several are taken one after the other, and one that is malformed or fails has its problem in its place.",
    scopes: INGEST,
    body: { schema: "EventOrEvents", isRequired: true },
    answers: { 200: { description: "On record, with what became of it", content: json("EventOrEventsTaken") } },
    problems: [...CREDENTIAL, ...BODY, ...EVENT, ...STORE, ...LEDGER, "version_conflict", "batch_too_large"],
  },
  {
    method: "post",
    path: "/v1/ingest/{adapter}",
    id: "receiveWebhook",
    tag: "events",
    summary: "Take a webhook of another system, and make an event of it",
    description:
      "The body is whatever that system sends; the adapter's mapping reads it. An adapter that verifies signatures asks " +
      "for no credential; one that does not takes those of its own tenant. A webhook that is genuine and none of ours is " +
      "acknowledged and ignored.",
    scopes: INGEST,
    parameters: ["AdapterName"],
    body: { schema: "Webhook", isRequired: true },
    answers: { 200: { description: "On record, or ignored", content: json("WebhookTaken") } },
    problems: [
      ...CREDENTIAL,
      ...TEXT,
      ...EVENT,
      ...STORE,
      ...LEDGER,
      "adapter_not_found",
      "webhook_signature_invalid",
      "webhook_signature_expired",
      "webhook_mapping_failed",
    ],
  },
  {
    method: "get",
    path: "/v1/entities/{type}/{id}",
    id: "readEntity",
    tag: "events",
    summary: "Where an entity stands, how it came there, and whether its events alone say the same",
    scopes: READ,
    parameters: ["EntityType", "EntityId", "HistoryLimit", "HistoryCursor", "Rebuild"],
    answers: { 200: { description: "The entity, and one page of its history", content: json("EntityRead") } },
    problems: [
      ...CREDENTIAL,
      ...STORE,
      "invalid_request",
      "policy_not_loaded",
      "entity_type_unknown",
      "entity_not_found",
    ],
  },
];

export const freezeOperations: readonly Operation[] = [
  {
    method: "get",
    path: "/v1/freezes",
    id: "listFreezes",
    tag: "freezes",
    summary: "List what is frozen",
    scopes: READ,
    answers: { 200: { description: "Every freeze of this tenant", content: json("Freezes") } },
    problems: [...CREDENTIAL, ...STORE],
  },
  {
    method: "post",
    path: "/v1/freezes",
    id: "freeze",
    tag: "freezes",
    summary: "Stop an actor, an entity, an action, or everything of the tenant",
    description:
      "Until it is lifted nothing that it is about is allowed, and permits that were given are refused: at once on this " +
      "sidecar, within seconds on the others.",
    scopes: OPERATE,
    body: { schema: "FreezeRequest", isRequired: true },
    answers: { 201: { description: "Frozen", content: json("Frozen") } },
    problems: [...CREDENTIAL, ...BODY, ...STORE, ...LEDGER],
  },
  {
    method: "post",
    path: "/v1/freezes/{id}/lift",
    id: "liftFreeze",
    tag: "freezes",
    summary: "Lift a freeze",
    description: "What another freeze is about stays stopped.",
    scopes: OPERATE,
    parameters: ["FreezeId"],
    body: { schema: "FreezeLift", isRequired: true },
    answers: { 200: { description: "Lifted", content: json("FreezeLifted") } },
    problems: [...CREDENTIAL, ...BODY, ...STORE, ...LEDGER, "freeze_not_found"],
  },
];

export const resolveOperation: Operation = {
  method: "post",
  path: "/v1/executions/{id}/resolve",
  id: "resolveExecution",
  tag: "executions",
  summary: "Say what became of an execution that nobody reported",
  description:
    "By somebody who looked. One that succeeded here, by an executor, moves its entity now. The same resolution once " +
    "more is answered the same.",
  scopes: OPERATE,
  parameters: ["ExecutionId"],
  body: { schema: "Resolution", isRequired: true },
  answers: { 200: { description: "The execution, closed", content: json("Execution") } },
  problems: [...CREDENTIAL, ...BODY, ...STORE, ...LEDGER, "execution_not_found", "execution_conflict"],
};
