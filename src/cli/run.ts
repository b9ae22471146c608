/** Picks the command, and turns what it throws into a message and an exit code. */
import { ConfigError, HoldpointError } from "../core/errors.ts";
import { packageVersion } from "../http/package-version.ts";
import { CommandError, type Environment, EXIT, type ExitCode } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { commandPage, groupPage, overview } from "./help.ts";
import { type CommandLine, findCommand, parseCommandLine } from "./parse-command-line.ts";
import { jsonLine, shownLines } from "./terminal.ts";
import { writeError, writeOut } from "./write-out.ts";

export async function run(args: readonly string[], environment: Environment): Promise<number> {
  try {
    return await dispatch(await parseCommandLine(args, COMMANDS), environment);
  } catch (thrown) {
    return explain(thrown, args.includes("--json"));
  }
}

async function dispatch(line: CommandLine, environment: Environment): Promise<ExitCode> {
  switch (line.kind) {
    case "version":
      await writeOut(`holdpoint ${packageVersion()}\n`);
      return EXIT.done;
    case "help":
      await writeOut(await helpOn(line.topic));
      return EXIT.done;
    case "run": {
      const { command, options, words } = line;
      const given = options.config;
      const configPath = typeof given === "string" ? given : environment.HOLDPOINT_CONFIG || undefined;
      const config = async () => (await import("../config/load-config.ts")).loadConfig(configPath, environment);
      return command.run({ options: options as never, words, environment, configPath, config });
    }
  }
}

async function helpOn(topic: readonly string[]): Promise<string> {
  if (topic.length === 0) return overview(COMMANDS);
  const group = COMMANDS.filter(({ name }) => name.startsWith(`${topic[0]} `));
  if (topic.length === 1 && group.length > 0)
    return groupPage(topic[0]!, group, await Promise.all(group.map((one) => one.load())));
  const listed = findCommand(topic, COMMANDS);
  return commandPage(listed, await listed.load());
}

interface Told {
  readonly code: string;
  readonly message: string;
  readonly faults: readonly string[];
  readonly hints: readonly string[];
  readonly exitCode: ExitCode;
}

async function explain(thrown: unknown, isJson: boolean): Promise<number> {
  const told = toldOf(thrown);
  if (told === undefined) throw thrown;
  const { code, message, faults, hints, exitCode } = told;
  if (isJson) {
    const error = {
      code,
      message,
      ...(faults.length === 0 ? {} : { faults }),
      ...(hints.length === 0 ? {} : { hints }),
    };
    await writeError(`${jsonLine({ error })}\n`);
  } else {
    const head = code === "wrong_usage" || faults.length > 0 ? message : `${code}: ${message}`;
    const lines = [`holdpoint: ${head}`, ...faults.map((fault) => `  - ${fault}`), ...hints.map((hint) => `  ${hint}`)];
    await writeError(lines.map((line) => `${shownLines(line)}\n`).join(""));
  }
  return exitCode;
}

/** Undefined for what is a fault of ours, whose stack is wanted. */
function toldOf(thrown: unknown): Told | undefined {
  if (thrown instanceof CommandError) return thrown;
  if (thrown instanceof ConfigError) return { ...toldParts(thrown), faults: thrown.faults, exitCode: EXIT.usage };
  if (thrown instanceof HoldpointError) return { ...toldParts(thrown), faults: [], exitCode: EXIT.failed };
  return undefined;
}

function toldParts({ code, message }: HoldpointError) {
  return { code, message, hints: [] };
}
