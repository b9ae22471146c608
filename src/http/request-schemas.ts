/** What requests may say: these schemas refuse them, and the API's description is generated from them. */
import { z } from "zod";
import type { ApprovalStatus } from "../core/ports.ts";
import {
  actionArguments,
  actor,
  digestText,
  entity,
  freeText,
  IDENTIFIER,
  identifier,
  jsonObject,
  jsonValue,
  roles,
} from "../core/schema.ts";

export const batchSchema = z.strictObject({
  proposals: z.array(jsonValue).min(1).describe("Decided each on its own, and answered in this order"),
});

export const usePermitSchema = z.strictObject({
  permit: z.string().min(1).describe("The token, as the decision had it"),
  action: z
    .strictObject({ name: identifier, arguments: jsonObject })
    .describe("What is really about to run, with the arguments it will really run with"),
  actor: actor.describe("On whose behalf it runs; without on_behalf_of, what the permit says of it stands"),
  entity: entity.nullable().optional().describe("What it runs on, as proposed"),
  audience: identifier.optional().describe("Who the executor is, where it answers to more than one name"),
});

export const reportSchema = z.strictObject({
  permit_id: identifier,
  execution_id: identifier.optional().describe("Which use, where the permit has more than one"),
  status: z.enum(["succeeded", "failed"]),
  result: jsonValue.optional().describe("Any JSON value; only its digest is kept"),
});

/** A reviewer speaks for itself: there is no principal behind it. */
export const reviewerActor = z
  .strictObject({ id: identifier, type: identifier.optional(), roles: roles.optional() })
  .describe("Who reviews: needed without authentication; else left out, or naming whom the credential names");

const actFields = { reason: freeText.optional(), actor: reviewerActor.optional() };

export const actSchema = z.strictObject(actFields);

export const grantSchema = z.strictObject({
  ...actFields,
  binding_digest: digestText.optional().describe("binding_digest of what the reviewer saw"),
  arguments: jsonObject.optional().describe("Grant these instead; policy decides them before they are bound"),
});

const eventActor = z.strictObject({ id: identifier, type: identifier.optional() });

export const eventSchema = z.strictObject({
  id: identifier.describe("The source's own: the same one again is answered the same"),
  source: identifier.describe("Who says so; ids are its own"),
  type: identifier.describe("As the domain names it"),
  entity: entity.describe("What it happened to"),
  actor: eventActor.describe("Who caused it"),
  time: z.iso
    .datetime({ offset: true })
    .optional()
    .describe("When it happened, by the source's clock; recorded, and decides nothing"),
  data: jsonObject.optional(),
  expected_version: z
    .int()
    .min(0)
    .optional()
    .describe("Append only where the entity has this version; 0 where nothing has reached it"),
});

export const eventsSchema = z.strictObject({
  events: z.array(jsonValue).min(1).describe("Taken each on its own, one after the other, and answered in this order"),
});

export const FREEZE_KINDS = ["tenant", "actor", "entity", "action"] as const;

export const operatorActor = z
  .strictObject({ id: identifier })
  .describe("Who asks: only without authentication, where nobody else says it");

const frozen = {
  reason: freeText.min(1).describe("Shown to whoever is stopped"),
  actor: operatorActor.optional(),
};

const NAME = IDENTIFIER.source.slice(1, -1);
/** `type/id`. Either may hold a slash: whatever splits into two identifiers is one. */
export const ENTITY_NAME = new RegExp(`^${NAME}/${NAME}$`, "u");

/** A subject that could never match anything is a fault: it would be a freeze that stops nobody. */
export const freezeSchema: z.ZodType<FreezeBody> = z.discriminatedUnion(
  "kind",
  [
    z.strictObject({ kind: z.literal("tenant").describe("Everything of the tenant"), ...frozen }),
    z.strictObject({
      kind: z.literal("actor"),
      subject: identifier.describe("Id of an actor, of somebody it acts for, or of a credential"),
      ...frozen,
    }),
    z.strictObject({
      kind: z.literal("entity"),
      subject: z.string().regex(ENTITY_NAME, "expected type/id").describe("`type/id` of an entity"),
      ...frozen,
    }),
    z.strictObject({ kind: z.literal("action"), subject: identifier.describe("Name of an action"), ...frozen }),
  ],
  `expected one of ${FREEZE_KINDS.join(", ")}`,
);

export interface FreezeBody {
  readonly kind: (typeof FREEZE_KINDS)[number];
  readonly subject?: string | undefined;
  readonly reason: string;
  readonly actor?: { readonly id: string } | undefined;
}

export const liftSchema = z.strictObject({
  reason: freeText.min(1).describe("Recorded"),
  actor: operatorActor.optional(),
});

export const resolveSchema = z.strictObject({
  status: z.enum(["succeeded", "failed"]).describe("What really became of it"),
  reason: freeText.min(1).describe("How that is known"),
  actor: operatorActor.optional(),
});

/** Of which exactly one is there. */
const eitherActor = {
  oneOf: ["actor_id", "actor"].map((name) => ({ required: [name], properties: { [name]: {} } })),
};
/** Half an entity would be none, and what is asked of its state would not be asked. */
const wholeEntity = { dependentRequired: { entity_id: ["entity_type"], entity_type: ["entity_id"] } };

export const proposalGateDecideSchema = z
  .strictObject({
    id: identifier.describe("Chosen by the caller: the same proposal once more is answered the same"),
    entity_id: identifier.optional().describe("What is acted on, with `entity_type`"),
    entity_type: identifier.optional(),
    action_name: identifier,
    actor_id: identifier.optional().describe("Who wants to act"),
    actor: actor.optional().describe("The same in full, instead of `actor_id`"),
    parameters: actionArguments.optional().describe("The action's arguments"),
    context: jsonObject.optional().describe("What else policy may want to know"),
    approval_id: identifier.optional().describe("The approval that is meant, where the caller knows it"),
  })
  .refine((body) => (body.actor === undefined) !== (body.actor_id === undefined), {
    path: ["actor_id"],
    error: "expected either actor_id or actor",
  })
  .refine((body) => (body.entity_id === undefined) === (body.entity_type === undefined), {
    path: ["entity_type"],
    error: "expected entity_id and entity_type together",
  })
  .meta({ ...eitherActor, ...wholeEntity });

export const proposalGateActionSchema = z.strictObject({
  id: identifier.optional().describe("As of a proposal; without it every request is another one"),
  entity_type: identifier,
  actor: actor.describe("Who wants to act, and on whose behalf"),
  parameters: actionArguments.optional().describe("The action's arguments"),
  context: jsonObject.optional().describe("What else policy may want to know"),
  approval_id: identifier.optional().describe("The approval that is meant, where the caller knows it"),
});

export const APPROVAL_STATUSES = [
  "pending",
  "granted",
  "denied",
  "expired",
  "cancelled",
  "exhausted",
] as const satisfies readonly ApprovalStatus[];

/** Items of one page: unless asked otherwise, and at most. */
export interface PageSize {
  readonly default: number;
  readonly max: number;
}

/** Each approval may carry arguments as large as a request. */
export const APPROVALS_PAGE: PageSize = { default: 50, max: 100 };
export const EXECUTIONS_PAGE: PageSize = { default: 50, max: 500 };
export const OBSERVATIONS_PAGE: PageSize = { default: 50, max: 500 };
export const HISTORY_PAGE: PageSize = { default: 50, max: 500 };
export const ENTRIES_PAGE: PageSize = { default: 100, max: 1_000 };

/** `30s`, `500ms`, `1m`, or a number of seconds. */
export const DURATION = /^([0-9]{1,6})(ms|s|m)?$/;
/** An index into the ledger, as text. */
export const INDEX = /^[0-9]{1,15}$/;
