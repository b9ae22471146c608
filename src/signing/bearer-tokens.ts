/**
 * JWTs of callers and reviewers (RFC 7519, with the care of RFC 8725): who signed it, for whom, and whether it is valid
 * now. Algorithms are asymmetric and named per issuer; `exp` is required; a token has one issuer and one audience of ours.
 */
import * as errors from "jose/errors";
import { jwtVerify } from "jose/jwt/verify";
import { HoldpointError } from "../core/errors.ts";
import { PERMIT_TYPE } from "../core/permit.ts";
import type { BearerRefusal, BearerVerification, BearerVerifier } from "../core/ports.ts";
import { readJson } from "../core/read-json.ts";
import type { JsonObject } from "../core/types.ts";
import { createJwksSource, type JwksOptions, type JwksSource } from "./jwks-source.ts";

export interface TrustedIssuer {
  readonly name: string;
  readonly issuer: string;
  readonly audiences: readonly string[];
  readonly jwks: string;
  readonly algorithms: readonly string[];
}

export interface BearerTokens extends BearerVerifier {
  /** Where keys come from, by location. */
  readonly sources: ReadonlyMap<string, JwksSource>;
  /** Looks for every issuer's keys anew; resolves with what went wrong, by issuer. */
  refresh(): Promise<ReadonlyMap<string, Error>>;
}

/** How far clocks may be apart. */
export const LEEWAY_SECONDS = 5;
const DEPTH_MAX = 32;
/** Decoders pass over white space and the like, and two spellings of a token would be two tokens. */
const PARTS = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]*$/;
/** RFC 8725 section 3.11: a token made for another purpose is none of ours. */
const TYPES = new Set(["jwt", "at+jwt", "application/jwt", "application/at+jwt"]);

export interface BearerTokensOptions {
  readonly nowMs: () => number;
  readonly jwks?: Partial<JwksOptions>;
  /** Of the configuration before this one: an issuer that is away when a setting changes keeps the keys that it had. */
  readonly before?: BearerTokens;
}

export function createBearerTokens(issuers: readonly TrustedIssuer[], options: BearerTokensOptions): BearerTokens {
  const sources = new Map<string, JwksSource>();
  for (const { jwks } of issuers)
    sources.set(jwks, sources.get(jwks) ?? options.before?.sources.get(jwks) ?? createJwksSource(jwks, options.jwks));
  return {
    sources,
    verify: (token) => verify(token, { issuers, sources, nowMs: options.nowMs }),
    refresh: async () => {
      const failed = new Map<string, Error>();
      const looks = issuers.map(({ name, jwks }) =>
        sources
          .get(jwks)!
          .refresh()
          .catch((error: Error) => failed.set(name, error)),
      );
      await Promise.all(looks);
      return failed;
    },
  };
}

interface Trust {
  readonly issuers: readonly TrustedIssuer[];
  readonly sources: ReadonlyMap<string, JwksSource>;
  readonly nowMs: () => number;
}

/** What costs nothing is looked at first; nothing of it is believed before the signature holds. */
async function verify(token: string, trust: Trust): Promise<BearerVerification> {
  const parts = readParts(token);
  if (parts === undefined) return refused("malformed", "Bearer token is not a JWT");
  const { header, claims } = parts;
  const { typ, alg } = header;
  if (Object.hasOwn(header, "crit") || Object.hasOwn(header, "b64"))
    return refused("malformed", "Token asks for an extension (crit, b64), and none is known here");
  if (typ === PERMIT_TYPE) return refused("wrong_type", "A permit is no credential");
  if (typ !== undefined && !(typeof typ === "string" && TYPES.has(typ.toLowerCase())))
    return refused("wrong_type", `Token is of type ${JSON.stringify(typ)}, expected JWT or at+jwt`);
  const ofIssuer = trust.issuers.filter(({ issuer }) => issuer === claims.iss);
  if (ofIssuer.length === 0) return refused("unknown_issuer", "Nobody here trusts the issuer of this token");
  const audiences = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  const trusted = ofIssuer.find((issuer) => issuer.audiences.some((audience) => audiences.includes(audience)));
  if (trusted === undefined) return refused("wrong_audience", "Token was issued for another audience");
  if (typeof alg !== "string" || !trusted.algorithms.includes(alg))
    return refused("algorithm_not_allowed", `Token is signed with ${JSON.stringify(alg)}`);
  return verifySignature(token, { trusted, claims, source: trust.sources.get(trusted.jwks)!, nowMs: trust.nowMs });
}

async function verifySignature(
  token: string,
  of: {
    readonly trusted: TrustedIssuer;
    readonly claims: JsonObject;
    readonly source: JwksSource;
    readonly nowMs: () => number;
  },
): Promise<BearerVerification> {
  const { trusted, claims, source } = of;
  try {
    const keyFor = async (header: Parameters<JwksSource["keyFor"]>[0]) => {
      const key = await source.keyFor(header);
      if (key === undefined) throw new errors.JWKSNoMatchingKey();
      return key;
    };
    const { payload } = await jwtVerify(token, keyFor, {
      issuer: trusted.issuer,
      audience: [...trusted.audiences],
      algorithms: [...trusted.algorithms],
      requiredClaims: ["exp"],
      clockTolerance: LEEWAY_SECONDS,
      currentDate: new Date(of.nowMs()),
    });
    return { kind: "verified", issuer: trusted.name, claims, expiresAt: payload.exp! };
  } catch (thrown) {
    if (thrown instanceof HoldpointError) throw thrown;
    return refusalOf(thrown);
  }
}

const REFUSALS: Readonly<Record<string, readonly [BearerRefusal, string]>> = {
  ERR_JWKS_NO_MATCHING_KEY: ["unknown_key", "Token is signed with a key that its issuer does not publish"],
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: ["bad_signature", "Signature of the token does not hold"],
  ERR_JWT_EXPIRED: ["expired", "Token has expired"],
  ERR_JOSE_ALG_NOT_ALLOWED: ["algorithm_not_allowed", "Token is signed with an algorithm that is not allowed"],
  ERR_JWT_CLAIM_VALIDATION_FAILED: ["claims_invalid", "A claim of the token is missing or not what it must be"],
};

function refusalOf(thrown: unknown): BearerVerification {
  if (thrown instanceof errors.JWTClaimValidationFailed && thrown.claim === "nbf" && thrown.reason === "check_failed")
    return refused("not_yet_valid", "Token is not valid yet");
  const known = thrown instanceof errors.JOSEError ? REFUSALS[thrown.code] : undefined;
  return known === undefined
    ? refused("malformed", "Bearer token is not a JWT that can be verified")
    : refused(...known);
}

function refused(reason: BearerRefusal, message: string): BearerVerification {
  return { kind: "refused", reason, message };
}

/** Header and payload by the strict reader: one that two parsers could read differently is no credential. */
function readParts(token: string): { readonly header: JsonObject; readonly claims: JsonObject } | undefined {
  const [, first, second] = PARTS.exec(token) ?? [];
  if (first === undefined || second === undefined) return undefined;
  const header = objectOf(first);
  const claims = objectOf(second);
  return header === undefined || claims === undefined ? undefined : { header, claims };
}

function objectOf(part: string): JsonObject | undefined {
  try {
    const { value } = readJson(Buffer.from(part, "base64url"), { depthMax: DEPTH_MAX });
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
  } catch {
    return undefined;
  }
}
