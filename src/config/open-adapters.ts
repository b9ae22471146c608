/** Webhook adapters with their secrets, as the sidecar starts. */
import { ConfigError } from "../core/errors.ts";
import { createAdapter, type WebhookAdapter } from "../core/webhook-adapter.ts";
import { parseWebhookSecret, type SignatureRules } from "../core/webhook-signature.ts";
import type { AdapterSettings } from "./adapter-settings.ts";
import type { Config } from "./load-config.ts";
import { readSecret, type SecretPorts, type SecretSource } from "./secret-source.ts";

/** @throws ConfigError with every secret that is missing or is none; never with a secret */
export function openAdapters(
  config: Pick<Config, "adapters" | "body_bytes_max" | "depth_max">,
  readFile: SecretPorts["readFile"],
  environment: SecretPorts["environment"],
): ReadonlyMap<string, WebhookAdapter> {
  const faults: string[] = [];
  const limits = { bytesMax: config.body_bytes_max, depthMax: config.depth_max };
  const adapters = Object.entries(config.adapters).map(([name, settings]): [string, WebhookAdapter] => {
    const { tenant, source, mapping } = settings;
    const actor = settings.actor ?? { id: { value: source }, type: { value: "service" } };
    const signature = rulesOf(name, settings, { readFile, environment }, faults);
    return [name, createAdapter({ tenant, source, signature, mapping, actor, limits })];
  });
  if (faults.length > 0)
    throw new ConfigError(
      "config_invalid",
      `Cannot start: ${faults.length} fault(s) in the secrets of adapters`,
      faults,
    );
  return new Map(adapters);
}

function rulesOf(
  name: string,
  { signature }: AdapterSettings,
  ports: SecretPorts,
  faults: string[],
): SignatureRules | { readonly kind: "none" } {
  if (signature.kind === "none") return signature;
  const { kind, tolerance_seconds: toleranceSeconds } = signature;
  const secrets = signature.secrets.flatMap((source: SecretSource, index) => {
    const read = readSecret(source, ports);
    const key = "fault" in read ? read : parseWebhookSecret(kind, read.text);
    if (!("fault" in key)) return [key];
    faults.push(`adapters/${name}/signature/secrets/${index}: ${key.fault}`);
    return [];
  });
  return { kind, secrets, toleranceSeconds };
}
