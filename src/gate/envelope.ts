/** Bounded envelopes: a JSON Schema (draft 2020-12) stands in the place of exact arguments. */

import type { ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { RE2JS } from "re2js";
import { canonicalData } from "../core/digest.ts";
import { toError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/types.ts";

const SCHEMAS_MAX = 256;

/** Items up to which `uniqueItems`, which compares every pair, may be asked for. */
const UNIQUE_ITEMS_MAX = 1_000;

/** The agent writes the text that a pattern meets: RE2 matches in linear time, and refuses what it cannot. */
function linearTime(pattern: string): { test(text: string): boolean } {
  const compiledPattern = RE2JS.compile(pattern);
  return {
    test: (text) => compiledPattern.matcher(text).find(),
    // The library shares one matcher among patterns that print alike.
    toString: () => `/${pattern}/`,
  } as { test(text: string): boolean };
}
linearTime.code = "linearTime";

/** Formats are not checked: a schema that relies on one is refused by strict mode instead of silently passing. */
const createAjv = () =>
  new Ajv2020({
    strict: true,
    allErrors: false,
    addUsedSchema: false,
    ownProperties: true,
    multipleOfPrecision: 9,
    code: { regExp: linearTime },
  });
let ajv = createAjv();
const compiled = new Map<string, ValidateFunction | Error>();

/** Undefined when the schema accepts the arguments, else why it does not; a schema that cannot be used accepts nothing. */
export function acceptsArguments(schema: JsonObject, args: JsonObject): string | undefined {
  const validate = compile(schema);
  if (validate instanceof Error) return `the envelope's schema cannot be used: ${validate.message}`;
  if (validate(args)) return undefined;
  const fault = validate.errors?.[0];
  return `at "${fault?.instancePath ?? ""}" ${fault?.message ?? "not accepted"}`;
}

function compile(schema: JsonObject): ValidateFunction | Error {
  const text = canonicalData(schema);
  const known = compiled.get(text);
  if (known !== undefined) return known;
  if (compiled.size >= SCHEMAS_MAX) {
    // The library keeps every schema it ever compiled, so both start afresh.
    compiled.clear();
    ajv = createAjv();
  }
  const validate = tryCompile(schema, text);
  compiled.set(text, validate);
  return validate;
}

function tryCompile(schema: JsonObject, text: string): ValidateFunction | Error {
  // The library skips rules for a property of this name. In canonical text this is a key, and no string's inside.
  if (text.includes('"__proto__":')) return new Error("a rule for __proto__ is not supported");
  if (hasUnboundedUnique(schema)) return new Error(`uniqueItems takes maxItems of at most ${UNIQUE_ITEMS_MAX}`);
  try {
    const validate = ajv.compile(schema);
    // Its answer would be a promise, which is true whatever it resolves to.
    return "$async" in validate ? new Error("$async is not supported") : (validate as ValidateFunction);
  } catch (thrown) {
    return toError(thrown);
  }
}

function hasUnboundedUnique(schema: Json): boolean {
  if (typeof schema !== "object" || schema === null) return false;
  const isBounded = "maxItems" in schema && typeof schema.maxItems === "number" && schema.maxItems <= UNIQUE_ITEMS_MAX;
  if ("uniqueItems" in schema && schema.uniqueItems !== false && !isBounded) return true;
  return Object.values(schema).some(hasUnboundedUnique);
}
