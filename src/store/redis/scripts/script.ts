import { readFileSync } from "node:fs";

export interface Script {
  readonly name: string;
  readonly lua: string;
  /** How many keys it takes, at least. */
  readonly keys: number;
  /** And at most: the same, unless it takes some for each of several things. */
  readonly keysMax: number;
}

/** Reads `<name>.lua` beside the calling module, once, at start. */
export function loadScript(moduleUrl: string, name: string, keys: number, keysMax = keys): Script {
  return { name, keys, keysMax, lua: readFileSync(new URL(`./${name}.lua`, moduleUrl), "utf8") };
}

/** Runs a script and gives its reply: the word first, then texts. Implemented by RedisLink. */
export interface ScriptRunner {
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<readonly [string, ...string[]]>;
}
