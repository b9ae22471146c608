/** Bounded envelopes: a JSON Schema (draft 2020-12) stands in the place of exact arguments. */

import type { ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import { canonicalData } from "../core/digest.ts";
import { toError } from "../core/errors.ts";
import type { JsonObject } from "../core/types.ts";

const SCHEMAS_MAX = 256;

/** Formats are not checked: a schema that relies on one is refused by strict mode instead of silently passing. */
const createAjv = () => new Ajv2020({ strict: true, allErrors: false, addUsedSchema: false, ownProperties: true });
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
  try {
    const validate = ajv.compile(schema);
    // Its answer would be a promise, which is true whatever it resolves to.
    return "$async" in validate ? new Error("$async is not supported") : (validate as ValidateFunction);
  } catch (thrown) {
    return toError(thrown);
  }
}
