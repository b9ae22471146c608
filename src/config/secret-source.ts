/** Secrets that a setting names rather than holds: where they come from, and reading them when the sidecar starts. */
import { z } from "zod";
import { toError } from "../core/errors.ts";
import { fileFault } from "../core/file-fault.ts";

const filePath = z.string().min(1).max(4_096);
const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "expected the name of an environment variable")
  .refine((name) => !name.startsWith("HOLDPOINT_"), "expected another name: HOLDPOINT_ is for settings");

export const fromFile = z.strictObject({ file: filePath });
export const fromVariable = z.strictObject({ env: variableName });

export type SecretSource = { readonly file: string } | { readonly env: string } | { readonly value: string };

/** What secrets are read from; given by whoever may touch files and the environment. */
export interface SecretPorts {
  /** Text of a file. @throws what the file system throws */
  readonly readFile: (path: string) => string;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Of a file with one secret, or with the certificates of many authorities; more was mounted by mistake. */
export const SECRET_CHARS_MAX = 1024 * 1024;

/** The text without the line break that editors put at its end, or what is wrong with where it should be. */
export function readSecret(
  source: SecretSource,
  ports: SecretPorts,
): { readonly text: string } | { readonly fault: string } {
  if ("value" in source) return { text: source.value };
  const where = "file" in source ? source.file : `variable ${source.env}`;
  try {
    const text = "file" in source ? ports.readFile(source.file) : ports.environment[source.env];
    if (text === undefined) return { fault: `${where}: is not set` };
    const secret = text.replace(/\r?\n$/, "");
    if (secret === "") return { fault: `${where}: is empty` };
    if (secret.length > SECRET_CHARS_MAX) return { fault: `${where}: has more than ${SECRET_CHARS_MAX} characters` };
    return { text: secret };
  } catch (thrown) {
    return { fault: "file" in source ? fileFault(source.file, thrown) : toError(thrown).message };
  }
}
