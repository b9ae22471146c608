/**
 * The API's description is held to the running sidecar: every route is in it and nothing else, requests are refused by both
 * or by neither, and every answer is what it says, to the last member.
 */
import { createHash, createHmac } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { Router } from "express";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { decisionRoutes } from "../../src/http/decision-routes.ts";
import type { HttpContext, HttpLimits } from "../../src/http/exchange.ts";
import { openApiText } from "../../src/http/openapi.ts";
import { examplesBundle } from "../support/bundles.ts";
import { type ContextualSidecar, eventOf, pay, startContextual } from "../support/contextual.ts";
import { freshId, refund, useOf, writeFile } from "../support/proposals.ts";
import { again, startScripted } from "../support/scripted.ts";
import { type Answer, type Body, type Send, startSidecar, type TestSidecar } from "../support/sidecar.ts";

const LIMITS: HttpLimits = { bytesMax: 262_144, depthMax: 64, batchMax: 100, waitMsMax: 60_000 };

/** One credential for each scope. */
const KEY = {
  decide: "key-that-decides",
  review: "key-that-reviews",
  operate: "key-that-operates",
  ingest: "key-that-ingests",
} as const;
const CREDENTIALS = {
  auth: "api_key",
  metrics_auth: "api_key",
  api_keys: Object.entries(KEY).map(([scope, key]) => ({
    id: `${scope}-key`,
    sha256: createHash("sha256").update(key).digest("hex"),
    scopes: [scope],
    roles: scope === "review" ? ["ops_operator"] : "*",
    ...(scope === "decide" ? { actors: "*", on_behalf_of: "*" } : {}),
  })),
};

/** `plain` asks for a credential, `signed` for a signature. */
const STRIPE_SECRET = "whsec_0123456789abcdef0123456789abcdef";
const MAPPING = {
  id: { pointer: "/id" },
  type: { pointer: "/type", map: { paid: "ORDER_PAID", placed: "ORDER_PLACED" }, unmapped: "ignore" },
  entity: { type: { value: "order" }, id: { pointer: "/order" } },
  time: { pointer: "/at" },
  data: { pointer: "/data" },
};
const ADAPTERS = {
  plain: { source: "plain", signature: { kind: "none" }, mapping: MAPPING },
  signed: { source: "stripe", signature: { kind: "stripe", secrets: [{ value: STRIPE_SECRET }] }, mapping: MAPPING },
};

const description: Body = JSON.parse(openApiText(LIMITS, "1.2.3"));

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly pattern: RegExp;
  readonly described: Body;
}

const operations: readonly Operation[] = Object.entries(description.paths as Body).flatMap(([path, methods]) =>
  Object.entries(methods as Body).map(([method, described]) => ({
    method: method.toUpperCase(),
    path,
    pattern: new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{[a-z]+\}/g, "[^/]+")}$`),
    described: described as Body,
  })),
);
const nameOf = ({ method, path }: Operation) => `${method} ${path}`;
const portsOf = ({ described }: Operation) => Object.keys(described["x-holdpoint-scope"]) as ("decision" | "admin")[];
const pathOf = ({ path }: Operation) =>
  path
    .replace("{type}", "order")
    .replace("{id}", "appr_none")
    .replace("{action}", "RUN")
    .replace("{adapter}", "plain")
    .replace("{index}", "999999");

// ------------------------------------------------------------------------------------------- the document itself

const ajv = new Ajv2020({
  strict: true,
  strictTypes: false,
  allErrors: true,
  formats: {
    "date-time": (text) =>
      /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text)),
  },
});
const asDefinitions = (schema: Body): Body =>
  JSON.parse(JSON.stringify(schema).replaceAll("#/components/schemas/", "components#/$defs/"));
ajv.addSchema({ $id: "components", $defs: asDefinitions(description.components.schemas) });

const compiled = new Map<string, ValidateFunction>();

/** What is wrong with a value by a schema of the description; empty where nothing is. */
function faults(schema: Body, value: unknown): string[] {
  const text = JSON.stringify(schema);
  const validate = compiled.get(text) ?? ajv.compile(asDefinitions(schema));
  compiled.set(text, validate);
  return validate(value)
    ? []
    : validate.errors!.map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
}

const lint = async (text: string) => {
  const config = await createConfig({ extends: ["recommended"] });
  const problems = await lintFromString({ source: text, absoluteRef: "/openapi.json", config });
  return problems.map(({ severity, ruleId, message, location }) => ({
    severity,
    ruleId,
    message,
    at: location[0]?.pointer,
  }));
};

/** What the linter finds and is meant to be so, each with its reason. */
const EXCEPTIONS = [
  // It leads elsewhere, with a status of 303, and has no other good answer.
  { ruleId: "operation-2xx-response", at: "#/paths/~1/get/responses" },
];

describe("the document", () => {
  test("has no fault by the recommended rules of a public linter but for those listed", async () => {
    const found = await lint(JSON.stringify(description));
    const isMeant = ({ ruleId, at }: (typeof found)[number]) =>
      EXCEPTIONS.some((one) => one.ruleId === ruleId && one.at === at);
    expect(found.filter((problem) => !isMeant(problem))).toEqual([]);
    expect(found).toHaveLength(EXCEPTIONS.length);
  });

  test("a linter that found nothing was looking", async () => {
    const broken = structuredClone(description);
    broken.paths["/v1/decisions"].post.responses = {};
    broken.components.schemas.Proposal.examples = [{ id: "p" }];
    broken.components.schemas.Decision.properties.mode.$ref = "#/components/schemas/Nothing";
    delete broken.info.title;
    const rules = (await lint(JSON.stringify(broken))).map(({ ruleId }) => ruleId);
    expect(rules).toEqual(
      expect.arrayContaining(["struct", "operation-2xx-response", "no-invalid-schema-examples", "no-unresolved-refs"]),
    );
  });

  test("openApiText() gives the same text every time, within its size, in little time", () => {
    const times = Array.from({ length: 5 }, () => {
      const startedAt = process.cpuUsage();
      const text = openApiText(LIMITS, "1.2.3");
      const { user, system } = process.cpuUsage(startedAt);
      expect(JSON.parse(text)).toEqual(description);
      return (user + system) / 1_000;
    });
    expect(openApiText(LIMITS, "1.2.3")).toBe(openApiText(LIMITS, "1.2.3"));
    expect(openApiText(LIMITS, "1.2.3").length).toBeLessThan(200_000);
    expect(Math.min(...times)).toBeLessThan(30);
  });

  test("its examples are what its schemas ask for", () => {
    const examples = Object.entries(description.components.schemas as Body).flatMap(([name, schema]) =>
      ((schema as Body).examples ?? []).map((example: Body) => [name, example]),
    );
    for (const [name, example] of examples) {
      expect(faults({ $ref: `#/components/schemas/${name}` }, example), name).toEqual([]);
    }
    expect(examples.map(([name]) => name)).toEqual(
      expect.arrayContaining(["Proposal", "Decision", "Approval", "Problem"]),
    );
  });

  test("objects without a list of members are those whose inside is none of ours", () => {
    const open: string[] = [];
    const look = (value: Body, at: string): void => {
      if (typeof value !== "object" || value === null) return;
      if (value.type === "object" && value.additionalProperties !== false) open.push(at);
      for (const [key, inner] of Object.entries(value)) if (key !== "examples") look(inner, `${at}/${key}`);
    };
    look(description.components.schemas, "");
    expect(open.map((at) => at.replaceAll("/properties", "")).sort()).toEqual([
      "/Action/arguments",
      "/Approval/context",
      "/Approval/envelope",
      "/Decision/obligations",
      "/Description",
      "/EntityRead/attributes",
      "/EntityRead/history/items/data",
      "/EntityRead/rebuild/rebuilt/attributes",
      "/Event/data",
      "/GateAction/context",
      "/GateAction/parameters",
      "/GateDecision/parameters",
      "/GateProposal/context",
      "/GateProposal/parameters",
      "/Grant/arguments",
      "/LedgerEntry",
      "/Observation/entity/anyOf/0/attributes",
      "/PermitUse/action/arguments",
      "/Policy/actions",
      "/Proposal/action/arguments",
      "/Proposal/context",
      "/Readiness/checks",
    ]);
  });

  test("limits are in it, those of configuration as this sidecar has them", () => {
    const { schemas } = description.components;
    expect(schemas.Identifier.pattern).toContain("{1,256}");
    expect(schemas.Proposal.properties.action.properties.arguments).toMatchObject({ maxProperties: 1_000 });
    expect(schemas.Batch.properties.proposals).toMatchObject({ minItems: 1, maxItems: 100 });
    expect(schemas.Events.properties.events).toMatchObject({ minItems: 1, maxItems: 100 });
    expect(schemas.Actor.properties.on_behalf_of).toEqual({ $ref: "#/components/schemas/Principal3" });
    expect(schemas.Principal0.properties).not.toHaveProperty("on_behalf_of");
    const other = JSON.parse(openApiText({ bytesMax: 1, depthMax: 2, batchMax: 3, waitMsMax: 4_000 }, "1.2.3"));
    expect(other.components.schemas.Batch.properties.proposals.maxItems).toBe(3);
    expect(other.components.schemas.Events.properties.events.maxItems).toBe(3);
    expect(other["x-holdpoint-limits"]).toEqual({ body_bytes_max: 1, depth_max: 2, batch_max: 3, wait_seconds_max: 4 });
  });
});

// --------------------------------------------------------------------------------------------------- every route

/** Literal: whoever adds a route adds it here and to the operations below src/http/openapi. */
const ROUTES: Readonly<Record<string, readonly string[]>> = {
  "POST /v1/decisions": ["decision", "admin"],
  "POST /v1/decisions/batch": ["decision", "admin"],
  "POST /v1/permits/verify": ["decision", "admin"],
  "POST /v1/permits/consume": ["decision", "admin"],
  "POST /v1/executions": ["decision", "admin"],
  "POST /v1/proposals/decide": ["decision", "admin"],
  "POST /v1/entities/{id}/actions/{action}/execute": ["decision", "admin"],
  "POST /v1/entities/{id}/actions/{action}/approvals": ["decision", "admin"],
  "GET /v1/approvals": ["admin"],
  "GET /v1/approvals/{id}": ["decision", "admin"],
  "POST /v1/approvals/{id}/grant": ["admin"],
  "POST /v1/approvals/{id}/deny": ["admin"],
  "POST /v1/approvals/{id}/cancel": ["admin"],
  "POST /v1/events": ["admin"],
  "POST /v1/ingest/{adapter}": ["admin"],
  "GET /v1/entities/{type}/{id}": ["admin"],
  "GET /v1/traces/{id}": ["admin"],
  "GET /v1/entities/{type}/{id}/timeline": ["admin"],
  "GET /v1/freezes": ["admin"],
  "POST /v1/freezes": ["admin"],
  "POST /v1/freezes/{id}/lift": ["admin"],
  "GET /v1/executions": ["admin"],
  "POST /v1/executions/{id}/resolve": ["admin"],
  "GET /v1/observations": ["admin"],
  "GET /v1/ledger/checkpoint": ["admin"],
  "GET /v1/ledger/entries": ["admin"],
  "GET /v1/ledger/entries/{index}": ["admin"],
  "GET /v1/policy": ["admin"],
  "GET /metrics": ["admin"],
  "GET /healthz": ["decision", "admin"],
  "GET /readyz": ["decision", "admin"],
  "GET /.well-known/jwks.json": ["decision", "admin"],
  "GET /openapi.json": ["decision", "admin"],
  "GET /": ["admin"],
  "GET /status": ["admin"],
  "GET /status.css": ["admin"],
  "GET /status.svg": ["admin"],
};

/** Of pages, which say so to people. */
const CODE_OF_PAGE: Readonly<Record<number, string>> = { 401: "unauthenticated", 403: "forbidden" };

describe("routes", () => {
  let holdpoint: TestSidecar;
  /** As Express and the fast lane came to know them while the servers were made. */
  let known: Set<string>;

  beforeAll(async () => {
    const routes = vi.spyOn(Router.prototype, "route");
    holdpoint = await startSidecar({ bundle: examplesBundle(), adapters: ADAPTERS, ...CREDENTIALS });
    const layers = routes.mock.results.map(({ value }) => value as { path: string; methods: Record<string, boolean> });
    routes.mockRestore();
    known = new Set([
      ...decisionRoutes({} as HttpContext).keys(),
      ...layers.flatMap(({ path, methods }) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/:([a-z]+)/g, "{$1}")}`),
      ),
    ]);
  });
  afterAll(() => holdpoint.close());

  test("the description lists those that the routers know, and no others", () => {
    expect(operations.map(nameOf).sort()).toEqual([...known].sort());
    expect(Object.fromEntries(operations.map((operation) => [nameOf(operation), portsOf(operation)]))).toEqual(ROUTES);
  });

  test.each(operations.map((operation) => [nameOf(operation), operation] as const))(
    "%s is served by the ports that are named, to the scopes that are named",
    async (_, operation) => {
      const { method, described } = operation;
      for (const port of ["decision", "admin"] as const) {
        const scopes: readonly string[] | undefined = described["x-holdpoint-scope"][port];
        const ask = async (key?: string) => {
          const body = method === "POST" ? {} : undefined;
          const answer = await holdpoint.send({ port, method, path: pathOf(operation), body, ...(key && { key }) });
          return answer.body?.code ?? CODE_OF_PAGE[answer.status] ?? answer.status;
        };
        if (scopes === undefined) {
          expect(["route_not_found", "method_not_allowed"]).toContain(await ask(KEY.operate));
          continue;
        }
        const refusals = ["unauthenticated", "forbidden", "route_not_found", "method_not_allowed"];
        if (scopes.length === 0) expect(refusals).not.toContain(await ask());
        else expect(await ask()).toBe("unauthenticated");
        for (const [scope, key] of Object.entries(KEY)) {
          if (scopes.length === 0 || scopes.includes(scope)) expect(refusals, scope).not.toContain(await ask(key));
          else expect(await ask(key), scope).toBe("forbidden");
        }
        expect(described.servers.map(({ url }: Body) => url)).toContain(`http://{${port}}`);
      }
      expect(described.servers).toHaveLength(portsOf(operation).length);
    },
  );

  test("both ports give the same description to whoever asks, and let it be kept", async () => {
    const onBoth = await Promise.all(
      (["decision", "admin"] as const).map((port) => holdpoint.send({ port, path: "/openapi.json" })),
    );
    for (const { status, headers, text } of onBoth) {
      expect(status).toBe(200);
      expect(headers).toMatchObject({ "content-type": "application/json", "cache-control": "public, max-age=300" });
      expect(text).toBe(onBoth[0]!.text);
    }
    const { info } = onBoth[0]!.body;
    expect(onBoth[0]!.body).toEqual({ ...description, info: { ...description.info, version: info.version } });
    expect(info.version).toMatch(/^\d+\.\d+\.\d+/);
  });
});

// ------------------------------------------------------------------------------------------------------- answers

/** Operation and status of every answer that was held to the description. */
const held = new Set<string>();

/** Sends, and holds the answer to what the description says of it. */
async function ask(holdpoint: TestSidecar, request: Send): Promise<Answer> {
  const answer = await holdpoint.send(request);
  const method = request.method ?? (request.body === undefined ? "GET" : "POST");
  const path = request.path.split("?")[0]!;
  const operation = operations.find((one) => one.method === method && one.pattern.test(path))!;
  const name = `${method} ${path}: ${answer.status}`;
  const described = operation.described.responses[answer.status];
  expect(described, `${name} is not described: ${answer.text}`).toBeDefined();
  const type = String(answer.headers["content-type"]);
  if (described.content === undefined) expect(answer.text, name).toBe("");
  else {
    expect(Object.keys(described.content), name).toContain(type);
    expect(faults(described.content[type].schema, answer.body), `${name} ${answer.text}`).toEqual([]);
  }
  for (const header of Object.keys(described.headers ?? {})) {
    expect(answer.headers, name).toHaveProperty(header.toLowerCase());
  }
  held.add(`${nameOf(operation)} ${answer.status}`);
  return answer;
}

describe("answers are what is described", () => {
  let enforcing: TestSidecar;
  let observing: TestSidecar;

  beforeAll(async () => {
    enforcing = await startSidecar({ bundle: examplesBundle(), ...CREDENTIALS, body_bytes_max: 16_384 });
    observing = await startSidecar({ bundle: examplesBundle(), mode: "observe", admin_auth: "none" });
  });
  afterAll(() => Promise.all([enforcing.close(), observing.close()]));

  const decide = (body: unknown) => ask(enforcing, { path: "/v1/decisions", body, key: KEY.decide });
  const act = (id: string, verdict: string, body: unknown = {}) =>
    ask(enforcing, { port: "admin", path: `/v1/approvals/${id}/${verdict}`, body, key: KEY.review });
  const read = (path: string) => ask(enforcing, { port: "admin", path, key: KEY.operate });

  test("decisions of every outcome", async () => {
    const long = {
      on_behalf_of: { id: "b", on_behalf_of: { id: "c", on_behalf_of: { id: "d", on_behalf_of: { id: "e" } } } },
    };
    const outcomes = [
      await decide(writeFile("/tmp/a")),
      await decide(writeFile("/tmp/a", { permit: true, actor: { id: "support-agent", roles: ["operator"], ...long } })),
      await decide(writeFile("/prod/a")),
      await decide(writeFile("/etc/a")),
      await decide(refund(700)),
      await decide({ ...refund(5), action: { name: "NO.SUCH", arguments: {} } }),
    ].map(({ body }) => body.outcome);
    expect(outcomes).toEqual(["allow", "deny", "compute", "deny", "escalate", "deny"]);
    const unloaded = await startSidecar();
    expect((await ask(unloaded, { path: "/v1/decisions", body: refund(5) })).body.policy).toBeNull();
    expect((await ask(unloaded, { path: "/readyz" })).status).toBe(503);
    await ask(unloaded, { port: "admin", path: "/metrics" });
    await unloaded.close();
  });

  test("a batch, with problems among its answers", async () => {
    const proposals = [writeFile("/tmp/a"), { id: "p" }, refund(700), writeFile("/tmp/a", { approval_id: "none" })];
    const { body } = await ask(enforcing, { path: "/v1/decisions/batch", body: { proposals }, key: KEY.decide });
    expect(body.decisions.map((one: Body) => one.code ?? one.outcome)).toEqual([
      "allow",
      "invalid_request",
      "escalate",
      "approval_not_found",
    ]);
    const tooMany = { proposals: Array.from({ length: 101 }, () => 0) };
    const { status } = await ask(enforcing, { path: "/v1/decisions/batch", body: tooMany, key: KEY.decide });
    expect(status).toBe(413);
  });

  test("an action from proposal to report", async () => {
    const proposal = refund(700);
    const { approval } = (await decide(proposal)).body;
    await ask(enforcing, { path: `/v1/approvals/${approval.id}?wait=10ms`, key: KEY.decide });
    await read("/v1/approvals?status=pending");
    expect(
      (await act(approval.id, "grant", { reason: "fine", arguments: { ...proposal.action.arguments, amount: 600 } }))
        .status,
    ).toBe(200);
    await read(`/v1/approvals/${approval.id}`);
    const decision = (await decide(proposal)).body;
    expect(decision).toHaveProperty("original_argument_digest");
    const use = useOf(proposal, decision);
    const consume = (body: unknown) => ask(enforcing, { path: "/v1/permits/consume", body, key: KEY.decide });
    const verify = (body: unknown) => ask(enforcing, { path: "/v1/permits/verify", body, key: KEY.decide });
    const report = (body: unknown) => ask(enforcing, { path: "/v1/executions", body, key: KEY.decide });
    const { permit_id } = decision;
    expect((await report({ permit_id, status: "failed" })).body.code).toBe("execution_not_consumed");
    expect((await verify(use)).status).toBe(200);
    expect((await verify({ ...use, actor: { id: "somebody-else" } })).body.code).toBe("wrong_scope");
    expect((await consume({ ...use, permit: "a.b.c" })).status).toBe(403);
    expect((await consume(use)).status).toBe(200);
    expect((await consume(use)).body.code).toBe("already_consumed");
    expect((await read("/v1/executions")).body.executions).toHaveLength(1);
    expect((await report({ permit_id, status: "succeeded", result: { id: 1 } })).status).toBe(200);
    expect((await report({ permit_id, status: "failed" })).body.code).toBe("execution_conflict");
    expect((await report({ permit_id: "perm_none", status: "failed" })).body.code).toBe("permit_not_found");
    expect((await decide({ ...proposal, context: {} })).body.code).toBe("proposal_conflict");
  });

  test("a denial, a cancellation, and reviews that are refused", async () => {
    const first = (await decide(refund(700))).body.approval.id;
    expect((await act(first, "deny", { reason: "no" })).status).toBe(200);
    expect((await act(first, "grant")).body.code).toBe("approval_not_pending");
    const second = (await decide(refund(700))).body.approval.id;
    expect((await act(second, "grant", { binding_digest: `sha256:${"0".repeat(64)}` })).body.code).toBe(
      "binding_mismatch",
    );
    expect((await act(second, "grant", { arguments: { amount: 1e6 } })).body.code).toBe("edit_refused");
    expect((await act(second, "cancel")).status).toBe(200);
    for (const verdict of ["grant", "deny", "cancel"]) {
      expect((await act("appr_none", verdict)).body.code).toBe("approval_not_found");
      expect((await act(first, verdict, { actor: { id: "somebody-else" } })).body.code).toBe("forbidden");
    }
  });

  test("an envelope", async () => {
    const scripted = await startScripted({ auth: "none", ...{ api_keys: CREDENTIALS.api_keys } });
    const envelope = { schema: { type: "object", properties: { amount: { type: "integer", maximum: 9 } } }, uses: 2 };
    const now = {
      outcome: "escalate",
      approval: { roles: ["ops_operator"], binding: "envelope", envelope },
    };
    const proposal = {
      id: freshId("e"),
      action: { name: "PAY", arguments: { amount: 5 } },
      actor: { id: "agent" },
      context: { now },
    };
    const { approval } = (await ask(scripted, { path: "/v1/decisions", body: proposal })).body;
    const path = `/v1/approvals/${approval.id}`;
    await ask(scripted, { port: "admin", path: `${path}/grant`, body: {}, key: KEY.review });
    expect((await ask(scripted, { path })).body.binding).toBe("envelope");
    const decision = (await ask(scripted, { path: "/v1/decisions", body: again(proposal) })).body;
    expect(decision.outcome).toBe("allow");
    const use = useOf(proposal, decision);
    expect((await ask(scripted, { path: "/v1/permits/verify", body: use })).body.argument_digest).toBeNull();
    const tooMuch = { ...use, action: { name: "PAY", arguments: { amount: 50 } } };
    expect((await ask(scripted, { path: "/v1/permits/consume", body: tooMuch })).body.code).toBe("arguments_rejected");
    await scripted.close();
  });

  /** Its policy says what the proposal tells it to; `run` is the executor of the action RUN. */
  async function withContext(act: (holdpoint: ContextualSidecar, executor: Server) => Promise<void>) {
    const executor = createServer((_, response) => response.end());
    await new Promise<void>((resolve) => executor.listen(0, "127.0.0.1", resolve));
    const { port } = executor.address() as AddressInfo;
    const executors = { runner: { url: `http://127.0.0.1:${port}/run`, timeout_ms: 300 } };
    const holdpoint = await startContextual({ executors, adapters: ADAPTERS });
    try {
      await act(holdpoint, executor);
    } finally {
      executor.closeAllConnections();
      executor.close();
      await holdpoint.close();
    }
  }

  test("events, one and several, and the entity that they move", () =>
    withContext(async (holdpoint) => {
      const send = (body: unknown) => ask(holdpoint, { port: "admin", path: "/v1/events", body });
      const order = freshId("ord");
      const placed = eventOf("ORDER_PLACED", order, { data: { total: 100 } });
      const first = (await send(placed)).body;
      expect(first).toMatchObject({ sequence: 1, repeated: false, applied: true, from: null, state: "CREATED" });
      expect((await send(placed)).body).toEqual({ ...first, repeated: true });
      expect((await send({ ...placed, data: {} })).body.code).toBe("event_conflict");
      const stale = eventOf("ORDER_PAID", order, { expected_version: 7 });
      expect((await send(stale)).body).toMatchObject({ code: "version_conflict", current_version: 1 });
      const refunded = (await send(eventOf("ORDER_REFUNDED", order))).body;
      expect(refunded).toMatchObject({ applied: false, refusal: { code: "no_transition", current_state: "CREATED" } });
      expect((await send(eventOf("ORDER_LOST", order))).body.code).toBe("event_type_unknown");
      expect((await send(eventOf("NOTED", order, { entity: { type: "parcel", id: "p" } }))).body.code).toBe(
        "entity_type_unknown",
      );
      const fractions = eventOf("ORDER_PAID", order, { data: { amount: "much" } });
      expect((await send(fractions)).body).toMatchObject({ code: "event_data_invalid", pointer: "/data/amount" });
      expect((await send(eventOf("NOTED", order, { source: "holdpoint" }))).status).toBe(403);
      const several = [eventOf("ORDER_PAID", order, { data: { amount: 7 } }), { id: "e" }, eventOf("NOTED", order)];
      const { events } = (await send({ events: several })).body;
      expect(events.map((one: Body) => one.code ?? one.sequence)).toEqual([3, "invalid_request", 4]);
      expect((await send({ events: Array.from({ length: 101 }, () => 0) })).status).toBe(413);

      const read = (path: string) => ask(holdpoint, { port: "admin", path: `/v1/entities/${path}` });
      const entity = (await read(`order/${order}?limit=2`)).body;
      expect(entity).toMatchObject({
        state: "PAID",
        version: 3,
        attributes: { total: 100, paid: 7, notes: 1 },
        cursor: 3,
      });
      expect(entity.history.map((row: Body) => row.sequence)).toEqual([4, 3]);
      const before = (await read(`order/${order}?limit=2&cursor=3&rebuild=full`)).body;
      expect(before.history.map((row: Body) => row.applied)).toEqual([false, true]);
      expect(before).toMatchObject({ cursor: null, rebuild: { matches: true, events: 4 } });
      expect((await read(`order/${order}?rebuild=none`)).body).not.toHaveProperty("rebuild");
      expect((await read("order/none")).body.code).toBe("entity_not_found");
      expect((await read("parcel/none")).body.code).toBe("entity_type_unknown");
      expect((await read(`order/${order}?limit=0`)).status).toBe(400);
      for (const path of [`/v1/entities/order/${order}/timeline`, `/v1/traces/${first.trace_id}`]) {
        const { status, body } = await ask(holdpoint, { port: "admin", path });
        expect(status, path).toBe(200);
        expect(body.rows.length, path).toBeGreaterThan(0);
      }
      expect((await ask(holdpoint, { port: "admin", path: `/v1/traces/${"0".repeat(32)}` })).status).toBe(404);
    }));

  test("an entity that is no more what its events give", () =>
    withContext(async (holdpoint) => {
      const order = freshId("ord");
      await holdpoint.event("ORDER_PLACED", order, { data: { total: 100 } });
      const { store } = holdpoint.sidecar;
      const kept = (await store.readEntity("default", { type: "order", id: order }))!;
      const { changedAtMs: _, ...after } = { ...kept, state: "PAID", events: 2 };
      const [event] = await store.readEvents("default", kept.ref, 1, 1);
      const eventText = event!.text;
      const written = await store.appendEvent("default", {
        expectedEvents: 1,
        after,
        source: "shop",
        eventId: "forged",
        contentDigest: kept.chain as `sha256:${string}`,
        eventText,
      });
      expect(written.kind).toBe("appended");
      const { body } = await ask(holdpoint, { port: "admin", path: `/v1/entities/order/${order}` });
      expect(body.rebuild).toMatchObject({ matches: false, rebuilt: { state: "CREATED" }, reason: expect.any(String) });
    }));

  test("webhooks with a signature, with a credential, and of no use to us", () =>
    withContext(async (holdpoint) => {
      const order = freshId("ord");
      const of = (type: string) => ({ id: freshId("in"), type, order, at: "2026-11-20T10:00:00+01:00", data: {} });
      const post = (adapter: string, body: unknown, headers = {}) =>
        ask(holdpoint, { port: "admin", path: `/v1/ingest/${adapter}`, body, headers });
      const signed = (text: string, at = Math.floor(Date.now() / 1_000)) => ({
        "stripe-signature": `t=${at},v1=${createHmac("sha256", STRIPE_SECRET).update(`${at}.${text}`).digest("hex")}`,
      });
      const text = JSON.stringify(of("placed"));
      expect((await post("signed", text, signed(text))).body).toMatchObject({ source: "stripe", state: "CREATED" });
      expect((await post("signed", text, signed("{}"))).body.code).toBe("webhook_signature_invalid");
      expect((await post("signed", text, signed(text, 1_700_000_000))).body.code).toBe("webhook_signature_expired");
      expect((await post("plain", of("shipped"))).body).toMatchObject({ ignored: true, reason: expect.any(String) });
      expect((await post("plain", { type: "paid" })).body).toMatchObject({ code: "webhook_mapping_failed" });
      expect((await post("plain", "{")).body.code).toBe("malformed_json");
      expect((await post("none", of("paid"))).body.code).toBe("adapter_not_found");
    }));

  test("limits, a lock, and permits that a lock, a freeze and a changed state take back", () =>
    withContext(async (holdpoint) => {
      const order = await holdpoint.paidOrder();
      const decide = async (proposal: Body) =>
        (await ask(holdpoint, { path: "/v1/decisions", body: proposal })).body as Body;
      const permit = { required: true, bind_entity_version: true };
      const limits = [{ key: "k", limit: 10.5, window_seconds: 60, cost: 2.25 }];
      const proposal = pay({ outcome: "allow", permit, limits, lock: { key: "l", ttl_seconds: 60 } }, order);
      const decision = await decide(proposal);
      expect(decision).toMatchObject({ limits: [{ used: 2.25 }], lock: { key: "l" }, entity_version: 2 });
      const use = useOf(proposal, decision);
      const consume = () => ask(holdpoint, { path: "/v1/permits/consume", body: use });
      const freeze = (body: Body) => ask(holdpoint, { port: "admin", path: "/v1/freezes", body });
      const { freeze: set } = (await freeze({ kind: "action", subject: "PAY", reason: "stop" })).body;
      expect((await consume()).body.code).toBe("frozen");
      expect((await freeze({ kind: "tenant", reason: "stop", actor: { id: "olivia" } })).body.freeze).toMatchObject({
        by: "olivia",
      });
      const { freezes } = (await ask(holdpoint, { port: "admin", path: "/v1/freezes" })).body;
      expect(freezes.map(({ kind }: Body) => kind).sort()).toEqual(["action", "tenant"]);
      const lift = (id: string) =>
        ask(holdpoint, { port: "admin", path: `/v1/freezes/${id}/lift`, body: { reason: "go on" } });
      for (const { id } of freezes) expect((await lift(id)).body.freeze.id).toBe(id);
      expect((await lift(set.id)).body.code).toBe("freeze_not_found");
      await holdpoint.event("NOTED", order);
      expect((await consume()).body).toMatchObject({
        code: "state_changed",
        current_state: "PAID",
        current_version: 3,
      });
    }));

  test("an execution that nobody reported, resolved by an operator", () =>
    withContext(async (holdpoint) => {
      const proposal = pay({ outcome: "allow", permit: { required: true } }, "o");
      const decision = (await ask(holdpoint, { path: "/v1/decisions", body: proposal })).body;
      const { execution_id } = await holdpoint.consume(proposal, decision);
      const resolve = (id: string, status: string) =>
        ask(holdpoint, {
          port: "admin",
          path: `/v1/executions/${id}/resolve`,
          body: { status, reason: "looked", actor: { id: "olivia" } },
        });
      expect((await resolve(execution_id, "succeeded")).body).toMatchObject({ status: "succeeded" });
      expect((await resolve(execution_id, "failed")).body.code).toBe("execution_conflict");
      expect((await resolve("exec_none", "failed")).body.code).toBe("execution_not_found");
    }));

  test("proposal gates: decided, executed, refused, held and failed", () =>
    withContext(async (holdpoint, executor) => {
      const allow = { outcome: "allow" };
      const hold = { outcome: "escalate", approval: { roles: ["ops_operator"] } };
      const decide = (now: Body) =>
        ask(holdpoint, {
          path: "/v1/proposals/decide",
          body: { id: freshId("t"), action_name: "PAY", actor_id: "a", parameters: { amount: 1 }, context: { now } },
        });
      const rewritten = {
        id: freshId("t"),
        action_name: "fs.write_file",
        actor: { id: "support-agent", roles: ["operator"] },
        parameters: { path: "/prod/a", content: "hello" },
      };
      const outcomes = [
        await decide({ ...allow, permit: { required: true } }),
        await ask(enforcing, { path: "/v1/proposals/decide", body: rewritten, key: KEY.decide }),
        await decide(hold),
        await decide({ outcome: "deny", reasons: [{ code: "no", message: "" }] }),
      ].map(({ body }) => body.outcome);
      expect(outcomes).toEqual(["allowed", "allowed", "approval_required", "blocked"]);
      expect((await ask(holdpoint, { path: "/v1/proposals/decide", body: {} })).body).toMatchObject({
        error: "invalid request",
        code: "invalid_request",
      });

      const act = (what: string, order: string, now: Body, action = "RUN") =>
        ask(holdpoint, {
          path: `/v1/entities/${order}/actions/${action}/${what}`,
          body: { entity_type: "order", actor: { id: "a" }, context: { now, states: ["PAID"], granted: allow } },
        });
      const order = await holdpoint.paidOrder();
      const errorOf = async (answer: Promise<Answer>) => (await answer).body.error;
      expect(await errorOf(act("execute", order, hold))).toBe("action requires approval");
      expect((await act("approvals", order, hold)).status).toBe(201);
      expect(await errorOf(act("approvals", order, allow))).toBe("no approval needed");
      const again = {
        id: freshId("t"),
        entity_type: "order",
        actor: { id: "a" },
        parameters: { amount: 1 },
        context: { now: hold },
      };
      const path = `/v1/entities/${order}/actions/PAY/approvals`;
      expect((await ask(holdpoint, { path, body: again })).status).toBe(201);
      const other = (await ask(holdpoint, { path, body: { ...again, parameters: { amount: 2 } } })).body;
      expect(other).toMatchObject({ error: "proposal conflict", code: "proposal_conflict", outcome: "deny" });
      expect(await errorOf(act("approvals", "none", hold))).toBe("state not allowed");
      expect(await errorOf(act("execute", "none", allow))).toBe("state not allowed");
      expect(await errorOf(act("execute", order, { outcome: "deny" }))).toBe("action blocked");
      expect(await errorOf(act("approvals", order, { outcome: "deny" }))).toBe("action blocked");
      expect(await errorOf(act("execute", order, allow, "LOST"))).toBe("no executor");
      executor.removeAllListeners("request").on("request", (_, response) => response.writeHead(409).end());
      expect(await errorOf(act("execute", order, allow))).toBe("executor failed");
      executor.removeAllListeners("request").on("request", (_, response) => response.destroy());
      expect(await errorOf(act("execute", order, { ...allow, risk: "low" }))).toBe("outcome unknown");
      executor
        .removeAllListeners("request")
        .on("request", (_, response) =>
          response.setHeader("content-type", "application/json").end('{"message":"done","n":[1]}'),
        );
      const done = (await act("execute", await holdpoint.paidOrder(), allow)).body.result;
      expect(done).toMatchObject({ message: "done", output: { n: [1] }, state: "REFUNDED" });
    }));

  test("what operators read", async () => {
    for (const path of [
      "/v1/observations",
      "/v1/ledger/checkpoint",
      "/v1/ledger/entries?limit=1000",
      "/v1/ledger/entries/0",
      "/v1/policy",
      "/metrics",
      "/healthz",
      "/readyz",
      "/.well-known/jwks.json",
      "/openapi.json",
      "/status",
      "/status.css",
      "/status.svg",
    ]) {
      expect((await read(path)).status, path).toBe(200);
    }
    expect((await read("/v1/ledger/entries/999999")).status).toBe(404);
    expect((await read("/")).status).toBe(303);
    expect((await ask(enforcing, { port: "admin", path: "/status" })).status).toBe(401);
    expect((await ask(enforcing, { port: "admin", path: "/status", key: KEY.decide })).status).toBe(403);
  });

  test("observe mode: decisions, permits that would not hold, problems that block nothing, observations", async () => {
    const see = (path: string, body: unknown) => ask(observing, { path, body });
    const rewritten = (await see("/v1/decisions", writeFile("/prod/a"))).body;
    expect(rewritten).toMatchObject({ outcome: "allow", observed_outcome: "compute" });
    const proposal = refund(9_000, { permit: true });
    const decision = (await see("/v1/decisions", proposal)).body;
    expect(decision).toMatchObject({ outcome: "allow", observed_outcome: "deny", enforced: false });
    const use = useOf(proposal, decision);
    const other = { ...use, actor: { id: "somebody-else" } };
    expect((await see("/v1/permits/verify", use)).status).toBe(200);
    expect((await see("/v1/permits/verify", other)).body.observed.code).toBe("wrong_scope");
    expect((await see("/v1/permits/consume", other)).body.observed.code).toBe("wrong_scope");
    expect((await see("/v1/permits/consume", use)).status).toBe(200);
    expect((await see("/v1/decisions", {})).body).toMatchObject({ outcome: "allow", code: "invalid_request" });
    const { observations } = (await ask(observing, { port: "admin", path: "/v1/observations" })).body;
    expect(observations).toHaveLength(2);
    expect((await ask(observing, { port: "admin", path: "/v1/policy" })).body.mode).toBe("observe");
    const unnamed = { port: "admin", path: "/v1/approvals/appr_none/grant", body: {} } as const;
    expect((await ask(observing, unnamed)).body.pointer).toBe("/actor");
  });

  test("problems with bodies and credentials", async () => {
    const post = (body: unknown, more: Partial<Send> = {}) =>
      ask(enforcing, { path: "/v1/decisions", body, key: KEY.decide, ...more });
    const deep = "[".repeat(70) + "]".repeat(70);
    const codes = [
      await post("{"),
      await post('{"id":1,"id":2}'),
      await post(Buffer.from([0x22, 0xff, 0x22])),
      await post("[9007199254740993]"),
      await post(deep),
      await post({ id: 5 }),
      await post("x".repeat(20_000)),
      await post("{}", { headers: { "content-type": "text/plain" } }),
      await post("{}", { headers: { "content-encoding": "gzip" } }),
      await ask(enforcing, { path: "/v1/decisions", body: {} }),
      await post({}, { key: KEY.review }),
      await post(writeFile("/tmp/a", { approval_id: "appr_none" })),
    ].map(({ body }) => body.code);
    expect(codes).toEqual([
      "malformed_json",
      "duplicate_key",
      "ill_formed_unicode",
      "inexact_number",
      "depth_exceeded",
      "invalid_request",
      "body_too_large",
      "wrong_content_type",
      "wrong_content_encoding",
      "unauthenticated",
      "forbidden",
      "approval_not_found",
    ]);
    expect((await read("/v1/approvals?limit=0")).status).toBe(400);
    for (let attempt = 0; attempt < 20; attempt += 1) await post({}, { key: "unknown" });
    expect((await post({}, { key: "unknown" })).status).toBe(429);
  });

  test("a part that is out", async () => {
    const broken = await startSidecar({ bundle: examplesBundle() });
    await broken.sidecar.ledger.close();
    expect((await ask(broken, { path: "/v1/decisions", body: refund(700) })).status).toBe(503);
    await broken.close();
  });

  test("every operation has been asked, and its good answer seen", () => {
    const isSeen = (operation: Operation) =>
      [200, 201, 303].some((status) => held.has(`${nameOf(operation)} ${status}`));
    const seen = operations.filter(isSeen);
    expect(seen.map(nameOf)).toEqual(operations.map(nameOf));
  });
});

// ------------------------------------------------------------------------------------------------------ requests

describe("requests: the sidecar takes what the description allows, and refuses what it does not", () => {
  let holdpoint: TestSidecar;
  let pendingId: string;
  let orderId: string;
  beforeAll(async () => {
    holdpoint = await startSidecar({ bundle: examplesBundle(), adapters: ADAPTERS, ...CREDENTIALS });
    pendingId = (await holdpoint.decide(refund(700), KEY.decide)).body.approval.id;
    orderId = freshId("ord");
    const body = eventOf("ORDER_PLACED", orderId, { data: { total: 5 } });
    await holdpoint.send({ port: "admin", path: "/v1/events", body, key: KEY.ingest });
  });
  afterAll(() => holdpoint.close());

  const bodyRoutes = operations.filter(({ method }) => method === "POST");
  const schemaOf = ({ described }: Operation) => described.requestBody.content["application/json"].schema;

  /** Whatever else may be wrong with it, its shape is not; what stands in a batch is looked at one by one. */
  async function isTaken(operation: Operation, body: unknown): Promise<boolean> {
    const key = keyFor(operation);
    const answer = await holdpoint.send({ port: "admin", path: pathOf(operation), body: JSON.stringify(body), key });
    const each: readonly Body[] = answer.body.decisions ?? answer.body.events ?? [];
    const codes = [answer.body.code, ...each.map(({ code }) => code)];
    return !codes.includes("invalid_request") && !codes.includes("batch_too_large");
  }

  async function expectAgreement(operation: Operation, body: unknown): Promise<boolean> {
    const found = faults(schemaOf(operation), body);
    const context = `${nameOf(operation)} ${JSON.stringify(body).slice(0, 500)} ${found}`;
    expect(await isTaken(operation, body), context).toBe(found.length === 0);
    return found.length === 0;
  }

  const keyFor = ({ described }: Operation) => KEY[described["x-holdpoint-scope"].admin[0] as keyof typeof KEY];
  const byPath = (path: string) => bodyRoutes.find((operation) => operation.path === path)!;
  const chain = (length: number): Body => (length === 0 ? { id: "a" } : { id: "a", on_behalf_of: chain(length - 1) });
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`a${index}`, index]));
  const base = () => ({ id: freshId("oa"), action: { name: "a", arguments: {} }, actor: { id: "a" } as Body });
  const named = (id: string) => ({ ...base(), actor: { id } });
  const act = { actor: { id: "review-key" } };

  const event = () => eventOf("NOTED", freshId("ord"));
  const frozen = (kind: string, subject: string) => ({ kind, subject, reason: "stop" });
  const gated = (): Body => ({ id: freshId("g"), action_name: "PAY", actor_id: "a" });
  const onOrder = { entity_type: "order", entity_id: "ord-1" };
  const acted = () => ({ entity_type: "order", actor: { id: "a" } });

  type Case = readonly [what: string, isGood: boolean, body: () => unknown, path?: string];
  const CASES: readonly Case[] = [
    ["a proposal", true, base],
    ["no object", false, () => []],
    ["null", false, () => null],
    ["an unknown member", false, () => ({ ...base(), more: 1 })],
    ["a member that objects inherit", false, () => JSON.parse('{"toString":1}')],
    ["256 characters", true, () => named("a".repeat(256))],
    ["257 characters", false, () => named("a".repeat(257))],
    ["256 characters beyond the basic plane", true, () => named("𝒜".repeat(256))],
    ["257 characters beyond the basic plane", false, () => named("𝒜".repeat(257))],
    ["no character", false, () => named("")],
    ["letters with marks", true, () => named("Zoë-Ünïcode-日本語")],
    ["white space", false, () => named("a b")],
    ["no-break space", false, () => named("a\u00a0b")],
    ["a line break at the end", false, () => named("a\n")],
    ["a bidirectional control", false, () => named("a\u202eb")],
    ["a zero-width space", false, () => named("a\u200bb")],
    ["a private use character", false, () => named("a\ue000b")],
    ["a line separator", false, () => named("a\u2028b")],
    ["braces", false, () => named("{a}")],
    ["4 principals behind", true, () => ({ ...base(), actor: chain(4) })],
    ["5 principals behind", false, () => ({ ...base(), actor: chain(5) })],
    ["64 roles", true, () => ({ ...base(), actor: { id: "a", roles: Array(64).fill("r") } })],
    ["65 roles", false, () => ({ ...base(), actor: { id: "a", roles: Array(65).fill("r") } })],
    ["1000 arguments", true, () => ({ ...base(), action: { name: "a", arguments: many(1_000) } })],
    ["1001 arguments", false, () => ({ ...base(), action: { name: "a", arguments: many(1_001) } })],
    ["arguments in a list", false, () => ({ ...base(), action: { name: "a", arguments: [] } })],
    ["null for an entity", false, () => ({ ...base(), entity: null })],
    ["a permit asked for in words", false, () => ({ ...base(), permit: "yes" })],
    ["a batch", true, () => ({ proposals: [base()] }), "/v1/decisions/batch"],
    ["an empty batch", false, () => ({ proposals: [] }), "/v1/decisions/batch"],
    ["a batch with a number in it", false, () => ({ proposals: [base(), 5] }), "/v1/decisions/batch"],
    ["a batch of 100", true, () => ({ proposals: Array.from({ length: 100 }, base) }), "/v1/decisions/batch"],
    ["a batch of 101", false, () => ({ proposals: Array.from({ length: 101 }, base) }), "/v1/decisions/batch"],
    ["nothing to say", true, () => act, "/v1/approvals/{id}/deny"],
    ["2000 characters", true, () => ({ ...act, reason: "a".repeat(2_000) }), "/v1/approvals/{id}/deny"],
    ["2001 characters", false, () => ({ ...act, reason: "a".repeat(2_001) }), "/v1/approvals/{id}/deny"],
    ["2000 beyond the basic plane", true, () => ({ ...act, reason: "𝒜".repeat(2_000) }), "/v1/approvals/{id}/deny"],
    ["2001 beyond the basic plane", false, () => ({ ...act, reason: "𝒜".repeat(2_001) }), "/v1/approvals/{id}/deny"],
    ["arguments in a denial", false, () => ({ ...act, arguments: {} }), "/v1/approvals/{id}/deny"],
    [
      "a digest in capitals",
      false,
      () => ({ ...act, binding_digest: `sha256:${"A".repeat(64)}` }),
      "/v1/approvals/{id}/grant",
    ],
    ["a reviewer on behalf of", false, () => ({ actor: chain(1) }), "/v1/approvals/{id}/grant"],
    ["an event", true, event, "/v1/events"],
    ["several events", true, () => ({ events: [event(), event()] }), "/v1/events"],
    ["no event", false, () => ({ events: [] }), "/v1/events"],
    ["an event among others", false, () => ({ ...event(), events: [event()] }), "/v1/events"],
    ["101 events", false, () => ({ events: Array.from({ length: 101 }, event) }), "/v1/events"],
    ["an event with a number for data", false, () => ({ ...event(), data: 5 }), "/v1/events"],
    ["an event at a local time", true, () => ({ ...event(), time: "2026-11-20T10:00:00.25+05:30" }), "/v1/events"],
    ["an event without a zone", false, () => ({ ...event(), time: "2026-11-20T10:00:00" }), "/v1/events"],
    ["an event at a minute", false, () => ({ ...event(), time: "2026-11-20T10:00Z" }), "/v1/events"],
    ["an event on no day", false, () => ({ ...event(), time: "2026-02-30T10:00:00Z" }), "/v1/events"],
    ["an event on a leap day", true, () => ({ ...event(), time: "2028-02-29T10:00:00Z" }), "/v1/events"],
    ["an event with its actor's roles", false, () => ({ ...event(), actor: { id: "a", roles: [] } }), "/v1/events"],
    ["an expected version below 0", false, () => ({ ...event(), expected_version: -1 }), "/v1/events"],
    ["half an expected version", false, () => ({ ...event(), expected_version: 0.5 }), "/v1/events"],
    ["a freeze of an actor", true, () => frozen("actor", freshId("bot")), "/v1/freezes"],
    ["a freeze of an actor with a space", false, () => frozen("actor", "support agent"), "/v1/freezes"],
    ["a freeze of an action", true, () => frozen("action", freshId("ACT")), "/v1/freezes"],
    ["a freeze of nothing", false, () => frozen("action", ""), "/v1/freezes"],
    ["a freeze of an entity", true, () => frozen("entity", `order/${freshId("o")}`), "/v1/freezes"],
    ["a freeze of an entity with slashes", true, () => frozen("entity", `a/b/${freshId("o")}`), "/v1/freezes"],
    ["a freeze of half an entity", false, () => frozen("entity", "order"), "/v1/freezes"],
    ["a freeze of an entity without a type", false, () => frozen("entity", "/ord-1"), "/v1/freezes"],
    [
      "a freeze of 256 characters",
      true,
      () => frozen("entity", `${"𝒜".repeat(256)}/${"𝒜".repeat(256)}`),
      "/v1/freezes",
    ],
    ["a freeze of 513 characters", false, () => frozen("actor", "a".repeat(257)), "/v1/freezes"],
    ["a freeze of the tenant", true, () => ({ kind: "tenant", reason: "stop" }), "/v1/freezes"],
    ["a freeze of another tenant", false, () => frozen("tenant", "other"), "/v1/freezes"],
    ["a freeze of an actor that is not named", false, () => ({ kind: "actor", reason: "stop" }), "/v1/freezes"],
    ["a freeze of another kind", false, () => frozen("session", "s"), "/v1/freezes"],
    ["a freeze without a reason", false, () => ({ kind: "tenant" }), "/v1/freezes"],
    ["a freeze with an empty reason", false, () => ({ kind: "tenant", reason: "" }), "/v1/freezes"],
    ["a freeze with 2000", true, () => ({ kind: "tenant", reason: "𝒜".repeat(2_000) }), "/v1/freezes"],
    ["a freeze with 2001", false, () => ({ kind: "tenant", reason: "a".repeat(2_001) }), "/v1/freezes"],
    ["a reason to go on", true, () => ({ reason: "found" }), "/v1/freezes/{id}/lift"],
    ["no reason to go on", false, () => ({}), "/v1/freezes/{id}/lift"],
    ["a resolution", true, () => ({ status: "failed", reason: "seen" }), "/v1/executions/{id}/resolve"],
    ["a resolution that is none", false, () => ({ status: "unknown", reason: "?" }), "/v1/executions/{id}/resolve"],
    ["a resolution without a reason", false, () => ({ status: "failed" }), "/v1/executions/{id}/resolve"],
    ["a gate's proposal", true, gated, "/v1/proposals/decide"],
    ["a gate's proposal with an entity", true, () => ({ ...gated(), ...onOrder }), "/v1/proposals/decide"],
    ["half an entity", false, () => ({ ...gated(), entity_id: "ord-1" }), "/v1/proposals/decide"],
    ["the other half", false, () => ({ ...gated(), entity_type: "order" }), "/v1/proposals/decide"],
    ["two actors", false, () => ({ ...gated(), actor: { id: "b" } }), "/v1/proposals/decide"],
    ["nobody", false, () => ({ ...gated(), actor_id: undefined }), "/v1/proposals/decide"],
    ["an actor in full", true, () => ({ ...gated(), actor_id: undefined, actor: chain(2) }), "/v1/proposals/decide"],
    ["1001 parameters", false, () => ({ ...gated(), parameters: many(1_001) }), "/v1/proposals/decide"],
    ["an action on an entity", true, acted, "/v1/entities/{id}/actions/{action}/execute"],
    ["an action on no type", false, () => ({ actor: chain(0) }), "/v1/entities/{id}/actions/{action}/approvals"],
    ["an action of nobody", false, () => ({ entity_type: "order" }), "/v1/entities/{id}/actions/{action}/execute"],
    ["null for a result", true, () => ({ permit_id: "p", status: "failed", result: null }), "/v1/executions"],
    ["an execution of unknown end", false, () => ({ permit_id: "p", status: "unknown" }), "/v1/executions"],
  ];

  for (const [what, isGood, body, path = "/v1/decisions"] of CASES) {
    test(`${what}: ${isGood ? "taken" : "refused"} by both`, async () => {
      expect(await expectAgreement(byPath(path), body())).toBe(isGood);
    });
  }

  const text = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 4 }),
    fc.constantFrom("a", "agent-7", "a b", "", "{", "\u200b", "é", "𝒜", "a\n", "\u202e", "\ufeff", "x".repeat(257)),
  );
  const odd = fc.constantFrom<unknown>(null, true, 0, "", "a", [], {}, [1], { a: 1 });
  const mostly = (arbitrary: fc.Arbitrary<unknown>) =>
    fc.oneof({ weight: 12, arbitrary }, { weight: 1, arbitrary: odd });
  const id = mostly(
    fc.oneof({ weight: 6, arbitrary: fc.constantFrom("a", "agent-7", "日本") }, { weight: 1, arbitrary: text }),
  );
  const object = mostly(fc.dictionary(text, fc.jsonValue({ maxDepth: 1 }), { maxKeys: 3 }));
  const shape = (members: Record<string, fc.Arbitrary<unknown>>, requiredKeys: string[]) =>
    mostly(
      fc.oneof(
        { weight: 8, arbitrary: fc.record(members, { requiredKeys }) },
        { weight: 1, arbitrary: fc.record(members, { requiredKeys: [] }) },
        { weight: 1, arbitrary: fc.record({ ...members, more: odd }, { requiredKeys: ["more"] }) },
      ),
    );
  const actor = fc.letrec((tie) => ({
    actor: fc.oneof(
      { maxDepth: 6, depthIdentifier: "actors" },
      shape({ id, type: id, roles: mostly(fc.array(id, { maxLength: 2 })) }, ["id"]),
      shape({ id, on_behalf_of: tie("actor") }, ["id", "on_behalf_of"]),
    ),
  })).actor;
  const entity = shape({ type: id, id }, ["type", "id"]);
  const action = shape({ name: id, arguments: object }, ["name", "arguments"]);
  const digest = fc.constantFrom(`sha256:${"0".repeat(64)}`, `sha256:${"0".repeat(63)}`, "sha256:", "a");
  const reviewer = shape({ id, type: id, roles: mostly(fc.array(id, { maxLength: 2 })) }, ["id"]);

  const BODIES: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
    "/v1/decisions": shape(
      { id, action, actor, entity, context: object, approval_id: id, permit: mostly(fc.boolean()) },
      ["id", "action", "actor"],
    ),
    "/v1/permits/consume": shape({ permit: id, action, actor, entity, audience: id }, ["permit", "action", "actor"]),
    "/v1/executions": shape(
      { permit_id: id, execution_id: id, status: mostly(fc.constantFrom("succeeded", "failed")), result: odd },
      ["permit_id", "status"],
    ),
    "/v1/events": shape(
      {
        id,
        source: mostly(fc.constantFrom("shop", "stripe")),
        type: mostly(fc.constantFrom("ORDER_PLACED", "NOTED")),
        entity: mostly(fc.constant({ type: "order", id: "o" })),
        actor: mostly(fc.constantFrom({ id: "a" }, { id: "a", type: "service" })),
        time: mostly(fc.constantFrom("2026-11-20T10:00:00Z", "2026-11-20T10:00:00.5-03:00")),
        data: object,
        expected_version: mostly(fc.nat(3)),
      },
      ["id", "source", "type", "entity", "actor"],
    ),
    "/v1/proposals/decide": shape(
      { id, action_name: id, actor_id: id, actor, entity_id: id, entity_type: id, parameters: object, context: object },
      ["id", "action_name", "actor_id"],
    ),
    "/v1/entities/{id}/actions/{action}/approvals": shape(
      { id, entity_type: id, actor, parameters: object, context: object, approval_id: id },
      ["entity_type", "actor"],
    ),
    "/v1/approvals/{id}/grant": shape(
      { reason: mostly(text), actor: reviewer, binding_digest: digest, arguments: object },
      [],
    ),
    "/v1/approvals/{id}/cancel": shape({ reason: mostly(text), actor: reviewer }, []),
  };

  test.each(Object.entries(BODIES))("%s: whatever is sent, both say the same", async (path, bodies) => {
    let taken = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(bodies, async (body) => {
        if (await expectAgreement(byPath(path), body)) taken += 1;
        else refused += 1;
      }),
      { numRuns: 300, seed: 81 },
    );
    expect(Math.min(taken, refused)).toBeGreaterThan(20);
  });

  const QUERIES: readonly (readonly [string, string, string, boolean])[] = [
    ["/v1/approvals", "limit", "1", true],
    ["/v1/approvals", "limit", "100", true],
    ["/v1/approvals", "limit", "101", false],
    ["/v1/approvals", "limit", "0", false],
    ["/v1/approvals", "limit", "1.5", false],
    ["/v1/approvals", "limit", "many", false],
    ["/v1/approvals", "status", "denied", true],
    ["/v1/approvals", "status", "open", false],
    ["/v1/executions", "limit", "500", true],
    ["/v1/executions", "limit", "501", false],
    ["/v1/executions", "status", "unknown", true],
    ["/v1/executions", "status", "failed", false],
    ["/v1/entities/{type}/{id}", "limit", "500", true],
    ["/v1/entities/{type}/{id}", "limit", "501", false],
    ["/v1/entities/{type}/{id}", "cursor", "1", true],
    ["/v1/entities/{type}/{id}", "cursor", "0", false],
    ["/v1/entities/{type}/{id}", "cursor", "1000000000000000", false],
    ["/v1/entities/{type}/{id}", "rebuild", "full", true],
    ["/v1/entities/{type}/{id}", "rebuild", "none", true],
    ["/v1/entities/{type}/{id}", "rebuild", "yes", false],
    ["/v1/entities/{type}/{id}/timeline", "limit", "500", true],
    ["/v1/entities/{type}/{id}/timeline", "limit", "501", false],
    ["/v1/entities/{type}/{id}/timeline", "cursor", "7.1", true],
    ["/v1/entities/{type}/{id}/timeline", "cursor", "7", false],
    ["/v1/entities/{type}/{id}/timeline", "detail", "full", true],
    ["/v1/entities/{type}/{id}/timeline", "detail", "some", false],
    ["/v1/entities/{type}/{id}/timeline", "since", "2026-11-20T10:00:00Z", true],
    ["/v1/entities/{type}/{id}/timeline", "until", "2026-11-20", false],
    ["/v1/observations", "limit", "500", true],
    ["/v1/observations", "limit", "501", false],
    ["/v1/observations", "cursor", "7", true],
    ["/v1/observations", "cursor", "-7", false],
    ["/v1/ledger/entries", "limit", "1000", true],
    ["/v1/ledger/entries", "limit", "1001", false],
    ["/v1/ledger/entries", "start", "999999999999999", true],
    ["/v1/ledger/entries", "start", "1000000000000000", false],
    ["/v1/approvals/{id}", "wait", "20ms", true],
    ["/v1/approvals/{id}", "wait", "0", true],
    ["/v1/approvals/{id}", "wait", "1h", false],
    ["/v1/approvals/{id}", "wait", "", false],
  ];

  test.each(QUERIES)("%s?%s=%s: %s", async (path, name, value, isGood) => {
    const operation = operations.find((one) => one.method === "GET" && one.path === path)!;
    const { parameters } = description.components;
    const parameter = operation.described.parameters
      .map(({ $ref }: Body) => parameters[$ref.slice($ref.lastIndexOf("/") + 1)])
      .find((one: Body) => one.name === name);
    const isNumber = parameter.schema.type === "integer";
    const given = isNumber && /^-?[0-9.]+$/.test(value) ? Number(value) : value;
    expect(faults(parameter.schema, given).length === 0).toBe(isGood);
    const target = path.replace("{type}", "order").replace("{id}", path.includes("approvals") ? pendingId : orderId);
    const { body } = await holdpoint.send({
      port: "admin",
      path: `${target}?${name}=${value}`,
      key: keyFor(operation),
    });
    expect(body.code).toBe(isGood ? undefined : "invalid_request");
  });
});
