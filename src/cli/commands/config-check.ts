/** `holdpoint config check`: every fault that a start would find, and what it would warn of. */
import { ConfigError } from "../../core/errors.ts";
import { checkConfig } from "../check-config.ts";
import { CONFIG_OPTION, defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { jsonPretty, shown } from "../terminal.ts";
import { writeLines, writeOut } from "../write-out.ts";

export const configCheckCommand = defineCommand({
  name: "config check",
  options: { ...CONFIG_OPTION, ...JSON_OPTION },
  details: `Faults are listed all at once: settings, the bundle (is it loaded?), data_dir and keys_dir (writable, or can be made?),
sockets' directories. Changes nothing, and does not look whether ports are free or the store answers.`,
  examples: [
    "holdpoint config check --config /etc/holdpoint/holdpoint.yaml",
    "holdpoint config check --json | jq -e '.warnings == []'",
  ],
  run: async ({ options, config, configPath, environment }) => {
    const { faults, warnings, holds } = await checkConfig(await config(), environment);
    if (faults.length > 0)
      throw new ConfigError("config_invalid", `${faults.length} fault(s) in what is configured`, faults);
    if (options.json) {
      await writeOut(`${jsonPretty({ ok: true, config: configPath ?? null, warnings, holds })}\n`);
      return EXIT.done;
    }
    await writeLines([
      `OK ${configPath === undefined ? "defaults and variables" : shown(configPath)}`,
      ...holds.map((sentence) => `  ${sentence}`),
      ...warnings.map((warning) => `warning: ${warning}`),
    ]);
    return EXIT.done;
  },
});
