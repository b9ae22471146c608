import type { Tenant } from "../../../core/types.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { type HeldInContext, LIMITS_MAX, limitsOf, type Reread } from "./held.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "cancel-permit", 2, 2 + 3 * LIMITS_MAX);

export interface CancelPermitArguments {
  readonly tenant: Tenant;
  readonly jti: string;
  /** Of a permit in the context's partition. */
  readonly held: HeldInContext | undefined;
}

export async function cancelPermit(
  runner: ScriptRunner,
  keys: PartitionKeys,
  { tenant, jti, held }: CancelPermitArguments,
): Promise<{ readonly kind: "cancelled" | "consumed" | "not_found" } | Reread> {
  const permit = keys.permit(jti);
  const [word] = await runner.run(
    SCRIPT,
    [permit, ...(held === undefined ? [permit] : contextKeys(held, permit))],
    [tenant, jti, held?.reserved ?? "", held?.lock ?? ""],
  );
  switch (word) {
    case "cancelled":
    case "consumed":
    case "not_found":
    case "reread":
      return { kind: word };
    default:
      throw badReply(SCRIPT, word);
  }
}

function contextKeys({ keys, reserved, lock }: HeldInContext, permit: string): string[] {
  return [
    lock === "" ? permit : keys.lock(lock),
    ...limitsOf(reserved).flatMap((hash) => [keys.limit(hash), keys.limitPending(hash), keys.limitValues(hash)]),
  ];
}
