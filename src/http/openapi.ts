/**
 * The API's description (OpenAPI 3.1), made from the schemas that validate requests and those that tests hold answers to.
 * Both ports give the same text.
 */
import type { HttpLimits } from "./exchange.ts";
import { describeSchemas, type JsonSchema, schemaRef } from "./openapi/components.ts";
import { type Answer, type Content, HTML, type Operation, type Port, TAGS } from "./openapi/operation.ts";
import { OPERATIONS } from "./openapi/operations.ts";
import { describeParameters } from "./openapi/parameters.ts";
import { STATUS } from "./problem.ts";

const DESCRIPTION = `Authorization for AI agents: policy decides every proposed action before it runs.

An agent posts what it wants to do and is answered allow, deny, compute (run it with these arguments instead) or escalate
(people decide first). Where the action runs, a permit is consumed, once. A denial is a decision and is answered with status
200; problems (RFC 9457) say with \`outcome\` what they mean for the action.

Each operation says under \`servers\` which port serves it, and under \`x-holdpoint-scope\` which scopes of a credential
suffice there, any one of them; an empty list asks for none. Where a port is configured without authentication, no operation
asks for a credential.

What JSON Schema cannot say of a request body: a member that stands twice is refused, and so are text that is not
well-formed Unicode, numbers that do not survive as IEEE 754 doubles, and texts past the limits under
\`x-holdpoint-limits\`. Lengths count characters, and patterns are those of ECMA-262 with the flag \`u\`.`;

/** By status. */
const PROBLEMS: Readonly<Record<number, string>> = {
  400: "The body or a parameter is not what it should be",
  401: "A credential is missing, or not known",
  403: "The credential, or the permit, does not suffice",
  404: "There is no such thing, or it belongs to another tenant",
  409: "It was true once, or is true of something else",
  413: "Too large",
  415: "The body is not plain JSON by its headers",
  422: "The domain, or a webhook adapter, does not know what to make of it",
  429: "Too many refused credentials",
  500: "Something is broken in the sidecar",
  503: "Something that is needed is out: try later",
};

const SERVERS: Readonly<Record<Port, object>> = {
  decision: server("decision", "127.0.0.1:8282", "Decision port: for agents and executors (setting `listen`)"),
  admin: server("admin", "127.0.0.1:8283", "Admin port: for reviewers and operators (setting `admin_listen`)"),
};

function server(name: Port, address: string, description: string): object {
  return { url: `http://{${name}}`, description, variables: { [name]: { default: address, description } } };
}

/** The same for the same limits and the same version: members in the order in which they are written here. */
export function openApiText(limits: HttpLimits, version: string): string {
  return JSON.stringify(describeApi(limits, version));
}

function describeApi(limits: HttpLimits, version: string): object {
  const paths = new Map<string, Record<string, object>>();
  for (const operation of OPERATIONS) {
    const methods = paths.get(operation.path) ?? {};
    paths.set(operation.path, { ...methods, [operation.method]: describeOperation(operation) });
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Holdpoint",
      version,
      description: DESCRIPTION,
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [SERVERS.decision, SERVERS.admin],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    "x-holdpoint-limits": {
      body_bytes_max: limits.bytesMax,
      depth_max: limits.depthMax,
      batch_max: limits.batchMax,
      wait_seconds_max: limits.waitMsMax / 1000,
    },
    paths: Object.fromEntries(paths),
    components: {
      schemas: describeSchemas(limits.batchMax),
      parameters: describeParameters(limits.waitMsMax),
      headers: HEADERS,
      securitySchemes: SECURITY_SCHEMES,
    },
  };
}

const HEADERS = {
  RetryAfter: { description: "Seconds", schema: { type: "integer", minimum: 0 } },
  WwwAuthenticate: { description: "What kind of credential is asked for", schema: { type: "string" } },
};

const SECURITY_SCHEMES = {
  bearer: {
    type: "http",
    scheme: "bearer",
    description:
      "An API key, or a JWT of a configured issuer. Scopes: decide (propose, consume, report), review (grant, deny, " +
      "cancel, read), operate (freeze, lift, resolve, read), ingest (send events)",
  },
  basic: {
    type: "http",
    scheme: "basic",
    description: "The same token as the password, under any name: for people with browsers",
  },
};

function describeOperation(operation: Operation): object {
  const { id, tag, summary, description, scopes, parameters = [], body } = operation;
  const ports = Object.keys(scopes) as Port[];
  const headers = operation.path.startsWith("/v1/") ? (["Traceparent"] as const) : [];
  return {
    operationId: id,
    tags: [tag],
    summary,
    description: [description, neededScope(scopes)].filter((text) => text !== undefined).join("\n\n"),
    servers: ports.map((port) => SERVERS[port]),
    "x-holdpoint-scope": scopes,
    security: describeSecurity(operation),
    parameters: [...parameters, ...headers].map((name) => ({ $ref: `#/components/parameters/${name}` })),
    ...(body === undefined ? {} : { requestBody: describeBody(body) }),
    responses: describeResponses(operation),
  };
}

function neededScope(scopes: Operation["scopes"]): string {
  const byPort = Object.entries(scopes).map(
    ([port, any]) => `${any.length === 0 ? "none" : any.join(" or ")} on the ${port} port`,
  );
  return `Scope: ${byPort.join(", ")}.`;
}

/** Any one of the alternatives serves; the last is for ports without authentication. */
function describeSecurity({ scopes, isPage }: Operation): object[] {
  const any = [...new Set(Object.values(scopes).flat())];
  if (any.length === 0) return [];
  const schemes = isPage ? ["bearer", "basic"] : ["bearer"];
  return [...schemes.flatMap((scheme) => any.map((scope) => ({ [scheme]: [scope] }))), {}];
}

function describeBody({ schema, isRequired }: NonNullable<Operation["body"]>): object {
  return { required: isRequired, content: describeContent({ type: "application/json", schema }) };
}

/** By status. One may stand both for an answer and for a problem: then the content type tells them apart. */
function describeResponses(operation: Operation): Record<string, object> {
  const { answers, problems } = operation;
  const ofProblems = problems.map((code) => STATUS[code]);
  const statuses = [...new Set([...Object.keys(answers).map(Number), ...ofProblems])].sort((a, b) => a - b);
  return Object.fromEntries(
    statuses.map((status) => {
      const answer = answers[status];
      if (answer === undefined) return [status, describeProblem(operation, status)];
      return [status, describeAnswer(answer, ofProblems.includes(status) ? problemContent(operation, status) : {})];
    }),
  );
}

function describeAnswer({ description, content }: Answer, problem: object): object {
  if (content === undefined) return { description };
  return { description, content: { ...describeContent(content), ...problem } };
}

function describeContent({ type, schema }: Content): object {
  if (schema === undefined) return { [type]: { schema: { type: "string" } } };
  return { [type]: { schema: schemaRef(schema) } };
}

function describeProblem(operation: Operation, status: number): object {
  const headers = PROBLEM_HEADERS[status];
  return {
    description: PROBLEMS[status],
    ...(headers === undefined ? {} : { headers }),
    content: { ...problemContent(operation, status), ...(operation.isPage ? describeContent(HTML) : {}) },
  };
}

/** With the codes that can stand there. */
function problemContent({ problems, problemSchema = "Problem" }: Operation, status: number): object {
  const codes = [...new Set(problems)].filter((code) => STATUS[code] === status);
  const schema: JsonSchema = { ...schemaRef(problemSchema), properties: { code: { enum: codes } } };
  return { "application/problem+json": { schema } };
}

const PROBLEM_HEADERS: Readonly<Record<number, object>> = {
  401: { "WWW-Authenticate": { $ref: "#/components/headers/WwwAuthenticate" } },
  429: { "Retry-After": { $ref: "#/components/headers/RetryAfter" } },
};
