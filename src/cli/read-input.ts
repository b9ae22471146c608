/** A file that a command is given, or standard input for `-`: whole, and within a size. */
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";
import { toError } from "../core/errors.ts";
import { usageError } from "./command.ts";
import { shown } from "./terminal.ts";

/** @throws CommandError */
export async function readInput(path: string, bytesMax: number): Promise<Buffer> {
  const stream: Readable = path === "-" ? process.stdin : createReadStream(path);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > bytesMax) break;
      chunks.push(chunk);
    }
  } catch (thrown) {
    throw usageError(`Cannot read ${shown(path)}: ${toError(thrown).message}`);
  }
  if (length > bytesMax) throw usageError(`${nameOf(path)} is over ${bytesMax} bytes`);
  return Buffer.concat(chunks);
}

export function nameOf(path: string): string {
  return path === "-" ? "Standard input" : shown(path);
}
