/** What a credential allows its bearer to say of itself (nothing is believed that the proposer could profit from). */
import { InvalidRequestError } from "./errors.ts";
import type { Proposal } from "./proposal.ts";
import type { ActorRef, Identity, Tenant } from "./types.ts";

/** Ids that a credential may use: a list, or any. */
export type Permitted = ReadonlySet<string> | "any";

export interface Caller {
  readonly tenant: Tenant;
  /** The credential's id; undefined without authentication. */
  readonly credentialId: string | undefined;
  /** Name of the issuer, where the credential is a JWT. */
  readonly issuer?: string;
  readonly isAuthenticated: boolean;
  readonly actors: Permitted;
  readonly roles: Permitted;
  readonly onBehalfOf: Permitted;
  /** Audiences this executor answers to; any where undefined. */
  readonly audiences: ReadonlySet<string> | undefined;
}

/** Development only: loopback or a Unix socket, everything as the body says, and said so in every record. */
export const UNAUTHENTICATED_CALLER: Caller = {
  tenant: "default",
  credentialId: undefined,
  isAuthenticated: false,
  actors: "any",
  roles: "any",
  onBehalfOf: "any",
  audiences: undefined,
};

/** @throws InvalidRequestError("forbidden") when the proposal claims what the credential does not allow */
export function authorizeProposal(caller: Caller, proposal: Proposal): void {
  if (!caller.isAuthenticated) return;
  requirePermitted(caller.actors, proposal.actor.id, "/actor/id", "act as");
  requireRoles(caller, proposal.actor, "/actor");
  let pointer = "/actor";
  for (let principal = proposal.actor.on_behalf_of; principal !== undefined; principal = principal.on_behalf_of) {
    pointer += "/on_behalf_of";
    requirePermitted(caller.onBehalfOf, principal.id, `${pointer}/id`, "act on behalf of");
    requireRoles(caller, principal, pointer);
  }
}

/** Whether this caller could have made a proposal as this actor; decides who may read an approval. */
export function mayActAs(caller: Caller, actorId: string): boolean {
  return caller.actors === "any" || caller.actors.has(actorId);
}

function requireRoles(caller: Caller, actor: ActorRef, pointer: string): void {
  actor.roles?.forEach((role, index) => {
    requirePermitted(caller.roles, role, `${pointer}/roles/${index}`, "hold the role");
  });
}

function requirePermitted(permitted: Permitted, id: string, pointer: string, what: string): void {
  if (permitted !== "any" && !permitted.has(id)) {
    throw new InvalidRequestError("forbidden", `This credential may not ${what} ${JSON.stringify(id)}`, { pointer });
  }
}

export interface Reviewer extends Identity {
  readonly tenant: Tenant;
  readonly credentialId: string | undefined;
  /** Actors as whom the same credential may propose; what they propose it may not approve. */
  readonly actsAs: Permitted;
}

/** The proposer and everybody it acts for, and the credential that spoke for them. */
export function excludedReviewers(actor: ActorRef, credentialId: string | undefined): readonly string[] {
  const ids: string[] = [];
  for (let principal: ActorRef | undefined = actor; principal !== undefined; principal = principal.on_behalf_of) {
    ids.push(principal.id);
  }
  if (credentialId !== undefined) ids.push(credentialId);
  return ids;
}

/** INVARIANT (separate): spelling an id in another case or width does not make another person of its owner. */
export function isSamePrincipal(a: string, b: string): boolean {
  return a === b || folded(a) === folded(b);
}

/** Compatibility forms, then every letter by way of its upper case: ß and SS, ς and σ become one. */
function folded(id: string): string {
  return id.normalize("NFKC").toUpperCase().toLowerCase().replaceAll("\u03c2", "\u03c3").normalize("NFKC");
}
