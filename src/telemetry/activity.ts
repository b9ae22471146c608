/**
 * What happened lately, for people: decisions per minute and the last errors, of each tenant apart. In memory, bounded,
 * gone with the process; metrics and the ledger are what lasts.
 */
import { type ErrorCode, type IntegrityCode, type UnavailableCode, UnavailableError } from "../core/errors.ts";
import type { GateObserver, Incident, MinuteCounts, RecentActivity } from "../core/ports.ts";
import type { Mode, Outcome, Tenant } from "../core/types.ts";

export const ACTIVITY_MINUTES = 60;
/** Tenants that are told apart; the one that came first is forgotten. */
export const ACTIVITY_TENANTS_MAX = 500;
/** Kinds of errors that are kept for a tenant, and for the sidecar itself. */
export const INCIDENTS_MAX = 20;

/** Of one refused configuration, so that it leaves room for other errors. */
const FAULTS_KEPT = 5;
const FAULT_CHARS_MAX = 500;

const MINUTE_MS = 60_000;
const OUTCOMES = ["allow", "compute", "escalate", "deny"] as const satisfies readonly Outcome[];
/** Numbers of one minute: those that were enforced, by outcome, and then those that were observed. */
const MINUTE_SLOTS = 2 * OUTCOMES.length;
/** What belongs to no tenant. */
const SIDECAR: Tenant = "";

export interface Activity extends Pick<GateObserver, "decided" | "failed"> {
  /** A call of the store that failed. */
  storeFailed(error: UnavailableError): void;
  ledgerFailed(): void;
  /** A request that was answered with a problem; those that are the sidecar's own are kept. */
  answered(code: ErrorCode): void;
  /** What is wrong with a changed configuration, for the one tenant that there is: faults may name another's keys. */
  configurationRefused(faults: readonly string[], tenant: Tenant): void;
  /** A fact on its way to the ledger; some facts are errors. */
  recorded(kind: string, data: object, tenant?: Tenant): void;
  /** INVARIANT (isolated): what is this tenant's, and what is nobody's. */
  report(tenant: Tenant): RecentActivity;
}

/** What each failure of the sidecar's own means, and where to look. */
const MEANING: Readonly<Record<UnavailableCode | IntegrityCode, string>> = {
  policy_not_loaded: "Asked to decide without a policy; set bundle, or see the policy's last error",
  policy_fault: "Policy trapped, or ran out of steps or memory; the ledger has the input",
  policy_result_invalid: "Policy answered what is not a decision; the ledger has the result",
  store_unavailable: "Requests needed the store while it was away",
  ledger_unavailable: "Requests needed the ledger while it could not be written; look at the disk",
  signing_unavailable: "A permit could not be signed; look at keys_dir",
  identity_unavailable: "JWTs came while their issuer's keys could not be had; look at jwks",
  overloaded: "More requests came than may wait at once",
  shutting_down: "Requests came while the sidecar was shutting down",
  integrity_failure: "A signature or a chain does not hold; the log says which",
  internal_error: "Something unforeseen went wrong; the log says what",
};

const meaningOf = (code: string): string | undefined =>
  Object.hasOwn(MEANING, code) ? MEANING[code as keyof typeof MEANING] : undefined;

interface Recent {
  readonly minutes: MinuteRing;
  /** By code and sentence; the newest stands last. */
  readonly incidents: Map<string, Incident>;
}

/** @param nowMs the sidecar's clock; it may be stepped back */
export function createActivity(nowMs: () => number): Activity {
  const sidecar = createRecent();
  const tenants = new Map<Tenant, Recent>();
  const recentOf = (tenant: Tenant): Recent => {
    if (tenant === SIDECAR) return sidecar;
    let recent = tenants.get(tenant);
    if (recent !== undefined) return recent;
    if (tenants.size >= ACTIVITY_TENANTS_MAX) tenants.delete(tenants.keys().next().value!);
    recent = createRecent();
    tenants.set(tenant, recent);
    return recent;
  };
  const note = (code: string, message: string, tenant = SIDECAR, count = 1) =>
    addIncident(recentOf(tenant).incidents, { code, message, count, firstMs: nowMs(), lastMs: nowMs() });
  return {
    decided: ({ tenant, outcome, mode, reasonCodes }) => {
      recentOf(tenant).minutes.count(nowMs(), outcome, mode);
      const meaning = outcome === "deny" ? meaningOf(reasonCodes[0] ?? "") : undefined;
      if (meaning !== undefined) note(reasonCodes[0]!, meaning, tenant);
    },
    failed: ({ what, error }) => {
      const isOurs = error instanceof UnavailableError;
      note(isOurs ? error.code : "internal_error", `Cannot ${what}: ${isOurs ? error.message : "the log says why"}`);
    },
    storeFailed: ({ code, message }) => note(code, message),
    ledgerFailed: () => note("ledger_unavailable", "Cannot commit to the ledger; look at the disk"),
    answered: (code) => {
      const meaning = meaningOf(code);
      if (meaning !== undefined) note(code, meaning);
    },
    configurationRefused: (faults, tenant) => {
      for (const fault of faults.slice(0, FAULTS_KEPT)) note("config_invalid", fault.slice(0, FAULT_CHARS_MAX), tenant);
    },
    recorded: (kind, data, tenant) => {
      for (const { code, message, count } of incidentsOf(kind, data)) note(code, message, tenant, count);
    },
    report: (tenant) => {
      const { minutes, incidents } = tenants.get(tenant) ?? createRecent();
      const own: RecentActivity = { minutes: minutes.since(nowMs()), incidents: [...incidents.values()] };
      return sumActivity([own, { minutes: [], incidents: [...sidecar.incidents.values()] }]);
    },
  };
}

function createRecent(): Recent {
  return { minutes: new MinuteRing(), incidents: new Map() };
}

/** One bucket for each minute of an hour. A bucket knows its minute, so that an old one counts for nothing. */
class MinuteRing {
  readonly #minutes = new Float64Array(ACTIVITY_MINUTES).fill(-1);
  readonly #counts = new Uint32Array(ACTIVITY_MINUTES * MINUTE_SLOTS);

  count(nowMs: number, outcome: Outcome, mode: Mode): void {
    const minute = Math.max(0, Math.floor(nowMs / MINUTE_MS));
    const bucket = minute % ACTIVITY_MINUTES;
    const first = bucket * MINUTE_SLOTS;
    if (this.#minutes[bucket] !== minute) {
      this.#minutes[bucket] = minute;
      this.#counts.fill(0, first, first + MINUTE_SLOTS);
    }
    this.#counts[first + OUTCOMES.indexOf(outcome) + (mode === "observe" ? OUTCOMES.length : 0)]! += 1;
  }

  /** Minutes that lie ahead, because the clock was stepped back, are left out. */
  since(nowMs: number): MinuteCounts[] {
    const current = Math.floor(nowMs / MINUTE_MS);
    return [...this.#minutes]
      .map((minute, bucket) => ({ minute, bucket }))
      .filter(({ minute }) => minute >= 0 && minute <= current && minute > current - ACTIVITY_MINUTES)
      .sort((a, b) => a.minute - b.minute)
      .map(({ minute, bucket }) => ({ startMs: minute * MINUTE_MS, ...this.#countsOf(bucket) }));
  }

  #countsOf(bucket: number): Omit<MinuteCounts, "startMs"> {
    const slots = this.#counts.subarray(bucket * MINUTE_SLOTS, (bucket + 1) * MINUTE_SLOTS);
    const observed = byOutcome((_, index) => slots[OUTCOMES.length + index]!);
    return { counts: byOutcome((outcome, index) => slots[index]! + observed[outcome]), observed };
  }
}

function byOutcome(count: (outcome: Outcome, index: number) => number): Record<Outcome, number> {
  const entries = OUTCOMES.map((outcome, index) => [outcome, count(outcome, index)]);
  return Object.fromEntries(entries) as Record<Outcome, number>;
}

const keyOf = ({ code, message }: Pick<Incident, "code" | "message">) => `${code} ${message}`;

function addIncident(incidents: Map<string, Incident>, added: Incident): void {
  const key = keyOf(added);
  const known = incidents.get(key);
  incidents.delete(key);
  incidents.set(key, known === undefined ? added : joined(known, added));
  if (incidents.size > INCIDENTS_MAX) incidents.delete(incidents.keys().next().value!);
}

function joined(a: Incident, b: Incident): Incident {
  return {
    ...a,
    count: a.count + b.count,
    firstMs: Math.min(a.firstMs, b.firstMs),
    lastMs: Math.max(a.lastMs, b.lastMs),
  };
}

function incidentsOf(kind: string, data: object): readonly Pick<Incident, "code" | "message" | "count">[] {
  switch (kind) {
    case "policy_refused": {
      const { code, message } = data as { readonly code: string; readonly message: string };
      return [{ code, message: `Policy refused: ${message}`, count: 1 }];
    }
    case "configuration_refused": {
      const { faults } = data as { readonly faults: number };
      const message = `The changed configuration has faults (${faults}): the one before stays. The log names them`;
      return [{ code: "config_invalid", message, count: 1 }];
    }
    case "credentials_refused": {
      const { by_reason } = data as { readonly by_reason: Readonly<Record<string, number>> };
      // A browser asks without a credential first, and is then told to ask its user for one: no error.
      const refused = Object.entries(by_reason).filter(([reason]) => reason !== "missing");
      return refused.map(([reason, count]) => ({
        code: reason,
        message: "Credentials refused; the ledger has their sources (credentials_refused)",
        count,
      }));
    }
    default:
      return [];
  }
}

/** One report from those of several processes. */
export function sumActivity(reports: readonly RecentActivity[]): RecentActivity {
  const minutes = new Map<number, MinuteCounts>();
  const incidents = new Map<string, Incident>();
  for (const report of reports) {
    for (const minute of report.minutes) {
      const known = minutes.get(minute.startMs);
      minutes.set(minute.startMs, known === undefined ? minute : summed(known, minute));
    }
    for (const incident of report.incidents) {
      const known = incidents.get(keyOf(incident));
      incidents.set(keyOf(incident), known === undefined ? incident : joined(known, incident));
    }
  }
  return {
    minutes: [...minutes.values()].sort((a, b) => a.startMs - b.startMs),
    incidents: [...incidents.values()].sort((a, b) => b.lastMs - a.lastMs),
  };
}

function summed(a: MinuteCounts, b: MinuteCounts): MinuteCounts {
  return {
    startMs: a.startMs,
    counts: byOutcome((outcome) => a.counts[outcome] + b.counts[outcome]),
    observed: byOutcome((outcome) => a.observed[outcome] + b.observed[outcome]),
  };
}
