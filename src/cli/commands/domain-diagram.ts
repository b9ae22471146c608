/** `holdpoint domain diagram`: the states of entity types, for documents and reviews. */
import { type DrawnEntity, domainDiagram } from "../../policy/domain/domain-diagram.ts";
import { meantBy } from "../../policy/domain/node-reader.ts";
import { defineCommand, EXIT, usageError } from "../command.ts";
import { domainDataText, readDomains } from "../domain-data.ts";
import { shown } from "../terminal.ts";
import { writeLines } from "../write-out.ts";

export const domainDiagramCommand = defineCommand({
  name: "domain diagram",
  words: { usage: "PATH...", min: 1, max: 1_000 },
  options: {
    entity: { kind: "text", value: "NAME", meaning: "Only this entity type, as the file or as proposals call it" },
  },
  details: `Prints a Mermaid stateDiagram-v2: an arrow for each transition with its event, and beside each state the actions that
are allowed there, with their risk and the event that follows them. Several types are drawn as boxes of one diagram.
Exit code 1 where a domain has an error: holdpoint domain check says the same ones.`,
  examples: ["holdpoint domain diagram policies/ >states.mmd", "holdpoint domain diagram policies/ --entity Order"],
  run: async ({ options, words }) => {
    const compiled = readDomains(words);
    domainDataText(compiled);
    const all = compiled.domains.flatMap((domain) => domain.entities.map((entity) => ({ domain, entity })));
    await writeLines(domainDiagram(options.entity === undefined ? all : chosen(all, options.entity)));
    return EXIT.done;
  },
});

/** @throws CommandError where there is none */
function chosen(all: readonly DrawnEntity[], name: string): readonly DrawnEntity[] {
  const found = all.filter(({ entity }) => entity.name === name || entity.type.name === name);
  if (found.length > 0) return found;
  const names = all.map(({ entity }) => entity.name);
  throw usageError(
    `--entity: there is no ${shown(name)}${meantBy(name, names)}; there are ${names.map(shown).join(", ")}`,
  );
}
