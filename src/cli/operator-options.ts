/** What commands of operators have in common: who asks, why, and what to do when the sidecar refuses. */
import type { JsonObject } from "../core/types.ts";
import { ADMIN_OPTIONS, type Hints } from "./admin-client.ts";
import { JSON_OPTION, type OptionSpecs, usageError } from "./command.ts";

export const OPERATOR_OPTIONS = {
  reason: { kind: "text", value: "TEXT", meaning: "Why (required); it is recorded" },
  as: { kind: "text", value: "ID", meaning: "Who you are, where the admin port asks for no key (development)" },
  ...ADMIN_OPTIONS,
  ...JSON_OPTION,
} as const satisfies OptionSpecs;

const MAYBE_DONE = "It is not known whether anything changed: look";

/** @param list the command that shows what there is now */
export function operatorHints(list: string, more: readonly (readonly [code: string, hint: string])[] = []): Hints {
  return new Map([
    ["forbidden", "The key lacks the scope operate"],
    ["store_unavailable", `${MAYBE_DONE} with ${list} before trying again`],
    ["ledger_unavailable", `${MAYBE_DONE} with ${list} before trying again`],
    ...more,
  ]);
}

export const READ_HINTS: Hints = new Map([
  ["forbidden", "The key lacks a scope: operate or review"],
  ["store_unavailable", "Its store is away: readyz of the sidecar says more"],
  ["policy_not_loaded", "The sidecar has no policy, and so no domain: holdpoint policy build, and its setting bundle"],
  ["entity_type_unknown", "Types are spelled as the active bundle has them: order, for Order in domain.yaml"],
]);

interface Words {
  readonly reason?: string | undefined;
  readonly as?: string | undefined;
}

/** @throws CommandError without a reason */
export function operatorBody({ reason, as }: Words): JsonObject {
  if (reason === undefined || reason.trim() === "") throw usageError("Say why: --reason TEXT (it is recorded)");
  return { reason, ...(as === undefined ? {} : { actor: { id: as } }) };
}
