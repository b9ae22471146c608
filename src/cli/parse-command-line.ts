/** Words and options of a command line, read strictly: what is not known is refused, with what was probably meant. */
import { parseArgs } from "node:util";
import { suggest } from "../core/suggest.ts";
import { type Command, CommandError, EXIT, type ListedCommand, type OptionSpecs, usageError } from "./command.ts";
import { usageLine } from "./help.ts";
import { shown } from "./terminal.ts";

export type CommandLine =
  | { readonly kind: "version" }
  /** @param topic the words before the request for help */
  | { readonly kind: "help"; readonly topic: readonly string[] }
  | {
      readonly kind: "run";
      readonly command: Command;
      readonly options: Readonly<Record<string, boolean | string | readonly string[] | undefined>>;
      readonly words: readonly string[];
    };

/** @throws CommandError with exit code 2 */
export async function parseCommandLine(
  args: readonly string[],
  commands: readonly ListedCommand[],
): Promise<CommandLine> {
  const leading = leadingWords(args);
  const before = args.slice(0, args.includes("--") ? args.indexOf("--") : args.length);
  if (before.includes("--help") || before.includes("-h") || leading[0] === "help")
    return { kind: "help", topic: leading[0] === "help" ? leading.slice(1) : leading };
  if (args[0] === "--version" || args[0] === "-V") return { kind: "version" };
  const command = await findCommand(leading, commands).load();
  const rest = args.slice(command.name.split(" ").length);
  return { kind: "run", command, ...readOptions(rest, command) };
}

function leadingWords(args: readonly string[]): readonly string[] {
  const end = args.findIndex((arg) => arg.startsWith("-"));
  return end === -1 ? args : args.slice(0, end);
}

/** The command that a line begins with, the longest name first. */
export function findCommand(words: readonly string[], commands: readonly ListedCommand[]): ListedCommand {
  const byName = (length: number) => commands.find(({ name }) => name === words.slice(0, length).join(" "));
  const command = byName(2) ?? byName(1);
  if (command !== undefined) return command;
  if (words.length === 0) throw usageError("Expected a command first", ["Run holdpoint --help for the list"]);
  throw unknownCommand(words, commands);
}

function unknownCommand(words: readonly string[], commands: readonly ListedCommand[]): CommandError {
  const names = commands.map(({ name }) => name);
  const group = names.filter((name) => name.startsWith(`${words[0]} `));
  if (group.length > 0 && words.length === 1)
    return usageError(`${words[0]} needs a second word: ${group.map((name) => name.split(" ")[1]).join(", ")}`);
  const said = words.slice(0, group.length > 0 ? 2 : 1).join(" ");
  const groups = [...new Set(names.map((name) => name.split(" ")[0]!))];
  const meant = suggest(words.slice(0, 2).join(" "), names) ?? suggest(words[0]!, groups);
  return usageError(`Unknown command: ${shown(said)}${meant === undefined ? "" : `. Did you mean ${meant}?`}`, [
    "Run holdpoint --help for the list",
  ]);
}

function readOptions(args: readonly string[], command: Command) {
  const specs = command.options;
  const { tokens } = parseArgs({
    args: [...args],
    options: parserOptions(specs),
    strict: false,
    tokens: true,
    allowPositionals: true,
  });
  const options: Record<string, boolean | string | readonly string[] | undefined> = {};
  for (const [name, spec] of Object.entries(specs))
    options[name] = spec.kind === "flag" ? false : spec.kind === "list" ? [] : undefined;
  const words: string[] = [];
  const seen = new Set<string>();
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const { name } = token;
    const spec = Object.hasOwn(specs, name) ? specs[name]! : undefined;
    if (spec === undefined) throw unknownOption(token.rawName, command);
    if (spec.kind !== "list" && seen.has(name)) throw misused(command, `--${name} is given twice`);
    seen.add(name);
    if (spec.kind === "flag") {
      if (token.value !== undefined) throw misused(command, `--${name} takes no value`);
      options[name] = true;
    } else {
      const value = givenValue(token, spec.value, command);
      options[name] = spec.kind === "list" ? [...(options[name] as readonly string[]), value] : value;
    }
  }
  checkWords(words, command);
  return { options, words };
}

function parserOptions(specs: OptionSpecs): Record<string, { type: "string" | "boolean"; short?: string }> {
  return Object.fromEntries(
    Object.entries(specs).map(([name, spec]) => [
      name,
      spec.kind === "flag"
        ? { type: "boolean" as const }
        : { type: "string" as const, ...(spec.short === undefined ? {} : { short: spec.short }) },
    ]),
  );
}

/** `--config --json` is a value that was forgotten; `--config=--json` is one that begins oddly. */
function givenValue(
  token: { readonly name: string; readonly value?: string | undefined; readonly inlineValue?: boolean | undefined },
  value: string,
  command: Command,
): string {
  const given = token.value;
  const isForgotten = given === undefined || (token.inlineValue !== true && given.startsWith("-") && given !== "-");
  if (isForgotten) throw misused(command, `--${token.name} needs a value: --${token.name} ${value}`);
  return given;
}

/** Options that carry a secret elsewhere: an argument is seen by everybody who may list processes. */
const SECRET_OPTIONS = new Set(["--key", "--api-key", "--token", "--password", "--bearer"]);

/** Names the option, never what stood behind it, which may be a secret. */
function unknownOption(rawName: string, command: Command): CommandError {
  if (SECRET_OPTIONS.has(rawName))
    return misused(
      command,
      `${rawName} is not an option: arguments can be read by other users of this machine. Set HOLDPOINT_KEY, or give --key-file FILE`,
    );
  const known = [...Object.keys(command.options).map((name) => `--${name}`), "--help"];
  const meant = suggest(rawName, known);
  return misused(command, `Unknown option: ${shown(rawName)}${meant === undefined ? "" : `. Did you mean ${meant}?`}`);
}

function checkWords(words: readonly string[], command: Command): void {
  const { min, max, usage } = command.words ?? { min: 0, max: 0, usage: "" };
  if (words.length < min) throw misused(command, `Expected ${usage}`);
  if (words.length > max) throw misused(command, `Unexpected argument: ${shown(words[max]!)}`);
}

function misused(command: Command, message: string): CommandError {
  return new CommandError("wrong_usage", message, {
    exitCode: EXIT.usage,
    hints: [`Usage: ${usageLine(command)}`, `Run holdpoint ${command.name} --help for its options and examples`],
  });
}
