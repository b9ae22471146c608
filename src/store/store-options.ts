/** What both adapters can be told. Every number has a default and a reason. */
export interface StoreOptions {
  /** Every operation ends within this, as an answer or as UnavailableError. */
  readonly timeoutMs: number;
  /** How long closed approvals and executions are kept; a denial is final for as long. */
  readonly retentionSeconds: number;
  /** How long a permit's record outlives its expiry, so that a late replay still reads "already consumed". */
  readonly permitGraceSeconds: number;
  /** How long a fact stays with the one who took it before another may have it. */
  readonly factLeaseMs: number;
  /** Long-polls that may wait at once in this process. */
  readonly waitersMax: number;
  /** Those of one tenant among them. */
  readonly waitersPerTenantMax: number;
  /** How often approvals that somebody waits for are read again, in case a notification was lost. */
  readonly rereadMs: number;
  /** Reviews on one approval past which a further edit is refused. */
  readonly editsMax: number;
  /** Bytes of one subject's JSON text. */
  readonly subjectBytesMax: number;
}

const DEFAULTS: StoreOptions = {
  timeoutMs: 2_000,
  retentionSeconds: 30 * 24 * 3600,
  permitGraceSeconds: 600,
  factLeaseMs: 30_000,
  waitersMax: 10_000,
  waitersPerTenantMax: 1_000,
  rereadMs: 1_000,
  editsMax: 64,
  subjectBytesMax: 2 * 1024 * 1024,
};

export function completeStoreOptions(options: Partial<StoreOptions>): StoreOptions {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(given) };
}
