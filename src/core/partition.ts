/**
 * Ids carry their partition: `<prefix>_<2 hex digits><unique>`. Whoever holds an id can therefore name every key that
 * belongs to it without asking, and an approval shares a partition (on Redis Cluster: a slot) with its scope, its
 * indexes, its facts, the permits issued under it and the context that they rest on.
 */
export const PARTITIONS = 16;

/** "00" to "0f", and the context's. */
export type Partition = string;

/**
 * Where everything of a tenant lies that one step has to move together: approvals, entities, sessions, limits, locks,
 * freezes, and the permits that rest on them (record 0010). Permits that stand alone are spread over the others.
 */
export const CONTEXT_PARTITION: Partition = "10";

export const ALL_PARTITIONS: readonly Partition[] = [
  ...Array.from({ length: PARTITIONS }, (_, index) => hex(index)),
  CONTEXT_PARTITION,
];

const ID = /^(appr|perm|exec)_(0[0-9a-f]|10)([0-9A-Za-z]{1,64})(?:_([1-9][0-9]{0,8}))?$/;
const UNIQUE = /^[0-9A-Za-z]{1,64}$/;

export function approvalIdIn(partition: Partition, unique: string): string {
  return idIn("appr", partition, unique);
}

/** A permit under an approval takes its partition, one that reserves the context's, any other `partitionOfUnique(unique)`. */
export function permitIdIn(partition: Partition, unique: string): string {
  return idIn("perm", partition, unique);
}

/** For permits without approval: spreads them evenly, from the random tail of a ULID rather than from its time. */
export function partitionOfUnique(unique: string): Partition {
  let sum = 0;
  for (let index = 0; index < unique.length; index += 1) sum = (sum * 31 + unique.charCodeAt(index)) % 65_521;
  return hex(sum % PARTITIONS);
}

/** Undefined for whatever is not an id of ours: such text must never come near a key. */
export function partitionOfId(id: string): Partition | undefined {
  return ID.exec(id)?.[2];
}

export function isApprovalId(id: string): boolean {
  return ID.exec(id)?.[1] === "appr" && !id.includes("_", 5);
}

export function isPermitId(id: string): boolean {
  return ID.exec(id)?.[1] === "perm" && !id.includes("_", 5);
}

/** The `use`th execution under a permit, counted from 1. */
export function executionIdOf(jti: string, use: number): string {
  return `${executionPrefixOf(jti)}${use}`;
}

export function executionPrefixOf(jti: string): string {
  return `exec_${jti.slice("perm_".length)}_`;
}

/** Which permit and which of its uses an execution id names. */
export function permitOfExecution(executionId: string): { readonly jti: string; readonly use: number } | undefined {
  const match = ID.exec(executionId);
  if (match === null || match[1] !== "exec" || match[4] === undefined) return undefined;
  return { jti: `perm_${match[2]}${match[3]}`, use: Number(match[4]) };
}

function idIn(prefix: "appr" | "perm", partition: Partition, unique: string): string {
  if (!UNIQUE.test(unique)) throw new RangeError(`Cannot make an id from ${JSON.stringify(unique.slice(0, 80))}`);
  return `${prefix}_${partition}${unique}`;
}

function hex(index: number): Partition {
  return index.toString(16).padStart(2, "0");
}
