/**
 * Whether the index's file is what was written to it. LMDB believes what it maps: a damaged file is no error, but the end
 * of the process. And the file is not synced: the system keeps what a killed process wrote, and forgets some of it when
 * the machine stops. So a mark beside it says how it was left, and is on disk itself before anything else changes:
 *
 *   closed <bytes> <crc32>   in order; believed while it is still these bytes
 *   open <boot> <ends>       by a process that did not close it; believed while the machine has not been started anew
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { crc32 } from "node:zlib";

const MARK = "opened-by";
const CHUNK_BYTES = 1024 * 1024;

/** Ends in a row that nobody announced: reading the file may be what ends the process. */
export const UNCLEAN_ENDS_MAX = 3;

/** Names this run of the machine; undefined where nothing does, and then an unclean end is not believed. */
export function bootId(): string | undefined {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return undefined;
  }
}

/** Ends in a row, up to now, that nobody announced; undefined where the file is not to be opened. */
export async function uncleanEnds(
  directory: string,
  file: string,
  boot: string | undefined,
): Promise<number | undefined> {
  const [word, one, two] = readMark(directory).split(" ");
  if (word === "closed") return (await checksum(join(directory, file))) === `${one} ${two}` ? 0 : undefined;
  const ends = /^[0-9]$/.test(two ?? "") ? Number(two) + 1 : Number.NaN;
  return word === "open" && boot !== undefined && one === boot && ends <= UNCLEAN_ENDS_MAX ? ends : undefined;
}

/** Durable on return, and to be called before the file is written to. @throws what the file system says */
export function markOpen(directory: string, boot: string | undefined, ends: number): void {
  writeMark(directory, `open ${boot ?? "?"} ${ends}`);
}

/**
 * The file is closed. Makes it durable, then says so; a file so large that its checksum takes longer than `withinMs` stays
 * marked as open. @throws what the file system says
 */
export async function markClosed(directory: string, file: string, withinMs: number): Promise<void> {
  const path = join(directory, file);
  sync(path);
  const sum = await checksum(path, performance.now() + withinMs);
  if (sum !== undefined) writeMark(directory, `closed ${sum}`);
}

/** Nothing here is to be believed any more. @throws what the file system says */
export function distrust(directory: string): void {
  writeMark(directory, "damaged");
}

/** Of the whole file, `<bytes> <crc32>`; undefined where it cannot be read, or not in time. */
async function checksum(path: string, until = Number.POSITIVE_INFINITY): Promise<string | undefined> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, "r");
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    let bytes = 0;
    let sum = 0;
    while (performance.now() < until) {
      const { bytesRead } = await handle.read(chunk, 0, CHUNK_BYTES, bytes);
      if (bytesRead === 0) return `${bytes} ${sum.toString(16)}`;
      sum = crc32(chunk.subarray(0, bytesRead), sum);
      bytes += bytesRead;
    }
    return undefined;
  } catch {
    return undefined;
  } finally {
    await handle?.close();
  }
}

function readMark(directory: string): string {
  try {
    return readFileSync(join(directory, MARK), "utf8").trim();
  } catch {
    return ""; // nobody has been here
  }
}

function writeMark(directory: string, text: string): void {
  const path = join(directory, MARK);
  writeFileSync(`${path}.new`, `${text}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  sync(directory);
}

function sync(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
