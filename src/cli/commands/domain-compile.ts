/** `holdpoint domain compile`: bundle data for whoever calls opa with other options than `policy build` has. */
import { defineCommand, EXIT } from "../command.ts";
import { domainDataText, readDomains } from "../domain-data.ts";
import { writeOut } from "../write-out.ts";

export const domainCompileCommand = defineCommand({
  name: "domain compile",
  words: { usage: "PATH...", min: 1, max: 1_000 },
  options: {},
  details: `Prints one JSON document with data.holdpoint.contracts, .entities and .roles; policy build, test and verify make it by
themselves. Give it to opa as a data.json in a folder of its own, and --ignore domain.yaml with it. What data files
beside the domains say already is left out. The same files give the same bytes. Exit code 1 where a domain has an error.`,
  examples: [
    "holdpoint domain compile policies/ >compiled/data.json",
    "holdpoint domain compile policies/ | jq .holdpoint.contracts",
  ],
  run: async ({ words }) => {
    await writeOut(`${domainDataText(readDomains(words))}\n`);
    return EXIT.done;
  },
});
