/** A permit: its claims, and the checks that need nothing but the claims, in their order. */
import { z } from "zod";
import { bindingText, envelopeBindingText } from "./compose.ts";
import { canonicalData, sha256Digest } from "./digest.ts";
import { PermitError } from "./errors.ts";
import { actor, digestText, entity, identifier, jsonObject, tenantName } from "./schema.ts";
import type { ActorRef, Digest, EntityRef, JsonObject, Tenant } from "./types.ts";

export const PERMIT_TYPE = "holdpoint-permit+jwt";

/** Clocks of sidecars that honour one another's permits may differ by this much; the store's clock has the last word. */
export const PERMIT_LEEWAY_SECONDS = 5;

/** A token is a few hundred bytes; an envelope's schema may add to it. */
export const PERMIT_CHARS_MAX = 32 * 1024;

export const permitClaimsSchema = z.strictObject({
  iss: z.string(),
  aud: identifier,
  sub: identifier,
  jti: identifier,
  iat: z.int(),
  nbf: z.int(),
  exp: z.int(),
  tenant: tenantName,
  action: identifier,
  entity: entity.nullable(),
  on_behalf_of: actor.nullable(),
  binding_digest: digestText,
  argument_digest: digestText.nullable(),
  envelope: jsonObject.optional(),
  entity_version: z.int().min(0).optional(),
  reserved: digestText.optional(),
  lock: z.strictObject({ key: z.string(), fence: z.int().min(1), expires_at: z.string() }).optional(),
  lineage: z.strictObject({
    decision_id: identifier,
    approval_id: identifier.nullable(),
    policy_digest: digestText.nullable(),
    trace_id: identifier,
  }),
  uses: z.int().min(1),
});

export interface PermitClaims {
  readonly iss: string;
  readonly aud: string;
  readonly sub: string;
  readonly jti: string;
  /** Seconds since the epoch, like nbf and exp. */
  readonly iat: number;
  readonly nbf: number;
  readonly exp: number;
  readonly tenant: Tenant;
  readonly action: string;
  readonly entity: EntityRef | null;
  readonly on_behalf_of: ActorRef | null;
  readonly binding_digest: Digest;
  /** Null for an envelope, which is bound to a schema instead of arguments. */
  readonly argument_digest: Digest | null;
  readonly envelope?: JsonObject;
  /** The version of the entity at which alone it may be consumed. */
  readonly entity_version?: number;
  /** Digest of the limits and the lock that policy asked for with it. */
  readonly reserved?: Digest;
  /** The lock that it holds; whoever writes behind the lock refuses a fence smaller than one it has seen. */
  readonly lock?: { readonly key: string; readonly fence: number; readonly expires_at: string };
  readonly lineage: {
    readonly decision_id: string;
    readonly approval_id: string | null;
    readonly policy_digest: Digest | null;
    readonly trace_id: string;
  };
  readonly uses: number;
}

/** What the executor is really about to do, as the strict reader found it. */
export interface RealAction {
  readonly action: string;
  readonly argumentsText: string;
  readonly actorId: string;
  /** Undefined where the executor does not know it: then the signed claim stands. */
  readonly onBehalfOf: ActorRef | null | undefined;
  readonly entity: EntityRef | null;
}

export interface ClaimExpectations {
  readonly nowSeconds: number;
  readonly tenant: Tenant;
  /** Audiences that the asking executor answers to; any where undefined. */
  readonly audiences: ReadonlySet<string> | undefined;
}

/** Time, audience, tenant, scope, digest, in this order. @throws PermitError with the first failed check's code */
export function checkClaims(claims: PermitClaims, real: RealAction, expected: ClaimExpectations): void {
  checkTime(claims, expected.nowSeconds);
  if (expected.audiences !== undefined && !expected.audiences.has(claims.aud)) {
    throw refusal(claims, "wrong_audience", `it is for the audience ${JSON.stringify(claims.aud)}`);
  }
  if (claims.tenant !== expected.tenant) throw refusal(claims, "wrong_tenant", "it belongs to another tenant");
  checkScope(claims, real);
  const recomputed = sha256Digest(realBindingText(claims, real));
  if (recomputed !== claims.binding_digest) {
    throw refusal(
      claims,
      "digest_mismatch",
      `it is bound to ${claims.binding_digest}, the real action has ${recomputed}`,
    );
  }
}

function checkTime(claims: PermitClaims, nowSeconds: number): void {
  if (claims.nbf > nowSeconds + PERMIT_LEEWAY_SECONDS) {
    throw refusal(claims, "not_yet_valid", `it is valid from ${isoSeconds(claims.nbf)}`);
  }
  if (claims.exp <= nowSeconds) throw refusal(claims, "expired", `it expired at ${isoSeconds(claims.exp)}`);
}

function checkScope(claims: PermitClaims, real: RealAction): void {
  const isSameEntity = claims.entity?.type === real.entity?.type && claims.entity?.id === real.entity?.id;
  if (claims.action !== real.action || !isSameEntity || claims.sub !== real.actorId) {
    throw refusal(claims, "wrong_scope", "it is for another action, entity or actor");
  }
}

function realBindingText(claims: PermitClaims, real: RealAction): string {
  const parts = {
    tenant: claims.tenant,
    actorId: real.actorId,
    onBehalfOf: real.onBehalfOf === undefined ? claims.on_behalf_of : real.onBehalfOf,
    action: real.action,
    entity: real.entity,
  };
  return claims.envelope === undefined
    ? bindingText({ ...parts, argumentsText: real.argumentsText })
    : envelopeBindingText(parts, canonicalData(claims.envelope));
}

function refusal(claims: PermitClaims, code: PermitError["code"], message: string): PermitError {
  return new PermitError(code, `Cannot use permit ${JSON.stringify(claims.jti)}: ${message}`);
}

function isoSeconds(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
