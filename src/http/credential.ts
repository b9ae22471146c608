/** What stands behind a bearer token, whatever kind of token it is: the same for keys and for JWTs. */
import type { Caller, Permitted, Reviewer } from "../core/caller.ts";
import type { Tenant } from "../core/types.ts";

/** decide: propose and consume. review: grant and deny. operate: read, freeze, resolve. ingest: send events. */
export type Scope = "decide" | "review" | "operate" | "ingest";

export interface Credential {
  readonly tenant: Tenant;
  readonly scopes: ReadonlySet<Scope>;
  readonly caller: Caller;
  readonly reviewer: Reviewer;
}

export interface CredentialFacts {
  readonly id: string;
  /** Name of the issuer of a JWT. */
  readonly issuer?: string;
  readonly type: string;
  readonly tenant: Tenant;
  readonly scopes: readonly Scope[];
  readonly roles: readonly string[] | "any";
  readonly actors: readonly string[] | "any";
  readonly onBehalfOf: readonly string[] | "any";
  readonly audiences: readonly string[] | undefined;
}

const NOBODY: Permitted = new Set();

export function createCredential(of: CredentialFacts): Credential {
  const { id, tenant, roles } = of;
  const scopes = new Set(of.scopes);
  const issuer = of.issuer === undefined ? {} : { issuer: of.issuer };
  const actors = permitted(of.actors);
  return {
    tenant,
    scopes,
    caller: {
      tenant,
      credentialId: id,
      ...issuer,
      isAuthenticated: true,
      actors,
      roles: permitted(roles),
      onBehalfOf: permitted(of.onBehalfOf),
      audiences: of.audiences === undefined ? undefined : new Set(of.audiences),
    },
    reviewer: {
      id,
      type: of.type,
      roles: roles === "any" ? [] : roles,
      isAuthenticated: true,
      ...issuer,
      tenant,
      credentialId: id,
      actsAs: scopes.has("decide") ? actors : NOBODY,
    },
  };
}

function permitted(ids: readonly string[] | "any"): Permitted {
  return ids === "any" ? "any" : new Set(ids);
}
