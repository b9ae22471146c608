/** An execution as the admin port answers it. */
import type { Json } from "../core/types.ts";
import { CommandError } from "./command.ts";

export interface ExecutionAnswer {
  readonly execution_id: string;
  readonly decision_id: string;
  readonly action: string;
  readonly status: string;
  readonly consumed_at: string;
}

/** @throws CommandError: an answer without these members is another program's */
export function executionAnswer(value: Json | undefined): ExecutionAnswer {
  const execution = value as unknown as ExecutionAnswer | null | undefined;
  const { execution_id, decision_id, action, status, consumed_at } = execution ?? {};
  if ([execution_id, decision_id, action, status, consumed_at].some((text) => typeof text !== "string"))
    throw new CommandError("wrong_protocol", "The answer is not an execution of Holdpoint");
  return execution!;
}
