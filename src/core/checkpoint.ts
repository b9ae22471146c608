/** C2SP tlog-checkpoint: the text of a signed note that names a log, its size and its root. */
import { HASH_BYTES } from "./merkle.ts";
import { decodeBase64 } from "./signed-note.ts";

export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  /** RFC 6962 root, 32 bytes. */
  readonly root: Uint8Array;
  readonly extensions: readonly string[];
}

export function formatCheckpoint(checkpoint: Checkpoint): string {
  const { origin, size, root, extensions } = checkpoint;
  if (!isLine(origin)) throw new RangeError(`Checkpoint origin ${JSON.stringify(origin)} is empty or has a line break`);
  if (!Number.isSafeInteger(size) || size < 0) throw new RangeError(`Checkpoint size ${size} is not a whole number`);
  if (root.length !== HASH_BYTES) throw new RangeError(`Checkpoint root has ${root.length} bytes, not ${HASH_BYTES}`);
  if (!extensions.every(isLine)) throw new RangeError("Checkpoint extension line is empty or has a line break");
  return `${[origin, String(size), Buffer.from(root).toString("base64"), ...extensions].join("\n")}\n`;
}

/** Undefined where the text is no checkpoint, or its size is past 2^53 - 1, which no log of ours can reach. */
export function parseCheckpoint(text: string): Checkpoint | undefined {
  if (!text.endsWith("\n")) return undefined;
  const [origin, sizeText, rootText, ...extensions] = text.slice(0, -1).split("\n");
  if (origin === undefined || sizeText === undefined || rootText === undefined) return undefined;
  if (!isLine(origin) || !extensions.every(isLine)) return undefined;
  const size = /^(0|[1-9][0-9]{0,15})$/.test(sizeText) ? Number(sizeText) : Number.NaN;
  const root = decodeBase64(rootText);
  if (!Number.isSafeInteger(size) || root?.length !== HASH_BYTES) return undefined;
  return { origin, size, root, extensions };
}

function isLine(text: string): boolean {
  return text.length > 0 && !text.includes("\n");
}
