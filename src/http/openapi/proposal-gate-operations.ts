/** The routes of proposal gates: the same gate calls, in that protocol's words. */
import { BODY, CREDENTIAL, DECIDE, DECIDING, json, type Operation, PERMIT } from "./operation.ts";

const PROBLEMS = [...CREDENTIAL, ...BODY, ...DECIDING, "approval_not_found", "proposal_conflict"] as const;

export const proposalGateOperations: readonly Operation[] = [
  {
    method: "post",
    path: "/v1/proposals/decide",
    id: "decideProposal",
    tag: "proposals",
    summary: "Ask whether an action may run",
    description: "As POST /v1/decisions, in other words: `approval_required` is its escalate, `blocked` its deny.",
    scopes: DECIDE,
    body: { schema: "GateProposal", isRequired: true },
    answers: { 200: { description: "The decision, recorded", content: json("GateDecision") } },
    problems: PROBLEMS,
    problemSchema: "GateProblem",
  },
  {
    method: "post",
    path: "/v1/entities/{id}/actions/{action}/execute",
    id: "executeAction",
    tag: "proposals",
    summary: "Decide an action, and have its executor run it once where it is allowed",
    description:
      "The executor is the one that the action's contract names. An outcome that is not known stays unknown until an " +
      "operator resolves it, and the action is not run a second time.",
    scopes: DECIDE,
    parameters: ["EntityId", "ActionName"],
    body: { schema: "GateAction", isRequired: true },
    answers: {
      200: { description: "It ran", content: json("ActionExecuted") },
      422: { description: "It may not run, and did not", content: json("ActionRefused") },
      502: {
        description: "The executor refused it, or was not reached: it did not run",
        content: json("ActionFailed"),
      },
      504: { description: "It may have run: nobody knows", content: json("ActionUnknown") },
    },
    problems: [...PROBLEMS, ...PERMIT, "permit_not_found", "execution_conflict", "execution_not_consumed"],
    problemSchema: "GateProblem",
  },
  {
    method: "post",
    path: "/v1/entities/{id}/actions/{action}/approvals",
    id: "openApproval",
    tag: "proposals",
    summary: "Ask people to decide an action that needs them",
    description: "The same action once more finds the approval that is open for it.",
    scopes: DECIDE,
    parameters: ["EntityId", "ActionName"],
    body: { schema: "GateAction", isRequired: true },
    answers: {
      201: { description: "An approval is open", content: json("ApprovalOpened") },
      409: { description: "It may run without, or is a problem of its proposal", content: json("NoApprovalNeeded") },
      422: { description: "It may not run, whoever approves", content: json("ApprovalRefused") },
    },
    problems: PROBLEMS,
    problemSchema: "GateProblem",
  },
];
