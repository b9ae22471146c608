/** `holdpoint keys new`: the first permit signing key, for a directory or a secret that sidecars will share. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { addSigningKey, loadSigningKeys } from "../../signing/signing-keys.ts";
import { CONFIG_OPTION, CommandError, defineCommand, EXIT, JSON_OPTION, KEYS_DIR_OPTION } from "../command.ts";
import { jsonLine, plural, shown } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

export const keysNewCommand = defineCommand({
  name: "keys new",
  options: {
    ...KEYS_DIR_OPTION,
    ...CONFIG_OPTION,
    ...JSON_OPTION,
  },
  details: `Prints the key's id and its public JWK, which other sidecars may list in trusted_keys. A sidecar makes its first key
by itself; this is for keys that several share, such as a Kubernetes Secret.`,
  examples: [
    "holdpoint keys new --keys-dir keys && kubectl create secret generic holdpoint-keys --from-file=keys",
    "holdpoint keys new --keys-dir keys --json | jq -c .jwk",
  ],
  run: async ({ options, config }) => {
    const directory = options["keys-dir"] ?? (await config()).keys_dir;
    refuseKeys(directory);
    const nowSeconds = Math.floor(Date.now() / 1000);
    const kid = addSigningKey(directory, nowSeconds);
    const { kty, crv, x } = loadSigningKeys(directory, nowSeconds, false).active;
    const jwk = { kty, crv, x, kid };
    const file = join(directory, `permit-${kid}.json`);
    await writeOut(
      options.json
        ? `${jsonLine({ kid, jwk, file })}\n`
        : `New permit signing key ${kid}
  private  ${shown(file)}
  public   ${jsonLine(jwk)}
`,
    );
    return EXIT.done;
  },
});

/** A second key would be a rotation, and one in the wrong directory a mistake that nobody notices. */
function refuseKeys(directory: string): void {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return;
    throw new CommandError("config_invalid", `Cannot use ${shown(directory)}`, {
      exitCode: EXIT.usage,
      faults: [`keys_dir: ${(thrown as Error).message}`],
    });
  }
  const keys = names.filter((name) => /^permit-.*\.json$/.test(name));
  if (keys.length === 0) return;
  throw new CommandError("keys_exist", `${shown(directory)} has ${plural(keys.length, "key")} already`, {
    hints: ["To add one that signs from now on: holdpoint keys rotate"],
  });
}
