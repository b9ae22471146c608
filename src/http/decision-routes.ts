/**
 * The decision routes, on plain node:http ahead of Express: proposals, permits, execution reports. They translate, and
 * decide nothing.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Caller } from "../core/caller.ts";
import { HoldpointError, InvalidRequestError } from "../core/errors.ts";
import { PERMIT_CHARS_MAX } from "../core/permit.ts";
import { parseProposal } from "../core/proposal.ts";
import { type Reading, readJson } from "../core/read-json.ts";
import { parseReading } from "../core/schema.ts";
import type { ActorRef, Mode } from "../core/types.ts";
import type { PermitAnswer, UsePermitRequest } from "../gate/consume-permit.ts";
import { executionView } from "../gate/report-execution.ts";
import { sourceOf } from "./authenticate.ts";
import { type HttpContext, sendText, traceIdOf } from "./exchange.ts";
import { type Problem, problemOf, sendProblem } from "./problem.ts";
import { readBody } from "./read-body.ts";
import { batchSchema, reportSchema, usePermitSchema } from "./request-schemas.ts";

export type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

interface Exchange {
  readonly caller: Caller;
  readonly traceId: string;
  readonly request: IncomingMessage;
  /** Whether the client has hung up. */
  readonly isGone: () => boolean;
}

type Answer = { readonly status: number; readonly text: string } | { readonly problem: Problem };

export function decisionRoutes(http: HttpContext): ReadonlyMap<string, Handler> {
  return new Map([
    ["POST /v1/decisions", route(http, (exchange) => decideOne(http, exchange))],
    ["POST /v1/decisions/batch", route(http, (exchange) => decideBatch(http, exchange))],
    ["POST /v1/permits/verify", route(http, (exchange) => usePermit(http, exchange, "verifyPermit"))],
    ["POST /v1/permits/consume", route(http, (exchange) => usePermit(http, exchange, "consumePermit"))],
    ["POST /v1/executions", route(http, (exchange) => report(http, exchange))],
  ]);
}

/** Authenticates, answers, and turns whatever is thrown into a problem that says what it means for the action. */
function route(http: HttpContext, answer: (exchange: Exchange) => Promise<Answer>): Handler {
  return async (request, response) => {
    const traceId = traceIdOf(request);
    let caller: Caller | undefined;
    try {
      caller = await http.authenticator.caller(request);
      const given = await answer({ caller, traceId, request, isGone: () => response.closed });
      if ("problem" in given) sendProblem(response, given.problem);
      else sendText(response, given.status, given.text);
    } catch (thrown) {
      sendProblem(response, decisionProblem(http, thrown, { caller, traceId, request }));
    }
  };
}

function decisionProblem(
  http: HttpContext,
  thrown: unknown,
  of: { readonly caller: Caller | undefined; readonly traceId: string; readonly request: IncomingMessage },
): Problem {
  const { caller } = of;
  if (caller !== undefined && thrown instanceof HoldpointError && thrown.code === "forbidden")
    http.onOverreach({ caller, source: sourceOf(of.request) });
  http.onProblem(thrown instanceof HoldpointError ? thrown.code : "internal_error");
  if (!(thrown instanceof HoldpointError)) http.onInternalError(thrown as Error);
  const mode = thrown instanceof HoldpointError ? thrown.mode : undefined;
  return problemOf(thrown, { mode: mode ?? http.gate.modeOf(caller?.tenant), traceId: of.traceId });
}

async function decideOne(http: HttpContext, exchange: Exchange): Promise<Answer> {
  const proposal = parseProposal(await readBody(exchange.request, http.limits));
  const { caller, traceId, isGone } = exchange;
  const decision = await http.gate.decide({ proposal, caller, traceId, isGone });
  return { status: 200, text: decision.text };
}

/** Answers in the order of the proposals; each is decided on its own, and one that fails has its problem in its place. */
async function decideBatch(http: HttpContext, exchange: Exchange): Promise<Answer> {
  const { depthMax, bytesMax, batchMax } = http.limits;
  const reading = await readBody(exchange.request, { bytesMax, depthMax: depthMax + 2 });
  const { proposals } = parseReading(batchSchema, reading, "batch");
  if (proposals.length > batchMax) {
    throw new InvalidRequestError(
      "batch_too_large",
      `Batch of ${proposals.length} proposals, expected at most ${batchMax}`,
      {
        pointer: "/proposals",
        facts: { limit: batchMax },
      },
    );
  }
  const texts = await Promise.all(
    proposals.map((proposal, index) => decideInBatch(http, exchange, { proposal, index })),
  );
  return { status: 200, text: `{"decisions":[${texts.join(",")}]}` };
}

async function decideInBatch(
  http: HttpContext,
  exchange: Exchange,
  item: { readonly proposal: unknown; readonly index: number },
): Promise<string> {
  const { caller, traceId, isGone } = exchange;
  try {
    const proposal = parseProposal(readJson(JSON.stringify(item.proposal), http.limits));
    return (await http.gate.decide({ proposal, caller, traceId, isGone })).text;
  } catch (thrown) {
    const problem = decisionProblem(http, thrown, exchange);
    const pointer = `/proposals/${item.index}${problem.body.pointer ?? ""}`;
    return JSON.stringify({ ...problem.body, pointer });
  }
}

async function usePermit(
  http: HttpContext,
  exchange: Exchange,
  act: "verifyPermit" | "consumePermit",
): Promise<Answer> {
  // Whatever could be proposed can be shown again, with its permit beside it.
  const bytesMax = http.limits.bytesMax + PERMIT_CHARS_MAX;
  const reading = await readBody(exchange.request, { ...http.limits, bytesMax });
  const use = usePermitRequest(exchange, reading);
  try {
    const answer = await http.gate[act](use);
    return { status: 200, text: JSON.stringify(permitView(answer, exchange.traceId)) };
  } catch (thrown) {
    const problem = decisionProblem(http, thrown, exchange);
    return { problem: { ...problem, body: { ...problem.body, valid: false } } };
  }
}

function usePermitRequest(exchange: Exchange, reading: Reading): UsePermitRequest {
  const body = parseReading(usePermitSchema, reading, "use of a permit");
  return {
    caller: exchange.caller,
    traceId: exchange.traceId,
    token: body.permit,
    audience: body.audience,
    real: {
      action: body.action.name,
      arguments: body.action.arguments,
      argumentsText: reading.members!.get("action")!.members!.get("arguments")!.canonical,
      actorId: body.actor.id,
      onBehalfOf: body.actor.on_behalf_of as ActorRef | undefined,
      entity: body.entity ?? null,
    },
  };
}

function permitView(answer: PermitAnswer, traceId: string): object {
  if (answer.kind === "observed") {
    const { code, message } = answer.refusal;
    return {
      valid: true,
      ...enforcement(answer.mode),
      observed: { valid: false, code, detail: message },
      trace_id: traceId,
    };
  }
  const { claims, usesLeft, executionId } = answer.use;
  return {
    valid: true,
    ...enforcement(answer.mode),
    permit_id: claims.jti,
    execution_id: executionId,
    uses_left: usesLeft,
    binding_digest: claims.binding_digest,
    argument_digest: claims.argument_digest,
    expires_at: new Date(claims.exp * 1000).toISOString(),
    ...claims.lineage,
  };
}

function enforcement(mode: Mode): object {
  return { mode, enforced: mode === "enforce" };
}

async function report(http: HttpContext, exchange: Exchange): Promise<Answer> {
  const reading = await readBody(exchange.request, http.limits);
  const body = parseReading(reportSchema, reading, "execution report");
  const execution = await http.gate.reportExecution({
    caller: exchange.caller,
    permitId: body.permit_id,
    executionId: body.execution_id,
    status: body.status,
    resultText: reading.members!.get("result")?.canonical,
  });
  return { status: 200, text: JSON.stringify(executionView(execution)) };
}
