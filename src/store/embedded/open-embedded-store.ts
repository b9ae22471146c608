import { mkdirSync } from "node:fs";
import { open } from "lmdb";
import { toError, UnavailableError } from "../../core/errors.ts";
import type { Store } from "../../core/ports.ts";
import type { StoreOptions } from "../store-options.ts";
import { EmbeddedStore } from "./embedded-store.ts";
import { MonotoneClock, SYSTEM_TIME, type TimeSource } from "./monotone-clock.ts";

/** One LMDB environment in `directory`, created if absent, readable by its owner alone. */
export async function openEmbeddedStore(
  directory: string,
  options: StoreOptions,
  time: TimeSource = SYSTEM_TIME,
): Promise<Store> {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const database = open<string>({
      path: directory,
      noSubdir: false,
      encoding: "string",
      // Off: a commit is on disk before its promise resolves, and before another process can see it.
      overlappingSync: false,
    });
    return new EmbeddedStore(database, new MonotoneClock(time), options);
  } catch (thrown) {
    const cause = toError(thrown);
    throw new UnavailableError("store_unavailable", `Cannot open the embedded store in "${directory}"`, { cause });
  }
}
