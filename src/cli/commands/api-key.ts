/** `holdpoint api-key`: a bearer key of 256 random bits, and its entry for the configuration, which holds only the hash. */
import { createHash, randomBytes } from "node:crypto";
import { apiKeySchema } from "../../config/settings.ts";
import { schemaFaults } from "../../core/schema.ts";
import type { JsonObject } from "../../core/types.ts";
import { CommandError, defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { jsonPretty } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

export const apiKeyCommand = defineCommand({
  name: "api-key",
  options: {
    id: { kind: "text", value: "NAME", meaning: "Name of the credential, which records show (my-key)" },
    tenant: { kind: "text", value: "NAME", meaning: "Tenant it belongs to (default)" },
    scopes: { kind: "text", value: "A,B", meaning: "Of decide, review, operate, ingest (decide)" },
    roles: { kind: "text", value: "A,B", meaning: "Roles it may claim (decide) or has (review); * for any" },
    actors: { kind: "text", value: "A,B", meaning: "Ids it may propose as (its own); * for any" },
    type: { kind: "text", value: "NAME", meaning: "What it is, as records show it: service, human, agent (service)" },
    audiences: { kind: "text", value: "A,B", meaning: "Audiences whose permits it may consume (any)" },
    "on-behalf-of": { kind: "text", value: "A,B", meaning: "Ids it may act for (none); * for any" },
    ...JSON_OPTION,
  },
  details: "The key is printed this once, and stored nowhere.",
  examples: [
    "holdpoint api-key --id support-agent --roles operator",
    "holdpoint api-key --id olivia --type human --scopes review,operate --roles ops_operator",
    "holdpoint api-key --id gateway --actors '*' --roles '*' --json | jq -r .key",
  ],
  run: async ({ options }) => {
    const key = `hp_${randomBytes(32).toString("base64url")}`;
    const entry = entryOf(options, createHash("sha256").update(key).digest("hex"));
    await writeOut(options.json ? `${jsonPretty({ key, entry: { ...entry } as JsonObject })}\n` : text(key, entry));
    return EXIT.done;
  },
});

interface Wanted {
  readonly id: string | undefined;
  readonly tenant: string | undefined;
  readonly scopes: string | undefined;
  readonly roles: string | undefined;
  readonly actors: string | undefined;
  readonly type: string | undefined;
  readonly audiences: string | undefined;
  readonly "on-behalf-of": string | undefined;
}

interface Entry {
  readonly id: string;
  readonly sha256: string;
  readonly tenant: string;
  readonly scopes: readonly string[];
  readonly actors: string | readonly string[];
  readonly roles: string | readonly string[];
  /** Those below only where they were asked for: the configuration has defaults. */
  readonly type?: string;
  readonly audiences?: readonly string[];
  readonly on_behalf_of?: string | readonly string[];
}

/** @throws CommandError with what the configuration would say of such an entry */
function entryOf(wanted: Wanted, sha256: string): Entry {
  const id = wanted.id ?? "my-key";
  const scopes = words(wanted.scopes) ?? ["decide"];
  const own = scopes.includes("decide") ? [id] : [];
  const audiences = words(wanted.audiences);
  const onBehalfOf = anyOr(wanted["on-behalf-of"]);
  const entry: Entry = {
    id,
    sha256,
    tenant: wanted.tenant ?? "default",
    scopes,
    actors: anyOr(wanted.actors) ?? own,
    roles: anyOr(wanted.roles) ?? [],
    ...(wanted.type === undefined ? {} : { type: wanted.type }),
    ...(audiences === undefined ? {} : { audiences }),
    ...(onBehalfOf === undefined ? {} : { on_behalf_of: onBehalfOf }),
  };
  const checked = apiKeySchema.safeParse(entry);
  if (checked.success) return entry;
  const faults = schemaFaults(checked.error).map(
    ({ pointer, message }) => `--${(pointer.split("/")[1] ?? "id").replaceAll("_", "-")}: ${message}`,
  );
  throw new CommandError("config_invalid", "Cannot make such a key", { exitCode: EXIT.usage, faults });
}

function words(list: string | undefined): readonly string[] | undefined {
  return list?.split(",").map((word) => word.trim());
}

function anyOr(list: string | undefined): string | readonly string[] | undefined {
  return list === "*" ? "*" : list === "" ? [] : words(list);
}

function text(
  key: string,
  { id, sha256, tenant, scopes, actors, roles, type, audiences, on_behalf_of }: Entry,
): string {
  const typeLine = type === undefined ? "" : `  type: ${JSON.stringify(type)}\n`;
  const audienceLine =
    audiences === undefined
      ? ""
      : `  audiences: ${JSON.stringify(audiences)}   # audiences whose permits it may consume\n`;
  return `# The key, shown this once. Give it to its bearer:
#   ${key}
# The entry for api_keys; change what it permits:
- id: ${JSON.stringify(id)}
  sha256: ${sha256}
  tenant: ${JSON.stringify(tenant)}
  scopes: ${JSON.stringify(scopes)}            # decide, review, operate, ingest
  actors: ${JSON.stringify(actors)}     # ids it may act as; "*" for any
  roles: ${JSON.stringify(roles)}                   # roles it may claim (decide) or has (review)
  on_behalf_of: ${JSON.stringify(on_behalf_of ?? [])}            # ids it may act for; "*" for any
${typeLine}${audienceLine}`;
}
