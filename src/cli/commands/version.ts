import { packageVersion } from "../../http/package-version.ts";
import { defineCommand, EXIT, JSON_OPTION } from "../command.ts";
import { jsonLine } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

export const versionCommand = defineCommand({
  name: "version",
  options: JSON_OPTION,
  examples: ["holdpoint version", "holdpoint --version"],
  run: async ({ options }) => {
    const facts = { version: packageVersion(), node: process.versions.node };
    await writeOut(options.json ? `${jsonLine(facts)}\n` : `holdpoint ${facts.version}\nnode ${facts.node}\n`);
    return EXIT.done;
  },
});
