/**
 * Sidecars whose policy answers what the proposal says under `context.now` (under `context.granted` while a grant is in the
 * input), and tells under `obligations` what it saw of entity and session. Their domain has one entity type, `order`.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freshId } from "./proposals.ts";
import { type Body, startSidecar, type TestSidecar } from "./sidecar.ts";
import { opaPath, projectRoot } from "./tools.ts";

const REGO = `package holdpoint

default decision := {"outcome": "deny", "reasons": [{"code": "unscripted", "message": "nothing was said"}]}

decision := object.union(said, {"obligations": {"entity": input.entity, "session": input.session}}) if allowed

decision := {"outcome": "deny", "reasons": [{"code": "state_not_allowed", "message": "not in this state"}]} if not allowed

said := input.context.granted if input.approval != null

said := input.context.now if input.approval == null

default allowed := false

allowed if not input.context.states

allowed if input.entity.state in input.context.states
`;

export const ORDER = {
  states: ["CREATED", "PAID", "REFUNDED"],
  events: ["ORDER_PLACED", "ORDER_PAID", "ORDER_REFUNDED", "NOTED"],
  transitions: [
    { on: "ORDER_PLACED", from: [], to: "CREATED" },
    { on: "ORDER_PAID", from: ["CREATED"], to: "PAID" },
    { on: "ORDER_REFUNDED", from: ["PAID"], to: "REFUNDED" },
  ],
  attributes: {
    total: [{ on: ["ORDER_PLACED"], operation: "set", pointer: "/total" }],
    paid: [{ on: ["ORDER_PAID"], operation: "add", pointer: "/amount" }],
    notes: [{ on: ["NOTED"], operation: "count", pointer: "" }],
  },
};

const DATA = {
  holdpoint: {
    entities: { order: ORDER },
    contracts: {
      PAY: { entity_types: ["order"], allowed_states: ["PAID"], session_sums: ["amount"] },
      RUN: { entity_types: ["order"], allowed_states: ["PAID"], executor: "runner", event: "ORDER_REFUNDED" },
      LOST: { entity_types: ["order"], executor: "nobody" },
    },
  },
};

let compiled: string | undefined;

export function contextualBundle(): string {
  if (compiled !== undefined) return compiled;
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-contextual-"));
  writeFileSync(join(directory, "policy.rego"), REGO);
  writeFileSync(join(directory, "data.json"), JSON.stringify(DATA));
  const bundle = join(directory, "bundle.tar.gz");
  const capabilities = join(projectRoot, "rego", "capabilities.json");
  const flags = ["-t", "wasm", "-e", "holdpoint/decision", "--capabilities", capabilities, "-o", bundle];
  execFileSync(opaPath(), ["build", ...flags, directory], { stdio: ["ignore", "pipe", "pipe"] });
  compiled = bundle;
  return bundle;
}

export interface ContextualSidecar extends TestSidecar {
  event(type: string, order: string, changes?: Body): Promise<Body>;
  /** An order that was placed and paid. */
  paidOrder(): Promise<string>;
  consume(proposal: Body, decision: Body): Promise<Body>;
  report(decision: Body, status: "succeeded" | "failed"): Promise<Body>;
}

export async function startContextual(settings: Record<string, unknown> = {}): Promise<ContextualSidecar> {
  const holdpoint = await startSidecar({ bundle: contextualBundle(), admin_auth: "none", ...settings });
  const post = async (path: string, body: Body, port: "admin" | "decision" = "decision") =>
    (await holdpoint.send({ path, body, port })).body;
  const event = (type: string, order: string, changes: Body = {}) =>
    post("/v1/events", eventOf(type, order, changes), "admin");
  return {
    ...holdpoint,
    event,
    paidOrder: async () => {
      const order = freshId("ord");
      await event("ORDER_PLACED", order, { data: { total: 100 } });
      await event("ORDER_PAID", order, { data: { amount: 100 } });
      return order;
    },
    consume: (proposal, decision) =>
      post("/v1/permits/consume", {
        permit: decision.permit,
        action: proposal.action,
        actor: { id: proposal.actor.id },
        entity: proposal.entity,
      }),
    report: (decision, status) => post("/v1/executions", { permit_id: decision.permit_id, status }),
  };
}

export function eventOf(type: string, order: string, changes: Body = {}): Body {
  return {
    id: freshId("evt"),
    source: "shop",
    type,
    entity: { type: "order", id: order },
    actor: { id: "stripe" },
    time: "2026-11-20T10:00:00Z",
    data: {},
    ...changes,
  };
}

export function pay(now: Body, order: string, changes: Body = {}): Body {
  const { context = {}, ...rest } = changes;
  return {
    id: freshId("pay"),
    action: { name: "PAY", arguments: { amount: 5 } },
    actor: { id: "ops-agent", type: "agent", roles: ["operator"] },
    entity: { type: "order", id: order },
    context: { now, ...context },
    ...rest,
  };
}
