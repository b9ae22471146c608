/**
 * What the gate needs from the world, as contracts. Interfaces only: adapters implement them, main.ts wires them, and
 * one conformance suite holds every implementation to what is written here.
 */
import type { EntityState, PermitState } from "./context.ts";
import type { ContextStore } from "./context-store.ts";
import type { Domain } from "./domain.ts";
import type { ErrorCode } from "./errors.ts";
import type { ExecuteAnswer } from "./executor.ts";
import type { ActorRef, Digest, EntityRef, Identity, Json, JsonObject, Mode, Outcome, Tenant } from "./types.ts";

// ------------------------------------------------------------------------------------------------------- policy

/** What an evaluation gave. A fault is a deny, whatever its code. */
export type PolicyAnswer =
  | {
      readonly kind: "result";
      /** JSON text of the entrypoint's value, members in canonical order; its numbers may be any decimal text. */
      readonly text: string;
    }
  | { readonly kind: "undefined" }
  | { readonly kind: "fault"; readonly code: "policy_fault"; readonly message: string };

/** One bundle, compiled and instantiated. Never changes: a new bundle is a new LoadedPolicy (INVARIANT: atomic). */
export interface LoadedPolicy {
  /** digest of {wasm, data, entrypoint}. */
  readonly digest: Digest;
  /** `.manifest` revision, "" where the bundle has none. */
  readonly revision: string;
  /** Slash-separated, `holdpoint/decision`. */
  readonly entrypoint: string;
  readonly loadedAt: Date;
  /** What the bundle says of entities and actions; empty where it says nothing. */
  readonly domain: Domain;
  /**
   * Evaluates the entrypoint. Synchronous and pure: same text, same answer. Never throws.
   * @param inputText canonical JSON of the policy input, already read by the strict reader
   */
  evaluate(inputText: string): PolicyAnswer;
}

export interface PolicyStatus {
  readonly active: LoadedPolicy | undefined;
  /** The last load that failed, until one succeeds. */
  readonly lastError: { readonly code: string; readonly message: string; readonly at: Date } | undefined;
}

export interface PolicySource {
  status(): PolicyStatus;
}

// -------------------------------------------------------------------------------------------------------- store

export type ApprovalStatus = "pending" | "granted" | "denied" | "expired" | "cancelled" | "exhausted";

export interface ApprovalRule {
  /** A reviewer must hold at least one of these. Empty: any authenticated reviewer. */
  readonly roles: readonly string[];
  /** Distinct reviewers that must grant, 1 or more. */
  readonly quorum: number;
  /** Seconds a pending approval waits before it expires. */
  readonly ttlSeconds: number;
  /** Seconds a granted approval may be used. */
  readonly grantTtlSeconds: number;
  /** How many executions one grant authorises; 1 for an exact binding. */
  readonly uses: number;
}

export interface Review {
  readonly reviewer: Identity;
  readonly verdict: "grant" | "deny" | "cancel";
  readonly reason: string;
  /** Milliseconds since the epoch, by the store's clock. */
  readonly atMs: number;
  /** The binding that this reviewer saw. */
  readonly bindingDigest: Digest;
}

export interface Approval {
  readonly id: string;
  readonly tenant: Tenant;
  readonly status: ApprovalStatus;
  /** What finds this approval again: digest of the binding as proposed and of its context (INVARIANT: final). */
  readonly scopeDigest: Digest;
  /** What a grant authorises. Differs from the proposed one after a reviewer's edit. */
  readonly bindingDigest: Digest;
  readonly argumentDigest: Digest;
  readonly rule: ApprovalRule;
  readonly reviews: readonly Review[];
  readonly usesLeft: number;
  readonly createdAtMs: number;
  /** End of waiting while pending, end of validity once granted; the store's clock. */
  readonly expiresAtMs: number;
  /** Grows by one with every change; what a long-poll waits for. */
  readonly version: number;
  /**
   * Opaque to the store, immutable but for an edit: the proposal, decision, digests and arguments under review.
   * The store keeps it as JSON text and never looks inside.
   */
  readonly subject: ApprovalSubject;
}

export interface ApprovalSubject {
  readonly decisionId: string;
  readonly proposalId: string;
  readonly traceId: string;
  /** Ids that may not review: the proposer and everybody it acts for (INVARIANT (separate)). */
  readonly excludedReviewers: readonly string[];
  readonly action: string;
  readonly actor: ActorRef;
  readonly entity: EntityRef | null;
  readonly context: JsonObject;
  /** Effective arguments: what was proposed, after policy's rewrite and a reviewer's edit. */
  readonly arguments: JsonObject;
  readonly originalArgumentDigest: Digest;
  /** The JSON Schema that an envelope binds to; null for an exact binding. */
  readonly envelope: JsonObject | null;
  readonly policyDigest: Digest;
  readonly reasons: readonly { readonly code: string; readonly message: string }[];
  readonly risk: string;
  readonly credentialId: string;
}

export interface OpenApproval {
  readonly tenant: Tenant;
  readonly scopeDigest: Digest;
  readonly bindingDigest: Digest;
  readonly argumentDigest: Digest;
  readonly rule: ApprovalRule;
  readonly subject: ApprovalSubject;
  /** Pending approvals that this tenant may have in one partition; past it the answer is "full". */
  readonly pendingMax: number;
}

/**
 * `opened`: a new one. `existing`: the newest approval of this scope still speaks: pending, granted (with uses left),
 * or denied (terminal). Expired, cancelled and exhausted ones do not, and a new one is opened after them.
 */
export type OpenApprovalResult =
  | { readonly kind: "opened"; readonly approval: Approval }
  | { readonly kind: "existing"; readonly approval: Approval }
  | { readonly kind: "full" };

export interface ReviewApproval {
  readonly tenant: Tenant;
  readonly id: string;
  readonly reviewer: Identity;
  readonly verdict: "grant" | "deny" | "cancel";
  readonly reason: string;
  /** The approval's version that the gate read and checked; another one means: read again. */
  readonly expectedVersion: number;
  /** A grant of edited arguments: replaces binding and subject, and drops grants given to what was there before. */
  readonly edit?: {
    readonly bindingDigest: Digest;
    readonly argumentDigest: Digest;
    readonly subject: ApprovalSubject;
  };
}

/**
 * `not_pending` covers every status from which the verdict is not possible: grant and deny need pending; cancel takes
 * pending or granted (a revocation). `already_reviewed`: this reviewer granted it before, a quorum counts people once.
 */
export type ReviewApprovalResult =
  | { readonly kind: "reviewed"; readonly approval: Approval }
  | { readonly kind: "not_found" }
  | { readonly kind: "not_pending"; readonly approval: Approval }
  | { readonly kind: "already_reviewed"; readonly approval: Approval }
  | { readonly kind: "version_changed"; readonly approval: Approval };

export interface ListApprovals {
  readonly tenant: Tenant;
  readonly status: ApprovalStatus;
  /** 1 to 500. */
  readonly limit: number;
  /** Opaque, from the page before. */
  readonly cursor?: string;
}

export interface ApprovalPage {
  readonly approvals: readonly Approval[];
  readonly cursor: string | undefined;
}

/** What the store keeps of a permit: enough to count uses, to decide again, and to list what was never reported. */
export interface PermitRecord {
  readonly jti: string;
  readonly tenant: Tenant;
  readonly approvalId: string | undefined;
  readonly uses: number;
  readonly expiresAtMs: number;
  /** JSON text of what the gate needs to decide again; opaque to the store. */
  readonly subjectText: string;
}

export type ConsumePermitResult =
  /** `usesLeft` after this one; `executionId` names this use. */
  | { readonly kind: "consumed"; readonly executionId: string; readonly usesLeft: number; readonly atMs: number }
  | { readonly kind: "already_consumed" }
  | { readonly kind: "expired" }
  | { readonly kind: "approval_revoked"; readonly status: ApprovalStatus | "absent" }
  /** The entity is not at the version that the permit is bound to. */
  | { readonly kind: "state_changed"; readonly entity: EntityState | undefined }
  /** The permit's lock is not its own any more. */
  | { readonly kind: "lock_lost" }
  /** No such permit here: never issued, or its record was lost. The answer is no. */
  | { readonly kind: "unknown_permit" };

export type ExecutionStatus = "unknown" | "succeeded" | "failed";

export interface Execution {
  readonly executionId: string;
  readonly jti: string;
  readonly tenant: Tenant;
  readonly status: ExecutionStatus;
  readonly consumedAtMs: number;
  readonly reportedAtMs: number | undefined;
  readonly resultDigest: Digest | undefined;
  readonly action: string;
  readonly decisionId: string;
  readonly traceId: string;
  /** Who consumed it, and so may report it; "" without authentication, undefined in records that are older. */
  readonly consumer?: string | undefined;
}

export interface ConsumePermit {
  readonly tenant: Tenant;
  readonly jti: string;
  readonly approvalId: string | undefined;
  readonly action: string;
  readonly decisionId: string;
  readonly traceId: string;
  /** Goes into the execution's record, with which it stays. */
  readonly consumer: string;
  /** Set where the permit is bound to a version of its entity. */
  readonly entity?: { readonly ref: EntityRef; readonly version: number } | undefined;
}

export interface ReportExecution {
  readonly tenant: Tenant;
  readonly jti: string;
  /** Needed where a permit has more than one use; else the only one. */
  readonly executionId: string | undefined;
  readonly status: "succeeded" | "failed";
  readonly resultDigest: Digest | undefined;
}

export type ReportExecutionResult =
  | { readonly kind: "reported"; readonly execution: Execution }
  /** The same report again: answered the same, changes nothing. */
  | { readonly kind: "repeated"; readonly execution: Execution }
  /** Already closed with another status or result. */
  | { readonly kind: "conflict"; readonly execution: Execution }
  /** Known permit, never consumed (or, with several uses, no such execution). */
  | { readonly kind: "not_consumed" }
  | { readonly kind: "not_found" };

/**
 * A fact that a transition left behind for the ledger: written in the same atomic step as the transition, removed once
 * a ledger holds it. A crash between the two leaves it here, and `takeFacts` hands it to whoever starts next.
 */
export interface StoreFact {
  readonly factId: string;
  readonly tenant: Tenant;
  readonly kind:
    | "approval_opened"
    | "approval_reviewed"
    | "approval_expired"
    | "permit_consumed"
    | "execution_reported"
    | "event_appended"
    | "freeze_set"
    | "freeze_lifted";
  readonly atMs: number;
  /** Id of the approval, permit, event or freeze. */
  readonly subjectId: string;
  readonly payload: JsonObject;
}

/**
 * Shared state: approvals, permits, executions, and the context of actions (ContextStore).
 *
 * - Every method that changes something is one atomic step, durable on return as far as the backend can promise, and
 *   leaves its StoreFact in the same step. Results carry the `factId` where they changed something.
 * - The store's clock decides every deadline. No caller passes a time.
 * - INVARIANT: no method turns silence, absence or failure into a grant or a use.
 * - Failure of the backend is an UnavailableError("store_unavailable") within `timeoutMs`, never a hang. After it the
 *   change may or may not have happened; retrying is safe but for `consumePermit`, whose retry says already_consumed.
 * - Ids of another tenant answer exactly as unknown ids do.
 */
export interface Store extends ContextStore {
  openApproval(request: OpenApproval): Promise<OpenApprovalResult & { readonly factId?: string }>;
  /** An approval past its deadline reads as expired even before the sweep recorded it. */
  readApproval(tenant: Tenant, id: string): Promise<Approval | undefined>;
  /** The newest approval of a scope, in whatever status. */
  findApproval(tenant: Tenant, scopeDigest: Digest): Promise<Approval | undefined>;
  /** Oldest first within pending, newest first otherwise. */
  listApprovals(request: ListApprovals): Promise<ApprovalPage>;
  reviewApproval(request: ReviewApproval): Promise<ReviewApprovalResult & { readonly factId?: string }>;
  /**
   * Resolves when the approval's version is past `version`, or after `waitMs`, whichever is first, with the approval as
   * it then is. Costs no polling per waiter that grows with the number of waiters; at most `waitersMax` wait at once,
   * and `waitersPerTenantMax` of one tenant (UnavailableError "overloaded" past it). Ends early when `signal` aborts.
   */
  waitApproval(request: {
    readonly tenant: Tenant;
    readonly id: string;
    readonly version: number;
    readonly waitMs: number;
    readonly signal: AbortSignal;
  }): Promise<Approval | undefined>;
  /** Turns at most `limit` overdue pending or granted approvals of a tenant into expired ones; each is returned once, to one caller. */
  expireApprovals(
    tenant: Tenant,
    limit: number,
  ): Promise<readonly { readonly approval: Approval; readonly factId: string }[]>;

  /** Makes a permit consumable. Refuses (returns false) a jti that is there already. */
  issuePermit(record: PermitRecord): Promise<boolean>;
  /** Undefined when unknown, or gone after its expiry. */
  readPermit(
    tenant: Tenant,
    jti: string,
  ): Promise<(PermitRecord & { readonly usesLeft: number; readonly state: PermitState }) | undefined>;
  /**
   * Marks one use as spent, if the permit is known, unexpired and unspent and its approval (where it has one) is
   * granted with uses left; an approval whose last use this was becomes exhausted in the same step. The execution is
   * on record as `unknown` from this moment until it is reported. INVARIANT: at most `uses` callers ever get
   * "consumed", over all sidecars, retries, crashes and failover. What the permit reserved (settle) stays charged from
   * here on, and its lock must still be its own.
   */
  consumePermit(request: ConsumePermit): Promise<ConsumePermitResult & { readonly factId?: string }>;
  /** Undefined when unknown, or gone after its retention. */
  readExecution(tenant: Tenant, executionId: string): Promise<Execution | undefined>;
  /**
   * Closes an execution. Once no use of the permit is open or left, its lock is let go, and where every use failed, what
   * it reserved is given back.
   */
  reportExecution(request: ReportExecution): Promise<ReportExecutionResult & { readonly factId?: string }>;
  /** Consumed and not reported, oldest first: outcome unknown. */
  listUnknownExecutions(
    tenant: Tenant,
    limit: number,
    cursor?: string,
  ): Promise<{ readonly executions: readonly Execution[]; readonly cursor: string | undefined }>;

  /** The ledger holds these facts: forget them. */
  dropFacts(tenant: Tenant, factIds: readonly string[]): Promise<void>;
  /**
   * Facts older than `olderThanMs` that no ledger has confirmed, at most `limit`. Each call pushes back the facts it
   * returns by a lease, so that two sidecars rarely record one fact twice (twice is allowed, never is not).
   */
  takeFacts(tenant: Tenant, olderThanMs: number, limit: number): Promise<readonly StoreFact[]>;

  /** Counts by status, for metrics: pending approvals, age of the oldest in milliseconds, unknown executions. */
  countApprovals(
    tenant: Tenant,
  ): Promise<{ readonly pending: number; readonly oldestPendingMs: number; readonly unknownExecutions: number }>;

  /**
   * Begins no write of this process's own files until what it resolves with is called; resolves when those that ran have
   * ended. For as long as another process opens the same files.
   */
  hold(): Promise<() => void>;
  /** Round trip; throws UnavailableError. */
  ping(): Promise<void>;
  close(): Promise<void>;
}

// ------------------------------------------------------------------------------------------------------- ledger

export interface LedgerEntryDraft {
  /** Canonical JSON (RFC 8785) of the entry, without line break. The ledger stores and hashes these bytes as they are. */
  readonly text: string;
  /** Unique look-up keys for this entry, e.g. `proposal:<tenant>:<id>`; at most 8, each at most 500 bytes of UTF-8. */
  readonly keys: readonly string[];
  /**
   * Refuse the append when this key (one of `keys`) already points to an entry. The check and the append are one step,
   * across every process that shares the ledger.
   */
  readonly uniqueKey?: string;
}

export type AppendResult =
  | { readonly kind: "appended"; readonly index: number }
  | { readonly kind: "duplicate"; readonly index: number };

export interface LedgerHead {
  readonly size: number;
  /** RFC 6962 Merkle tree hash of the first `size` entries, base64. */
  readonly rootHash: string;
}

/**
 * Append-only Merkle log of one sidecar.
 *
 * - `append` resolves after the entry, its leaf hash and the new head are durable (fsync); appends made while a commit
 *   runs share the next one. With durability "relaxed" it resolves as soon as the entry has its place in the queue.
 * - A failed write rejects with UnavailableError("ledger_unavailable") and leaves nothing of that batch behind.
 * - The queue is bounded; past it UnavailableError("overloaded").
 */
export interface Ledger {
  readonly origin: string;
  append(draft: LedgerEntryDraft): Promise<AppendResult>;
  /** The newest entry that carries the key. Sees everything already committed. */
  find(key: string): { readonly index: number; readonly text: string } | undefined;
  read(index: number): string | undefined;
  /** At most `limit` entries from `start`. */
  entries(start: number, limit: number): readonly { readonly index: number; readonly text: string }[];
  head(): LedgerHead;
  /** C2SP tlog-checkpoint of the current head, a signed note. */
  checkpoint(): string;
  /** Entries that are not durable yet. */
  waiting(): number;
  /** Begins no commit until what it resolves with is called; resolves when the one that ran has ended. */
  hold(): Promise<() => void>;
  /** True while the last write succeeded. */
  isWritable(): boolean;
  close(): Promise<void>;
}

// ------------------------------------------------------------------------------------------------------ signing

/** Signs permits and checkpoints; one Ed25519 key is active, older public keys verify until their permits are over. */
export interface PermitSigner {
  /** Compact JWS, EdDSA, `typ: holdpoint-permit+jwt`, with `kid`. */
  sign(claims: JsonObject): Promise<string>;
}

export type PermitVerification =
  | { readonly kind: "verified"; readonly claims: JsonObject }
  | {
      readonly kind: "refused";
      readonly code: "bad_signature" | "unknown_key" | "wrong_type";
      readonly message: string;
    };

export interface PermitVerifier {
  /** Signature, key and type only; the claims are checked by core/permit.ts. One token has one accepted spelling. */
  verify(token: string): Promise<PermitVerification>;
  /** RFC 7517 JWK Set of every key that verifies here. */
  jwks(): { readonly keys: readonly Json[] };
}

// ----------------------------------------------------------------------------------------------------- identity

/** Why a bearer token was refused; also a metric's label. */
export type BearerRefusal =
  | "malformed"
  | "wrong_type"
  | "unknown_issuer"
  | "wrong_audience"
  | "algorithm_not_allowed"
  | "unknown_key"
  | "bad_signature"
  | "expired"
  | "not_yet_valid"
  | "claims_invalid";

export type BearerVerification =
  | {
      readonly kind: "verified";
      /** The issuer's name in the configuration. */
      readonly issuer: string;
      readonly claims: JsonObject;
      /** `exp`, seconds since the epoch. */
      readonly expiresAt: number;
    }
  | { readonly kind: "refused"; readonly reason: BearerRefusal; readonly message: string };

export interface BearerVerifier {
  /**
   * Signature, key, algorithm, type, issuer, audience and times of a JWT (RFC 7519, RFC 8725); what the claims permit is
   * not its business. @throws UnavailableError("identity_unavailable") while the issuer's keys cannot be had
   */
  verify(token: string): Promise<BearerVerification>;
}

// ------------------------------------------------------------------------------------------------------ the rest

/** The sidecar's own clock: for records and for permit times, never for the store's deadlines. */
export interface Clock {
  now(): Date;
}

export interface Randomness {
  /** 26 characters of Crockford base 32, sortable by time: a ULID. */
  ulid(): string;
}

/** What the gate tells whoever watches. Implementations must not throw, block or keep arguments. */
export interface GateObserver {
  decided(event: {
    readonly tenant: Tenant;
    readonly action: string;
    /** What policy and approvals said, whatever the mode answered. */
    readonly outcome: Outcome;
    readonly mode: Mode;
    readonly reasonCodes: readonly string[];
    readonly seconds: number;
    readonly evaluationSeconds: number;
  }): void;
  permitChecked(event: {
    readonly tenant: Tenant;
    readonly result: "valid" | ErrorCode;
    readonly isConsumption: boolean;
  }): void;
  approvalChanged(event: { readonly tenant: Tenant; readonly status: ApprovalStatus }): void;
  executionReported(event: { readonly tenant: Tenant; readonly status: "succeeded" | "failed" }): void;
  /** `repeated`: on record before, nothing changed. `refused`: recorded, and leads nowhere from where the entity stands. */
  eventIngested(event: { readonly tenant: Tenant; readonly result: "applied" | "refused" | "repeated" }): void;
  /** An executor was called, all its attempts. */
  actionExecuted(event: {
    readonly tenant: Tenant;
    /** A name of the configuration. */
    readonly executor: string;
    readonly result: ExecuteAnswer["kind"];
    readonly seconds: number;
  }): void;
  /** Something failed that was not the answer to anybody: a background sweep, a fact that could not be dropped. */
  failed(event: { readonly what: string; readonly error: Error }): void;
}

export interface MinuteCounts {
  /** Beginning of the minute, milliseconds since the epoch. */
  readonly startMs: number;
  readonly counts: Readonly<Record<Outcome, number>>;
  /** Those among them that observe mode answered with allow, whatever they say. */
  readonly observed: Readonly<Record<Outcome, number>>;
}

/** The same error, however often it came. */
export interface Incident {
  readonly code: string;
  /** A sentence of ours: never arguments, never a token. */
  readonly message: string;
  readonly count: number;
  readonly firstMs: number;
  readonly lastMs: number;
}

/** What happened lately, for people: what is one tenant's, and errors that are nobody's. */
export interface RecentActivity {
  /** Of the last 60 minutes those in which something was decided, oldest first. */
  readonly minutes: readonly MinuteCounts[];
  /** Newest first. */
  readonly incidents: readonly Incident[];
}
