/**
 * The API's description is held to the running sidecar: every route is in it and nothing else, requests are refused by both
 * or by neither, and every answer is what it says, to the last member.
 */
import { createHash } from "node:crypto";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { Router } from "express";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { decisionRoutes } from "../../src/http/decision-routes.ts";
import type { HttpContext, HttpLimits } from "../../src/http/exchange.ts";
import { openApiText } from "../../src/http/openapi.ts";
import { examplesBundle } from "../support/bundles.ts";
import { freshId, refund, useOf, writeFile } from "../support/proposals.ts";
import { again, startScripted } from "../support/scripted.ts";
import { type Answer, type Body, type Send, startSidecar, type TestSidecar } from "../support/sidecar.ts";

const LIMITS: HttpLimits = { bytesMax: 262_144, depthMax: 64, batchMax: 100, waitMsMax: 60_000 };

/** One credential for each scope. */
const KEY = { decide: "key-that-decides", review: "key-that-reviews", operate: "key-that-operates" } as const;
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
const pathOf = ({ path }: Operation) => path.replace("{id}", "appr_none").replace("{index}", "999999");

// ------------------------------------------------------------------------------------------- the document itself

const ajv = new Ajv2020({
  strict: true,
  strictTypes: false,
  allErrors: true,
  formats: { "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ },
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
      const startedAt = performance.now();
      expect(JSON.parse(openApiText(LIMITS, "1.2.3"))).toEqual(description);
      return performance.now() - startedAt;
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
      "/Grant/arguments",
      "/LedgerEntry",
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
    expect(schemas.Actor.properties.on_behalf_of).toEqual({ $ref: "#/components/schemas/Principal3" });
    expect(schemas.Principal0.properties).not.toHaveProperty("on_behalf_of");
    const other = JSON.parse(openApiText({ bytesMax: 1, depthMax: 2, batchMax: 3, waitMsMax: 4_000 }, "1.2.3"));
    expect(other.components.schemas.Batch.properties.proposals.maxItems).toBe(3);
    expect(other["x-holdpoint-limits"]).toEqual({ body_bytes_max: 1, depth_max: 2, batch_max: 3, wait_seconds_max: 4 });
  });
});

// --------------------------------------------------------------------------------------------------- every route

/** Literal: whoever adds a route adds it here and to src/http/openapi/operations.ts. */
const ROUTES: Readonly<Record<string, readonly string[]>> = {
  "POST /v1/decisions": ["decision", "admin"],
  "POST /v1/decisions/batch": ["decision", "admin"],
  "POST /v1/permits/verify": ["decision", "admin"],
  "POST /v1/permits/consume": ["decision", "admin"],
  "POST /v1/executions": ["decision", "admin"],
  "GET /v1/approvals": ["admin"],
  "GET /v1/approvals/{id}": ["decision", "admin"],
  "POST /v1/approvals/{id}/grant": ["admin"],
  "POST /v1/approvals/{id}/deny": ["admin"],
  "POST /v1/approvals/{id}/cancel": ["admin"],
  "GET /v1/executions": ["admin"],
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
    holdpoint = await startSidecar({ bundle: examplesBundle(), ...CREDENTIALS });
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
      held.has(`${nameOf(operation)} 200`) || held.has(`${nameOf(operation)} 303`);
    const seen = operations.filter(isSeen);
    expect(seen.map(nameOf)).toEqual(operations.map(nameOf));
  });
});

// ------------------------------------------------------------------------------------------------------ requests

describe("requests: the sidecar takes what the description allows, and refuses what it does not", () => {
  let holdpoint: TestSidecar;
  let pendingId: string;
  beforeAll(async () => {
    holdpoint = await startSidecar({ bundle: examplesBundle(), ...CREDENTIALS });
    pendingId = (await holdpoint.decide(refund(700), KEY.decide)).body.approval.id;
  });
  afterAll(() => holdpoint.close());

  const bodyRoutes = operations.filter(({ method }) => method === "POST");
  const schemaOf = ({ described }: Operation) => described.requestBody.content["application/json"].schema;

  /** Whatever else may be wrong with it, its shape is not; what stands in a batch is looked at one by one. */
  async function isTaken(operation: Operation, body: unknown): Promise<boolean> {
    const key = keyFor(operation);
    const answer = await holdpoint.send({ port: "admin", path: pathOf(operation), body: JSON.stringify(body), key });
    const codes = [answer.body.code, ...(answer.body.decisions ?? []).map(({ code }: Body) => code)];
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
    const target = path.replace("{id}", pendingId);
    const { body } = await holdpoint.send({
      port: "admin",
      path: `${target}?${name}=${value}`,
      key: keyFor(operation),
    });
    expect(body.code).toBe(isGood ? undefined : "invalid_request");
  });
});
