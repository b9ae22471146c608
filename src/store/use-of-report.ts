import { InvalidRequestError } from "../core/errors.ts";
import { permitOfExecution } from "../core/partition.ts";
import type { ReportExecution } from "../core/ports.ts";
import { checkDigest } from "./check-request.ts";

/** Which use of the permit is reported: undefined for "the only one", 0, which never was, for another permit's execution. */
export function useOfReport({ jti, executionId, status, resultDigest }: ReportExecution): number | undefined {
  if (status !== "succeeded" && status !== "failed") {
    throw new InvalidRequestError("invalid_request", `Invalid execution status ${JSON.stringify(status)}`);
  }
  if (resultDigest !== undefined) checkDigest("result digest", resultDigest);
  if (executionId === undefined) return undefined;
  const named = permitOfExecution(executionId);
  return named?.jti === jti ? named.use : 0;
}
