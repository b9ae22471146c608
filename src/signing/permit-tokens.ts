/**
 * Permits as compact JWS (RFC 7515) with EdDSA (RFC 8037). The library verifies many spellings of one token; here a token
 * has one: header and payload in canonical form, base64url without padding or spare bits, three parts.
 */
import { CompactSign } from "jose/jws/compact/sign";
import { compactVerify } from "jose/jws/compact/verify";
import { importJWK } from "jose/key/import";
import { canonicalData, canonicalText } from "../core/digest.ts";
import { toError, UnavailableError } from "../core/errors.ts";
import { PERMIT_TYPE } from "../core/permit.ts";
import type { PermitSigner, PermitVerification, PermitVerifier } from "../core/ports.ts";
import { readJson } from "../core/read-json.ts";
import type { Json, JsonObject } from "../core/types.ts";
import { loadSigningKeys, type PrivateJwk } from "./signing-keys.ts";

export interface PublicJwk {
  readonly kty: "OKP";
  readonly crv: "Ed25519";
  readonly x: string;
  readonly kid: string;
}

export interface PermitTokens extends PermitSigner, PermitVerifier {
  /** Reads the directory again: a rotation, or a key that another sidecar added. */
  reload(): Promise<void>;
}

export interface PermitTokenOptions {
  readonly directory: string;
  /** Public keys of other issuers. */
  readonly trusted: readonly PublicJwk[];
  readonly nowSeconds: () => number;
}

type Key = Awaited<ReturnType<typeof importJWK>>;

interface KeySet {
  readonly kid: string;
  readonly signing: Key;
  readonly header: { readonly alg: "EdDSA"; readonly kid: string; readonly typ: string };
  readonly verifying: ReadonlyMap<string, Key>;
  readonly jwks: { readonly keys: readonly Json[] };
}

/** A kid that nobody knows makes us look again, but not more often than this. */
const LOOK_AGAIN_SECONDS = 1;

export async function openPermitTokens(options: PermitTokenOptions): Promise<PermitTokens> {
  let keys = await loadKeySet(options, true);
  let lookedAt = options.nowSeconds();
  const reload = async () => {
    lookedAt = options.nowSeconds();
    keys = await loadKeySet(options, false);
  };
  const keyFor = async (kid: string): Promise<Key | undefined> => {
    const known = keys.verifying.get(kid);
    if (known !== undefined || options.nowSeconds() - lookedAt < LOOK_AGAIN_SECONDS) return known;
    // A directory that cannot be read now leaves the keys we have.
    await reload().catch(() => undefined);
    return keys.verifying.get(kid);
  };
  return {
    reload,
    jwks: () => keys.jwks,
    sign: (claims) => sign(keys, claims),
    verify: (token) => verify(token, keyFor),
  };
}

async function loadKeySet(options: PermitTokenOptions, mayCreate: boolean): Promise<KeySet> {
  const { active, verifying } = loadSigningKeys(options.directory, options.nowSeconds(), mayCreate);
  const own = verifying.map(publicJwk);
  const ownKids = new Set(own.map((jwk) => jwk.kid));
  // A foreign key cannot take the name of one of ours.
  const all = [...own, ...options.trusted.filter((jwk) => !ownKids.has(jwk.kid))];
  const entries = await Promise.all(all.map(async (jwk) => [jwk.kid, await importJWK({ ...jwk }, "EdDSA")] as const));
  return {
    kid: active.kid,
    signing: await importJWK({ kty: "OKP", crv: "Ed25519", d: active.d, x: active.x }, "EdDSA"),
    header: { alg: "EdDSA", kid: active.kid, typ: PERMIT_TYPE },
    verifying: new Map(entries),
    jwks: { keys: all.map((jwk) => ({ ...jwk, alg: "EdDSA", use: "sig" })) },
  };
}

function publicJwk(key: PrivateJwk): PublicJwk {
  return { kty: "OKP", crv: "Ed25519", x: key.x, kid: key.kid };
}

async function sign(keys: KeySet, claims: JsonObject): Promise<string> {
  try {
    return await new CompactSign(Buffer.from(canonicalData(claims))).setProtectedHeader(keys.header).sign(keys.signing);
  } catch (thrown) {
    throw new UnavailableError("signing_unavailable", "Cannot sign a permit", { cause: toError(thrown) });
  }
}

async function verify(token: string, keyFor: (kid: string) => Promise<Key | undefined>): Promise<PermitVerification> {
  const parts = token.split(".");
  const [header, payload, signature] = parts.map(decodeExactly);
  if (parts.length !== 3 || header === undefined || payload === undefined || signature === undefined) {
    return refused("bad_signature", "Permit is not a compact JWS in its one spelling");
  }
  const kid = kidOf(header);
  const key = kid === undefined ? undefined : await keyFor(kid);
  if (kid === undefined || key === undefined)
    return refused("unknown_key", "Permit is signed with a key that nobody trusts here");
  try {
    await compactVerify(token, key, { algorithms: ["EdDSA"] });
  } catch {
    return refused("bad_signature", "Permit signature does not hold");
  }
  if (header.toString("utf8") !== canonicalText({ alg: "EdDSA", kid, typ: PERMIT_TYPE }))
    return refused("wrong_type", `Permit header is not that of a ${PERMIT_TYPE} signed with EdDSA`);
  const claims = canonicalObject(payload);
  return claims === undefined
    ? refused("wrong_type", "Permit payload is not canonical JSON")
    : { kind: "verified", claims };
}

function refused(code: "bad_signature" | "unknown_key" | "wrong_type", message: string): PermitVerification {
  return { kind: "refused", code, message };
}

/** base64url as RFC 7515 section 2 writes it, and in no other spelling. */
function decodeExactly(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, "base64url");
  return bytes.toString("base64url") === part ? bytes : undefined;
}

/** The key that a header names, in whatever spelling; the header's own is compared once the signature holds. */
function kidOf(header: Buffer): string | undefined {
  const kid = readObject(header)?.value.kid;
  return typeof kid === "string" ? kid : undefined;
}

function canonicalObject(bytes: Buffer): JsonObject | undefined {
  const reading = readObject(bytes);
  return reading?.canonical === bytes.toString("utf8") ? reading.value : undefined;
}

function readObject(bytes: Buffer): { readonly value: JsonObject; readonly canonical: string } | undefined {
  try {
    const { value, canonical } = readJson(bytes, { depthMax: 128 });
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? { value: value as JsonObject, canonical }
      : undefined;
  } catch {
    return undefined;
  }
}
