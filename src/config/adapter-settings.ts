/** `adapters`: webhooks that become events. */
import { z } from "zod";
import { identifier, tenantName } from "../core/schema.ts";
import { headersOfMapping, webhookActorSchema, webhookMappingSchema } from "../core/webhook-mapping.ts";
import { WEBHOOK_SECRETS_MAX } from "../core/webhook-signature.ts";
import { fromFile, fromVariable } from "./secret-source.ts";

const ADAPTERS_MAX = 100;
const TOLERANCE_SECONDS_MAX = 3_600;

/** Part of a URL. */
const adapterName = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "expected 1 to 63 of a-z, 0-9, _ and -");

const secret = z.union([fromFile, fromVariable, z.strictObject({ value: z.string().min(1).max(512) })], {
  error: "expected one of {file: …}, {env: …} and {value: …}",
});
const secrets = z.array(secret).min(1).max(WEBHOOK_SECRETS_MAX);
const tolerance_seconds = z.int().min(1).max(TOLERANCE_SECONDS_MAX).default(300);

const signature = z.discriminatedUnion(
  "kind",
  [
    z.strictObject({ kind: z.literal("stripe"), secrets, tolerance_seconds }),
    z.strictObject({ kind: z.literal("standard_webhooks"), secrets, tolerance_seconds }),
    /** Then a credential says who sends. */
    z.strictObject({ kind: z.literal("none") }),
  ],
  { error: "expected stripe, standard_webhooks or none" },
);

/** What a signature covers besides the body, and does not change when a webhook is delivered again. */
const SIGNED_HEADERS: Readonly<Record<"stripe" | "standard_webhooks", readonly string[]>> = {
  stripe: [],
  standard_webhooks: ["webhook-id"],
};
const SECRET_HEADERS = ["authorization", "cookie", "proxy-authorization"];

export const adapterSchema = z
  .strictObject({
    tenant: tenantName.default("default"),
    source: identifier.refine((source) => source !== "holdpoint", "expected another name: this is for executions here"),
    signature,
    mapping: webhookMappingSchema,
    /** Who did what it tells of; a service named as the source where nothing is said. */
    actor: webhookActorSchema.optional(),
  })
  .superRefine(({ signature: { kind }, mapping, actor }, context) => {
    for (const name of headersOfMapping(mapping, actor)) {
      const isTaken = kind === "none" ? !SECRET_HEADERS.includes(name) : SIGNED_HEADERS[kind].includes(name);
      if (isTaken) continue;
      const why = kind === "none" ? "it holds a credential" : `a ${kind} signature does not cover it`;
      context.addIssue({ code: "custom", path: ["mapping"], message: `cannot take the header ${name}: ${why}` });
    }
  });

export type AdapterSettings = z.infer<typeof adapterSchema>;

export const adaptersSchema = z
  .record(adapterName, adapterSchema)
  .refine((all) => Object.keys(all).length <= ADAPTERS_MAX, `expected at most ${ADAPTERS_MAX} adapters`);
