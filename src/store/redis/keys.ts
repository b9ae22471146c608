/**
 * Every key this program has in Redis. The braces are the Cluster hash tag: all keys of one tenant and partition are in
 * one slot, so that one script may touch any of them. Tenant names cannot carry a brace, ids are checked before they get
 * here, and no script builds a key of its own.
 */

import { type Partition, partitionOfId } from "../../core/partition.ts";
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

export function keysOf(tenant: Tenant, partition: Partition): PartitionKeys {
  checkTenant(tenant);
  const tag = `hp:{${tenant}:${partition}}:`;
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
