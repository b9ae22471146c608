import { createHash, randomBytes } from "node:crypto";

/** A bearer key of 256 random bits, and its entry for the configuration, which holds only the hash. */
export function createApiKey(id: string): string {
  const key = `hp_${randomBytes(32).toString("base64url")}`;
  const sha256 = createHash("sha256").update(key).digest("hex");
  return `# The key, shown this once. Give it to its bearer:
#   ${key}
# The entry for api_keys; change tenant, scopes and what it permits:
- id: ${JSON.stringify(id)}
  sha256: ${sha256}
  tenant: default
  scopes: [decide]            # decide, review, operate
  actors: [${JSON.stringify(id)}]     # ids it may act as; "*" for any
  roles: []                   # roles it may claim (decide) or has (review)
  on_behalf_of: []            # ids it may act for; "*" for any
`;
}
