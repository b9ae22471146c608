/** digest(x) = "sha256:" + hex(SHA-256(JCS(x))). */
import * as crypto from "node:crypto";
import { canonicalize } from "json-canonicalize";
import { READ_LIMITS, readJson } from "./read-json.ts";
import type { Digest } from "./types.ts";

/** @param bytes canonical text, or bytes that are their own canonical form (a wasm module) */
export function sha256Digest(bytes: string | Uint8Array): Digest {
  return `sha256:${crypto.hash("sha256", bytes, "hex")}`;
}

/**
 * Canonical text of a value that we built and whose strings are ours: the library is wrong on keys named `toJSON`, lone
 * surrogates and deep nesting, so nothing from outside goes through it.
 */
export function canonicalText(value: object): string {
  return canonicalize(value);
}

/** Our own records may nest what came from outside a few levels deeper than outside may nest it. */
const DATA_LIMITS = { bytesMax: 64 * 1024 * 1024, depthMax: READ_LIMITS.depthMax + 16 };

/** Canonical text of a value with parts from outside; the strict reader knows every key as data. */
export function canonicalData(value: object): string {
  return readJson(JSON.stringify(value), DATA_LIMITS).canonical;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && DIGEST.test(text);
}
