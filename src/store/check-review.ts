import { InvalidRequestError } from "../core/errors.ts";
import type { ReviewApproval } from "../core/ports.ts";
import { checkDigest } from "./check-request.ts";

const VERDICTS: ReadonlySet<string> = new Set(["grant", "deny", "cancel"]);

/** INVARIANT: an unknown verdict word never becomes a grant, not even by falling through a branch. */
export function checkReview(request: ReviewApproval): void {
  if (!VERDICTS.has(request.verdict)) {
    throw new InvalidRequestError("invalid_request", `Invalid verdict ${JSON.stringify(request.verdict)}`);
  }
  if (request.edit === undefined) return;
  if (request.verdict !== "grant") {
    throw new InvalidRequestError("invalid_request", `Cannot ${request.verdict} with edited arguments`);
  }
  checkDigest("binding digest", request.edit.bindingDigest);
  checkDigest("argument digest", request.edit.argumentDigest);
}

/** The id is a field of the record and the unit of the quorum: an empty one would be nobody. */
export function checkReviewer({ reviewer }: ReviewApproval): void {
  if (typeof reviewer.id === "string" && reviewer.id !== "") return;
  throw new InvalidRequestError("invalid_request", "Invalid reviewer: without an id");
}
