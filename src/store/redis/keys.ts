/**
 * Every key this program has in Redis. The braces are the Cluster hash tag: all keys of one tenant and partition are in
 * one slot, so that one script may touch any of them. Tenant names cannot carry a brace, ids are checked before they get
 * here, and no script builds a key of its own.
 */

import { CONTEXT_PARTITION, type Partition, partitionOfId } from "../../core/partition.ts";
import type { ApprovalStatus } from "../../core/ports.ts";
import type { Digest, Tenant } from "../../core/types.ts";
import { checkTenant } from "../check-request.ts";

/** One channel for all approvals: messages are `<tenant> <approval id>`. PUBLISH reaches every node of a Cluster. */
export const CHANGED_CHANNEL = "hp:approvals-changed";

export interface PartitionKeys {
  /** String: id of the newest approval of this scope. */
  scope(digest: Digest): string;
  /** Hash: the record. */
  approval(id: string): string;
  /** Sorted set, all scores 0: `<created>:<id>` of every approval in that status. */
  status(status: ApprovalStatus): string;
  /** Sorted set by deadline, of what the sweep must expire. */
  due(status: "pending" | "granted"): string;
  /** Sorted set by end of retention: index rows whose records are about to go. */
  purge(): string;
  /** Hash: the issued permit. */
  permit(jti: string): string;
  /** Hash: one field per use. */
  executions(jti: string): string;
  /** Sorted set, all scores 0: `<consumed>:<execution id>` of what was never reported. */
  unknown(): string;
  /** Hash: fact id to JSON text. */
  facts(): string;
  /** Sorted set: fact id by the time from which it may be taken. */
  factsDue(): string;
}

/** Where the shared context lies, beside what every partition has. A hash here is 64 hexadecimal digits. */
export interface ContextKeys extends PartitionKeys {
  /** Hash: the record of an entity. */
  entity(hash: string): string;
  /** List: `<time> <text>` of every event of an entity, in order. */
  events(hash: string): string;
  /** String: `<content digest> <hash of the entity> <sequence>` of a source's event. */
  eventClaim(hash: string): string;
  /** Hash: version and text. */
  session(hash: string): string;
  /** Hash: beginning of a bucket to millionths; for a limit on values: value to its buckets, `<beginning>:<times>,...`. */
  limit(hash: string): string;
  /** Sorted set: `<permit id>|<beginning of bucket>|<millionths>|<value>` by the permit's expiry, until it is consumed. */
  limitPending(hash: string): string;
  /** Sorted set: value by the beginning of the oldest live bucket that it was charged to. */
  limitValues(hash: string): string;
  /** String: `<permit id> <fence> <expiry>`. */
  lock(hash: string): string;
  /** Sorted set: permit id by its turn. */
  lockQueue(hash: string): string;
  /** Sorted set: permit id by the end of its lease on its place. */
  lockTickets(hash: string): string;
  /** Counter: the last fence, of whichever lock. */
  fence(): string;
  /** Hash: freeze id to JSON text. */
  freezes(): string;
}

export function keysOf(tenant: Tenant, partition: Partition): PartitionKeys {
  const tag = tagFor(tenant, partition);
  return {
    scope: (digest) => `${tag}scope:${digest.slice("sha256:".length)}`,
    approval: (id) => `${tag}approval:${within(partition, id)}`,
    status: (status) => `${tag}status:${status}`,
    due: (status) => `${tag}due:${status}`,
    purge: () => `${tag}purge`,
    permit: (jti) => `${tag}permit:${within(partition, jti)}`,
    executions: (jti) => `${tag}executions:${within(partition, jti)}`,
    unknown: () => `${tag}unknown`,
    facts: () => `${tag}facts`,
    factsDue: () => `${tag}facts-due`,
  };
}

export function contextKeysOf(tenant: Tenant): ContextKeys {
  const tag = tagFor(tenant, CONTEXT_PARTITION);
  const named = (kind: string) => (hash: string) => `${tag}${kind}:${hexadecimal(hash)}`;
  return {
    ...keysOf(tenant, CONTEXT_PARTITION),
    entity: named("entity"),
    events: named("events"),
    eventClaim: named("event-claim"),
    session: named("session"),
    limit: named("limit"),
    limitPending: named("limit-pending"),
    limitValues: named("limit-values"),
    lock: named("lock"),
    lockQueue: named("lock-queue"),
    lockTickets: named("lock-tickets"),
    fence: () => `${tag}fence`,
    freezes: () => `${tag}freezes`,
  };
}

/** The digits of a digest, for a key. */
export function hashOfDigest(digest: Digest): string {
  return digest.slice("sha256:".length);
}

function tagFor(tenant: Tenant, partition: Partition): string {
  checkTenant(tenant);
  return `hp:{${tenant}:${partition}}:`;
}

/** INVARIANT: nothing but a hash of ours becomes part of a key. */
function hexadecimal(hash: string): string {
  if (!/^[0-9a-f]{64}$/.test(hash)) throw new RangeError(`Cannot make a key from ${JSON.stringify(hash.slice(0, 80))}`);
  return hash;
}

/** The hash tag of a key, or "" of a key that has none. */
export function tagOf(key: string): string {
  return /^hp:\{([^{}]+)\}:/.exec(key)?.[1] ?? "";
}

/** INVARIANT: an id that is not ours, or of another partition, never becomes part of a key. */
function within(partition: Partition, id: string): string {
  if (partitionOfId(id) !== partition)
    throw new RangeError(`Cannot make a key from id ${JSON.stringify(id.slice(0, 80))}`);
  return id;
}
