/** The ledger's own key: signs checkpoints (C2SP signed note, Ed25519). Local to one data directory, like the ledger. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { ConfigError, toError } from "../core/errors.ts";

/** @throws ConfigError when the file can be neither read nor made */
export function openNoteKey(path: string): KeyObject {
  try {
    return createPrivateKey(readFileSync(path, "utf8"));
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw unusable(path, thrown);
  }
  try {
    create(path);
    return createPrivateKey(readFileSync(path, "utf8"));
  } catch (thrown) {
    throw unusable(path, thrown);
  }
}

/** Written aside and linked: of two processes that start at once, one makes the key and both use it. */
function create(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const aside = `${path}.${process.pid}`;
  const pem = generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" });
  writeFileSync(aside, pem, { mode: 0o600, flush: true });
  try {
    linkSync(aside, path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
  } finally {
    unlinkSync(aside);
  }
}

function unusable(path: string, thrown: unknown): ConfigError {
  const { message } = toError(thrown);
  return new ConfigError(
    "config_invalid",
    `Cannot use the ledger's key ${path}: ${message}`,
    [`data_dir: ${message}`],
    {
      cause: thrown,
    },
  );
}
