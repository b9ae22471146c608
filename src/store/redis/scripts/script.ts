import { readFileSync } from "node:fs";

export interface Script {
  readonly name: string;
  readonly lua: string;
  /** How many of the arguments are keys. */
  readonly keys: number;
}

/** Reads `<name>.lua` beside the calling module, once, at start. */
export function loadScript(moduleUrl: string, name: string, keys: number): Script {
  return { name, keys, lua: readFileSync(new URL(`./${name}.lua`, moduleUrl), "utf8") };
}

/** Runs a script and gives its reply: the word first, then texts. Implemented by RedisLink. */
export interface ScriptRunner {
  run(
    script: Script,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<readonly [string, ...string[]]>;
}
