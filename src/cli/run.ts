/** Picks the command, and turns what it throws into a message and an exit code. */
import { parseArgs } from "node:util";
import { loadConfig } from "../config/load-config.ts";
import { ConfigError, HoldpointError } from "../core/errors.ts";
import { createApiKey } from "./create-api-key.ts";
import { rotateKeys } from "./rotate-keys.ts";
import { serve } from "./serve.ts";
import { verifyLedgerCommand } from "./verify-ledger-command.ts";

export const EXIT = { ok: 0, failed: 1, usage: 2, invalid: 3 } as const;

const HELP = `holdpoint: authorization sidecar for AI agents

  holdpoint serve [--config FILE]
      Serves the decision port and the admin port. Settings come from the YAML file (or HOLDPOINT_CONFIG) and from
      HOLDPOINT_* variables, which win.
  holdpoint ledger verify [--data-dir DIR] [--checkpoint FILE] [--vkey KEY] [--json]
      Re-derives the whole ledger from disk and names the first fault. With a checkpoint saved earlier (GET
      /v1/ledger/checkpoint) a log that was cut short or rewritten since is found, too.
  holdpoint keys rotate [--config FILE]
      Adds a new permit signing key; the old ones verify until their permits are over. Send SIGHUP to running sidecars.
  holdpoint api-key [--id NAME]
      Makes a random bearer key and prints it once, with the entry for api_keys.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the ledger does not verify.
`;

export async function run(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  try {
    return await dispatch(args, environment);
  } catch (error) {
    return explain(error);
  }
}

async function dispatch(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      config: { type: "string" },
      "data-dir": { type: "string" },
      checkpoint: { type: "string" },
      vkey: { type: "string" },
      id: { type: "string" },
      json: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  const path = values.config ?? (environment.HOLDPOINT_CONFIG || undefined);
  const config = () => loadConfig(path, environment);
  const command = positionals.join(" ");
  if (values.help === true || command === "help") return print(HELP);
  switch (command) {
    case "serve":
      await serve(config(), { load: config, path });
      return EXIT.ok;
    case "ledger verify":
      return verifyLedgerCommand({
        dataDir: values["data-dir"] ?? config().data_dir,
        checkpointPath: values.checkpoint,
        vkey: values.vkey,
        isJson: values.json === true,
      });
    case "keys rotate":
      return print(rotateKeys(config()));
    case "api-key":
      return print(createApiKey(values.id ?? "my-key"));
    default:
      process.stderr.write(`${command === "" ? "Expected a command" : `Unknown command: ${command}`}\n\n${HELP}`);
      return EXIT.usage;
  }
}

function print(text: string): number {
  process.stdout.write(text);
  return EXIT.ok;
}

function explain(error: unknown): number {
  if (error instanceof ConfigError) {
    process.stderr.write(`holdpoint: ${error.message}\n${error.faults.map((fault) => `  - ${fault}\n`).join("")}`);
    return EXIT.usage;
  }
  if (error instanceof HoldpointError) {
    process.stderr.write(`holdpoint: ${error.code}: ${error.message}\n`);
    return EXIT.failed;
  }
  if (error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS")) {
    process.stderr.write(`holdpoint: ${error.message}\n\n${HELP}`);
    return EXIT.usage;
  }
  throw error;
}
