import type { PermitState } from "../../../core/context.ts";
import type { PermitRecord } from "../../../core/ports.ts";
import { permitOfText } from "../../record-text.ts";
import type { PartitionKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";
import { stateOf } from "./settle.ts";

const SCRIPT = loadScript(import.meta.url, "read-permit", 1);

export async function readPermit(
  runner: ScriptRunner,
  keys: PartitionKeys,
  jti: string,
): Promise<(PermitRecord & { readonly usesLeft: number; readonly state: PermitState }) | undefined> {
  const [word, tenant, approvalId, uses, usesLeft, expiresAtMs, subjectText, state = ""] = await runner.run(
    SCRIPT,
    [keys.permit(jti)],
    [],
  );
  switch (word) {
    case "found": {
      const members = {
        jti,
        tenant,
        approvalId: approvalId === "" ? undefined : approvalId,
        uses: Number(uses),
        usesLeft: Number(usesLeft),
        expiresAtMs: Number(expiresAtMs),
        subjectText,
      };
      const permit = permitOfText(JSON.stringify(members));
      return { ...permit, approvalId: permit.approvalId, state: stateOf(state) };
    }
    case "not_found":
      return undefined;
    default:
      throw badReply(SCRIPT, word);
  }
}
