/** What the operating system says of a file, as a sentence that says what to do. */
import { getSystemErrorName } from "node:util";
import { toError } from "./errors.ts";

const MEANING: Readonly<Record<string, string>> = {
  ENOENT: "does not exist",
  EACCES: "permission denied: the user that this process runs as must be allowed to use it",
  EPERM: "permission denied: the user that this process runs as must be allowed to use it",
  EISDIR: "is a directory, expected a file",
  ENOTDIR: "is not a directory, or lies below a file",
  EROFS: "the file system is read-only: mount a writable volume there, or choose another place",
  ENOSPC: "no space is left on the device: free some, or choose another place",
  EDQUOT: "the disk quota is used up: free some, or choose another place",
  EMFILE: "too many open files: raise the limit (ulimit -n)",
  ENFILE: "too many open files on this machine",
  ELOOP: "its symbolic links lead in a circle",
  ENAMETOOLONG: "the path is too long",
  EIO: "the device reports an input/output error",
};

/** @param path as the user gave it */
export function fileFault(path: string, thrown: unknown): string {
  const code = codeOf((thrown as { readonly code?: unknown } | undefined)?.code);
  const meaning = code === undefined ? undefined : MEANING[code];
  return `${path}: ${meaning ?? toError(thrown).message.split("\n")[0]}`;
}

/** LMDB gives the system's error number where Node gives its name. */
function codeOf(code: unknown): string | undefined {
  if (typeof code === "string") return code;
  return typeof code === "number" && code > 0 && code < 4_096 ? getSystemErrorName(-code) : undefined;
}
