/**
 * Tells when a bundle changed. File events are quick but not reliable (network file systems, a swapped link, an editor's
 * rename leaves the watch on a file that is gone), so a slow look at what is there backs them up.
 */
import { type FSWatcher, readdirSync, realpathSync, statSync, watch } from "node:fs";
import { dirname, join } from "node:path";

export interface WatchOptions {
  /** Quiet time after an event, so that a file is not read while it is being written. Default 100. */
  readonly debounceMs: number;
  /** How often the files are looked at in any case. Default 5000. */
  readonly pollMs: number;
}

const DEFAULTS: WatchOptions = { debounceMs: 100, pollMs: 5_000 };
const FILES_MAX = 10_000;

export function watchPath(path: string, onChange: () => void, options: Partial<WatchOptions> = {}): { close(): void } {
  const { debounceMs, pollMs } = { ...DEFAULTS, ...options };
  let seen = fingerprint(path);
  let pending: NodeJS.Timeout | undefined;
  const look = (): void => {
    const now = fingerprint(path);
    if (now === seen) return;
    seen = now;
    onChange();
  };
  const settle = (): void => {
    clearTimeout(pending);
    pending = setTimeout(look, debounceMs);
    pending.unref();
  };
  const watchers = [path, dirname(path)].flatMap((place) => tryWatch(place, settle));
  const poll = setInterval(look, pollMs);
  poll.unref();
  return {
    close: () => {
      clearTimeout(pending);
      clearInterval(poll);
      for (const watcher of watchers) watcher.close();
    },
  };
}

function tryWatch(path: string, onEvent: () => void): FSWatcher[] {
  try {
    const watcher = watch(path, { persistent: false }, onEvent);
    // A watch that breaks leaves the polling, which is slower and enough.
    watcher.on("error", () => watcher.close());
    return [watcher];
  } catch {
    return [];
  }
}

/** Where links lead, and size, time and inode of every file: anything that replaces a file changes one of them. */
function fingerprint(path: string): string {
  try {
    const real = realpathSync(path);
    const found = statSync(real, { bigint: true });
    if (!found.isDirectory()) return `${real} ${mark(real)} ${mark(join(dirname(real), "data.json"))}`;
    const names = readdirSync(real, { recursive: true, encoding: "utf8" }).sort().slice(0, FILES_MAX);
    return [real, ...names.map((name) => `${name} ${mark(join(real, name))}`)].join("\n");
  } catch {
    return "absent";
  }
}

function mark(path: string): string {
  try {
    const found = statSync(path, { bigint: true });
    return `${found.ino} ${found.size} ${found.mtimeNs}`;
  } catch {
    return "absent";
  }
}
