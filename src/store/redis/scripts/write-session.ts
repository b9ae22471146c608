import type { SessionChange, SessionRecord } from "../../../core/context.ts";
import { sessionOf } from "../../context-text.ts";
import { type ContextKeys, hashOfDigest } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "write-session", 1);

export async function writeSession(
  runner: ScriptRunner,
  keys: ContextKeys,
  { id, expectedVersion, after, ttlMs }: SessionChange,
): Promise<{ readonly kind: "written" } | { readonly kind: "stale"; readonly session: SessionRecord | undefined }> {
  const [word, version = "", text = ""] = await runner.run(
    SCRIPT,
    [keys.session(hashOfDigest(id))],
    [expectedVersion, after.version, after.text, ttlMs],
  );
  switch (word) {
    case "written":
      return { kind: "written" };
    case "stale":
      return { kind: "stale", session: sessionOfReply(version, text) };
    default:
      throw badReply(SCRIPT, word);
  }
}

/** "" stands for none. */
export function sessionOfReply(version: string, text: string): SessionRecord | undefined {
  return version === "" ? undefined : sessionOf({ version: Number(version), text });
}
