/** `holdpoint new`: a project that runs, to be changed into one's own. */
import { basename, relative, resolve } from "node:path";
import { defineCommand, EXIT, usageError } from "../command.ts";
import { makeValue, shellWord, startCommand } from "../project/start-command.ts";
import { PROJECT_FILES, writeProject } from "../project/write-project.ts";
import { shown } from "../terminal.ts";
import { writeOut } from "../write-out.ts";

/** What any file system, shell and YAML reader takes as it stands. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export const newCommand = defineCommand({
  name: "new",
  words: { usage: "DIRECTORY", min: 1, max: 1 },
  options: {
    name: { kind: "text", value: "NAME", meaning: "Name of the project and its domain (the directory's)" },
  },
  details: `Makes a small project that works: a domain with actions of every kind, a rule in Rego with its tests, settings, an
executor, and a demo in which an agent's actions end in five ways. DIRECTORY must not be there, or be empty; where
something fails, nothing is left. The settings have no authentication and listen on loopback only: the file says how to
change that.`,
  examples: ["holdpoint new tasks && cd tasks && make demo", "holdpoint new . --name support-desk"],
  run: async ({ options, words, environment }) => {
    const directory = resolve(words[0]!);
    const name = options.name ?? basename(directory);
    checkName(name, options.name !== undefined);
    const command = startCommand(environment);
    writeProject(directory, { name, command, make_command: makeValue(command) });
    await writeOut(success(directory, name));
    return EXIT.done;
  },
});

function checkName(name: string, isGiven: boolean): void {
  if (NAME.test(name)) return;
  const expected = "expected a letter or digit, then letters, digits, dots, underscores and hyphens, 64 at most";
  if (isGiven) throw usageError(`--name ${shown(name)}: ${expected}`);
  throw usageError(`The directory's name ${shown(name)} is no name for a project: ${expected}`, [
    "Give another one with --name NAME",
  ]);
}

function success(directory: string, name: string): string {
  const there = relative(process.cwd(), directory);
  const steps = [...(there === "" ? [] : [`cd ${shellWord(there)}`]), "make demo"];
  return `Made ${name} in ${shown(directory)}
${PROJECT_FILES.map((file) => `  ${file}\n`).join("")}
Next:
${steps.map((step) => `  ${shown(step)}\n`).join("")}
It has no authentication yet, and listens on loopback only: holdpoint.yaml says how to change that.
`;
}
