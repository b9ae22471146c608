/** A freeze as the admin port answers it. */
import type { Json } from "../core/types.ts";
import { CommandError } from "./command.ts";
import { shown } from "./terminal.ts";

export const FREEZE_KINDS = ["actor", "entity", "action", "tenant"] as const;

export interface FreezeAnswer {
  readonly id: string;
  readonly kind: string;
  readonly subject?: string;
  readonly reason: string;
  readonly by: string;
  readonly at: string;
}

/** @throws CommandError: an answer without these members is another program's */
export function freezeAnswer(value: Json | undefined): FreezeAnswer {
  const freeze = value as unknown as FreezeAnswer | null | undefined;
  const texts = [freeze?.id, freeze?.kind, freeze?.reason, freeze?.by, freeze?.at, freeze?.subject ?? ""];
  if (texts.some((text) => typeof text !== "string"))
    throw new CommandError("wrong_protocol", "The answer is not a freeze of Holdpoint");
  return freeze!;
}

export function frozenText({ kind, subject }: FreezeAnswer): string {
  return subject === undefined ? `everything of the ${shown(kind)}` : `${shown(kind)} ${shown(subject)}`;
}
