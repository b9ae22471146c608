import type { Mode, Tenant } from "../core/types.ts";

/** What may be changed while serving. */
export interface ModeOptions {
  readonly mode: Mode;
  readonly tenantModes: ReadonlyMap<Tenant, Mode>;
  readonly actionModes: ReadonlyMap<string, Mode>;
  /** Whether policy may turn an action of an enforcing tenant to observe. */
  readonly policyMayObserve: boolean;
}

export interface GateOptions extends ModeOptions {
  /** `iss` of permits: this sidecar's name. */
  readonly issuer: string;
  /** Audience of permits whose policy names none. */
  readonly permitAudience: string;
  readonly permitTtlSeconds: number;
  /** Used where policy escalates and says nothing of its own. */
  readonly approvalTtlSeconds: number;
  readonly grantTtlSeconds: number;
  /** Reviewers must repeat the binding digest of what they grant. */
  readonly requireBindingEcho: boolean;
  readonly pendingApprovalsMax: number;
  /** What observe mode grants the ledger before it answers without it. */
  readonly observeRecordWaitMs: number;
  /** Age past which a list of freezes is read again before anything is allowed by it. */
  readonly freezeAgeMaxMs: number;
  /** Records of a session that are kept one by one; its totals are over all of them. */
  readonly sessionWindowMax: number;
  /** Seconds after its last record that a session is kept. */
  readonly sessionTtlSeconds: number;
  /** Events up to which reading an entity replays them all to check its state. */
  readonly rebuildEventsMax: number;
}

export const GATE_DEFAULTS: GateOptions = {
  issuer: "holdpoint",
  mode: "enforce",
  tenantModes: new Map(),
  actionModes: new Map(),
  policyMayObserve: false,
  permitAudience: "holdpoint",
  permitTtlSeconds: 60,
  approvalTtlSeconds: 3600,
  grantTtlSeconds: 900,
  requireBindingEcho: false,
  pendingApprovalsMax: 10_000,
  observeRecordWaitMs: 100,
  freezeAgeMaxMs: 1_000,
  sessionWindowMax: 32,
  sessionTtlSeconds: 24 * 3600,
  rebuildEventsMax: 10_000,
};

/** An action's own mode, else its tenant's, else everybody's; a tenant that is set to enforce enforces every action. */
export function configuredMode(options: GateOptions, tenant: Tenant, action: string): Mode {
  const tenantMode = options.tenantModes.get(tenant);
  if (tenantMode === "enforce") return "enforce";
  return options.actionModes.get(action) ?? tenantMode ?? options.mode;
}

/** @param tenant undefined where nobody knows yet who asks */
export function strictestMode(options: GateOptions, tenant: Tenant | undefined): Mode {
  const { tenantModes, mode } = options;
  const ofTenants = tenant === undefined ? [mode, ...tenantModes.values()] : [tenantModes.get(tenant) ?? mode];
  const modes = [...ofTenants, ...options.actionModes.values()];
  return modes.includes("enforce") ? "enforce" : "observe";
}

/**
 * Policy may always make an action stricter. It may relax one to observe only where configuration lets it: by itself it
 * never weakens a tenant that is set to enforce.
 */
export function effectiveMode(options: GateOptions, configured: Mode, fromPolicy: Mode | undefined): Mode {
  if (fromPolicy === undefined || fromPolicy === configured) return configured;
  if (fromPolicy === "enforce") return "enforce";
  return options.policyMayObserve ? "observe" : configured;
}
