import {
  type LimitCharge,
  type LimitUse,
  LOCK_QUEUE_MAX,
  type PermitState,
  type Settle,
  type SettleResult,
  TICKET_LEASE_MS,
} from "../../../core/context.ts";
import { bucketEndsAtMs, bucketMs } from "../../../core/limit-window.ts";
import type { Tenant } from "../../../core/types.ts";
import { DISTINCT_VALUES_MAX } from "../../check-context.ts";
import { entityHash } from "../../context-names.ts";
import { entityOfText } from "../../context-text.ts";
import { corrupted } from "../../record-text.ts";
import { type ContextKeys, hashOfDigest } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { LIMITS_MAX } from "./held.ts";
import { loadScript, type ScriptRunner } from "./script.ts";
import { sessionOfReply } from "./write-session.ts";

const SCRIPT = loadScript(import.meta.url, "settle", 7, 7 + 3 * LIMITS_MAX);

/** Rows that one run may tidy up. */
const TIDIED_MAX = 1_000;

export interface SettleArguments {
  readonly tenant: Tenant;
  readonly request: Settle;
  readonly graceMs: number;
}

/** "tidied": there was more to tidy up than one run may; nothing is settled yet, run it again. */
export async function settle(
  runner: ScriptRunner,
  keys: ContextKeys,
  { tenant, request, graceMs }: SettleArguments,
): Promise<SettleResult | { readonly kind: "tidied" }> {
  const reply = await runner.run(SCRIPT, keysOfSettle(keys, request), [
    ...argumentsOf(tenant, request, graceMs),
    ...request.limits.flatMap(limitArguments),
  ]);
  return resultOf(request, reply);
}

function keysOfSettle(keys: ContextKeys, { jti, entity, session, limits, lock }: Settle): readonly string[] {
  const permit = keys.permit(jti);
  const lockHash = lock === undefined ? undefined : hashOfDigest(lock.id);
  const lockKeys = [keys.lock, keys.lockQueue, keys.lockTickets];
  return [
    permit,
    entity === undefined ? permit : keys.entity(entityHash(entity.ref)),
    session === undefined ? permit : keys.session(hashOfDigest(session.id)),
    keys.fence(),
    ...lockKeys.map((key) => (lockHash === undefined ? permit : key(lockHash))),
    ...limits.flatMap(({ id }) => {
      const hash = hashOfDigest(id);
      return [keys.limit(hash), keys.limitPending(hash), keys.limitValues(hash)];
    }),
  ];
}

function argumentsOf(tenant: Tenant, request: Settle, graceMs: number): readonly (string | number)[] {
  const { jti, entity, session, lock, permit, isReservation } = request;
  return [
    tenant,
    jti,
    entity?.version ?? "",
    session?.expectedVersion ?? "",
    session?.after.version ?? "",
    session?.after.text ?? "",
    session?.ttlMs ?? "",
    lock === undefined ? "" : hashOfDigest(lock.id),
    lock?.ttlMs ?? "",
    flag(lock?.waits === true),
    TICKET_LEASE_MS,
    LOCK_QUEUE_MAX,
    permit?.uses ?? "",
    permit?.approvalId ?? "",
    permit?.expiresAtMs ?? "",
    graceMs,
    permit?.subjectText ?? "",
    flag(isReservation),
    DISTINCT_VALUES_MAX,
    TIDIED_MAX,
  ];
}

function limitArguments(limit: LimitCharge): readonly (string | number)[] {
  return [
    hashOfDigest(limit.id),
    limit.limitMicros,
    limit.costMicros,
    bucketMs(limit),
    bucketEndsAtMs(limit, 0),
    limit.value === undefined ? "" : hashOfDigest(limit.value),
    flag(limit.isBinding),
  ];
}

function flag(value: boolean): string {
  return value ? "1" : "0";
}

function resultOf(
  request: Settle,
  [word, ...parts]: readonly [string, ...string[]],
): SettleResult | { readonly kind: "tidied" } {
  const [first = "", second = "", third = ""] = parts;
  switch (word) {
    case "settled": {
      const lock = lockOf(second, third);
      return { kind: "settled", limits: usesOf(request.limits, parts.slice(3)), lock, atMs: Number(first) };
    }
    case "repeated":
      return { kind: "repeated", subjectText: first, state: stateOf(second), lock: lockOf(third, parts[3] ?? "") };
    case "stale":
      return {
        kind: "stale",
        entity: first === "" ? undefined : entityOfText(first, request.entity!.ref),
        session: sessionOfReply(second, third),
      };
    case "exceeded":
      return { kind: "exceeded", limits: usesOf(request.limits, parts) };
    case "locked":
      return { kind: "locked", isWaiting: first === "1", ahead: Number(second), expiresAtMs: Number(third) };
    case "queue_full":
    case "tidied":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}

function lockOf(fence: string, expires: string): { readonly fence: number; readonly expiresAtMs: number } | undefined {
  return fence === "" ? undefined : { fence: Number(fence), expiresAtMs: Number(expires) };
}

export function stateOf(word: string): PermitState {
  if (word === "live" || word === "used" || word === "dead") return word;
  throw badReply(SCRIPT, word);
}

/** Three parts for each limit, in their order. */
function usesOf(limits: readonly LimitCharge[], parts: readonly string[]): readonly LimitUse[] {
  return limits.map(({ id }, index) => {
    const [used, resets, isExceeded] = parts.slice(index * 3, index * 3 + 3);
    const [usedMicros, resetsAtMs] = [Number(used), Number(resets)];
    if (!Number.isSafeInteger(usedMicros) || usedMicros < 0 || !Number.isSafeInteger(resetsAtMs)) {
      throw corrupted("limit");
    }
    return { id, usedMicros, resetsAtMs, isExceeded: isExceeded === "1" };
  });
}
