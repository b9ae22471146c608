/** What a verified JWT permits: its claims, within what the configuration lets its issuer say. */
import { createHmac, randomBytes } from "node:crypto";
import type { BearerRefusal, BearerVerifier } from "../core/ports.ts";
import { IDENTIFIER, ROLES_MAX } from "../core/schema.ts";
import type { Json, JsonObject, Tenant } from "../core/types.ts";
import { type Credential, createCredential, type Scope } from "./credential.ts";

export interface JwtIssuerRecord {
  readonly name: string;
  readonly id_claim: string;
  readonly type: string;
  readonly tenant: Tenant;
  readonly tenant_claim?: string | undefined;
  readonly tenants?: readonly Tenant[] | undefined;
  readonly scopes: readonly Scope[];
  readonly scopes_claim?: string | undefined;
  readonly roles: readonly string[] | "any";
  readonly roles_claim?: string | undefined;
  readonly actors?: readonly string[] | "any" | undefined;
  readonly actors_claim?: string | undefined;
  readonly on_behalf_of: readonly string[] | "any";
  readonly on_behalf_of_claim?: string | undefined;
  readonly permit_audiences?: readonly string[] | undefined;
}

export type JwtAnswer =
  | { readonly kind: "known"; readonly credential: Credential }
  | { readonly kind: "refused"; readonly reason: BearerRefusal; readonly message: string };

export type FindJwt = (token: string) => Promise<JwtAnswer>;

/** Longest id list that a claim may hold. */
const CLAIM_ITEMS_MAX = 1_000;
/** Verified tokens are remembered, so that a signature is checked once and not with every request. */
const REMEMBERED_MAX = 2_000;
/** A key that is gone from its issuer's set stops counting after this long, however long its tokens live. */
const REMEMBERED_MS = 60_000;

interface Remembered {
  readonly credential: Credential;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** @throws from the returned function: UnavailableError("identity_unavailable") */
export function createJwtCredentials(
  verifier: BearerVerifier,
  issuers: readonly JwtIssuerRecord[],
  nowMs: () => number,
): FindJwt {
  const byName = new Map(issuers.map((issuer) => [issuer.name, issuer]));
  const remembered = new Map<string, Remembered>();
  const secret = randomBytes(32);
  return async (token) => {
    const mark = createHmac("sha256", secret).update(token).digest("base64");
    const known = remembered.get(mark);
    const now = nowMs();
    // A clock that was set back is no reason to believe a token for longer.
    if (known !== undefined && known.sinceMs <= now && now < known.untilMs)
      return { kind: "known", credential: known.credential };
    remembered.delete(mark);
    const verified = await verifier.verify(token);
    if (verified.kind === "refused") return verified;
    const credential = credentialOf(byName.get(verified.issuer)!, verified.claims);
    if (typeof credential === "string") return { kind: "refused", reason: "claims_invalid", message: credential };
    if (remembered.size >= REMEMBERED_MAX) remembered.delete(remembered.keys().next().value!);
    const sinceMs = nowMs();
    remembered.set(mark, {
      credential,
      sinceMs,
      untilMs: Math.min(verified.expiresAt * 1000, sinceMs + REMEMBERED_MS),
    });
    return { kind: "known", credential };
  };
}

/** The credential, or what is wrong with the claims. */
function credentialOf(issuer: JwtIssuerRecord, claims: JsonObject): Credential | string {
  const id = claimOf(claims, issuer.id_claim);
  if (typeof id !== "string" || !IDENTIFIER.test(id)) return `Claim ${issuer.id_claim} of the token is no usable id`;
  const tenant = issuer.tenant_claim === undefined ? issuer.tenant : claimOf(claims, issuer.tenant_claim);
  if (typeof tenant !== "string" || (issuer.tenants !== undefined && !issuer.tenants.includes(tenant)))
    return `Claim ${issuer.tenant_claim} of the token names no tenant that this issuer may name`;
  const claimed = {
    scopes: wordsOf(claims, issuer.scopes_claim),
    roles: wordsOf(claims, issuer.roles_claim),
    actors: wordsOf(claims, issuer.actors_claim),
    onBehalfOf: wordsOf(claims, issuer.on_behalf_of_claim),
  };
  const broken = Object.entries(claimed).find(([, words]) => words === "unreadable");
  if (broken !== undefined) return `The token's claim for ${broken[0]} is no list of usable ids`;
  const roles = narrowed(issuer.roles, claimed.roles);
  if (roles !== "any" && claimed.roles !== undefined && roles.length > ROLES_MAX)
    return `The token has more than ${ROLES_MAX} roles`;
  return createCredential({
    id,
    issuer: issuer.name,
    type: issuer.type,
    tenant,
    scopes: narrowed(issuer.scopes, claimed.scopes) as readonly Scope[],
    roles,
    actors: narrowed(issuer.actors ?? (issuer.actors_claim === undefined ? [id] : "any"), claimed.actors),
    onBehalfOf: narrowed(issuer.on_behalf_of, claimed.onBehalfOf),
    audiences: issuer.permit_audiences,
  });
}

/** What configuration permits, less what the claim does not list; a claim that is absent lists nothing. */
function narrowed(
  permitted: readonly string[] | "any",
  claimed: readonly string[] | "unreadable" | undefined,
): readonly string[] | "any" {
  if (claimed === undefined || claimed === "unreadable") return permitted;
  return permitted === "any" ? claimed : claimed.filter((word) => permitted.includes(word));
}

/** Undefined where configuration names no claim; nothing where the token lacks it. */
function wordsOf(claims: JsonObject, claim: string | undefined): readonly string[] | "unreadable" | undefined {
  if (claim === undefined) return undefined;
  const value = claimOf(claims, claim);
  if (value === undefined || value === null) return [];
  const words = typeof value === "string" ? value.split(" ").filter((word) => word !== "") : value;
  if (!Array.isArray(words) || words.length > CLAIM_ITEMS_MAX) return "unreadable";
  return words.every((word) => typeof word === "string" && IDENTIFIER.test(word)) ? (words as string[]) : "unreadable";
}

/** By its name, or by a JSON Pointer where the name begins with a slash. */
function claimOf(claims: JsonObject, claim: string): Json | undefined {
  if (Object.hasOwn(claims, claim)) return claims[claim];
  if (!claim.startsWith("/")) return undefined;
  let value: Json | undefined = claims;
  for (const part of claim.slice(1).split("/")) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
    if (!isObject || !Object.hasOwn(value as JsonObject, name)) return undefined;
    value = (value as JsonObject)[name];
  }
  return value;
}
