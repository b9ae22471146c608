/**
 * Another issuer's public keys, from a file or over HTTPS, as old as they may be.
 *
 * Keys are fetched anew when they are old, and when a token names one that is not among them (an issuer that rotates), but
 * not more often than the cool-down. An issuer that cannot be reached leaves the keys we have, for a while.
 */
import { readFile } from "node:fs/promises";
import type { CryptoKey, JSONWebKeySet, JWSHeaderParameters } from "jose";
import * as errors from "jose/errors";
import { createLocalJWKSet, type LocalJWKSet } from "jose/jwks/local";
import { z } from "zod";
import { toError, UnavailableError } from "../core/errors.ts";

export interface JwksSource {
  /** The key that the header asks for; undefined where the issuer has none. @throws UnavailableError */
  keyFor(header: JWSHeaderParameters): Promise<CryptoKey | undefined>;
  /** Looks now, whatever the age. @throws UnavailableError also where the keys there are go on serving */
  refresh(): Promise<void>;
}

export interface JwksOptions {
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  /** Past this age keys are fetched anew while the old ones go on serving. Default 1 minute. */
  readonly freshMs: number;
  /** Past this age keys that could not be fetched anew are no longer believed. Default 1 hour. */
  readonly staleMs: number;
  /** Between two looks. Default 10 s. */
  readonly coolDownMs: number;
  /** For one look. Default 5 s. */
  readonly timeoutMs: number;
  /** Told of every look that failed, `refresh` aside, which says so itself. */
  readonly onFailure: (error: Error) => void;
}

const DEFAULTS: JwksOptions = {
  nowMs: () => performance.now(),
  freshMs: 60_000,
  staleMs: 60 * 60_000,
  coolDownMs: 10_000,
  timeoutMs: 5_000,
  onFailure: () => {},
};

const BYTES_MAX = 512 * 1024;
const KEYS_MAX = 100;

/** What is no public key for signatures has no place in a set of them, a symmetric one least of all. */
const jwksSchema = z.object({
  keys: z
    .array(z.looseObject({ kty: z.string() }))
    .min(1)
    .max(KEYS_MAX),
});

export function createJwksSource(location: string, options: Partial<JwksOptions> = {}): JwksSource {
  const { nowMs, freshMs, staleMs, coolDownMs, timeoutMs, onFailure } = { ...DEFAULTS, ...options };
  let keys: LocalJWKSet | undefined;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let triedAt = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | undefined;
  let lastFailure: Error | undefined;
  const look = (): Promise<void> => {
    looking ??= (async () => {
      triedAt = nowMs();
      try {
        keys = createLocalJWKSet(await readJwks(location, timeoutMs));
        fetchedAt = nowMs();
        lastFailure = undefined;
      } catch (thrown) {
        lastFailure = toError(thrown);
      } finally {
        looking = undefined;
      }
    })();
    return looking;
  };
  const lookAndTell = async () => {
    const isOurs = looking === undefined;
    await look();
    if (isOurs && lastFailure !== undefined) onFailure(unavailable());
  };
  const mayLook = () => looking !== undefined || nowMs() - triedAt >= coolDownMs;
  // Where keys are is for the log: whoever sends a token, be it forged, is told the message alone.
  const unavailable = () =>
    new UnavailableError("identity_unavailable", "Cannot get the keys of this token's issuer", {
      cause: new Error(`${location}: ${lastFailure?.message ?? "not fetched yet"}`, { cause: lastFailure }),
    });
  const usable = (): LocalJWKSet => {
    if (keys !== undefined && nowMs() - fetchedAt <= staleMs) return keys;
    throw unavailable();
  };
  return {
    keyFor: async (header) => {
      const age = nowMs() - fetchedAt;
      if (age > staleMs && mayLook()) await lookAndTell();
      else if (age > freshMs && mayLook()) void lookAndTell();
      const found = await select(usable(), header);
      if (found !== undefined || !mayLook()) return found;
      await lookAndTell();
      return select(usable(), header);
    },
    refresh: async () => {
      await look();
      if (lastFailure !== undefined) throw unavailable();
    },
  };
}

/** Two keys that fit are as good as none: which one was meant would be a guess. */
async function select(keys: LocalJWKSet, header: JWSHeaderParameters): Promise<CryptoKey | undefined> {
  try {
    return await keys(header);
  } catch (thrown) {
    if (thrown instanceof errors.JOSEError) return undefined;
    throw thrown;
  }
}

async function readJwks(location: string, timeoutMs: number): Promise<JSONWebKeySet> {
  const text = /^https?:/i.test(location) ? await fetchText(location, timeoutMs) : await readFile(location, "utf8");
  if (text.length > BYTES_MAX) throw new Error(`larger than ${BYTES_MAX} bytes`);
  const parsed = jwksSchema.safeParse(JSON.parse(text));
  if (!parsed.success) throw new Error(`not a JWK Set (RFC 7517) of 1 to ${KEYS_MAX} keys`);
  const { keys } = parsed.data;
  const secret = keys.find((key) => key.kty === "oct" || "d" in key);
  if (secret !== undefined) throw new Error("the set holds a secret or a private key: it must hold public keys alone");
  if (keys.some(isForAnybody)) throw new Error("the set holds a key under which anybody can sign");
  return { keys };
}

/** Ed25519 points of small order by their encoded y, the two that are not canonical included; the sign bit is cleared. */
const SMALL_ORDER = new Set([
  `00${"00".repeat(31)}`,
  `01${"00".repeat(31)}`,
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]);

/** The library that verifies takes such keys: with them, signatures are made without knowing any secret. */
function isForAnybody({ kty, x, e }: Readonly<Record<string, unknown>>): boolean {
  const bytesOf = (text: unknown) => Buffer.from(typeof text === "string" ? text : "", "base64url");
  if (kty === "RSA") return BigInt(`0x0${bytesOf(e).toString("hex")}`) < 3n;
  if (kty !== "OKP") return false;
  const point = bytesOf(x);
  if (point.length === 32) point[31]! &= 0x7f;
  return SMALL_ORDER.has(point.toString("hex"));
}

/** A redirect could lead anywhere, so none is followed. */
async function fetchText(url: string, timeoutMs: number): Promise<string> {
  const response = await fetch(url, {
    redirect: "error",
    signal: AbortSignal.timeout(timeoutMs),
    headers: { accept: "application/jwk-set+json, application/json" },
  });
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the answer was ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > BYTES_MAX) throw new Error(`larger than ${BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
