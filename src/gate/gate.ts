/** The use cases behind one door. Edges translate a protocol into one of these calls and back; they decide nothing. */
import type { Caller } from "../core/caller.ts";
import { mayActAs } from "../core/caller.ts";
import type { Freeze } from "../core/context.ts";
import { NotFoundError } from "../core/errors.ts";
import type { Approval, ApprovalPage, ApprovalStatus, Execution } from "../core/ports.ts";
import type { EntityRef, Mode, Tenant } from "../core/types.ts";
import type { DecideRequest } from "./conclude.ts";
import { consumePermit, type PermitAnswer, type UsePermitRequest, verifyPermit } from "./consume-permit.ts";
import { ContextViews } from "./context-view.ts";
import { decide } from "./decide.ts";
import { type ExecuteActionAnswer, type ExecuteActionRequest, executeAction } from "./execute.ts";
import { type FreezeRequest, freeze, type LiftRequest, liftFreeze } from "./freeze.ts";
import { FreezeWatch } from "./freezes.ts";
import { type IngestAnswer, type IngestRequest, ingestEvent } from "./ingest-event.ts";
import { createObservationReader, type ObservationPage, type ObservationRequest } from "./list-observations.ts";
import { GATE_DEFAULTS, type GateOptions, type ModeOptions, strictestMode } from "./options.ts";
import type { GateContext, GatePorts } from "./ports.ts";
import { createRebuilder, type EntityAnswer, type ReadEntityRequest, type Rebuild, readEntity } from "./read-entity.ts";
import { factEntry } from "./record.ts";
import type { DecisionAnswer } from "./record-decision.ts";
import { type ReportRequest, type ResolveRequest, reportExecution, resolveExecution } from "./report-execution.ts";
import { createResultCache } from "./result-cache.ts";
import { type ReviewRequest, review } from "./review.ts";
import { type StateAt, stateAt } from "./state-at.ts";
import { sweep } from "./sweep.ts";
import { createTimelineReader, type TimelinePage, type TimelineRequest } from "./timeline.ts";
import { Turns } from "./turns.ts";

export interface Gate {
  decide(request: DecideRequest): Promise<DecisionAnswer>;
  review(request: ReviewRequest): Promise<Approval>;
  readApproval(tenant: Tenant, id: string): Promise<Approval>;
  /** The same for a caller, who may read what it could have proposed. */
  readOwnApproval(caller: Caller, id: string): Promise<Approval>;
  waitApproval(approval: Approval, waitMs: number, signal: AbortSignal): Promise<Approval>;
  listApprovals(request: {
    readonly tenant: Tenant;
    readonly status: ApprovalStatus;
    readonly limit: number;
    readonly cursor?: string;
  }): Promise<ApprovalPage>;
  /** What observe mode let pass, newest first. */
  listObservations(request: ObservationRequest): Promise<ObservationPage>;
  verifyPermit(request: UsePermitRequest): Promise<PermitAnswer>;
  consumePermit(request: UsePermitRequest): Promise<PermitAnswer>;
  reportExecution(request: ReportRequest): Promise<Execution>;
  /** Gives up a permit that nobody was given; false where it was used. */
  withdraw(tenant: Tenant, permitId: string): Promise<boolean>;
  resolveExecution(request: ResolveRequest): Promise<Execution>;
  executeAction(request: ExecuteActionRequest): Promise<ExecuteActionAnswer>;
  /** Where the entity stood when this was decided here, and where the action is allowed. */
  stateAt(tenant: Tenant, decisionId: string, action: string): StateAt;
  ingestEvent(request: IngestRequest): Promise<IngestAnswer>;
  readEntity(request: ReadEntityRequest): Promise<EntityAnswer>;
  /** @param isFull also where there are more events than `rebuildEventsMax` */
  rebuildEntity(tenant: Tenant, ref: EntityRef, isFull: boolean): Promise<Rebuild>;
  readTimeline(request: TimelineRequest): Promise<TimelinePage>;
  freeze(request: FreezeRequest): Promise<Freeze>;
  liftFreeze(request: LiftRequest): Promise<Freeze>;
  listFreezes(tenant: Tenant): Promise<readonly Freeze[]>;
  listUnknownExecutions(
    tenant: Tenant,
    limit: number,
    cursor?: string,
  ): Promise<{ readonly executions: readonly Execution[]; readonly cursor: string | undefined }>;
  /** What is no tenant's action: a start, a policy that was activated or refused. @param tenant "" for the sidecar's own */
  recordEvent(kind: string, data: object, tenant?: Tenant): Promise<void>;
  /** @param leftFactAgeMs how old a fact must be to count as left behind; LEFT_FACT_AGE_MS where nothing is said */
  sweep(tenants: readonly Tenant[], leftFactAgeMs?: number): Promise<void>;
  /** From now on these modes count; whatever is being decided at this moment keeps the mode it has come to. */
  setModes(modes: ModeOptions): void;
  /** For answers that never came to know the action: observe only where configuration enforces nothing for the tenant. */
  modeOf(tenant: Tenant | undefined): Mode;
}

export function createGate(ports: GatePorts, options: Partial<GateOptions> = {}): Gate {
  const complete = { ...GATE_DEFAULTS, ...options };
  const gate: GateContext = {
    ...ports,
    options: complete,
    results: createResultCache(),
    views: new ContextViews(ports.store),
    freezes: new FreezeWatch(ports.store, complete.freezeAgeMaxMs),
    turns: new Turns(),
  };
  const rebuildEntity = createRebuilder(gate);
  return {
    decide: (request) => decide(gate, request),
    review: (request) => review(gate, request),
    readApproval: (tenant, id) => readApproval(gate, tenant, id),
    readOwnApproval: async (caller, id) => {
      const approval = await readApproval(gate, caller.tenant, id);
      if (!mayActAs(caller, approval.subject.actor.id)) throw notFound(id);
      return approval;
    },
    waitApproval: async (approval, waitMs, signal) => {
      const { tenant, id, version } = approval;
      const changed = await gate.store.waitApproval({ tenant, id, version, waitMs, signal });
      if (changed === undefined) throw notFound(id);
      return changed;
    },
    listApprovals: (request) => gate.store.listApprovals(request),
    listObservations: createObservationReader(gate.ledger),
    verifyPermit: (request) => verifyPermit(gate, request),
    consumePermit: (request) => consumePermit(gate, request),
    reportExecution: (request) => reportExecution(gate, request),
    withdraw: (tenant, permitId) => gate.store.cancelPermit(tenant, permitId),
    resolveExecution: (request) => resolveExecution(gate, request),
    executeAction: (request) => executeAction(gate, request),
    stateAt: (tenant, decisionId, action) => stateAt(gate, { tenant, decisionId, action }),
    ingestEvent: (request) => ingestEvent(gate, request),
    readEntity: (request) => readEntity(gate, request),
    rebuildEntity,
    readTimeline: createTimelineReader({
      ledger: gate.ledger,
      index: gate.index,
      rebuild: (tenant, ref) => rebuildEntity(tenant, ref, false),
    }),
    freeze: (request) => freeze(gate, request),
    liftFreeze: (request) => liftFreeze(gate, request),
    listFreezes: (tenant) => gate.store.readFreezes(tenant),
    listUnknownExecutions: (tenant, limit, cursor) => gate.store.listUnknownExecutions(tenant, limit, cursor),
    recordEvent: async (kind, data, tenant = "") => {
      const time = gate.clock.now().toISOString();
      await gate.ledger.append(factEntry({ kind, tenant, traceId: "", time, data }));
    },
    sweep: (tenants, leftFactAgeMs) => sweep(gate, tenants, leftFactAgeMs),
    setModes: (modes) => {
      gate.options = { ...gate.options, ...modes };
    },
    modeOf: (tenant) => strictestMode(gate.options, tenant),
  };
}

async function readApproval(gate: GateContext, tenant: Tenant, id: string): Promise<Approval> {
  const approval = await gate.store.readApproval(tenant, id);
  if (approval === undefined) throw notFound(id);
  return approval;
}

function notFound(id: string): NotFoundError {
  return new NotFoundError("approval_not_found", `No approval ${JSON.stringify(id)}`);
}
