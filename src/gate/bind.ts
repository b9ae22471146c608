/** What an approval or a permit authorises: one binding, exact or an envelope (INVARIANT: bound). */
import { granters } from "../core/approval-state.ts";
import { type BindingParts, bindingText, envelopeBindingText } from "../core/compose.ts";
import { canonicalData, sha256Digest } from "../core/digest.ts";
import type { PolicyResult } from "../core/policy-result.ts";
import type { Approval, ApprovalRule } from "../core/ports.ts";
import type { ActorRef, Digest, EntityRef, JsonObject, Tenant } from "../core/types.ts";
import type { Evaluation } from "./evaluate.ts";
import type { GateOptions } from "./options.ts";

export interface Bound {
  readonly tenant: Tenant;
  readonly action: string;
  readonly actor: ActorRef;
  readonly entity: EntityRef | null;
  readonly context: JsonObject;
}

/** Digest over the exact action. */
export function exactBinding(of: Bound, argumentsText: string): Digest {
  return sha256Digest(bindingText({ ...partsOf(of), argumentsText }));
}

/** What a grant binds: the exact action, or the envelope that policy drew around it. */
export function grantBinding(of: Bound, evaluation: Evaluation): Digest {
  const schemaText = evaluation.result?.envelopeSchemaText;
  if (schemaText === undefined) return exactBinding(of, evaluation.argumentsText);
  return sha256Digest(envelopeBindingText(partsOf(of), schemaText));
}

function partsOf(of: Bound): Omit<BindingParts, "argumentsText"> {
  return {
    tenant: of.tenant,
    action: of.action,
    actorId: of.actor.id,
    onBehalfOf: of.actor.on_behalf_of ?? null,
    entity: of.entity,
  };
}

/**
 * Finds the approval of an action again: what it binds, for whom by their ids alone, and its context. Policy may name the members of the context that
 * count, so that a proposer cannot leave a denial behind by changing one that does not.
 */
export function scopeOf(of: Bound, evaluation: Evaluation): Digest {
  const contextKeys = evaluation.result?.approval?.context;
  const context = contextKeys === undefined ? of.context : pick(of.context, contextKeys);
  const binding = grantBinding({ ...of, actor: withIdsOnly(of.actor) }, evaluation);
  return sha256Digest(canonicalData({ binding, context }));
}

/** Types and roles of principals are the proposer's to spell: a denial of the same action for the same people stays one. */
function withIdsOnly(actor: ActorRef): ActorRef {
  const { id, on_behalf_of } = actor;
  return on_behalf_of === undefined ? { id } : { id, on_behalf_of: withIdsOnly(on_behalf_of) };
}

function pick(context: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(keys.filter((key) => Object.hasOwn(context, key)).map((key) => [key, context[key]!]));
}

/** What policy asks of the reviewers, complete. */
export function approvalRule(result: PolicyResult, options: GateOptions): ApprovalRule {
  const asked = result.approval;
  return {
    roles: asked?.roles ?? [],
    quorum: asked?.quorum ?? 1,
    ttlSeconds: asked?.ttl_seconds ?? options.approvalTtlSeconds,
    grantTtlSeconds: asked?.grant_ttl_seconds ?? options.grantTtlSeconds,
    uses: asked?.envelope?.uses ?? 1,
  };
}

/** Whether reviews given under one rule satisfy another: no more reviewers asked for, and no other roles. */
export function satisfies(given: ApprovalRule, asked: ApprovalRule): boolean {
  const hasRoles =
    asked.roles.length === 0 || (given.roles.length > 0 && given.roles.every((role) => asked.roles.includes(role)));
  return given.quorum >= asked.quorum && hasRoles;
}

/** `input.approval`: the grant that a decision may rest on, canonical. */
export function grantText(approval: Approval): string {
  const reviewers = JSON.stringify([...granters(approval.reviews)]);
  return `{"id":"${approval.id}","reviewers":${reviewers},"status":"granted"}`;
}
