/** Proposals to the example policies. */
import type { Body } from "./sidecar.ts";

let count = 0;

/** Unique in this process. */
export const freshId = (prefix = "p"): string => `${prefix}-${process.pid}-${++count}`;

/** Up to 100 allowed, up to 5000 escalated to ops_operator, above denied. */
export function refund(amount: number, changes: Body = {}): Body {
  const id = changes.id ?? freshId("refund");
  return {
    id,
    action: { name: "ISSUE_REFUND", arguments: { amount, currency: "EUR", reason: "customer request" } },
    actor: { id: "support-agent", type: "agent", roles: ["operator"] },
    entity: { type: "order", id: `ord-${id}` },
    context: { session: "s-81" },
    ...changes,
  };
}

/** Allowed; under /prod/ computed into /sandbox/prod/; under /etc/ denied. */
export function writeFile(path: string, changes: Body = {}): Body {
  return {
    id: freshId("write"),
    action: { name: "fs.write_file", arguments: { path, content: "hello" } },
    actor: { id: "support-agent", type: "agent", roles: ["operator"] },
    ...changes,
  };
}

/** What an executor shows to use the permit of a decision. */
export function useOf(proposal: Body, decision: Body, changes: Body = {}): Body {
  return {
    permit: decision.permit,
    action: { name: proposal.action.name, arguments: decision.action.arguments },
    actor: { id: proposal.actor.id },
    ...(proposal.entity === undefined ? {} : { entity: proposal.entity }),
    ...changes,
  };
}
