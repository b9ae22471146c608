/** Every builtin that the host supplies, by its name in Rego. What is not here is refused by name, at build and at load. */
import { ARITHMETIC } from "./arithmetic.ts";
import { COLLECTIONS } from "./collections.ts";
import type { HostBuiltin } from "./define.ts";
import { ENCODING } from "./encoding.ts";
import { FORMATS } from "./formats.ts";
import { GLOB } from "./glob.ts";
import { JSON_BUILTINS } from "./json.ts";
import { NET } from "./net.ts";
import { REGEX } from "./regex.ts";
import { STRINGS } from "./strings.ts";
import { TIME } from "./time.ts";

export { BuiltinError, type HostBuiltin } from "./define.ts";

const FAMILIES: readonly (readonly HostBuiltin[])[] = [
  ARITHMETIC,
  STRINGS,
  JSON_BUILTINS,
  ENCODING,
  COLLECTIONS,
  REGEX,
  GLOB,
  NET,
  FORMATS,
  TIME,
];

export const HOST_BUILTINS: ReadonlyMap<string, HostBuiltin> = new Map(
  FAMILIES.flat().map((builtin) => [builtin.name, builtin]),
);
