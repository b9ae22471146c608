/** A policy result: what the entrypoint may answer. Anything else is a fault, and a fault is a deny. */
import { z } from "zod";
import { AMOUNT_MAX, toMicros } from "./micros.ts";
import { type Reading, readJson } from "./read-json.ts";
import { freeText, identifier, jsonObject, roles, schemaFaults } from "./schema.ts";
import type { Json, JsonObject, Mode, Outcome, Reason } from "./types.ts";

/** A policy may answer with large rewritten arguments, never with more than this. */
export const RESULT_BYTES_MAX = 512 * 1024;
export const REASONS_MAX = 64;
export const LIMITS_MAX = 32;
export const QUORUM_MAX = 32;
export const ENVELOPE_USES_MAX = 10_000;
/** An envelope's schema travels in the permit, and permits have a size. */
export const ENVELOPE_CHARS_MAX = 16 * 1024;
/** 30 days. */
export const TTL_SECONDS_MAX = 30 * 24 * 3600;
/** Permits are short-lived. */
export const PERMIT_TTL_SECONDS_MAX = 3600;

/** Longest that a proposal may wait for a lock. */
export const LOCK_WAIT_SECONDS_MAX = 60;
/** Names that one action may add to its session. */
export const SESSION_NAMES_MAX = 16;

const ttlSeconds = z.int().min(1).max(TTL_SECONDS_MAX);
const key = z.string().min(1).max(512);

const reason = z.strictObject({ code: identifier, message: freeText, rule: identifier.optional() });

const approval = z.strictObject({
  roles: roles.optional(),
  quorum: z.int().min(1).max(QUORUM_MAX).optional(),
  ttl_seconds: ttlSeconds.optional(),
  grant_ttl_seconds: ttlSeconds.optional(),
  binding: z.enum(["exact", "envelope"]).optional(),
  envelope: z.strictObject({ schema: jsonObject, uses: z.int().min(1).max(ENVELOPE_USES_MAX) }).optional(),
  /** Names of the members of `context` that make a context of its own; all of it where absent. */
  context: z.array(identifier).max(64).optional(),
});

const permit = z.strictObject({
  required: z.boolean().optional(),
  ttl_seconds: z.int().min(1).max(PERMIT_TTL_SECONDS_MAX).optional(),
  audience: identifier.optional(),
  /** True binds the permit to the version of its entity that was decided on. */
  bind_entity_version: z.boolean().optional(),
});

const amount = z
  .number()
  .min(0)
  .refine((value) => toMicros(value) !== undefined, `expected at most ${AMOUNT_MAX} with at most six decimals`);

const limit = z
  .strictObject({
    key,
    limit: amount,
    window_seconds: ttlSeconds,
    /** fixed, where nothing is said: aligned to the epoch. sliding: no window of that length holds more. */
    window: z.enum(["fixed", "sliding"]).optional(),
    cost: amount.optional(),
    /** The value of this action, where what is limited is how many different ones there are. */
    distinct: z.string().max(512).optional(),
    on_exceed: z.enum(["deny", "escalate"]).optional(),
  })
  .refine((value) => value.distinct === undefined || value.cost === undefined, {
    path: ["cost"],
    error: "not part of a limit on distinct values",
  });

const lock = z.strictObject({
  key,
  ttl_seconds: z.int().min(1).max(PERMIT_TTL_SECONDS_MAX),
  /** 0, where nothing is said: refused at once while another holds it. */
  wait_seconds: z.int().min(0).max(LOCK_WAIT_SECONDS_MAX).optional(),
});

const session = z.strictObject({
  classifications: z.array(identifier).max(SESSION_NAMES_MAX).optional(),
  sums: z
    .record(identifier, amount)
    .refine((value) => Object.keys(value).length <= SESSION_NAMES_MAX, `expected at most ${SESSION_NAMES_MAX} sums`)
    .optional(),
});

export const policyResultSchema = z
  .strictObject({
    outcome: z.enum(["allow", "deny", "compute", "escalate"]),
    reasons: z.array(reason).max(REASONS_MAX).optional(),
    risk: identifier.optional(),
    arguments: jsonObject.optional(),
    approval: approval.optional(),
    permit: permit.optional(),
    limits: z.array(limit).max(LIMITS_MAX).optional(),
    lock: lock.optional(),
    /** What this action adds to the record of its session. */
    session: session.optional(),
    obligations: jsonObject.optional(),
    mode: z.enum(["enforce", "observe"]).optional(),
    contract: identifier.optional(),
    rules: z.array(identifier).max(256).optional(),
  })
  .superRefine((result, context) => {
    const limits = (result.limits ?? []).map((one) => JSON.stringify(limitIdentity(one)));
    const repeated = limits.findIndex((one, at) => limits.indexOf(one) !== at);
    if (repeated !== -1) {
      const message = "a limit of this key, window and kind is there already";
      context.addIssue({ code: "custom", path: ["limits", repeated, "key"], message });
    }
    if (result.outcome === "compute" && result.arguments === undefined) {
      context.addIssue({
        code: "custom",
        path: ["arguments"],
        message: "missing: compute needs the rewritten arguments",
      });
    }
    if ((result.outcome === "allow" || result.outcome === "deny") && result.arguments !== undefined) {
      context.addIssue({ code: "custom", path: ["arguments"], message: `not part of ${result.outcome}` });
    }
    if (result.approval?.binding === "envelope" && result.approval.envelope === undefined) {
      context.addIssue({
        code: "custom",
        path: ["approval", "envelope"],
        message: "missing: the binding is an envelope",
      });
    }
    if (result.approval?.envelope !== undefined && result.approval.binding !== "envelope") {
      context.addIssue({ code: "custom", path: ["approval", "binding"], message: 'expected "envelope"' });
    }
  });

/** What makes it one limit and not another: what is counted, how, and over which time. */
export function limitIdentity({ key, window_seconds, window, distinct }: LimitRule): readonly Json[] {
  return [key, window_seconds, window ?? "fixed", distinct !== undefined];
}

type ResultShape = z.infer<typeof policyResultSchema>;
export type LimitRule = z.infer<typeof limit>;
export type LockRule = z.infer<typeof lock>;
export type SessionAddition = z.infer<typeof session>;

export interface PolicyResult {
  readonly outcome: Outcome;
  readonly reasons: readonly (Reason & { readonly rule?: string })[];
  readonly risk: string;
  /** Rewritten arguments with their canonical text, where policy rewrote. */
  readonly rewritten: { readonly value: JsonObject; readonly text: string } | undefined;
  readonly approval: NonNullable<ResultShape["approval"]> | undefined;
  /** Canonical text of `approval.envelope.schema`. */
  readonly envelopeSchemaText: string | undefined;
  readonly permit: NonNullable<ResultShape["permit"]> | undefined;
  readonly limits: readonly LimitRule[];
  readonly lock: LockRule | undefined;
  readonly session: SessionAddition | undefined;
  readonly obligationsText: string;
  readonly mode: Mode | undefined;
  readonly contract: string | undefined;
  readonly rules: readonly string[];
  /** Canonical text of the whole result: what output_hash is taken over. */
  readonly canonical: string;
}

export type PolicyResultReading =
  | { readonly kind: "valid"; readonly result: PolicyResult }
  | { readonly kind: "invalid"; readonly message: string };

/** Reads what the evaluator printed; never throws. */
export function readPolicyResult(text: string): PolicyResultReading {
  let reading: Reading;
  try {
    reading = readJson(text, { bytesMax: RESULT_BYTES_MAX });
  } catch (error) {
    return { kind: "invalid", message: `Policy result: ${(error as Error).message}` };
  }
  const parsed = policyResultSchema.safeParse(reading.value, { reportInput: true });
  if (!parsed.success) {
    const fault = schemaFaults(parsed.error)[0];
    return { kind: "invalid", message: `Policy result at "${fault?.pointer ?? ""}": ${fault?.message ?? "invalid"}` };
  }
  const result = complete(parsed.data, reading);
  if ((result.envelopeSchemaText?.length ?? 0) > ENVELOPE_CHARS_MAX) {
    return {
      kind: "invalid",
      message: `Policy result at "/approval/envelope/schema": over ${ENVELOPE_CHARS_MAX} characters`,
    };
  }
  return { kind: "valid", result };
}

function complete(body: ResultShape, reading: Reading): PolicyResult {
  const members = reading.members!;
  const rewritten =
    body.arguments === undefined ? undefined : { value: body.arguments, text: members.get("arguments")!.canonical };
  const schema = body.approval?.envelope?.schema;
  return {
    outcome: body.outcome,
    reasons: (body.reasons ?? []) as PolicyResult["reasons"],
    risk: body.risk ?? "unspecified",
    rewritten,
    approval: body.approval,
    envelopeSchemaText:
      schema === undefined ? undefined : canonicalMember(members.get("approval")!, "envelope", "schema"),
    permit: body.permit,
    limits: body.limits ?? [],
    lock: body.lock,
    session: body.session,
    obligationsText: members.get("obligations")?.canonical ?? "{}",
    mode: body.mode,
    contract: body.contract,
    rules: body.rules ?? [],
    canonical: reading.canonical,
  };
}

/** The reader keeps two levels; the third is read again from its parent's canonical text. */
function canonicalMember(approvalReading: Reading, member: string, inner: string): string {
  const parent = readJson(approvalReading.members!.get(member)!.canonical);
  return parent.members!.get(inner)!.canonical;
}
