/**
 * The rows of the embedded store, in one LMDB database: array keys, which sort member by member, and JSON texts.
 * Every function here must run inside a write transaction, or read inside one snapshot.
 */
import type { Database, Key } from "lmdb";
import { IntegrityError } from "../../core/errors.ts";
import { partitionOfId } from "../../core/partition.ts";
import type { Approval, ApprovalStatus, Execution, StoreFact } from "../../core/ports.ts";
import type { Digest, Tenant } from "../../core/types.ts";
import { sortKey } from "../page-cursor.ts";
import { approvalOfText, executionOfText, factOfText, type KeptPermit, permitOfText } from "../record-text.ts";
import { ContextRows } from "./context-rows.ts";
import { HoldingRows } from "./holding-rows.ts";
import { LimitRows } from "./limit-rows.ts";
import { LockRows } from "./lock-rows.ts";
import { type Budget, type PurgeKind, PurgeRows } from "./purge-rows.ts";

export type Rows = Database<string, Key>;
/** Sorts after every text we use as the last member of a key. */
const LAST = "\uffff";

export type Counter = "pending" | "unknown";

export class Tables {
  readonly #rows: Rows;
  readonly #tenant: Tenant;
  readonly #purge: PurgeRows;
  readonly context: ContextRows;
  readonly limits: LimitRows;
  readonly locks: LockRows;
  readonly holdings: HoldingRows;

  constructor(rows: Rows, tenant: Tenant) {
    this.#rows = rows;
    this.#tenant = tenant;
    this.#purge = new PurgeRows(rows, tenant);
    this.context = new ContextRows(rows, tenant, this.#purge);
    this.limits = new LimitRows(rows, tenant, this.#purge);
    this.locks = new LockRows(rows, tenant, this.#purge);
    this.holdings = new HoldingRows(rows, tenant, { limits: this.limits, locks: this.locks, purge: this.#purge });
  }

  approval(id: string): Approval | undefined {
    const text = this.#rows.get(["approval", this.#tenant, id]);
    return text === undefined ? undefined : approvalOfText(text);
  }

  newestOfScope(scopeDigest: Digest): Approval | undefined {
    const id = this.#rows.get(["scope", this.#tenant, scopeDigest]);
    return id === undefined ? undefined : this.approval(id);
  }

  /** Replaces a record together with every index row that follows from it. */
  putApproval(before: Approval | undefined, after: Approval, purgeAtMs: number | undefined): void {
    if (before === undefined) this.#rows.put(["scope", this.#tenant, after.scopeDigest], after.id);
    else this.#unindex(before);
    this.#rows.put(["approval", this.#tenant, after.id], JSON.stringify(after));
    this.#rows.put(["status", this.#tenant, after.status, rowOf(after)], "");
    if (after.status === "pending") this.#rows.put(this.#pendingKey(after), "");
    if (after.status === "pending" || after.status === "granted") this.#rows.put(this.#dueKey(after), "");
    if (purgeAtMs !== undefined) this.#purge.put(purgeAtMs, "approval", after.id);
    this.#count("pending", Number(after.status === "pending") - Number(before?.status === "pending"));
  }

  #unindex(approval: Approval): void {
    this.#rows.remove(["status", this.#tenant, approval.status, rowOf(approval)]);
    this.#rows.remove(this.#pendingKey(approval));
    this.#rows.remove(this.#dueKey(approval));
  }

  pendingIn(partition: string, afterMs: number, limit: number): number {
    const start: Key = ["pending", this.#tenant, partition, afterMs, LAST];
    return this.#rows.getKeysCount({ start, end: ["pending", this.#tenant, partition, LAST], limit });
  }

  overdue(nowMs: number, limit: number): { readonly id: string; readonly key: Key }[] {
    return this.#keys(["due", this.#tenant], ["due", this.#tenant, nowMs, LAST], limit).map((key) => ({
      id: lastOf(key),
      key,
    }));
  }

  /** Whether a sweep at this time would change anything: asked first, because looking costs no commit. */
  isSweepDue(nowMs: number): boolean {
    const kinds = ["due", "purge"] as const;
    return kinds.some((kind) => this.#keys([kind, this.#tenant], [kind, this.#tenant, nowMs, LAST], 1).length > 0);
  }

  isFactDue(beforeMs: number): boolean {
    return this.#keys(["factDue", this.#tenant], ["factDue", this.#tenant, beforeMs, LAST], 1).length > 0;
  }

  removeRow(key: Key): void {
    this.#rows.remove(key);
  }

  /** Sort keys past `after`, in order. */
  page(
    index: readonly ["status", ApprovalStatus] | readonly ["unknown"],
    of: { readonly after: string | undefined; readonly limit: number; readonly isNewestFirst: boolean },
  ): string[] {
    const prefix = [index[0], this.#tenant, ...index.slice(1)];
    const first = of.isNewestFirst
      ? [...prefix, of.after ?? LAST]
      : of.after === undefined
        ? prefix
        : [...prefix, of.after];
    const last = of.isNewestFirst ? prefix : [...prefix, LAST];
    const keys = this.#rows.getKeys({
      start: first,
      end: last,
      limit: of.limit,
      reverse: of.isNewestFirst,
      exclusiveStart: true,
    });
    return Array.from(keys, lastOf);
  }

  permit(jti: string): KeptPermit | undefined {
    const text = this.#rows.get(["permit", this.#tenant, jti]);
    return text === undefined ? undefined : permitOfText(text);
  }

  /** Past expiry and grace a permit is gone, swept or not: as on Redis. */
  livePermit(jti: string, nowMs: number, graceMs: number): KeptPermit | undefined {
    const permit = this.permit(jti);
    return permit === undefined || permit.expiresAtMs + graceMs <= nowMs ? undefined : permit;
  }

  putPermit(permit: KeptPermit, purgeAtMs?: number): void {
    this.#rows.put(["permit", this.#tenant, permit.jti], JSON.stringify(permit));
    if (purgeAtMs !== undefined) this.#purge.put(purgeAtMs, "permit", permit.jti);
  }

  execution(executionId: string): { readonly execution: Execution; readonly uses: number } | undefined {
    const text = this.#rows.get(["execution", this.#tenant, executionId]);
    if (text === undefined) return undefined;
    const execution = executionOfText(text);
    return { execution, uses: Number((JSON.parse(text) as { uses?: unknown }).uses) };
  }

  /** `uses` of the permit is kept with it, for the permit's own record goes sooner. */
  putExecution(execution: Execution, uses: number, retentionMs: number): void {
    const { executionId, status, consumedAtMs, reportedAtMs } = execution;
    const row: Key = ["unknown", this.#tenant, sortKey(consumedAtMs, executionId)];
    this.#rows.put(["execution", this.#tenant, executionId], JSON.stringify({ ...execution, uses }));
    if (status === "unknown") {
      this.#rows.put(row, "");
      this.#count("unknown", 1);
    } else {
      this.#rows.remove(row);
      this.#purge.remove(consumedAtMs + retentionMs, "execution", executionId);
      this.#count("unknown", -1);
    }
    this.#purge.put((reportedAtMs ?? consumedAtMs) + retentionMs, "execution", executionId);
  }

  putFact(fact: StoreFact): void {
    this.#rows.put(["fact", this.#tenant, fact.factId], `${fact.atMs} ${JSON.stringify(fact)}`);
    this.#rows.put(["factDue", this.#tenant, fact.atMs, fact.factId], "");
  }

  dropFact(factId: string): void {
    const text = this.#rows.get(["fact", this.#tenant, factId]);
    if (text === undefined) return;
    this.#rows.remove(["factDue", this.#tenant, Number(text.slice(0, text.indexOf(" "))), factId]);
    this.#rows.remove(["fact", this.#tenant, factId]);
  }

  takeFacts(beforeMs: number, leasedUntilMs: number, limit: number): StoreFact[] {
    const facts: StoreFact[] = [];
    for (const key of this.#keys(["factDue", this.#tenant], ["factDue", this.#tenant, beforeMs, LAST], limit)) {
      const factId = lastOf(key);
      const text = this.#rows.get(["fact", this.#tenant, factId]);
      this.#rows.remove(key);
      if (text === undefined) continue;
      const factText = text.slice(text.indexOf(" ") + 1);
      this.#rows.put(["fact", this.#tenant, factId], `${leasedUntilMs} ${factText}`);
      this.#rows.put(["factDue", this.#tenant, leasedUntilMs, factId], "");
      facts.push(factOfText(factText));
    }
    return facts;
  }

  /** Forgets what nobody keeps any longer, as far as the budget goes. */
  purge(nowMs: number, budget: Budget): void {
    for (const key of this.#keys(["purge", this.#tenant], ["purge", this.#tenant, nowMs, LAST], budget.left)) {
      if (budget.left <= 0) return;
      const [, , atMs, kind, id] = key as [string, string, number, PurgeKind, string];
      budget.left -= 1;
      this.#rows.remove(key);
      try {
        if (!this.#purgeOne(kind, id, nowMs, budget)) this.#purge.put(atMs, kind, id);
      } catch (thrown) {
        // Whoever reads it gets the integrity failure; the sweep goes on with the others.
        if (!(thrown instanceof IntegrityError)) throw thrown;
      }
    }
  }

  /** @returns false where there is more of it to forget */
  #purgeOne(kind: PurgeKind, id: string, nowMs: number, budget: Budget): boolean {
    switch (kind) {
      case "approval":
        this.#purgeApproval(id);
        return true;
      case "execution":
        this.#purgeExecution(id);
        return true;
      case "permit":
        this.#rows.remove(["permit", this.#tenant, id]);
        this.holdings.forgotten(id);
        return true;
      case "holding":
        this.holdings.purge(id);
        return true;
      case "session":
        this.context.purgeSession(id as Digest, nowMs);
        return true;
      case "lock":
        this.locks.purge(id as Digest, nowMs);
        return true;
      case "bucket":
        return this.limits.purgeBucket(id, budget);
    }
  }

  #purgeApproval(id: string): void {
    const approval = this.approval(id);
    if (approval === undefined) return;
    this.#unindex(approval);
    this.#rows.remove(["approval", this.#tenant, id]);
    const scope: Key = ["scope", this.#tenant, approval.scopeDigest];
    if (this.#rows.get(scope) === id) this.#rows.remove(scope);
  }

  #purgeExecution(id: string): void {
    const kept = this.execution(id);
    if (kept === undefined) return;
    this.#rows.remove(["execution", this.#tenant, id]);
    if (kept.execution.status !== "unknown") return;
    this.#rows.remove(["unknown", this.#tenant, sortKey(kept.execution.consumedAtMs, id)]);
    this.#count("unknown", -1);
  }

  counter(name: Counter): number {
    return Number(this.#rows.get(["count", this.#tenant, name]) ?? 0);
  }

  /** Kept with every change, so that metrics never count rows. */
  #count(name: Counter, change: number): void {
    if (change !== 0) this.#rows.put(["count", this.#tenant, name], String(this.counter(name) + change));
  }

  #pendingKey(approval: Approval): Key {
    return ["pending", this.#tenant, partitionOfId(approval.id) ?? "", approval.expiresAtMs, approval.id];
  }

  #dueKey(approval: Approval): Key {
    return ["due", this.#tenant, approval.expiresAtMs, approval.id];
  }

  #keys(start: Key, end: Key, limit: number): Key[] {
    return Array.from(this.#rows.getKeys({ start, end, limit }));
  }
}

function rowOf(approval: Approval): string {
  return sortKey(approval.createdAtMs, approval.id);
}

function lastOf(key: Key): string {
  return (key as Key[]).at(-1) as string;
}
