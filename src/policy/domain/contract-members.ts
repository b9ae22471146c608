/** What an action of a domain file may hold. What a contract's own members may hold is for the policy library to say. */

/** Read here, and written into the contract in the library's words. */
export const ACTION_MEMBERS = [
  "name",
  "entity",
  "allowed_states",
  "required_parameters",
  "required_permissions",
  "risk",
  "approval",
  "executor",
  "event",
] as const;

/** Taken over as they are. */
export const CONTRACT_MEMBERS = [
  "additional_parameters",
  "classifications",
  "description",
  "entity_types",
  "environments",
  "forced",
  "limits",
  "lock",
  "mode",
  "obligations",
  "parameters",
  "permissions",
  "permit",
  "rewrites",
  "session",
  "session_sums",
  "thresholds",
] as const;

export const RISKS = ["low", "medium", "high", "critical"] as const;
export const MODES = ["enforce", "observe"] as const;
export const APPROVAL_TIMES = ["always", "threshold", "never"] as const;
