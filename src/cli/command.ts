/** What a command is: its words, its options, and what runs. The table of all of them is in commands.ts. */
import type { Config } from "../config/load-config.ts";

export const EXIT = { done: 0, failed: 1, usage: 2, differs: 3, denied: 4, escalated: 5 } as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export type OptionSpec =
  | { readonly kind: "flag"; readonly meaning: string }
  | { readonly kind: "text" | "list"; readonly value: string; readonly meaning: string; readonly short?: string };

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

/** A flag is true or false, a text may be absent, a list holds every repetition. */
export type OptionValues<Specs extends OptionSpecs> = {
  readonly [Name in keyof Specs]: Specs[Name]["kind"] extends "flag"
    ? boolean
    : Specs[Name]["kind"] extends "list"
      ? readonly string[]
      : string | undefined;
};

export type Environment = Readonly<Record<string, string | undefined>>;

export interface Invocation<Specs extends OptionSpecs> {
  readonly options: OptionValues<Specs>;
  /** What stood beside the options. */
  readonly words: readonly string[];
  readonly environment: Environment;
  /** Path of the configuration file, by option or by variable. */
  readonly configPath: string | undefined;
  /** @throws ConfigError with every fault */
  config(): Promise<Config>;
}

/** As the help lists it; what it needs is loaded when it is asked for, so that every command starts as fast as it can. */
export interface ListedCommand {
  readonly name: string;
  readonly summary: string;
  load(): Promise<Command>;
}

export interface Command<Specs extends OptionSpecs = OptionSpecs> {
  /** `approvals list`. */
  readonly name: string;
  /** What stands beside the options, as the usage line shows it; none where absent. */
  readonly words?: { readonly usage: string; readonly min: number; readonly max: number };
  readonly options: Specs;
  /** A paragraph for its own help page. */
  readonly details?: string;
  readonly examples: readonly string[];
  run(invocation: Invocation<Specs>): Promise<ExitCode>;
}

export function defineCommand<const Specs extends OptionSpecs>(command: Command<Specs>): Command {
  return command as unknown as Command;
}

export const CONFIG_OPTION = {
  config: { kind: "text", value: "FILE", meaning: "Configuration file (or HOLDPOINT_CONFIG)" },
} as const satisfies OptionSpecs;

export const KEYS_DIR_OPTION = {
  "keys-dir": { kind: "text", value: "DIR", meaning: "Where; the setting keys_dir where nothing is given" },
} as const satisfies OptionSpecs;

export const JSON_OPTION = {
  json: { kind: "flag", meaning: "One JSON document instead of text" },
} as const satisfies OptionSpecs;

/** What ends a command other than by its result. Codes of the sidecar's own answers pass through. */
export class CommandError extends Error {
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly faults: readonly string[];
  /** What to do about it, a sentence a line. */
  readonly hints: readonly string[];

  constructor(
    code: string,
    message: string,
    of: {
      readonly exitCode?: ExitCode;
      readonly faults?: readonly string[];
      readonly hints?: readonly string[];
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, of.cause === undefined ? undefined : { cause: of.cause });
    this.name = "CommandError";
    this.code = code;
    this.exitCode = of.exitCode ?? EXIT.failed;
    this.faults = of.faults ?? [];
    this.hints = of.hints ?? [];
  }
}

export function usageError(message: string, hints: readonly string[] = []): CommandError {
  return new CommandError("wrong_usage", message, { exitCode: EXIT.usage, hints });
}

/** A whole number within bounds, out of an option. @throws CommandError */
export function wholeNumber(
  option: string,
  text: string | undefined,
  of: { readonly default: number; readonly max: number },
): number {
  if (text === undefined) return of.default;
  const number = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(number >= 1 && number <= of.max)) throw usageError(`${option}: expected a number from 1 to ${of.max}`);
  return number;
}
