import { createHash, randomBytes } from "node:crypto";
import { ConfigError } from "../core/errors.ts";
import { identifier } from "../core/schema.ts";

/**
 * A bearer key of 256 random bits, and its entry for the configuration, which holds only the hash.
 * @throws ConfigError for a name that the configuration would refuse
 */
export function createApiKey(id: string): string {
  const named = identifier.safeParse(id);
  if (!named.success) {
    const faults = named.error.issues.map(({ message }) => `--id: ${message}`);
    throw new ConfigError("config_invalid", "Cannot make a key of that name", faults);
  }
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
