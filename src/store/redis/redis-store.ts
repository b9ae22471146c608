/**
 * The store on Redis. Every change is one script (scripts/), so that sidecars may race as they like; what needs several
 * partitions asks each of them and merges. The record of the choices made here is decisions/0003.
 */
import type { AppendEvent, SessionChange, Settle } from "../../core/context.ts";
import { ConflictError, UnavailableError } from "../../core/errors.ts";
import {
  ALL_PARTITIONS,
  approvalIdIn,
  CONTEXT_PARTITION,
  isApprovalId,
  isPermitId,
  type Partition,
  partitionOfId,
  permitOfExecution,
} from "../../core/partition.ts";
import type {
  Approval,
  ApprovalPage,
  ConsumePermit,
  Execution,
  ListApprovals,
  OpenApproval,
  PermitRecord,
  ReportExecution,
  ReviewApproval,
  Store,
  StoreFact,
} from "../../core/ports.ts";
import type { Digest, EntityRef, Tenant } from "../../core/types.ts";
import { ApprovalWaiters } from "../approval-waiters.ts";
import { isConsumable } from "../check-context.ts";
import {
  checkLimit,
  checkOpenApproval,
  checkPermitRecord,
  checkTenant,
  checkTextBytes,
  isDigest,
  isTenant,
} from "../check-request.ts";
import { checkReview, checkReviewer } from "../check-review.ts";
import { LIMITS } from "../limits.ts";
import { cursorOf, idOfSortKey, sortKeyOf } from "../page-cursor.ts";
import type { StoreOptions } from "../store-options.ts";
import { uniqueId } from "../unique-id.ts";
import { useOfReport } from "../use-of-report.ts";
import { withinDeadline } from "../within-deadline.ts";
import type { RedisClient } from "./connect-redis.ts";
import { CHANGED_CHANNEL, keysOf, type PartitionKeys } from "./keys.ts";
import { RedisContext } from "./redis-context.ts";
import type { RedisLink } from "./redis-link.ts";
import { consumePermit } from "./scripts/consume-permit.ts";
import { countApprovals } from "./scripts/count-approvals.ts";
import { dropFacts } from "./scripts/drop-facts.ts";
import { expireApproval } from "./scripts/expire-approval.ts";
import { withHeld } from "./scripts/held.ts";
import { issuePermit } from "./scripts/issue-permit.ts";
import { listOverdue } from "./scripts/list-overdue.ts";
import { openApproval } from "./scripts/open-approval.ts";
import { readApproval } from "./scripts/read-approval.ts";
import { readExecution } from "./scripts/read-execution.ts";
import { readPermit } from "./scripts/read-permit.ts";
import { reportExecution } from "./scripts/report-execution.ts";
import { reviewApproval } from "./scripts/review-approval.ts";
import { takeFacts } from "./scripts/take-facts.ts";

/** Rounds of "no, another one is the newest of this scope" before the answer is "unavailable". */
const OPEN_ATTEMPTS = 16;

export class RedisStore implements Store {
  readonly #link: RedisLink;
  readonly #connectSubscriber: () => RedisClient;
  readonly #options: StoreOptions;
  readonly #waiters: ApprovalWaiters;
  readonly #context: RedisContext;
  #subscriber: RedisClient | undefined;
  #firstPartition = Math.floor(Math.random() * ALL_PARTITIONS.length);

  constructor(link: RedisLink, connectSubscriber: () => RedisClient, options: StoreOptions) {
    this.#link = link;
    this.#connectSubscriber = connectSubscriber;
    this.#options = options;
    this.#waiters = new ApprovalWaiters((tenant, id) => this.readApproval(tenant, id), options);
    this.#context = new RedisContext(link, options);
  }

  openApproval(request: OpenApproval): ReturnType<Store["openApproval"]> {
    return this.#within("open an approval", async () => {
      checkOpenApproval(request);
      const subjectText = this.#subjectText(request.subject);
      const partition = CONTEXT_PARTITION;
      const keys = keysOf(request.tenant, partition);
      const id = approvalIdIn(partition, uniqueId());
      // The script may only read keys that it was given, so the newest approval's id is guessed: none, then what it said.
      let newestId = "";
      for (let attempt = 0; attempt < OPEN_ATTEMPTS; attempt += 1) {
        const reply = await openApproval(this.#link, keys, {
          request,
          subjectText,
          id,
          newestId,
          retentionMs: this.#retentionMs,
        });
        if (reply.kind !== "newest_is") {
          if (reply.kind === "opened") await this.#link.settle(keys.approval(id), "id", (kept) => kept === id);
          return reply;
        }
        newestId = partitionOfId(reply.id) === partition ? reply.id : "";
      }
      throw new UnavailableError("store_unavailable", "Store cannot open an approval: its scope keeps changing hands");
    });
  }

  readApproval(tenant: Tenant, id: string): Promise<Approval | undefined> {
    return this.#within("read an approval", async () => {
      const keys = approvalKeys(tenant, id);
      return keys === undefined ? undefined : readApproval(this.#link, keys, id);
    });
  }

  findApproval(tenant: Tenant, scopeDigest: Digest): Promise<Approval | undefined> {
    return this.#within("find an approval", async () => {
      if (!isTenant(tenant) || !isDigest(scopeDigest)) return undefined;
      const keys = keysOf(tenant, CONTEXT_PARTITION);
      const id = await this.#link.get(keys.scope(scopeDigest));
      return id === null ? undefined : readApproval(this.#link, keys, id);
    });
  }

  listApprovals({ tenant, status, limit, cursor }: ListApprovals): Promise<ApprovalPage> {
    return this.#within("list approvals", async () => {
      checkTenant(tenant);
      checkLimit(limit, LIMITS.page);
      const isNewestFirst = status !== "pending";
      const page = await this.#page(tenant, (keys) => keys.status(status), { limit, cursor, isNewestFirst });
      const read = await Promise.all(
        page.rows.map((row) => readApproval(this.#link, keysOfRow(tenant, row), idOfSortKey(row))),
      );
      // Left out: what went overdue, was closed meanwhile, or has reached the end of its retention.
      return { approvals: read.filter((approval) => approval?.status === status) as Approval[], cursor: page.cursor };
    });
  }

  reviewApproval(request: ReviewApproval): ReturnType<Store["reviewApproval"]> {
    return this.#within("review an approval", async () => {
      const keys = approvalKeys(request.tenant, request.id);
      if (keys === undefined) return { kind: "not_found" };
      checkReviewer(request);
      checkReview(request);
      const reply = await reviewApproval(this.#link, keys, {
        request,
        editedSubjectText: request.edit === undefined ? "" : this.#subjectText(request.edit.subject),
        retentionMs: this.#retentionMs,
        editsMax: this.#options.editsMax,
      });
      if (reply.kind === "too_many_edits") throw tooManyEdits(request.id, this.#options.editsMax);
      if (reply.kind === "reviewed") {
        const { version } = reply.approval;
        await this.#link.settle(keys.approval(request.id), "version", (kept) => Number(kept) >= version);
      }
      return reply;
    });
  }

  waitApproval(request: Parameters<Store["waitApproval"]>[0]): Promise<Approval | undefined> {
    this.#subscriber ??= this.#subscribe();
    return this.#waiters.wait(request);
  }

  expireApprovals(tenant: Tenant, limit: number): ReturnType<Store["expireApprovals"]> {
    return this.#within("expire approvals", async () => {
      checkTenant(tenant);
      checkLimit(limit, LIMITS.sweep);
      const of = { limit, retentionMs: this.#retentionMs };
      const found = await this.#everywhere(tenant, (keys) => listOverdue(this.#link, keys, of));
      const rows = found.flat().sort((one, other) => one.deadlineMs - other.deadlineMs);
      const expired = await Promise.all(
        rows
          .slice(0, limit)
          .map(({ row }) =>
            expireApproval(this.#link, keysOfRow(tenant, row), { row, retentionMs: this.#retentionMs }),
          ),
      );
      return expired.filter((one) => one !== undefined);
    });
  }

  issuePermit(record: PermitRecord): Promise<boolean> {
    return this.#within("issue a permit", async () => {
      checkPermitRecord(record);
      checkTextBytes("a permit's subject", record.subjectText, this.#options.subjectBytesMax);
      const keys = keysOf(record.tenant, partitionOfId(record.jti)!);
      const isNew = await issuePermit(this.#link, keys, { record, graceMs: this.#options.permitGraceSeconds * 1000 });
      if (isNew) await this.#link.settle(keys.permit(record.jti), "uses", () => true);
      return isNew;
    });
  }

  readPermit(tenant: Tenant, jti: string): ReturnType<Store["readPermit"]> {
    return this.#within("read a permit", async () => {
      const keys = permitKeys(tenant, jti);
      return keys === undefined ? undefined : readPermit(this.#link, keys, jti);
    });
  }

  consumePermit(request: ConsumePermit): ReturnType<Store["consumePermit"]> {
    return this.#within("consume a permit", async () => {
      const { tenant, jti, approvalId } = request;
      const keys = permitKeys(tenant, jti);
      const isApart =
        approvalId !== undefined && (!isApprovalId(approvalId) || partitionOfId(approvalId) !== partitionOfId(jti));
      if (keys === undefined || isApart || !isConsumable(request)) return { kind: "unknown_permit" };
      const retentionMs = this.#retentionMs;
      const result = await withHeld(this.#link, { tenant, jti, key: keys.permit(jti) }, (held) =>
        consumePermit(this.#link, keys, { request, retentionMs, held }),
      );
      if (result.kind === "consumed") {
        const use = result.executionId.slice(result.executionId.lastIndexOf("_") + 1);
        await this.#link.settle(keys.executions(jti), use, () => true);
      }
      return result;
    });
  }

  readExecution(tenant: Tenant, executionId: string): Promise<Execution | undefined> {
    return this.#within("read an execution", async () => {
      const named = permitOfExecution(executionId);
      const keys = named === undefined ? undefined : permitKeys(tenant, named.jti);
      return keys === undefined ? undefined : readExecution(this.#link, keys, { tenant, executionId });
    });
  }

  reportExecution(request: ReportExecution): ReturnType<Store["reportExecution"]> {
    return this.#within("report an execution", async () => {
      const { tenant, jti } = request;
      const keys = permitKeys(tenant, jti);
      if (keys === undefined) return { kind: "not_found" };
      const of = { request, use: useOfReport(request), retentionMs: this.#retentionMs };
      const result = await withHeld(this.#link, { tenant, jti, key: keys.executions(jti) }, (held) =>
        reportExecution(this.#link, keys, { ...of, held }),
      );
      if (result.kind === "reported") {
        const { executionId } = result.execution;
        const field = `outcome:${executionId.slice(executionId.lastIndexOf("_") + 1)}`;
        await this.#link.settle(keys.executions(jti), field, () => true);
      }
      return result;
    });
  }

  listUnknownExecutions(tenant: Tenant, limit: number, cursor?: string): ReturnType<Store["listUnknownExecutions"]> {
    return this.#within("list executions", async () => {
      checkTenant(tenant);
      checkLimit(limit, LIMITS.page);
      const page = await this.#page(tenant, (keys) => keys.unknown(), { limit, cursor, isNewestFirst: false });
      const read = await Promise.all(
        page.rows.map((row) =>
          readExecution(this.#link, keysOfRow(tenant, row), { tenant, executionId: idOfSortKey(row) }),
        ),
      );
      return { executions: read.filter((one): one is Execution => one?.status === "unknown"), cursor: page.cursor };
    });
  }

  dropFacts(tenant: Tenant, factIds: readonly string[]): Promise<void> {
    return this.#within("drop facts", async () => {
      checkTenant(tenant);
      for (const partition of new Set(factIds.map(partitionOfFact))) {
        if (partition === undefined) continue;
        const ids = factIds.filter((factId) => partitionOfFact(factId) === partition);
        for (let start = 0; start < ids.length; start += LIMITS.facts) {
          await dropFacts(this.#link, keysOf(tenant, partition), ids.slice(start, start + LIMITS.facts));
        }
      }
    });
  }

  /** One partition after the other, each call beginning with the next: a lease is taken only for what is returned. */
  takeFacts(tenant: Tenant, olderThanMs: number, limit: number): Promise<readonly StoreFact[]> {
    return this.#within("take facts", async () => {
      checkTenant(tenant);
      checkLimit(limit, LIMITS.facts);
      const facts: StoreFact[] = [];
      this.#firstPartition += 1;
      for (let step = 0; step < ALL_PARTITIONS.length && facts.length < limit; step += 1) {
        const partition = ALL_PARTITIONS[(this.#firstPartition + step) % ALL_PARTITIONS.length]!;
        const of = { olderThanMs, limit: limit - facts.length, leaseMs: this.#options.factLeaseMs };
        facts.push(...(await takeFacts(this.#link, keysOf(tenant, partition), of)));
      }
      return facts;
    });
  }

  countApprovals(tenant: Tenant): ReturnType<Store["countApprovals"]> {
    return this.#within("count approvals", async () => {
      checkTenant(tenant);
      const counts = await this.#everywhere(tenant, (keys) => countApprovals(this.#link, keys));
      return {
        pending: sum(counts.map((count) => count.pending)),
        oldestPendingMs: Math.max(0, ...counts.map((count) => count.oldestPendingMs)),
        unknownExecutions: sum(counts.map((count) => count.unknownExecutions)),
      };
    });
  }

  readEntity(tenant: Tenant, ref: EntityRef): ReturnType<Store["readEntity"]> {
    return this.#within("read an entity", () => this.#context.readEntity(tenant, ref));
  }

  appendEvent(tenant: Tenant, event: AppendEvent): ReturnType<Store["appendEvent"]> {
    return this.#within("append an event", () => this.#context.appendEvent(tenant, event));
  }

  readEvents(tenant: Tenant, ref: EntityRef, from: number, limit: number): ReturnType<Store["readEvents"]> {
    return this.#within("read events", () => this.#context.readEvents(tenant, ref, from, limit));
  }

  readSession(tenant: Tenant, id: Digest): ReturnType<Store["readSession"]> {
    return this.#within("read a session", () => this.#context.readSession(tenant, id));
  }

  writeSession(tenant: Tenant, change: SessionChange): ReturnType<Store["writeSession"]> {
    return this.#within("write a session", () => this.#context.writeSession(tenant, change));
  }

  settle(tenant: Tenant, request: Settle): ReturnType<Store["settle"]> {
    return this.#within("settle a decision", () => this.#context.settle(tenant, request));
  }

  cancelPermit(tenant: Tenant, jti: string): Promise<boolean> {
    return this.#within("cancel a permit", () => this.#context.cancelPermit(tenant, jti));
  }

  leaveQueue(tenant: Tenant, lockId: Digest, jti: string): Promise<void> {
    return this.#within("leave a queue", () => this.#context.leaveQueue(tenant, lockId, jti));
  }

  putFreeze(tenant: Tenant, freeze: Parameters<Store["putFreeze"]>[1]): ReturnType<Store["putFreeze"]> {
    return this.#within("set a freeze", () => this.#context.putFreeze(tenant, freeze));
  }

  liftFreeze(tenant: Tenant, lift: Parameters<Store["liftFreeze"]>[1]): ReturnType<Store["liftFreeze"]> {
    return this.#within("lift a freeze", () => this.#context.liftFreeze(tenant, lift));
  }

  readFreezes(tenant: Tenant): ReturnType<Store["readFreezes"]> {
    return this.#within("read the freezes", () => this.#context.readFreezes(tenant));
  }

  /** Its files are the server's. */
  async hold(): Promise<() => void> {
    return () => {};
  }

  ping(): Promise<void> {
    return this.#within("answer", () => this.#link.ping());
  }

  async close(): Promise<void> {
    this.#waiters.close();
    this.#subscriber?.disconnect();
    this.#link.close();
  }

  get #retentionMs(): number {
    return this.#options.retentionSeconds * 1000;
  }

  #within<T>(name: string, operation: () => Promise<T>): Promise<T> {
    return withinDeadline(name, this.#options.timeoutMs, operation);
  }

  #subjectText(subject: object): string {
    const text = JSON.stringify(subject);
    checkTextBytes("an approval's subject", text, this.#options.subjectBytesMax);
    return text;
  }

  #everywhere<T>(tenant: Tenant, ask: (keys: PartitionKeys) => Promise<T>): Promise<T[]> {
    return Promise.all(ALL_PARTITIONS.map((partition) => ask(keysOf(tenant, partition))));
  }

  /** One page of an index that is spread over all partitions: a page of each, merged, cut. */
  async #page(
    tenant: Tenant,
    index: (keys: PartitionKeys) => string,
    of: { readonly limit: number; readonly cursor: string | undefined; readonly isNewestFirst: boolean },
  ): Promise<{ readonly rows: readonly string[]; readonly cursor: string | undefined }> {
    const after = sortKeyOf(of.cursor);
    const found = await this.#everywhere(tenant, (keys) => this.#link.rows(index(keys), after, of));
    const rows = found.flat().sort();
    if (of.isNewestFirst) rows.reverse();
    const page = rows.slice(0, of.limit);
    const last = page.at(-1);
    return { rows: page, cursor: rows.length > of.limit && last !== undefined ? cursorOf(last) : undefined };
  }

  /** One subscription for all waiters of this process, made when the first one comes. A message lost is a re-read later. */
  #subscribe(): RedisClient {
    const subscriber = this.#connectSubscriber();
    subscriber.on("message", (channel: string, message: string) => {
      if (channel !== CHANGED_CHANNEL) return;
      const space = message.indexOf(" ");
      this.#waiters.changed(message.slice(0, space), message.slice(space + 1));
    });
    subscriber.subscribe(CHANGED_CHANNEL).catch(() => {});
    return subscriber;
  }
}

function approvalKeys(tenant: Tenant, id: string): PartitionKeys | undefined {
  return isTenant(tenant) && isApprovalId(id) ? keysOf(tenant, partitionOfId(id)!) : undefined;
}

function permitKeys(tenant: Tenant, jti: string): PartitionKeys | undefined {
  return isTenant(tenant) && isPermitId(jti) ? keysOf(tenant, partitionOfId(jti)!) : undefined;
}

function keysOfRow(tenant: Tenant, row: string): PartitionKeys {
  return keysOf(tenant, partitionOfId(idOfSortKey(row)) ?? "");
}

/** `<id>:<something>` or an execution id; of an event or a freeze, a word and a hash. */
function partitionOfFact(factId: string): Partition | undefined {
  const [first = ""] = factId.split(":", 1);
  return first === "event" || first === "freeze" ? CONTEXT_PARTITION : partitionOfId(first);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function tooManyEdits(id: string, editsMax: number): ConflictError {
  return new ConflictError("edit_refused", `Cannot edit approval "${id}": it has ${editsMax} reviews already`);
}
