/**
 * Bearer API keys. Only the SHA-256 of a key is kept; a key is random and long, so one hash is enough, and a look-up by
 * hash takes the same time whatever was sent.
 */
import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { type Caller, type Permitted, type Reviewer, UNAUTHENTICATED_CALLER } from "../core/caller.ts";
import { InvalidRequestError } from "../core/errors.ts";
import type { Tenant } from "../core/types.ts";

export type Scope = "decide" | "review" | "operate";

export interface ApiKeyRecord {
  readonly id: string;
  readonly sha256: string;
  readonly tenant: Tenant;
  readonly scopes: readonly Scope[];
  readonly type: string;
  readonly roles: readonly string[] | "any";
  readonly actors: readonly string[] | "any";
  readonly on_behalf_of: readonly string[] | "any";
  readonly audiences?: readonly string[] | undefined;
}

export interface Authenticator {
  /** Who proposes and consumes. */
  caller(request: IncomingMessage): Caller;
  /** Who reviews; undefined where authentication is off and the body must say. */
  reviewer(request: IncomingMessage): Reviewer | undefined;
  /** Whose ledger, policy and approvals may be read: the tenant. */
  operator(request: IncomingMessage): { readonly tenant: Tenant; readonly isAuthenticated: boolean };
  readonly isAdminOpen: boolean;
}

/** A key is a few dozen characters; a header of this length is no key of ours. */
const TOKEN_CHARS_MAX = 512;
const BEARER = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i;

export function createAuthenticator(of: {
  readonly keys: readonly ApiKeyRecord[];
  readonly callers: "none" | "api_key";
  readonly admins: "none" | "api_key";
}): Authenticator {
  const byHash = new Map(of.keys.map((key) => [key.sha256, { key, caller: callerOf(key), reviewer: reviewerOf(key) }]));
  const find = (request: IncomingMessage, scopes: readonly Scope[]) => {
    const found = byHash.get(hash(bearerToken(request)));
    if (found === undefined) throw new InvalidRequestError("unauthenticated", "This bearer token is not known");
    if (!scopes.some((scope) => found.key.scopes.includes(scope))) {
      throw new InvalidRequestError("forbidden", `This credential has none of the scopes ${scopes.join(", ")}`);
    }
    return found;
  };
  return {
    isAdminOpen: of.admins === "none",
    caller: (request) => (of.callers === "none" ? UNAUTHENTICATED_CALLER : find(request, ["decide"]).caller),
    reviewer: (request) => (of.admins === "none" ? undefined : find(request, ["review"]).reviewer),
    operator: (request) =>
      of.admins === "none"
        ? { tenant: UNAUTHENTICATED_CALLER.tenant, isAuthenticated: false }
        : { tenant: find(request, ["operate", "review"]).key.tenant, isAuthenticated: true },
  };
}

/** Two authorization headers could be read differently by a proxy and by us, so there may be one. */
function bearerToken(request: IncomingMessage): string {
  const headers = request.headersDistinct.authorization;
  if (headers === undefined)
    throw new InvalidRequestError("unauthenticated", "Expected an authorization header with a bearer token");
  const match = headers.length === 1 && headers[0]!.length <= TOKEN_CHARS_MAX ? BEARER.exec(headers[0]!) : null;
  if (match === null)
    throw new InvalidRequestError("unauthenticated", "Expected one authorization header: Bearer and a token");
  return match[1]!;
}

export function hash(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

function callerOf(key: ApiKeyRecord): Caller {
  return {
    tenant: key.tenant,
    credentialId: key.id,
    isAuthenticated: true,
    actors: permitted(key.actors),
    roles: permitted(key.roles),
    onBehalfOf: permitted(key.on_behalf_of),
    audiences: key.audiences === undefined ? undefined : new Set(key.audiences),
  };
}

function reviewerOf(key: ApiKeyRecord): Reviewer {
  return {
    id: key.id,
    type: key.type,
    roles: key.roles === "any" ? [] : key.roles,
    isAuthenticated: true,
    tenant: key.tenant,
    credentialId: key.id,
    actsAs: key.scopes.includes("decide") ? permitted(key.actors) : NOBODY,
  };
}

const NOBODY: Permitted = new Set();

function permitted(ids: readonly string[] | "any"): Permitted {
  return ids === "any" ? "any" : new Set(ids);
}
