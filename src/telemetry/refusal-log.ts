/**
 * Refused credentials as facts for the ledger: one entry for what came in an interval, however much that was, so that
 * whoever tries a thousand keys a second cannot fill the disk with the record of it. No token is kept.
 */
export interface Refusal {
  readonly port: string;
  readonly reason: string;
  readonly source: string;
  /** Both set where a good credential came to a door that is not its own. */
  readonly tenant: string | undefined;
  readonly credentialId: string | undefined;
}

export interface RefusalSummary {
  readonly since: string;
  readonly count: number;
  readonly by_reason: Readonly<Record<string, number>>;
  readonly by_port: Readonly<Record<string, number>>;
  /** The first few; how many more there were is not counted. */
  readonly sources: readonly string[];
  /** Good credentials at doors that are not theirs. */
  readonly credentials: readonly string[];
}

export interface RefusalLog {
  add(refusal: Refusal): void;
  /** Writes what is waiting. */
  flush(): void;
}

export const REFUSAL_INTERVAL_MS = 10_000;
const NAMES_MAX = 10;

/**
 * The first refusal is written soon, and those of the interval after it together.
 * @param write `tenant` is "" where nobody knows whose it was (INVARIANT: isolated, a credential's name is its tenant's)
 */
export function createRefusalLog(
  now: () => Date,
  write: (summary: RefusalSummary, tenant: string) => void,
  soonMs = 250,
): RefusalLog {
  const waiting = new Map<string, RefusalSummaryInMaking>();
  let timer: NodeJS.Timeout | undefined;
  let writtenAt = Number.NEGATIVE_INFINITY;
  const flush = () => {
    clearTimeout(timer);
    timer = undefined;
    writtenAt = now().getTime();
    const summaries = [...waiting];
    waiting.clear();
    for (const [tenant, summary] of summaries)
      write({ ...summary, sources: [...summary.sources], credentials: [...summary.credentials] }, tenant);
  };
  return {
    add: (refusal) => {
      const tenant = refusal.tenant ?? "";
      const summary = waiting.get(tenant) ?? emptySummary(now());
      waiting.set(tenant, summary);
      count(summary, refusal);
      if (timer !== undefined) return;
      const waitMs = Math.max(soonMs, Math.min(REFUSAL_INTERVAL_MS, writtenAt + REFUSAL_INTERVAL_MS - now().getTime()));
      timer = setTimeout(flush, waitMs);
      timer.unref();
    },
    flush,
  };
}

interface RefusalSummaryInMaking {
  readonly since: string;
  count: number;
  readonly by_reason: Record<string, number>;
  readonly by_port: Record<string, number>;
  readonly sources: Set<string>;
  readonly credentials: Set<string>;
}

function emptySummary(now: Date): RefusalSummaryInMaking {
  return {
    since: now.toISOString(),
    count: 0,
    by_reason: {},
    by_port: {},
    sources: new Set(),
    credentials: new Set(),
  };
}

/** Reasons and ports are words of ours. */
function count(summary: RefusalSummaryInMaking, { port, reason, source, credentialId }: Refusal): void {
  summary.count += 1;
  summary.by_reason[reason] = (summary.by_reason[reason] ?? 0) + 1;
  summary.by_port[port] = (summary.by_port[port] ?? 0) + 1;
  if (summary.sources.size < NAMES_MAX) summary.sources.add(source);
  if (credentialId !== undefined && summary.credentials.size < NAMES_MAX) summary.credentials.add(credentialId);
}
