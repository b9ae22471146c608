/** A proposal: what an actor wants to do, read once at the edge and trusted from there on. */
import { z } from "zod";
import type { Reading } from "./read-json.ts";
import { actionArguments, actor, entity, identifier, jsonObject, parseReading } from "./schema.ts";
import type { ActorRef, EntityRef, JsonObject } from "./types.ts";

export const proposalSchema = z.strictObject({
  id: identifier.describe("Chosen by the caller: the same proposal once more is answered the same"),
  action: z.strictObject({ name: identifier, arguments: actionArguments }),
  actor: actor.describe("Who wants to act, and on whose behalf"),
  entity: entity.optional().describe("What is acted on"),
  context: jsonObject.optional().describe("What else policy may want to know"),
  approval_id: identifier.optional().describe("The approval that is meant, where the caller knows it"),
  permit: z.boolean().optional().describe("True asks for a permit where the contract does not"),
});

export interface Proposal {
  readonly id: string;
  readonly action: string;
  readonly arguments: JsonObject;
  readonly actor: ActorRef;
  readonly entity: EntityRef | null;
  readonly context: JsonObject;
  readonly approvalId: string | undefined;
  /** The caller asks for a permit where the contract does not. */
  readonly wantsPermit: boolean;
  /** Canonical texts of the parts, made by the reader in the same pass. */
  readonly texts: ProposalTexts;
}

export interface ProposalTexts {
  readonly arguments: string;
  readonly actor: string;
  readonly entity: string;
  readonly context: string;
}

/** @throws InvalidRequestError */
export function parseProposal(reading: Reading): Proposal {
  const body = parseReading(proposalSchema, reading, "proposal");
  const members = reading.members!;
  return {
    id: body.id,
    action: body.action.name,
    arguments: body.action.arguments,
    actor: body.actor as ActorRef,
    entity: body.entity ?? null,
    context: body.context ?? {},
    approvalId: body.approval_id,
    wantsPermit: body.permit ?? false,
    texts: {
      arguments: members.get("action")!.members!.get("arguments")!.canonical,
      actor: members.get("actor")!.canonical,
      entity: members.get("entity")?.canonical ?? "null",
      context: members.get("context")?.canonical ?? "{}",
    },
  };
}
