/** A proposal: what an actor wants to do, read once at the edge and trusted from there on. */
import { z } from "zod";
import type { Reading } from "./read-json.ts";
import { actionArguments, actor, entity, identifier, jsonObject, parseReading } from "./schema.ts";
import type { ActorRef, EntityRef, JsonObject } from "./types.ts";

export const proposalSchema = z.strictObject({
  id: identifier,
  action: z.strictObject({ name: identifier, arguments: actionArguments }),
  actor,
  entity: entity.optional(),
  context: jsonObject.optional(),
  approval_id: identifier.optional(),
  permit: z.boolean().optional(),
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
