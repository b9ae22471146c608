/** What `--help` shows, from the table of commands. */
import type { Command, ListedCommand, OptionSpec } from "./command.ts";

const EXIT_CODES = `Exit codes: 0 done (decide: allowed), 1 failed (refused by the sidecar, unreachable, does not build),
  2 wrong usage or configuration, 3 does not verify or differs, 4 denied, 5 escalated.
`;

export function overview(commands: readonly ListedCommand[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `holdpoint: authorization sidecar for AI agents

Usage: holdpoint COMMAND [options]

Commands:
${lines.join("\n")}
  ${"help".padEnd(width)}  This page, or that of a command: holdpoint help approvals grant

Options of every command: --help, -h. Settings come from a YAML file (--config or HOLDPOINT_CONFIG) and from HOLDPOINT_*
variables, which win. Commands that ask a running sidecar find it by --admin or HOLDPOINT_ADMIN_URL, and take their key
from HOLDPOINT_KEY or --key-file.

Examples:
  holdpoint serve --config holdpoint.yaml
  holdpoint decide proposal.json --bundle bundle.tar.gz
  HOLDPOINT_KEY=… holdpoint approvals list

${EXIT_CODES}`;
}

/** The commands of one group: `approvals`. */
export function groupPage(group: string, listed: readonly ListedCommand[], commands: readonly Command[]): string {
  const width = Math.max(...listed.map(({ name }) => name.length));
  const lines = listed.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return `Commands of ${group}:
${lines.join("\n")}

Examples:
${commands.map(({ examples }) => `  ${examples[0]}`).join("\n")}
`;
}

export function commandPage({ summary }: Pick<ListedCommand, "summary">, command: Command): string {
  const options = [
    ...Object.entries(command.options).map(([name, spec]) => [optionText(name, spec), spec.meaning] as const),
    ["-h, --help", "This page"] as const,
  ];
  const width = Math.max(...options.map(([text]) => text.length));
  const details = command.details === undefined ? "" : `\n${command.details}\n`;
  return `${summary}

Usage: ${usageLine(command)}
${details}
Options:
${options.map(([text, meaning]) => `  ${text.padEnd(width)}  ${meaning}`).join("\n")}

Examples:
${command.examples.map((example) => `  ${example}`).join("\n")}

${EXIT_CODES}`;
}

export function usageLine(command: Command): string {
  const words = command.words === undefined ? "" : ` ${command.words.usage}`;
  const options = Object.entries(command.options).map(([name, spec]) => {
    const text = spec.kind === "flag" ? `--${name}` : `--${name} ${spec.value}`;
    return spec.kind === "list" ? ` [${text}]...` : ` [${text}]`;
  });
  return `holdpoint ${command.name}${words}${options.join("")}`;
}

function optionText(name: string, spec: OptionSpec): string {
  if (spec.kind === "flag") return `--${name}`;
  return `${spec.short === undefined ? "" : `-${spec.short}, `}--${name} ${spec.value}`;
}
