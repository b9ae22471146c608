/** Building blocks of every wire schema, and the one way from a reading to a typed value. */
import { z } from "zod";
import { InvalidRequestError } from "./errors.ts";
import { escapePointer, type Reading } from "./read-json.ts";
import type { Json, JsonObject } from "./types.ts";

/** Characters of an id or a name. */
export const IDENTIFIER_CHARS_MAX = 256;

/**
 * Ids and names: 1 to 256 characters, none of them white space, a control or format character, or a brace. Braces would
 * reach a Redis hash tag; invisible and bidirectional characters would let two ids look alike to a reviewer.
 */
export const IDENTIFIER = /^[^\s{}\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Zs}\p{DI}]{1,256}$/u;

const EXPECTED_IDENTIFIER = "expected 1 to 256 characters without white space, control or format characters, or braces";

export const identifier = z.string().regex(IDENTIFIER, EXPECTED_IDENTIFIER);

/** Tenants appear in Redis keys, labels and URLs. */
export const TENANT = /^[a-z0-9-]{1,63}$/;
export const tenantName = z.string().regex(TENANT, "expected 1 to 63 of a-z, 0-9 and -");

/** Free text by people: a reason, a message. */
export const REASON_CHARS_MAX = 2_000;
export const freeText = z.string().max(REASON_CHARS_MAX);

/** An object whose inside is none of ours. Passed by reference: its keys may be named anything. */
export const jsonObject = z
  .custom<JsonObject>(
    (value) => typeof value === "object" && value !== null && !Array.isArray(value),
    "expected an object",
  )
  .meta({ type: "object" });

/** Policy looks at every argument by name, and some of what it does grows faster than their number. */
export const ARGUMENTS_MAX = 1_000;

export const actionArguments = jsonObject
  .refine((value) => Object.keys(value).length <= ARGUMENTS_MAX, `expected at most ${ARGUMENTS_MAX} arguments`)
  .meta({ maxProperties: ARGUMENTS_MAX });

export const jsonValue = z.custom<Json>((value) => value !== undefined, "expected a JSON value");

export const digestText = z.string().regex(/^sha256:[0-9a-f]{64}$/, "expected sha256: and 64 hexadecimal digits");

export const ROLES_MAX = 64;
export const roles = z.array(identifier).max(ROLES_MAX);

/** Principals behind principals: an agent for a service for a person. */
export const DELEGATION_DEPTH_MAX = 4;

const actorFields = { id: identifier, type: identifier.optional(), roles: roles.optional() };

function actorBefore(principal: z.ZodType<ActorShape> | undefined): z.ZodType<ActorShape> {
  const fields =
    principal === undefined
      ? z.strictObject(actorFields)
      : z.strictObject({ ...actorFields, on_behalf_of: principal.optional() });
  return fields as z.ZodType<ActorShape>;
}

export interface ActorShape {
  readonly id: string;
  readonly type?: string;
  readonly roles?: readonly string[];
  readonly on_behalf_of?: ActorShape;
}

const actors = [actorBefore(undefined)];
while (actors.length <= DELEGATION_DEPTH_MAX) actors.push(actorBefore(actors.at(-1)));

/** By the number of principals that may stand behind. */
export const actorsByDepth: readonly z.ZodType<ActorShape>[] = actors;
export const actor = actors[DELEGATION_DEPTH_MAX]!;
export const entity = z.strictObject({ type: identifier, id: identifier });

/** Checks a reading against a schema; the first fault becomes the error, with its place. */
export function parseReading<T>(schema: z.ZodType<T>, reading: Pick<Reading, "value">, what: string): T {
  const parsed = schema.safeParse(reading.value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const fault = firstFault(parsed.error);
  throw new InvalidRequestError("invalid_request", `Invalid ${what}: ${fault.message}`, { pointer: fault.pointer });
}

export interface SchemaFault {
  /** RFC 6901. */
  readonly pointer: string;
  readonly message: string;
}

function firstFault(error: z.ZodError): SchemaFault {
  return schemaFaults(error)[0] ?? { pointer: "", message: "invalid" };
}

export function schemaFaults(error: z.ZodError): readonly SchemaFault[] {
  return error.issues.map((issue) => {
    const path = issue.code === "unrecognized_keys" ? [...issue.path, issue.keys[0] ?? ""] : issue.path;
    const pointer = path.map((segment) => `/${escapePointer(String(segment))}`).join("");
    return { pointer, message: sentence(issue) };
  });
}

/** Never the value itself: it may be a secret. */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function sentence(issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys") return "unknown member";
  if (issue.code === "invalid_type" && issue.input === undefined) return `missing, expected ${issue.expected}`;
  if (issue.code === "invalid_type") return `expected ${issue.expected}, found ${kindOf(issue.input)}`;
  return issue.message;
}
