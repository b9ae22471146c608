/** What the executors' adapter is built from: the settings, with what their headers name in its place. */
import { ConfigError } from "../core/errors.ts";
import { type ExecutorSettings, HEADER_VALUE } from "./executor-settings.ts";
import type { Config } from "./load-config.ts";
import { readSecret, type SecretPorts } from "./secret-source.ts";

export interface OpenedExecutor extends Omit<ExecutorSettings, "headers" | "ca_file"> {
  readonly headers: Readonly<Record<string, string>>;
  /** PEM. */
  readonly ca: string | undefined;
}

export interface OpenedExecutors {
  readonly executors: Readonly<Record<string, OpenedExecutor>>;
  readonly addresses: readonly string[];
}

/** @throws ConfigError with every secret that is missing or cannot be sent; never with a secret */
export function openExecutors(
  config: Pick<Config, "executors" | "executor_addresses">,
  readFile: SecretPorts["readFile"],
  environment: SecretPorts["environment"],
): OpenedExecutors {
  const faults: string[] = [];
  const ports = { readFile, environment };
  const executors = Object.entries(config.executors).map(([name, settings]): [string, OpenedExecutor] => {
    const { headers, ca_file, ...rest } = settings;
    const at = `executors/${name}`;
    const ca =
      ca_file === undefined ? undefined : caOf(ca_file, ports, (fault) => faults.push(`${at}/ca_file: ${fault}`));
    return [
      name,
      {
        ...rest,
        headers: headersOf(headers, ports, (where, fault) => faults.push(`${at}/headers/${where}: ${fault}`)),
        ca,
      },
    ];
  });
  if (faults.length > 0)
    throw new ConfigError("config_invalid", `Cannot start: ${faults.length} fault(s) in what executors need`, faults);
  return { executors: Object.fromEntries(executors), addresses: config.executor_addresses };
}

function headersOf(
  headers: ExecutorSettings["headers"],
  ports: SecretPorts,
  onFault: (name: string, fault: string) => void,
): Record<string, string> {
  const values = Object.entries(headers).flatMap(([name, value]): [string, string][] => {
    const read = typeof value === "string" ? { text: value } : readSecret(value, ports);
    if ("fault" in read) onFault(name, read.fault);
    else if (HEADER_VALUE.test(read.text)) return [[name, read.text]];
    else onFault(name, "what it names is no value of a header: one line of visible ASCII characters");
    return [];
  });
  return Object.fromEntries(values);
}

function caOf(path: string, ports: SecretPorts, onFault: (fault: string) => void): string | undefined {
  const read = readSecret({ file: path }, ports);
  if ("fault" in read) onFault(read.fault);
  else if (read.text.includes("-----BEGIN CERTIFICATE-----")) return read.text;
  else onFault(`${path}: holds no certificate in PEM`);
  return undefined;
}
