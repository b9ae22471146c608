import { addSigningKey } from "../../signing/signing-keys.ts";
import { CONFIG_OPTION, defineCommand, EXIT, JSON_OPTION, KEYS_DIR_OPTION } from "../command.ts";
import { jsonLine, shown } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

export const keysRotateCommand = defineCommand({
  name: "keys rotate",
  options: { ...KEYS_DIR_OPTION, ...CONFIG_OPTION, ...JSON_OPTION },
  details: "Send SIGHUP to running sidecars afterwards: from then on they sign with the new key.",
  examples: [
    "holdpoint keys rotate --config holdpoint.yaml",
    "holdpoint keys rotate --keys-dir /etc/holdpoint/keys",
    "HOLDPOINT_KEYS_DIR=/etc/holdpoint/keys holdpoint keys rotate",
  ],
  run: async ({ options, config }) => {
    const keys_dir = options["keys-dir"] ?? (await config()).keys_dir;
    const kid = addSigningKey(keys_dir, Math.floor(Date.now() / 1000));
    await writeOut(
      options.json
        ? `${jsonLine({ kid, keys_dir })}\n`
        : `New permit signing key ${kid} in ${shown(keys_dir)}
Send SIGHUP to running sidecars. Older keys verify until the permits they signed are over, at most an hour.
`,
    );
    return EXIT.done;
  },
});
