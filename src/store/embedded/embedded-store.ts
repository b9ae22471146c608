/**
 * The store in one LMDB directory, for one machine: any number of processes may open it. Approvals, permits, executions
 * and facts are here, the shared context in embedded-context.ts; transactions.ts says what makes either atomic.
 */
import type { Key, RootDatabase } from "lmdb";
import {
  approvalAt,
  expiredApproval,
  isOpen,
  isOverdue,
  openedApproval,
  reviewTransition,
  speaksForScope,
  usedApproval,
} from "../../core/approval-state.ts";
import { ConflictError } from "../../core/errors.ts";
import {
  approvalIdIn,
  CONTEXT_PARTITION,
  executionIdOf,
  isApprovalId,
  isPermitId,
  permitOfExecution,
} from "../../core/partition.ts";
import type {
  Approval,
  ApprovalPage,
  ConsumePermit,
  ConsumePermitResult,
  Execution,
  ListApprovals,
  OpenApproval,
  PermitRecord,
  ReportExecution,
  ReviewApproval,
  Store,
  StoreFact,
} from "../../core/ports.ts";
import type { Digest, Tenant } from "../../core/types.ts";
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
import { approvalPayload, executionPayload, type KeptPermit } from "../record-text.ts";
import type { StoreOptions } from "../store-options.ts";
import { uniqueId } from "../unique-id.ts";
import { useOfReport } from "../use-of-report.ts";
import { EmbeddedContext } from "./embedded-context.ts";
import type { Holding } from "./holding-rows.ts";
import type { MonotoneClock } from "./monotone-clock.ts";
import { permitState } from "./settle.ts";
import type { Tables } from "./tables.ts";
import { Transactions } from "./transactions.ts";

export class EmbeddedStore implements Store {
  readonly #transactions: Transactions;
  readonly #context: EmbeddedContext;
  readonly #options: StoreOptions;
  readonly #waiters: ApprovalWaiters;

  constructor(database: RootDatabase<string, Key>, clock: MonotoneClock, options: StoreOptions) {
    this.#transactions = new Transactions(database, clock, options.timeoutMs);
    this.#context = new EmbeddedContext(this.#transactions, options);
    this.#options = options;
    this.#waiters = new ApprovalWaiters((tenant, id) => this.readApproval(tenant, id), options);
  }

  async openApproval(request: OpenApproval): ReturnType<Store["openApproval"]> {
    checkOpenApproval(request);
    this.#checkSubject(request.subject);
    return this.#transactions.write("open an approval", request.tenant, (tables, nowMs) => {
      const newest = tables.newestOfScope(request.scopeDigest);
      const current = newest === undefined ? undefined : approvalAt(newest, nowMs);
      if (current !== undefined && speaksForScope(current)) return { kind: "existing", approval: current };
      const partition = CONTEXT_PARTITION;
      if (tables.pendingIn(partition, nowMs, request.pendingMax + 1) >= request.pendingMax) return { kind: "full" };
      const approval = openedApproval(request, approvalIdIn(partition, uniqueId()), nowMs);
      tables.putApproval(undefined, approval, undefined);
      return { kind: "opened", approval, factId: putApprovalFact(tables, approval, "approval_opened", nowMs) };
    });
  }

  async readApproval(tenant: Tenant, id: string): Promise<Approval | undefined> {
    if (!isTenant(tenant) || !isApprovalId(id)) return undefined;
    return this.#transactions.read("read an approval", tenant, (tables, nowMs) => at(tables.approval(id), nowMs));
  }

  async findApproval(tenant: Tenant, scopeDigest: Digest): Promise<Approval | undefined> {
    if (!isTenant(tenant) || !isDigest(scopeDigest)) return undefined;
    return this.#transactions.read("find an approval", tenant, (tables, nowMs) =>
      at(tables.newestOfScope(scopeDigest), nowMs),
    );
  }

  async listApprovals({ tenant, status, limit, cursor }: ListApprovals): Promise<ApprovalPage> {
    checkTenant(tenant);
    checkLimit(limit, LIMITS.page);
    const after = sortKeyOf(cursor);
    return this.#transactions.read("list approvals", tenant, (tables, nowMs) => {
      const found = tables.page(["status", status], { after, limit: limit + 1, isNewestFirst: status !== "pending" });
      const page = pageOf(found, limit);
      const approvals = page.rows.map((row) => at(tables.approval(idOfSortKey(row)), nowMs));
      return { approvals: approvals.filter((one) => one?.status === status) as Approval[], cursor: page.cursor };
    });
  }

  async reviewApproval(request: ReviewApproval): ReturnType<Store["reviewApproval"]> {
    const { tenant, id } = request;
    if (!isTenant(tenant) || !isApprovalId(id)) return { kind: "not_found" };
    checkReviewer(request);
    checkReview(request);
    if (request.edit !== undefined) this.#checkSubject(request.edit.subject);
    const { editsMax } = this.#options;
    const result = await this.#transactions.write("review an approval", tenant, (tables, nowMs) => {
      const before = tables.approval(id);
      if (before === undefined) return { kind: "not_found" } as const;
      const transition = reviewTransition(before, request, { nowMs, editsMax });
      if (transition.kind !== "reviewed") return transition;
      const { approval } = transition;
      tables.putApproval(before, approval, this.#purgeAtMs(approval, nowMs));
      return { ...transition, factId: putApprovalFact(tables, approval, "approval_reviewed", nowMs) };
    });
    if (result.kind === "too_many_edits") {
      throw new ConflictError("edit_refused", `Cannot edit approval "${id}": it has ${editsMax} reviews already`);
    }
    if (result.kind === "reviewed") this.#waiters.changed(tenant, id);
    return result;
  }

  /** Other processes' changes are seen by the re-read: `rereadMs` is how late at most. */
  waitApproval(request: Parameters<Store["waitApproval"]>[0]): Promise<Approval | undefined> {
    return this.#waiters.wait(request);
  }

  async expireApprovals(tenant: Tenant, limit: number): ReturnType<Store["expireApprovals"]> {
    checkTenant(tenant);
    checkLimit(limit, LIMITS.sweep);
    if (
      !(await this.#transactions.read("look for overdue approvals", tenant, (tables, nowMs) =>
        tables.isSweepDue(nowMs),
      ))
    )
      return [];
    const expired = await this.#transactions.write("expire approvals", tenant, (tables, nowMs) => {
      tables.purge(nowMs, { left: LIMITS.purge });
      return tables.overdue(nowMs, limit).flatMap((row) => {
        const approval = this.#expire(tables, row, nowMs);
        if (approval === undefined) return [];
        return [{ approval, factId: putApprovalFact(tables, approval, "approval_expired", nowMs) }];
      });
    });
    for (const { approval } of expired) this.#waiters.changed(tenant, approval.id);
    return expired;
  }

  async issuePermit(record: PermitRecord): Promise<boolean> {
    checkPermitRecord(record);
    checkTextBytes("a permit's subject", record.subjectText, this.#options.subjectBytesMax);
    return this.#transactions.write("issue a permit", record.tenant, (tables) => {
      if (tables.permit(record.jti) !== undefined) return false;
      const purgeAtMs = record.expiresAtMs + this.#options.permitGraceSeconds * 1000;
      tables.putPermit({ ...record, usesLeft: record.uses }, purgeAtMs);
      return true;
    });
  }

  async readPermit(tenant: Tenant, jti: string): ReturnType<Store["readPermit"]> {
    if (!isTenant(tenant) || !isPermitId(jti)) return undefined;
    return this.#transactions.read("read a permit", tenant, (tables, nowMs) => {
      const permit = this.#permit(tables, jti, nowMs);
      if (permit === undefined) return undefined;
      const { approvalId, uses, usesLeft, expiresAtMs, subjectText } = permit;
      const state = permitState(permit, nowMs);
      return { jti, tenant, approvalId, uses, usesLeft, expiresAtMs, subjectText, state };
    });
  }

  async consumePermit(request: ConsumePermit): ReturnType<Store["consumePermit"]> {
    const { tenant, approvalId } = request;
    if (!isTenant(tenant) || !isConsumable(request)) return { kind: "unknown_permit" };
    const result = await this.#transactions.write("consume a permit", tenant, (tables, nowMs) =>
      this.#consume(tables, request, nowMs),
    );
    if (result.kind === "consumed" && approvalId !== undefined) this.#waiters.changed(tenant, approvalId);
    return result;
  }

  async readExecution(tenant: Tenant, executionId: string): Promise<Execution | undefined> {
    if (!isTenant(tenant) || permitOfExecution(executionId) === undefined) return undefined;
    return this.#transactions.read("read an execution", tenant, (tables) => tables.execution(executionId)?.execution);
  }

  async reportExecution(request: ReportExecution): ReturnType<Store["reportExecution"]> {
    const { tenant, jti, status, resultDigest } = request;
    if (!isTenant(tenant) || !isPermitId(jti)) return { kind: "not_found" };
    const use = useOfReport(request);
    return this.#transactions.write("report an execution", tenant, (tables, nowMs) => {
      // The first use is on record for as long as any of them: it tells a permit once used from one that never was.
      const first = tables.execution(executionIdOf(jti, 1));
      if (first === undefined) return { kind: tables.permit(jti) === undefined ? "not_found" : "not_consumed" };
      if (use === undefined && first.uses !== 1) return { kind: "not_consumed" };
      const kept = tables.execution(executionIdOf(jti, use ?? 1));
      if (kept === undefined) return { kind: "not_consumed" };
      const { execution } = kept;
      if (execution.status !== "unknown") {
        const isSame = execution.status === status && execution.resultDigest === resultDigest;
        return { kind: isSame ? "repeated" : "conflict", execution };
      }
      const closed: Execution = { ...execution, status, resultDigest, reportedAtMs: nowMs };
      tables.putExecution(closed, kept.uses, this.#retentionMs);
      tables.holdings.reported(jti, status, nowMs);
      const factId = `${closed.executionId}:reported`;
      const payload = executionPayload(closed);
      tables.putFact({ factId, tenant, kind: "execution_reported", atMs: nowMs, subjectId: jti, payload });
      return { kind: "reported", execution: closed, factId };
    });
  }

  async listUnknownExecutions(
    tenant: Tenant,
    limit: number,
    cursor?: string,
  ): ReturnType<Store["listUnknownExecutions"]> {
    checkTenant(tenant);
    checkLimit(limit, LIMITS.page);
    const after = sortKeyOf(cursor);
    return this.#transactions.read("list executions", tenant, (tables) => {
      const page = pageOf(tables.page(["unknown"], { after, limit: limit + 1, isNewestFirst: false }), limit);
      const executions = page.rows.flatMap((row) => tables.execution(idOfSortKey(row))?.execution ?? []);
      return { executions, cursor: page.cursor };
    });
  }

  async dropFacts(tenant: Tenant, factIds: readonly string[]): Promise<void> {
    checkTenant(tenant);
    const own = factIds.filter((factId) => factId.length <= 128);
    if (own.length === 0) return;
    await this.#transactions.write("drop facts", tenant, (tables) => {
      for (const factId of own) tables.dropFact(factId);
    });
  }

  async takeFacts(tenant: Tenant, olderThanMs: number, limit: number): Promise<readonly StoreFact[]> {
    checkTenant(tenant);
    checkLimit(limit, LIMITS.facts);
    const isDue = await this.#transactions.read("look for facts", tenant, (tables, nowMs) =>
      tables.isFactDue(nowMs - olderThanMs),
    );
    if (!isDue) return [];
    return this.#transactions.write("take facts", tenant, (tables, nowMs) =>
      tables.takeFacts(nowMs - olderThanMs, nowMs + this.#options.factLeaseMs, limit),
    );
  }

  async countApprovals(tenant: Tenant): ReturnType<Store["countApprovals"]> {
    checkTenant(tenant);
    return this.#transactions.read("count approvals", tenant, (tables, nowMs) => {
      const [oldest] = tables.page(["status", "pending"], { after: undefined, limit: 1, isNewestFirst: false });
      return {
        pending: tables.counter("pending"),
        oldestPendingMs: oldest === undefined ? 0 : Math.max(0, nowMs - Number(oldest.slice(0, 15))),
        unknownExecutions: tables.counter("unknown"),
      };
    });
  }

  /** A real write: a full disk or a stuck writer of another process shows here and not only in the next approval. */
  async ping(): Promise<void> {
    await this.#transactions.write("answer", "ping", () => undefined);
  }

  async close(): Promise<void> {
    this.#waiters.close();
    await this.#transactions.close();
  }

  hold(): Promise<() => void> {
    return this.#transactions.hold();
  }

  readEntity(...request: Parameters<Store["readEntity"]>): ReturnType<Store["readEntity"]> {
    return this.#context.readEntity(...request);
  }

  appendEvent(...request: Parameters<Store["appendEvent"]>): ReturnType<Store["appendEvent"]> {
    return this.#context.appendEvent(...request);
  }

  readEvents(...request: Parameters<Store["readEvents"]>): ReturnType<Store["readEvents"]> {
    return this.#context.readEvents(...request);
  }

  readSession(...request: Parameters<Store["readSession"]>): ReturnType<Store["readSession"]> {
    return this.#context.readSession(...request);
  }

  writeSession(...request: Parameters<Store["writeSession"]>): ReturnType<Store["writeSession"]> {
    return this.#context.writeSession(...request);
  }

  settle(...request: Parameters<Store["settle"]>): ReturnType<Store["settle"]> {
    return this.#context.settle(...request);
  }

  cancelPermit(...request: Parameters<Store["cancelPermit"]>): ReturnType<Store["cancelPermit"]> {
    return this.#context.cancelPermit(...request);
  }

  leaveQueue(...request: Parameters<Store["leaveQueue"]>): ReturnType<Store["leaveQueue"]> {
    return this.#context.leaveQueue(...request);
  }

  putFreeze(...request: Parameters<Store["putFreeze"]>): ReturnType<Store["putFreeze"]> {
    return this.#context.putFreeze(...request);
  }

  liftFreeze(...request: Parameters<Store["liftFreeze"]>): ReturnType<Store["liftFreeze"]> {
    return this.#context.liftFreeze(...request);
  }

  readFreezes(...request: Parameters<Store["readFreezes"]>): ReturnType<Store["readFreezes"]> {
    return this.#context.readFreezes(...request);
  }

  #consume(tables: Tables, request: ConsumePermit, nowMs: number): ConsumePermitResult & { readonly factId?: string } {
    const { tenant, jti, approvalId } = request;
    const permit = this.#permit(tables, jti, nowMs);
    if (permit === undefined || permit.approvalId !== approvalId) return { kind: "unknown_permit" };
    if (permit.usesLeft < 1) return { kind: "already_consumed" };
    if (permit.expiresAtMs <= nowMs) return { kind: "expired" };
    const holding = tables.holdings.get(jti);
    const use = approvalId === undefined ? undefined : approvalUse(tables, approvalId, nowMs);
    if (use !== undefined && "kind" in use) return use;
    const refusal = contextRefusal(tables, { request, holding }, nowMs);
    if (refusal !== undefined) return refusal;
    // Nothing is written above this line, and nothing refuses below it.
    if (use !== undefined) tables.putApproval(use.before, use.after, this.#purgeAtMs(use.after, nowMs));
    if (holding !== undefined) tables.holdings.consumed(holding, nowMs + this.#retentionMs);
    const usesLeft = permit.usesLeft - 1;
    const execution = openExecution(request, executionIdOf(jti, permit.uses - usesLeft), nowMs);
    tables.putPermit({ ...permit, usesLeft });
    tables.putExecution(execution, permit.uses, this.#retentionMs);
    const factId = execution.executionId;
    const payload = executionPayload(execution, approvalId === undefined ? { usesLeft } : { approvalId, usesLeft });
    tables.putFact({ factId, tenant, kind: "permit_consumed", atMs: nowMs, subjectId: jti, payload });
    return { kind: "consumed", executionId: factId, usesLeft, atMs: nowMs, factId };
  }

  #expire(tables: Tables, row: { readonly id: string; readonly key: Key }, nowMs: number): Approval | undefined {
    let before: Approval | undefined;
    try {
      before = tables.approval(row.id);
    } catch {
      // Whoever reads it gets the integrity failure; the sweep goes on with the others.
    }
    tables.removeRow(row.key);
    if (before === undefined || !isOverdue(before, nowMs)) return undefined;
    const after = expiredApproval(before);
    tables.putApproval(before, after, this.#purgeAtMs(after, nowMs));
    return after;
  }

  #permit(tables: Tables, jti: string, nowMs: number): KeptPermit | undefined {
    return tables.livePermit(jti, nowMs, this.#options.permitGraceSeconds * 1000);
  }

  get #retentionMs(): number {
    return this.#options.retentionSeconds * 1000;
  }

  #purgeAtMs(approval: Approval, nowMs: number): number | undefined {
    return isOpen(approval.status) ? undefined : nowMs + this.#retentionMs;
  }

  #checkSubject(subject: object): void {
    checkTextBytes("an approval's subject", JSON.stringify(subject), this.#options.subjectBytesMax);
  }
}

function at(approval: Approval | undefined, nowMs: number): Approval | undefined {
  return approval === undefined ? undefined : approvalAt(approval, nowMs);
}

function pageOf(found: readonly string[], limit: number) {
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  return { rows, cursor: found.length > limit && last !== undefined ? cursorOf(last) : undefined };
}

type ApprovalUse = Extract<ConsumePermitResult, { readonly kind: "approval_revoked" }> | ApprovalChange;
type ApprovalChange = { readonly before: Approval; readonly after: Approval };

function approvalUse(tables: Tables, approvalId: string, nowMs: number): ApprovalUse {
  const before = isApprovalId(approvalId) ? tables.approval(approvalId) : undefined;
  if (before === undefined) return { kind: "approval_revoked", status: "absent" };
  const after = usedApproval(before, nowMs);
  if (after !== undefined) return { before, after };
  const { status } = approvalAt(before, nowMs);
  return { kind: "approval_revoked", status: status === "granted" ? "exhausted" : status };
}

/** What the permit was decided on must still be so, and what it holds still be its own. */
function contextRefusal(
  tables: Tables,
  { request, holding }: { readonly request: ConsumePermit; readonly holding: Holding | undefined },
  nowMs: number,
): ConsumePermitResult | undefined {
  const entity = request.entity === undefined ? undefined : tables.context.entity(request.entity.ref);
  if (request.entity !== undefined && request.entity.version !== (entity?.version ?? 0)) {
    return { kind: "state_changed", entity };
  }
  return holding !== undefined && tables.holdings.isLockLost(holding, nowMs) ? { kind: "lock_lost" } : undefined;
}

function openExecution(request: ConsumePermit, executionId: string, consumedAtMs: number): Execution {
  const { tenant, jti, action, decisionId, traceId, consumer } = request;
  return {
    action,
    decisionId,
    traceId,
    consumer,
    consumedAtMs,
    executionId,
    jti,
    tenant,
    status: "unknown",
    reportedAtMs: undefined,
    resultDigest: undefined,
  };
}

function putApprovalFact(
  tables: Tables,
  approval: Approval,
  kind: "approval_opened" | "approval_reviewed" | "approval_expired",
  atMs: number,
): string {
  const { id, tenant, version } = approval;
  const factId = `${id}:${version}`;
  tables.putFact({ factId, tenant, kind, atMs, subjectId: id, payload: approvalPayload(approval) });
  return factId;
}
