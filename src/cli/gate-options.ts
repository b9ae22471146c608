/** The gate's options as the configuration has them. */
import type { Config } from "../config/load-config.ts";
import type { Mode } from "../core/types.ts";
import { GATE_DEFAULTS, type GateOptions, type ModeOptions } from "../gate/options.ts";

export function gateOptions(config: Config): GateOptions {
  return {
    ...GATE_DEFAULTS,
    ...modeOptions(config),
    issuer: config.issuer,
    permitAudience: config.permit_audience,
    permitTtlSeconds: config.permit_ttl_seconds,
    approvalTtlSeconds: config.approval_ttl_seconds,
    grantTtlSeconds: config.grant_ttl_seconds,
    requireBindingEcho: config.require_binding_echo,
    pendingApprovalsMax: config.pending_approvals_max,
    freezeAgeMaxMs: config.freeze_age_max_ms,
    sessionWindowMax: config.session_window,
    sessionTtlSeconds: config.session_ttl_seconds,
    rebuildEventsMax: config.rebuild_events_max,
  };
}

export function modeOptions(config: Config): ModeOptions {
  const modes = (of: Readonly<Record<string, { readonly mode: Mode }>>) =>
    new Map(Object.entries(of).map(([name, { mode }]) => [name, mode]));
  return {
    mode: config.mode,
    tenantModes: modes(config.tenants),
    actionModes: modes(config.actions),
    policyMayObserve: config.policy_may_observe,
  };
}
