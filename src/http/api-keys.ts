/** Bearer API keys. Only the SHA-256 of a key is kept; a key is random and long, so one hash is enough. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import type { Tenant } from "../core/types.ts";
import { type Credential, createCredential, type Scope } from "./credential.ts";

export interface ApiKeyRecord {
  readonly id: string;
  /** One, or several that are all good. */
  readonly sha256: string | readonly string[];
  readonly tenant: Tenant;
  readonly scopes: readonly Scope[];
  readonly type: string;
  readonly roles: readonly string[] | "any";
  readonly actors: readonly string[] | "any";
  readonly on_behalf_of: readonly string[] | "any";
  readonly audiences?: readonly string[] | undefined;
}

export type FindKey = (token: string) => Credential | undefined;

/**
 * The look-up goes by a hash under a secret of this process: how long it takes says nothing about the hashes that are kept,
 * since nobody can choose what it looks for. The comparison itself takes the same time whatever was sent.
 */
export function createApiKeys(records: readonly ApiKeyRecord[]): FindKey {
  const secret = randomBytes(32);
  const markOf = (hash: Buffer) => createHmac("sha256", secret).update(hash).digest("base64");
  const byMark = new Map(
    records.flatMap((record) => {
      const credential = credentialOf(record);
      return [record.sha256].flat().map((text) => {
        const hash = Buffer.from(text, "hex");
        return [markOf(hash), { hash, credential }] as const;
      });
    }),
  );
  return (token) => {
    const hash = createHash("sha256").update(token).digest();
    const found = byMark.get(markOf(hash));
    return found !== undefined && timingSafeEqual(found.hash, hash) ? found.credential : undefined;
  };
}

function credentialOf(record: ApiKeyRecord): Credential {
  return createCredential({ ...record, onBehalfOf: record.on_behalf_of, audiences: record.audiences });
}
