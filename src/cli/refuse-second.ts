/**
 * One sidecar to a data directory. LMDB itself lets several in, but one that opens while another writes can undo what was
 * acknowledged (see `open-turns.ts`), and only processes of one sidecar can agree on their turns.
 *
 * The kernel says who holds a lock on the ledger's lock file. A predecessor that is ending is waited for. What cannot be
 * seen from here, another host or another PID namespace, must be kept apart by whoever shares a volume between them.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { ConfigError } from "../core/errors.ts";

const WAIT_MS = 5_000;
const LOOK_AGAIN_MS = 50;

/** @throws ConfigError when another sidecar still has the directory */
export async function refuseSecond(dataDir: string, waitMs = WAIT_MS): Promise<void> {
  const path = join(dataDir, "ledger", "lock.mdb");
  const until = performance.now() + waitMs;
  for (let owner = ownerOf(path); owner !== undefined; owner = ownerOf(path)) {
    if (performance.now() >= until) {
      const fault = `data_dir: ${dataDir} is in use by the sidecar with pid ${owner}: stop it, or give each its own`;
      throw new ConfigError("config_invalid", "Cannot start: another sidecar has the data directory", [fault]);
    }
    await wait(LOOK_AGAIN_MS);
  }
}

/** A process that holds a lock on this file; undefined where there is none, or the system does not tell (proc(5)). */
function ownerOf(path: string): number | undefined {
  try {
    const { ino, dev } = statSync(path);
    const place = new RegExp(`^\\d+: \\S+ +\\S+ +\\S+ (\\d+) ${hex(dev >> 8)}:${hex(dev & 0xff)}:${ino} `, "m");
    const owner = place.exec(readFileSync("/proc/locks", "utf8"))?.[1];
    return owner === undefined || Number(owner) === process.pid ? undefined : Number(owner);
  } catch {
    return undefined;
  }
}

/** Major and minor numbers as the kernel prints them. */
function hex(number: number): string {
  return number.toString(16).padStart(2, "0");
}
