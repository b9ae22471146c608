import type { AppendEvent, AppendEventResult, StoredEvent } from "../../../core/context.ts";
import type { Tenant } from "../../../core/types.ts";
import { entityHash, eventFactId, eventHash } from "../../context-names.ts";
import { entityOfText, storedEventOf } from "../../context-text.ts";
import type { ContextKeys } from "../keys.ts";
import { badReply } from "./bad-reply.ts";
import { openObjectText } from "./open-object-text.ts";
import { loadScript, type ScriptRunner } from "./script.ts";

const SCRIPT = loadScript(import.meta.url, "append-event", 5);

export async function appendEvent(
  runner: ScriptRunner,
  keys: ContextKeys,
  { tenant, event }: { readonly tenant: Tenant; readonly event: AppendEvent },
): Promise<AppendEventResult> {
  const { after, expectedEvents, eventId, contentDigest, eventText } = event;
  const { ref, state, version, attributes, events, chain } = after;
  const entity = entityHash(ref);
  const factId = eventFactId(ref, events);
  const [word, first = "", row = ""] = await runner.run(
    SCRIPT,
    [keys.entity(entity), keys.events(entity), keys.eventClaim(eventHash(event)), keys.facts(), keys.factsDue()],
    [
      tenant,
      entity,
      expectedEvents,
      events,
      version,
      openObjectText({ ref, state, version, attributes, events, chain }),
      contentDigest,
      eventText,
      JSON.stringify(eventId),
      factId,
    ],
  );
  switch (word) {
    case "appended":
      return { kind: "appended", sequence: events, atMs: Number(first), factId };
    case "repeated":
      return { kind: "repeated", event: eventOfRow(Number(first), row) };
    case "conflict":
      return { kind: "conflict" };
    case "changed":
      return { kind: "changed", entity: first === "" ? undefined : entityOfText(first, ref) };
    default:
      throw badReply(SCRIPT, word);
  }
}

/** @param row `<time> <text>` */
export function eventOfRow(sequence: number, row: string): StoredEvent {
  const space = row.indexOf(" ");
  return storedEventOf({ sequence, atMs: Number(row.slice(0, space)), text: row.slice(space + 1) });
}
