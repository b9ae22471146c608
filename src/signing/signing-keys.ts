/**
 * Permit keys in a directory, one Ed25519 private key a file: `permit-<kid>.json`, a JWK (RFC 8037) with `iat`. The newest
 * signs. An older one verifies until every permit it can have signed is over; then it is left out, and its file may go.
 *
 * Sidecars given the same directory honour one another's permits. Files appear whole or not at all (written aside, then
 * linked), so that a reader never meets half a key.
 */
import { createHash, generateKeyPairSync, randomUUID } from "node:crypto";
import { chmodSync, linkSync, mkdirSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { canonicalText } from "../core/digest.ts";
import { ConfigError, toError } from "../core/errors.ts";
import { PERMIT_LEEWAY_SECONDS } from "../core/permit.ts";
import { PERMIT_TTL_SECONDS_MAX } from "../core/policy-result.ts";

const FILE = /^permit-[A-Za-z0-9_-]{1,64}\.json$/;

const keySchema = z.object({
  kty: z.literal("OKP"),
  crv: z.literal("Ed25519"),
  d: z.string().length(43),
  x: z.string().length(43),
  kid: z.string().min(1).max(64),
  iat: z.int().min(0),
});

export type PrivateJwk = z.infer<typeof keySchema>;

export interface SigningKeys {
  readonly active: PrivateJwk;
  /** Those that verify, the active one included. */
  readonly verifying: readonly PrivateJwk[];
}

/**
 * @param mayCreate whether an empty directory gets its first key; at a later look an empty one is a directory that is away
 * @throws ConfigError when the directory cannot be read, holds a broken key, or is empty and cannot be written
 */
export function loadSigningKeys(directory: string, nowSeconds: number, mayCreate = true): SigningKeys {
  let keys = readKeys(directory);
  if (keys.length === 0) {
    if (!mayCreate) throw unusable(directory, "the keys are gone", undefined);
    addSigningKey(directory, nowSeconds);
    keys = readKeys(directory);
  }
  const active = keys[0]!;
  // A key stops signing when its successor appears; what it signed until then lives at most this long.
  const verifying = keys.filter((_, index) => {
    const successor = keys[index - 1];
    return successor === undefined || successor.iat + PERMIT_TTL_SECONDS_MAX + 2 * PERMIT_LEEWAY_SECONDS > nowSeconds;
  });
  return { active, verifying };
}

/** Makes a new key the active one; the older keys stay for what they signed. Returns its kid. */
export function addSigningKey(directory: string, nowSeconds: number): string {
  const newest = existing(directory)[0];
  const jwk = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const kid = thumbprint(jwk.x!);
  // Strictly newer than what is there, also where a clock stepped back or two rotations share a second.
  const iat = Math.max(nowSeconds, (newest?.iat ?? 0) + 1);
  const text = `${JSON.stringify({ kty: "OKP", crv: "Ed25519", d: jwk.d, x: jwk.x, kid, iat })}\n`;
  const aside = join(directory, `.${randomUUID()}`);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(aside, text, { mode: 0o600, flush: true });
    chmodSync(aside, 0o600);
    linkSync(aside, join(directory, `permit-${kid}.json`));
    unlinkSync(aside);
  } catch (thrown) {
    throw unusable(directory, toError(thrown).message, thrown);
  }
  return kid;
}

function existing(directory: string): readonly PrivateJwk[] {
  try {
    return readKeys(directory);
  } catch {
    return [];
  }
}

/** Newest first. */
function readKeys(directory: string): readonly PrivateJwk[] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw unusable(directory, toError(thrown).message, thrown);
  }
  return names
    .filter((name) => FILE.test(name))
    .map((name) => readKey(join(directory, name)))
    .sort((a, b) => b.iat - a.iat || (a.kid < b.kid ? -1 : 1));
}

function readKey(path: string): PrivateJwk {
  try {
    return keySchema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (thrown) {
    throw unusable(path, "not an Ed25519 private key as JWK with kid and iat", thrown);
  }
}

/** RFC 7638 JWK thumbprint, the key's name. */
function thumbprint(x: string): string {
  return createHash("sha256")
    .update(canonicalText({ crv: "Ed25519", kty: "OKP", x }))
    .digest("base64url");
}

function unusable(path: string, why: string, cause: unknown): ConfigError {
  return new ConfigError("config_invalid", `Cannot use signing keys at ${path}: ${why}`, [`keys_dir: ${why}`], {
    cause,
  });
}
