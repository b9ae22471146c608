/**
 * Reading entries of the ledger back. Their texts come from this program or an earlier version of it, and hold what callers
 * wrote: no shape is taken for granted, and what is not there reads as absent.
 */
import type { EntityRef, Json, JsonObject, Tenant } from "./types.ts";

export interface EntryView {
  readonly kind: string;
  /** "" for what concerns the whole sidecar. */
  readonly tenant: Tenant;
  /** RFC 3339, when it was recorded. */
  readonly time: string;
  /** Undefined where it belongs to no trace. */
  readonly traceId: string | undefined;
  readonly body: JsonObject;
  /** Members of its kind; empty for a decision. */
  readonly data: JsonObject;
  /** What the store kept, where a fact that somebody had left behind was recorded later; else empty. */
  readonly payload: JsonObject;
}

/** Undefined where the text is no JSON object. */
export function viewEntry(text: string): EntryView | undefined {
  const body = parsed(text);
  if (body === undefined) return undefined;
  const data = objectAt(body, "data");
  const payload = data.recovered === true ? objectAt(data, "payload") : {};
  return {
    kind: textAt(body, "kind") ?? "",
    tenant: textAt(body, "tenant") ?? "",
    time: textAt(body, "time") ?? "",
    traceId: [textAt(body, "trace_id"), ...tracesIn(payload)].find(isTraceId),
    body,
    data,
    payload,
  };
}

/** {} where there is no object. */
export function objectAt(value: Json | undefined, ...path: readonly string[]): JsonObject {
  const found = valueAt(value, path);
  return isObject(found) ? found : {};
}

export function textAt(value: Json | undefined, ...path: readonly string[]): string | undefined {
  const found = valueAt(value, path);
  return typeof found === "string" ? found : undefined;
}

export function listAt(value: Json | undefined, ...path: readonly string[]): readonly Json[] {
  const found = valueAt(value, path);
  return Array.isArray(found) ? (found as readonly Json[]) : [];
}

export function entityAt(value: Json | undefined, ...path: readonly string[]): EntityRef | undefined {
  const found = valueAt(value, path);
  const type = textAt(found, "type");
  const id = textAt(found, "id");
  return type === undefined || id === undefined ? undefined : { type, id };
}

function parsed(text: string): JsonObject | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return isObject(value) ? value : undefined;
  } catch {
    return undefined; // nothing of ours, and about nothing
  }
}

function valueAt(value: Json | undefined, path: readonly string[]): Json | undefined {
  let found = value;
  for (const name of path) found = isObject(found) ? found[name] : undefined;
  return found;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Where a store's own records carry it. */
function tracesIn(payload: JsonObject): (string | undefined)[] {
  return [
    textAt(payload, "trace_id"),
    textAt(payload, "approval", "subject", "traceId"),
    textAt(payload, "execution", "traceId"),
    textAt(payload, "event", "trace_id"),
  ];
}

/** One that is all zeros is none (W3C Trace Context, section 3.2.2.3). */
function isTraceId(text: string | undefined): text is string {
  return text !== undefined && !/^0*$/.test(text);
}
