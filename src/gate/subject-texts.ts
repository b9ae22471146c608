import { actorText, entityText } from "../core/compose.ts";
import { canonicalData } from "../core/digest.ts";
import type { ProposalTexts } from "../core/proposal.ts";
import type { PermitSubject } from "./issue-permit.ts";

/** The canonical parts of what lies in the store, for deciding it again. */
export function subjectTexts(subject: PermitSubject): ProposalTexts {
  return {
    arguments: canonicalData(subject.arguments),
    actor: actorText(subject.actor),
    entity: entityText(subject.entity),
    context: canonicalData(subject.context),
  };
}
