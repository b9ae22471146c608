import type {
  AppendEvent,
  EntityRecord,
  EventRecord,
  LimitCharge,
  LockRequest,
  Settle,
  SettledPermit,
} from "../../src/core/context.ts";
import { CONTEXT_PARTITION, permitIdIn } from "../../src/core/partition.ts";
import type { ConsumePermit, ReportExecution } from "../../src/core/ports.ts";
import type { EntityRef } from "../../src/core/types.ts";
import { digestOf, unique } from "./samples.ts";

export const ORDER: EntityRef = { type: "order", id: "ord_002" };

/** Names that trip whoever builds keys or patterns from them; identifiers all the same. */
export const ODD_REFS: readonly EntityRef[] = [
  { type: "a", id: "b:c" },
  { type: "a:b", id: "c" },
  { type: "a/b", id: "c" },
  { type: "a", id: "b/c" },
  { type: "*", id: "?[a-z]" },
  { type: "__proto__", id: "constructor" },
  { type: "é", id: "🙂" },
  { type: '"', id: "\\" },
  { type: "x".repeat(256), id: "🙂".repeat(256) },
];
export const HOSTILE_REFS: readonly EntityRef[] = [
  { type: "", id: "x" },
  { type: "x", id: "" },
  { type: "x", id: "a b" },
  { type: "x", id: "a\nb" },
  { type: "x", id: "a}b" },
  { type: "{x}", id: "a" },
  { type: "x", id: "a\u0000" },
  { type: "x", id: "a\u202eb" },
  { type: "x", id: "\ud800" },
  { type: "x", id: "a".repeat(257) },
  { type: "x", id: undefined as never },
];

export const jtiOf = (): string => permitIdIn(CONTEXT_PARTITION, unique());

/** The event after `before`, whatever domain: the store judges nothing but the order. */
export function anEvent(before: EntityRecord | undefined, more: Partial<AppendEvent> = {}, ref = ORDER): AppendEvent {
  const events = before?.events ?? 0;
  const eventId = more.eventId ?? `evt-${unique()}`;
  const source = more.source ?? "erp";
  const version = (before?.version ?? 0) + 1;
  const record: EventRecord = {
    id: eventId,
    source,
    type: "paid",
    entity: ref,
    actor: { id: "alice" },
    time: "2026-01-02T03:04:05Z",
    data: JSON.parse('{"amount":4900.5,"text":"a \\"b\\" \\u2028 🙂","list":[],"empty":{},"__proto__":{"a":1}}'),
    trace_id: "4bf9",
    applied: true,
    from: before?.state ?? null,
    to: "open",
    version,
    policy_digest: digestOf("policy"),
  };
  return {
    expectedEvents: events,
    after: {
      ref,
      state: "open",
      version,
      attributes: { total: 4900.5, list: [], empty: {} },
      events: events + 1,
      chain: digestOf(`${before?.chain ?? ""}\n${eventId}`),
    },
    source,
    eventId,
    contentDigest: digestOf("content"),
    eventText: JSON.stringify(record),
    ...more,
  };
}

const UNITS = 1_000_000;
export const units = (count: number): number => count * UNITS;

export function aLimit(more: Partial<LimitCharge> & { readonly name?: string } = {}): LimitCharge {
  const { name = "limit", ...rest } = more;
  const windowMs = rest.windowMs ?? 3_600_000;
  const isSliding = rest.isSliding ?? true;
  return {
    id: digestOf(`${name} ${windowMs} ${isSliding}`),
    limitMicros: units(10),
    costMicros: units(1),
    windowMs,
    isSliding,
    value: undefined,
    isBinding: true,
    ...rest,
  };
}

export function aLock(more: Partial<LockRequest> & { readonly name?: string } = {}): LockRequest {
  const { name = "lock", ...rest } = more;
  return { id: digestOf(name), ttlMs: 60_000, waits: false, ...rest };
}

/** A fixed window that nobody's clock ends within `leftMs`. */
export function windowFarFromItsEnd(nowMs: number, leftMs: number): number {
  const candidates = Array.from({ length: 20 }, (_, index) => 4 * leftMs + index * 997_000);
  return candidates.find((windowMs) => windowMs - (nowMs % windowMs) > leftMs)!;
}

export function aSettle(
  nowMs: number,
  more: Partial<Omit<Settle, "permit">> & { readonly permit?: Partial<SettledPermit> } = {},
): Settle {
  const permit = {
    approvalId: undefined,
    uses: 1,
    expiresAtMs: nowMs + 600_000,
    subjectText: '{"a":"{}"}',
    ...more.permit,
  };
  const none = { entity: undefined, session: undefined, limits: [], lock: undefined };
  return { jti: jtiOf(), ...none, isReservation: true, ...more, permit };
}

export function aUseOf(tenant: string, { jti, permit }: Settle, more: Partial<ConsumePermit> = {}): ConsumePermit {
  return {
    tenant,
    jti,
    approvalId: permit?.approvalId,
    action: "REFUND",
    decisionId: "dec_1",
    traceId: "4bf9",
    consumer: "bot",
    ...more,
  };
}

export function aReport(tenant: string, { jti }: Settle, more: Partial<ReportExecution> = {}): ReportExecution {
  return { tenant, jti, executionId: undefined, status: "failed", resultDigest: undefined, ...more };
}
