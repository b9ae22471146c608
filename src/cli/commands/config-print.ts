/** `holdpoint config print`: what every setting is, and where from. */
import { effectiveSettings, settingsYaml } from "../../config/print-config.ts";
import type { Json } from "../../core/types.ts";
import { CONFIG_OPTION, defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { jsonPretty, shownLines } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

export const configPrintCommand = defineCommand({
  name: "config print",
  options: { ...CONFIG_OPTION, ...JSON_OPTION },
  details: `YAML that --config takes again. Redacted, and marked so: passwords in URLs, hashes of API keys, secrets of adapters,
headers of executors.`,
  examples: [
    "holdpoint config print --config holdpoint.yaml",
    "holdpoint config print --json | jq -r '.settings[] | select(.source != \"default\") | .key'",
  ],
  run: async ({ options, configPath, environment }) => {
    const settings = effectiveSettings(configPath, environment);
    if (!options.json) {
      await writeOut(shownLines(settingsYaml(settings)));
      return EXIT.done;
    }
    const list = settings.map(({ key, source, value, isRedacted }) => ({
      key,
      value: value ?? null,
      source,
      ...(isRedacted ? { redacted: true } : {}),
    }));
    await writeOut(`${jsonPretty({ settings: list } as unknown as Json)}\n`);
    return EXIT.done;
  },
});
