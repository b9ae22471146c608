/**
 * Policy answers most proposals with one of a few texts. A text that was read, checked and hashed once need not be again.
 * Bounded in number and in size, so that answers that carry arguments cannot fill it.
 */
import { sha256Digest } from "../core/digest.ts";
import { type PolicyResult, readPolicyResult } from "../core/policy-result.ts";
import type { Digest } from "../core/types.ts";

const ENTRIES_MAX = 1_024;
const TEXT_CHARS_MAX = 4_096;

export type HashedResult =
  | { readonly kind: "valid"; readonly result: PolicyResult; readonly outputHash: Digest }
  | { readonly kind: "invalid"; readonly message: string };

export interface ResultCache {
  read(text: string): HashedResult;
}

export function createResultCache(): ResultCache {
  const entries = new Map<string, HashedResult>();
  return {
    read(text) {
      const known = entries.get(text);
      if (known !== undefined) return known;
      const hashed = hash(text);
      if (text.length <= TEXT_CHARS_MAX) {
        if (entries.size >= ENTRIES_MAX) entries.delete(entries.keys().next().value!);
        entries.set(text, hashed);
      }
      return hashed;
    },
  };
}

function hash(text: string): HashedResult {
  const reading = readPolicyResult(text);
  if (reading.kind === "invalid") return reading;
  return { kind: "valid", result: reading.result, outputHash: sha256Digest(reading.result.canonical) };
}
