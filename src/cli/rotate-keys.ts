import type { Config } from "../config/load-config.ts";
import { addSigningKey } from "../signing/signing-keys.ts";

export function rotateKeys(config: Config): string {
  const kid = addSigningKey(config.keys_dir, Math.floor(Date.now() / 1000));
  return `New permit signing key ${kid} in ${config.keys_dir}
Send SIGHUP to running sidecars. Older keys verify until the permits they signed are over, at most an hour.
`;
}
