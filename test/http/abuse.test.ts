/** The agent as adversary: on the pod's loopback, with the decision credential, and with every trick that HTTP has. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { lstatSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listen } from "../../src/cli/listen.ts";
import { type ApiKeyRecord, createApiKeys } from "../../src/http/api-keys.ts";
import { killProcesses, runCommand, startProcess, temporaryDirectory } from "../support/process.ts";
import { writeFile } from "../support/proposals.ts";
import {
  ALLOW,
  escalate,
  PERMIT,
  type ScriptedSidecar,
  scripted,
  scriptedBundle,
  startScripted,
} from "../support/scripted.ts";
import { type Answer, API_KEYS, type Body, exchange, KEYS } from "../support/sidecar.ts";

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

let holdpoint: ScriptedSidecar;
beforeAll(async () => {
  holdpoint = await startScripted({ auth: "api_key", metrics_auth: "api_key", api_keys: API_KEYS });
});
afterAll(() => holdpoint.close());
afterAll(killProcesses);

interface Line {
  readonly socket: Socket;
  received(): string;
  readonly closed: Promise<unknown>;
}

async function open(url: string): Promise<Line> {
  const { hostname, port } = new URL(url);
  const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
  let received = "";
  socket.on("data", (data: Buffer) => {
    received += data.toString("latin1");
  });
  socket.on("error", () => {});
  socket.on("end", () => socket.end());
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await once(socket, "connect");
  return { socket, received: () => received, closed };
}

/** What comes back on one connection until it is closed; whoever ends early is not told what came behind. */
async function raw(url: string, text: string, endsEarly = true): Promise<string> {
  const { socket, received, closed } = await open(url);
  socket.write(Buffer.from(text, "latin1"));
  if (endsEarly) socket.end();
  await closed;
  return received();
}

const statuses = (answer: string): number[] =>
  [...answer.matchAll(/HTTP\/1\.1 ([2-5][0-9]{2}) /g)].map(([, status]) => Number(status));

interface Lines {
  readonly method?: string;
  readonly path?: string;
  readonly version?: string;
  readonly headers?: readonly string[];
  readonly body?: string;
}

const lines = ({ method = "GET", path = "/v1/policy", version = "HTTP/1.1", headers = [], body = "" }: Lines): string =>
  [`${method} ${path} ${version}`, ...headers, "", body].join("\r\n");

const HOST = "host: 127.0.0.1";
const CLOSE = "connection: close";
const JSON_TYPE = "content-type: application/json";
const BOT = `authorization: Bearer ${KEYS.bot}`;

const decision = (headers: readonly string[] = [], body = JSON.stringify(scripted(ALLOW))): string =>
  lines({
    method: "POST",
    path: "/v1/decisions",
    headers: [HOST, JSON_TYPE, `content-length: ${Buffer.byteLength(body)}`, ...headers],
    body,
  });

const decisions = () => holdpoint.entries().filter(({ kind }) => kind === "decision").length;

describe("the decision credential on the admin port", () => {
  let approval: Body;
  beforeAll(async () => {
    approval = (await holdpoint.decide(scripted(escalate()), KEYS.bot)).body.approval;
  });

  const at = (path: string) => path.replace("ID", approval.id);

  const READS = [
    "/v1/approvals",
    "/v1/approvals?status=granted&limit=100",
    "/v1/approvals/ID",
    "/v1/approvals/ID?wait=1ms",
    "/v1/policy",
    "/v1/ledger/checkpoint",
    "/v1/ledger/entries",
    "/v1/ledger/entries?start=0&limit=1000",
    "/v1/ledger/entries/0",
    "/v1/observations",
    "/v1/executions",
    "/v1/executions?status=unknown",
    "/metrics",
  ];
  const ACTS = ["/v1/approvals/ID/grant", "/v1/approvals/ID/deny", "/v1/approvals/ID/cancel"];

  test.each(READS)("cannot read %s, and nobody can without one", async (path) => {
    const bot = await holdpoint.send({ port: "admin", path: at(path), key: KEYS.bot });
    expect(bot).toMatchObject({ status: 403, body: { code: "forbidden" } });
    const nobody = await holdpoint.send({ port: "admin", path: at(path) });
    expect(nobody).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
    const head = (headers: readonly string[]) =>
      raw(holdpoint.adminUrl, lines({ method: "HEAD", path: at(path), headers: [HOST, CLOSE, ...headers] }));
    expect(statuses(await head([BOT]))).toEqual([403]);
    expect(statuses(await head([]))).toEqual([401]);
    const foreign = await holdpoint.send({ port: "admin", path: at(path), key: KEYS.other });
    expect(foreign.status).toBe(403);
  });

  test.each(ACTS)("cannot POST %s, and nobody can without one", async (path) => {
    for (const body of [
      undefined,
      {},
      { reason: "x" },
      { actor: { id: "olivia", roles: ["ops_operator"] } },
      "{",
      "[]",
    ]) {
      const send = (key?: string) =>
        holdpoint.send({ port: "admin", method: "POST", path: at(path), body, ...(key === undefined ? {} : { key }) });
      expect((await send(KEYS.bot)).status).toBe(403);
      expect((await send(KEYS.other)).status).toBe(403);
      expect((await send()).status).toBe(401);
    }
  });

  test("finds no other method, and no route that changes policy, mode, keys or life", async () => {
    const paths = [...READS, ...ACTS].map((path) => at(path).split("?")[0]!);
    for (const path of new Set(paths))
      for (const method of ["PUT", "PATCH", "DELETE", "POST", "TRACE", "PROPFIND"]) {
        if (method === "POST" && (path === "/v1/executions" || ACTS.some((act) => at(act) === path))) continue;
        const { status } = await holdpoint.send({ port: "admin", method, path, key: KEYS.bot });
        expect([path, method, status]).toEqual([path, method, path === "/v1/executions" ? expect.any(Number) : 404]);
        if (path === "/v1/executions") expect([403, 405]).toContain(status);
      }
    const guesses = [
      "/v1/policy/reload",
      "/v1/reload",
      "/reload",
      "/v1/mode",
      "/v1/keys",
      "/v1/config",
      "/v1/shutdown",
    ];
    for (const path of [...guesses, "/quitquitquit", "/debug/pprof", "/admin", "/v1/tenants", "/.env", "/config.yaml"])
      for (const method of ["GET", "POST"])
        for (const port of ["admin", "decision"] as const)
          expect((await holdpoint.send({ port, method, path, key: KEYS.bot })).status).toBe(404);
    for (const port of ["admin", "decision"] as const) {
      const { status } = await holdpoint.send({ port, path: "/status", key: KEYS.bot });
      expect([401, 403, 404]).toContain(status);
    }
  });

  test("finds none of it on the decision port, with whichever credential", async () => {
    const paths = [...READS, ...ACTS].filter((path) => !path.startsWith("/v1/approvals/ID") || ACTS.includes(path));
    for (const path of paths)
      for (const key of [KEYS.bot, KEYS.olivia, undefined]) {
        if (path.startsWith("/v1/executions")) continue;
        const method = ACTS.includes(path) ? "POST" : "GET";
        const credential = key === undefined ? {} : { key };
        expect((await holdpoint.send({ method, path: at(path), ...credential })).status).toBe(404);
      }
    const executions = await holdpoint.send({ path: "/v1/executions", key: KEYS.olivia });
    expect(executions.status).toBe(405);
    expect((await holdpoint.send({ path: at("/v1/approvals/ID"), key: KEYS.olivia })).status).toBe(403);
    expect((await holdpoint.send({ path: at("/v1/approvals/ID") })).status).toBe(401);
  });

  test("cannot be had from the address that the request claims to come from", async () => {
    const claims = [
      "x-forwarded-for: 127.0.0.1",
      "x-forwarded-user: olivia",
      "x-forwarded-proto: https",
      "x-forwarded-host: 127.0.0.1",
      "x-forwarded-client-cert: By=spiffe://a;URI=spiffe://olivia",
      "x-real-ip: ::1",
      "x-remote-user: olivia",
      "remote-user: olivia",
      "x-auth-request-user: olivia",
      "x-original-url: /healthz",
      "x-rewrite-url: /healthz",
      "x-http-method-override: GET",
      "x-http-method: GET",
      "forwarded: for=127.0.0.1;host=127.0.0.1;proto=https",
      `proxy-authorization: Bearer ${KEYS.olivia}`,
      `x-authorization: Bearer ${KEYS.olivia}`,
      `x-api-key: ${KEYS.olivia}`,
      `cookie: authorization=Bearer ${KEYS.olivia}`,
      "x-tenant: other",
      "upgrade: websocket",
      "expect: 100-continue",
      "origin: http://127.0.0.1",
    ];
    for (const claim of [...claims, claims.join("\r\n")]) {
      expect(statuses(await raw(holdpoint.adminUrl, lines({ headers: [HOST, CLOSE, claim] })))).toEqual([401]);
      expect(statuses(await raw(holdpoint.adminUrl, lines({ headers: [HOST, CLOSE, claim, BOT] })))).toEqual([403]);
      const grant = lines({
        method: "POST",
        path: at(ACTS[0]!),
        headers: [HOST, CLOSE, "content-length: 0", claim, BOT],
      });
      expect(statuses(await raw(holdpoint.adminUrl, grant)).at(-1)).toBe(403);
    }
  });

  test("cannot be had by writing the path in another way", async () => {
    const spellings = [
      "//v1/policy",
      "/v1//policy",
      "/v1/../v1/policy",
      "/healthz/../v1/policy",
      "/v1/./policy",
      "/v1/%2e%2e/v1/policy",
      "/healthz/%2e%2e/v1/policy",
      "/v1%2fpolicy",
      "/%76%31/policy",
      "/V1/POLICY",
      "/v1/policy/",
      "/v1/policy//",
      "/v1/policy?",
      "/v1/policy?x=/healthz",
      "/v1/policy#/healthz",
      "/v1/policy;a=b",
      "/v1/policy%00",
      "/v1/policy%20",
      "/v1/policy.json",
      "/v1\\policy",
      "http://127.0.0.1/v1/policy",
      "http://evil.test/v1/policy",
      "https://evil.test/v1/policy",
      "http://olivia@127.0.0.1/v1/policy",
      "//evil.test/v1/policy",
      "*",
      "/%",
      "/v1/approvals/%",
      "/v1/approvals/%2e%2e%2fpolicy",
    ];
    for (const path of spellings)
      for (const credential of [[], [BOT]]) {
        const answer = await raw(holdpoint.adminUrl, lines({ path, headers: [HOST, CLOSE, ...credential] }));
        expect([path, statuses(answer).map((status) => status >= 400 && status < 500)]).toEqual([path, [true]]);
        expect(answer).not.toContain("digest");
      }
  });

  test("changed nothing by all this, and was recorded in a handful of entries", async () => {
    const { body } = await holdpoint.send({ port: "admin", path: at("/v1/approvals/ID"), key: KEYS.olivia });
    expect(body).toMatchObject({ status: "pending", reviews: [], version: 1 });
    expect((await holdpoint.send({ port: "admin", path: "/v1/policy", key: KEYS.olivia })).body).toMatchObject({
      mode: "enforce",
      actions: {},
      last_error: null,
    });
    const kinds = new Set(holdpoint.entries().map(({ kind }) => kind));
    for (const kind of kinds)
      expect(["sidecar_started", "policy_activated", "decision", "approval_opened", "credentials_refused"]).toContain(
        kind,
      );
    expect((await holdpoint.decide(scripted(ALLOW), KEYS.bot)).body.outcome).toBe("allow");
  });
});

describe("callers that need no credential on their own socket", () => {
  test("need one on an admin port that asks for one", async () => {
    const path = join(temporaryDirectory(), "decisions.sock");
    const sidecar = await startScripted({
      listen: `unix:${path}`,
      auth: "none",
      admin_auth: "api_key",
      api_keys: API_KEYS,
    });
    const server = sidecar.sidecar.decisionServer();
    await listen(server, `unix:${path}`, "listen", "0600");
    try {
      expect((await overSocket(path, "POST", "/v1/decisions", scripted(ALLOW))).status).toBe(200);
      const bodies: Record<string, Body> = {
        "/v1/decisions": scripted(ALLOW),
        "/v1/decisions/batch": { proposals: [scripted(ALLOW)] },
        "/v1/permits/verify": {},
        "/v1/permits/consume": {},
        "/v1/executions": {},
      };
      for (const [route, body] of Object.entries(bodies)) {
        const send = (key?: string) =>
          sidecar.send({ port: "admin", path: route, body, ...(key === undefined ? {} : { key }) });
        expect(await send()).toMatchObject({ status: 401, body: { outcome: "deny", enforced: true } });
        expect(await send(KEYS.olivia)).toMatchObject({ status: 403, body: { outcome: "deny", enforced: true } });
        expect([200, 400]).toContain((await send(KEYS.bot)).status);
      }
      const allowed = await sidecar.send({
        port: "admin",
        path: "/v1/decisions",
        body: scripted(ALLOW),
        key: KEYS.bot,
      });
      expect(allowed.body.outcome).toBe("allow");
      // Nobody's browser reaches a socket, so by whichever name it is called it answers.
      for (const host of ["evil.test", "evil.test:8282", ""]) {
        const answer = await overSocket(path, "POST", "/v1/decisions", scripted(ALLOW), {
          host,
          "sec-fetch-site": "cross-site",
        });
        expect(answer.status).toBe(200);
      }
    } finally {
      server.closeAllConnections();
      server.close();
      await sidecar.close();
    }
  });
});

function overSocket(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<{ readonly status: number; readonly body: Body }> {
  return new Promise((resolve, reject) => {
    const all = {
      connection: "close",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    };
    const outgoing = httpRequest({ socketPath, path, method, headers: all }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on("end", () => resolve({ status: response.statusCode!, body: JSON.parse(text) }));
    });
    outgoing.on("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

describe("a request whose text two readers could take for two requests", () => {
  const OLIVIA = `authorization: Bearer ${KEYS.olivia}`;

  test.each<[string, readonly string[]]>([
    ["two authorization headers", [BOT, OLIVIA]],
    ["the same authorization twice", [BOT, BOT]],
    ["authorization twice, in two cases of its name", [BOT, `AUTHORIZATION: Bearer ${KEYS.olivia}`]],
    ["a good authorization after an empty one", ["authorization:", BOT]],
    ["an empty authorization after a good one", [BOT, "authorization:"]],
    ["a list of authorizations", [`${BOT}, Bearer ${KEYS.bot}`]],
    [
      "a scheme of Basic on a route that takes none",
      [`authorization: Basic ${Buffer.from(`x:${KEYS.bot}`).toString("base64")}`],
    ],
  ])("is refused for %s", async (_, headers) => {
    const before = decisions();
    expect(statuses(await raw(holdpoint.decisionUrl, decision([CLOSE, ...headers])))).toEqual([401]);
    expect(decisions()).toBe(before);
  });

  test.each<[string, readonly string[]]>([
    ["a folded header", ["authorization: Bearer", ` ${KEYS.bot}`]],
    ["a folded header with a tab", ["authorization: Bearer", `\t${KEYS.bot}`]],
    ["a space before the colon", [`authorization : Bearer ${KEYS.bot}`]],
    ["a tab before the colon", [`authorization\t: Bearer ${KEYS.bot}`]],
    ["a header without a name", [`: Bearer ${KEYS.bot}`]],
    ["a header without a colon", [`authorization Bearer ${KEYS.bot}`]],
    ["a name with a control character", [`authoriz\u0001ation: Bearer ${KEYS.bot}`]],
    ["NUL in a value", [BOT, "x: a\u0000b"]],
    ["a bare CR in a value", [BOT, "x: a\rb: c"]],
    ["content-length and transfer-encoding", [BOT, "transfer-encoding: chunked"]],
    ["content-length and transfer-encoding of an unknown kind", [BOT, "transfer-encoding: identity"]],
    ["two other content-lengths", [BOT, "content-length: 5"]],
  ])("is not even read for %s", async (_, headers) => {
    const before = decisions();
    const answer = await raw(holdpoint.decisionUrl, decision([CLOSE, ...headers]));
    expect(statuses(answer)).toEqual([400]);
    expect(decisions()).toBe(before);
  });

  const chunked = (body: string, encoding = "transfer-encoding: chunked") =>
    lines({ method: "POST", path: "/v1/decisions", headers: [HOST, JSON_TYPE, CLOSE, BOT, encoding], body });

  test.each<[string, string]>([
    ["a chunk size that is no number", chunked("zz\r\n{}\r\n0\r\n\r\n")],
    ["a negative chunk size", chunked("-1\r\n{}\r\n0\r\n\r\n")],
    ["a chunk size with a sign", chunked("+2\r\n{}\r\n0\r\n\r\n")],
    ["a chunk size as in C", chunked("0x2\r\n{}\r\n0\r\n\r\n")],
    ["a chunk size past 64 bits", chunked("fffffffffffffffff\r\n{}\r\n0\r\n\r\n")],
    ["a chunk longer than its size", chunked("1\r\n{}\r\n0\r\n\r\n")],
    ["an empty chunk size", chunked("\r\n{}\r\n0\r\n\r\n")],
    ["chunks that are not the last encoding", chunked("2\r\n{}\r\n0\r\n\r\n", "transfer-encoding: chunked, identity")],
    ["an encoding that is almost chunked", chunked("2\r\n{}\r\n0\r\n\r\n", "transfer-encoding: xchunked")],
    [
      "a content-length that is no number",
      decision([CLOSE, BOT]).replace(/content-length: [0-9]+/, "content-length: 0x10"),
    ],
    ["a negative content-length", decision([CLOSE, BOT]).replace(/content-length: /, "content-length: -")],
    ["a list of content-lengths", decision([CLOSE, BOT]).replace(/content-length: ([0-9]+)/, "content-length: $1, $1")],
    [
      "a content-length past 64 bits",
      decision([CLOSE, BOT]).replace(/content-length: [0-9]+/, "content-length: 99999999999999999999"),
    ],
    ["no host", decision([CLOSE, BOT]).replace(`${HOST}\r\n`, "")],
    ["a version to come", lines({ version: "HTTP/2.0", headers: [HOST, BOT] })],
    ["HTTP/2 without asking", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["a version that is none", lines({ version: "HTTP/1.1x", headers: [HOST, BOT] })],
    ["a path with a space", lines({ path: "/v1/policy /healthz", headers: [HOST, BOT] })],
    ["a method that is none", lines({ method: "G\u00cbT", headers: [HOST, BOT] })],
    ["17 KiB of headers", lines({ headers: [HOST, BOT, `x: ${"x".repeat(17 * 1024)}`] })],
  ])("ends its connection for %s", async (_, text) => {
    const before = decisions();
    const answer = await raw(holdpoint.decisionUrl, text);
    for (const status of statuses(answer)) expect([400, 404, 413, 431, 505]).toContain(status);
    expect(answer).not.toMatch(/"outcome":"allow"/);
    expect(decisions()).toBe(before);
  });

  test.each([
    "/v1/decisions?",
    "/v1/decisions?x=1",
    "/v1/decisions#",
    "/v1/decisions/",
    "//v1/decisions",
    "/V1/decisions",
    "/v1/decisions%20",
    "http://evil.test/v1/decisions",
    "/v1/%64ecisions",
  ])("is no decision at %s", async (path) => {
    const before = decisions();
    const text = decision([CLOSE, BOT]).replace("/v1/decisions", path);
    expect(statuses(await raw(holdpoint.decisionUrl, text))).toEqual([404]);
    expect(decisions()).toBe(before);
  });

  test("in one connection with others is answered for itself: a credential does not outlive its request", async () => {
    const good = lines({ headers: [HOST, OLIVIA] });
    const evil = lines({ headers: [HOST] });
    const last = lines({ headers: [HOST, CLOSE] });
    const requests = [good, evil, good, lines({ headers: [HOST, BOT] }), last];
    const answer = await raw(holdpoint.adminUrl, requests.join(""), false);
    expect(statuses(answer)).toEqual([200, 401, 200, 403, 401]);
    const before = decisions();
    const mixed = await raw(
      holdpoint.decisionUrl,
      [decision([BOT]), decision(), decision([BOT, CLOSE])].join(""),
      false,
    );
    expect(statuses(mixed)).toEqual([200, 401, 200]);
    expect(decisions()).toBe(before + 2);
  });

  test("hidden in the body of another is a body", async () => {
    const inner = lines({ headers: [HOST, OLIVIA] });
    const answer = await raw(
      holdpoint.adminUrl,
      lines({ headers: [HOST, BOT, `content-length: ${inner.length}`, CLOSE], body: inner }),
    );
    expect(statuses(answer)).toEqual([403]);
  });

  test("that wants a tunnel or another protocol gets none", async () => {
    const connectTo = lines({ method: "CONNECT", path: "127.0.0.1:22", headers: [HOST] });
    expect(statuses(await raw(holdpoint.adminUrl, connectTo)).filter((status) => status < 400)).toEqual([]);
    for (const protocol of ["h2c", "websocket", "TLS/1.2"]) {
      const headers = [HOST, "connection: upgrade", `upgrade: ${protocol}`, "http2-settings: AAMAAABkAAQAAP__"];
      expect(statuses(await raw(holdpoint.adminUrl, lines({ headers: [...headers, BOT] })))).toEqual([403]);
    }
  });

  test("without a host, by the old protocol, needs a credential like any other", async () => {
    expect(statuses(await raw(holdpoint.adminUrl, lines({ version: "HTTP/1.0" })))).toEqual([401]);
    expect(statuses(await raw(holdpoint.adminUrl, lines({ version: "HTTP/1.0", headers: [OLIVIA] })))).toEqual([200]);
  });
});

describe("ports that ask for no credential", () => {
  let free: ScriptedSidecar;
  beforeAll(async () => {
    free = await startScripted({ auth: "none", admin_auth: "none" });
  });
  afterAll(() => free.close());

  const visit = async (headers: readonly string[], path = "/v1/policy") =>
    statuses(await raw(free.adminUrl, lines({ path, headers: [...headers, CLOSE] })));

  test.each([
    "localhost",
    "LOCALHOST",
    "localhost:8283",
    "127.0.0.1",
    "127.0.0.1:1",
    "127.9.9.9",
    "[::1]",
    "[::1]:65535",
  ])("answer by the name %s", async (host) => {
    expect(await visit([`host: ${host}`])).toEqual([200]);
  });

  test.each([
    "evil.test",
    "evil.test:8283",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "127.0.0.1.nip.io",
    "localhost.",
    "xlocalhost",
    "0.0.0.0",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::1].evil.test",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "127.0.0.1:8283:evil",
    "evil.test@127.0.0.1",
    "127.0.0.1@evil.test",
    "localhost, evil.test",
    "host.docker.internal",
    "",
  ])("do not answer by the name %j, which may be anybody's", async (host) => {
    for (const path of ["/v1/policy", "/healthz", "/metrics", "/.well-known/jwks.json", "/nowhere"])
      expect(await visit([`host: ${host}`], path)).toEqual([403]);
    const text = decision([CLOSE]).replace(HOST, `host: ${host}`);
    const answer = await raw(free.decisionUrl, text);
    expect(statuses(answer)).toEqual([403]);
    expect(answer).toContain('"outcome":"deny"');
  });

  test.each([
    ["none", [200]],
    ["same-origin", [200]],
    ["cross-site", [403]],
    ["same-site", [403]],
    ["Same-Origin", [403]],
    ["", [403]],
    ["same-origin, cross-site", [403]],
  ])("look at where a browser says that it is: %j", async (site, expected) => {
    expect(await visit([HOST, `sec-fetch-site: ${site}`])).toEqual(expected);
  });

  test("do not answer to two names at once", async () => {
    for (const other of ["host: evil.test", HOST])
      expect(statuses(await raw(free.adminUrl, lines({ headers: [HOST, other, CLOSE] })))).not.toContain(200);
  });

  test("do not answer the old protocol without a name, and give no other site leave to read", async () => {
    expect(statuses(await raw(free.adminUrl, lines({ version: "HTTP/1.0" })))).toEqual([403]);
    const origin = "origin: http://evil.test";
    const ask = ["access-control-request-method: POST", "access-control-request-headers: content-type"];
    for (const method of ["GET", "OPTIONS"]) {
      const answer = await raw(free.adminUrl, lines({ method, headers: [HOST, CLOSE, origin, ...ask] }));
      expect(answer.toLowerCase()).not.toContain("access-control-");
    }
  });
});

describe("clients that mean harm", () => {
  /** One that sends a header a second, from now until the server has had enough. */
  async function trickle(url: string): Promise<Line> {
    const line = await open(url);
    line.socket.write(`GET /healthz HTTP/1.1\r\n${HOST}\r\n`);
    const timer = setInterval(() => line.socket.write("x: y\r\n"), 1_000);
    void line.closed.then(() => clearInterval(timer));
    return line;
  }

  test("and trickle headers, hang half-open, or announce what they never send keep nobody else waiting", async () => {
    const slow = await Promise.all(
      [holdpoint.decisionUrl, holdpoint.adminUrl].flatMap((url) => Array.from({ length: 20 }, () => trickle(url))),
    );
    const idle = await Promise.all(Array.from({ length: 1_000 }, () => open(holdpoint.decisionUrl)));
    const before = decisions();
    const whole = decision([BOT]);
    const held = await Promise.all(Array.from({ length: 200 }, () => open(holdpoint.decisionUrl)));
    for (const [index, { socket }] of held.entries()) {
      switch (index % 5) {
        case 0: // FIN half way
          socket.end(whole.slice(0, -7));
          break;
        case 1: // RST half way
          socket.write(whole.slice(0, -7), () => socket.resetAndDestroy());
          break;
        case 2: // a body that is announced and never comes
          socket.write(whole.slice(0, whole.indexOf("\r\n\r\n") + 4));
          break;
        case 3: // a body larger than may be, announced without a credential
          socket.write(decision().replace(/content-length: [0-9]+/, "content-length: 99999999"));
          break;
        case 4: // a chunk that never ends
          socket.write(
            `POST /v1/decisions HTTP/1.1\r\n${HOST}\r\n${JSON_TYPE}\r\n${BOT}\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n{`,
          );
          break;
      }
    }
    for (let index = 0; index < 50; index += 1)
      expect((await holdpoint.decide(scripted(ALLOW), KEYS.bot)).body.outcome).toBe("allow");
    expect((await holdpoint.send({ port: "admin", path: "/v1/approvals", key: KEYS.olivia })).status).toBe(200);
    expect(decisions()).toBe(before + 50);
    for (const { received } of held) expect(received()).not.toMatch(/HTTP\/1\.1 2/);
    for (const { socket } of [...held, ...idle]) socket.destroy();
    await Promise.all(slow.map(({ closed }) => closed));
    for (const { received } of slow) expect(received()).toMatch(/^(HTTP\/1\.1 408 |$)/);
    expect((await holdpoint.decide(scripted(ALLOW), KEYS.bot)).body.outcome).toBe("allow");
  });
});

describe("a thousand wrong keys", () => {
  test("are refused, slowed down, counted and recorded in a line or two, while the right one is served", async () => {
    const data_dir = temporaryDirectory();
    const settings = { auth: "api_key", api_keys: API_KEYS, data_dir };
    const sidecar = await startScripted(settings);
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    const attempts: Promise<Answer>[] = [];
    const honest: Promise<Answer>[] = [];
    const wrong = (index: number) => `wrong-key-${index}-${sha256(String(index))}`;
    const attack = (index: number, with_: Agent) =>
      exchange(with_, sidecar.decisionUrl, { path: "/v1/decisions", body: scripted(ALLOW), key: wrong(index) });
    for (let index = 0; index < 1_000; index += 1) {
      // Half of them over a few connections, half of them over one each.
      attempts.push(attack(index, index % 2 === 0 ? agent : new Agent({ keepAlive: false })));
      if (index % 20 === 0) honest.push(sidecar.decide(scripted(ALLOW), KEYS.bot));
    }
    const answers = await Promise.all(attempts);
    for (const { status, body } of await Promise.all(honest)) {
      expect(status).toBe(200);
      expect(body.outcome).toBe("allow");
    }
    agent.destroy();
    const refused = answers.filter(({ status }) => status === 401);
    const slowed = answers.filter(({ status }) => status === 429);
    expect(refused.length + slowed.length).toBe(1_000);
    expect(refused.length).toBeGreaterThanOrEqual(20);
    expect(slowed.length).toBeGreaterThan(500);
    for (const { body, headers } of refused) {
      expect(body).toMatchObject({ code: "unauthenticated", outcome: "deny", enforced: true });
      expect(headers["www-authenticate"]).toMatch(/^Bearer/);
    }
    for (const { body, headers } of slowed) {
      expect(body).toMatchObject({ code: "too_many_attempts", outcome: "deny", enforced: true });
      expect(headers).toMatchObject({ "retry-after": "1", connection: "close" });
    }
    // Another address of this machine is the same source; the right key is looked at from wherever it comes.
    const elsewhere = Array.from({ length: 60 }, () => from("127.77.0.1", sidecar.decisionUrl, wrong(0)));
    expect(await Promise.all(elsewhere)).toContain(429);
    expect(await from("127.77.0.1", sidecar.decisionUrl, KEYS.bot)).toBe(400);
    const { text } = await sidecar.send({ port: "admin", path: "/metrics" });
    expect(text).toContain('holdpoint_credentials_refused_total{port="decision",reason="unknown_token"} 1060');
    await sidecar.close();

    const after = await startScripted(settings);
    const summaries = after.entries().filter(({ kind }) => kind === "credentials_refused");
    expect(summaries.length).toBeLessThanOrEqual(5);
    expect(summaries.reduce((sum, { data }) => sum + data.count, 0)).toBe(1_060);
    expect(summaries.reduce((sum, { data }) => sum + data.by_reason.unknown_token, 0)).toBe(1_060);
    for (const { data, tenant } of summaries) {
      expect(tenant).toBe("");
      expect(data.credentials).toEqual([]);
      for (const source of data.sources) expect(["127.0.0.1", "127.77.0.1"]).toContain(source);
    }
    expect(JSON.stringify(after.entries())).not.toContain("wrong-key");
    await after.close();
  });
});

/** The status of an empty POST from this address of ours. */
function from(localAddress: string, base: string, key: string): Promise<number> {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", "content-length": 0 };
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(`${base}/v1/decisions`, { method: "POST", localAddress, headers }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode!));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

describe("createApiKeys()", () => {
  const record = (id: string, hash: string): ApiKeyRecord => ({
    id,
    sha256: hash,
    tenant: "default",
    scopes: ["decide"],
    type: "service",
    roles: [],
    actors: [],
    on_behalf_of: [],
  });
  const key = "hp_0123456789abcdef0123456789abcdef";
  const hash = sha256(key);
  const lastChanged = `${hash.slice(0, -1)}${hash.endsWith("0") ? "1" : "0"}`;
  const firstChanged = `${hash.startsWith("0") ? "1" : "0"}${hash.slice(1)}`;

  test("tells hashes apart that differ in their last or first digit alone", () => {
    const find = createApiKeys([record("last", lastChanged), record("first", firstChanged), record("right", hash)]);
    expect(find(key)?.reviewer.id).toBe("right");
    const without = createApiKeys([record("last", lastChanged), record("first", firstChanged)]);
    expect(without(key)).toBeUndefined();
  });

  test.each([
    ["nothing", ""],
    ["its hash", hash],
    ["its hash in capitals", hash.toUpperCase()],
    ["its hash as bytes", Buffer.from(hash, "hex").toString("latin1")],
    ["its id", "right"],
    ["a prefix", key.slice(0, -1)],
    ["a suffix", key.slice(1)],
    ["one character more", `${key}0`],
    ["a space more", `${key} `],
    ["NUL more", `${key}\u0000`],
    ["a line break more", `${key}\n`],
    ["a space before", ` ${key}`],
    ["other case", key.toUpperCase()],
    ["full width", key.replace("h", "ｈ")],
    ["a combining mark", `${key}\u0301`],
    ["half a surrogate", `${key}\ud800`],
    ["a megabyte", "x".repeat(1024 * 1024)],
    ["__proto__", "__proto__"],
  ])("finds nobody by %s", (_, token) => {
    const find = createApiKeys([record("right", hash), record("other", sha256("other"))]);
    expect(find(token)).toBeUndefined();
    expect(find(key)?.reviewer.id).toBe("right");
  });

  test("finds nobody where nobody is known", () => {
    expect(createApiKeys([])("")).toBeUndefined();
    expect(createApiKeys([])(key)).toBeUndefined();
  });

  test("gives each key its own tenant and nothing of the others", async () => {
    const proposal = scripted(PERMIT);
    const mine = await holdpoint.decide(proposal, KEYS.bot);
    const theirs = await holdpoint.decide(proposal, KEYS.other);
    expect(mine.body.decision_id).not.toBe(theirs.body.decision_id);
    const read = await holdpoint.send({
      port: "admin",
      path: "/v1/ledger/entries?limit=1000",
      key: KEYS.otherReviewer,
    });
    expect(read.text).toContain(theirs.body.decision_id);
    expect(read.text).not.toContain(mine.body.decision_id);
  });
});

describe("Unix sockets", () => {
  const anyone = 0o777;
  const modeOf = (path: string) => lstatSync(path).mode & anyone;

  test.each(["0600", "0660"])(
    "are never open to more than %s says, from the first moment, over what a dead process left",
    async (mode) => {
      const directory = temporaryDirectory();
      const paths = [join(directory, "d.sock"), join(directory, "a.sock")] as const;
      for (const path of paths) await leaveSocket(path);
      const left = new Set(paths.map((path) => lstatSync(path).ino));
      const seen = new Set<number>();
      const look = setInterval(() => {
        for (const name of readdirSync(directory)) {
          const found = lstatSync(join(directory, name), { throwIfNoEntry: false });
          if (found?.isSocket() === true && !left.has(found.ino)) seen.add(found.mode & anyone);
        }
      }, 1);
      const umask = process.umask(0);
      try {
        const sidecar = await startProcess({
          bundle: scriptedBundle("now"),
          listen: `unix:${paths[0]}`,
          admin_listen: `unix:${paths[1]}`,
          socket_mode: mode,
        });
        expect(paths.map(modeOf)).toEqual([Number.parseInt(mode, 8), Number.parseInt(mode, 8)]);
        expect((await overSocket(paths[0], "POST", "/v1/decisions", writeFile("/tmp/a"))).status).toBe(200);
        expect((await overSocket(paths[1], "GET", "/v1/policy")).status).toBe(401);
        const headers = { authorization: `Bearer ${KEYS.olivia}` };
        expect((await overSocket(paths[1], "GET", "/v1/policy", undefined, headers)).status).toBe(200);
        for (const one of seen) expect(one & ~Number.parseInt(mode, 8)).toBe(0);
        expect(modeOf(join(sidecar.dataDir, "ledger")) & 0o077).toBe(0);
        expect(await sidecar.stop()).toEqual({ code: 0, signal: null });
      } finally {
        process.umask(umask);
        clearInterval(look);
      }
    },
  );

  test("are refused, with the reason, where something else is in their place", async () => {
    const directory = temporaryDirectory();
    const live = join(directory, "live.sock");
    const server = createServer().listen(live);
    await once(server, "listening");
    const file = join(directory, "file");
    writeFileSync(file, "precious");
    const link = join(directory, "link");
    symlinkSync(live, link);
    try {
      const cases: [string, RegExp][] = [
        [live, /another process listens on/],
        [file, /exists and is no socket/],
        [directory, /exists and is no socket/],
        [link, /exists and is no socket/],
        [join(directory, "absent", "d.sock"), /absent/],
        [join(directory, "x".repeat(120)), /expected a path of at most 107 bytes/],
      ];
      const results = await Promise.all(
        cases.flatMap(([path]) =>
          (["listen", "admin_listen"] as const).map((setting) =>
            runCommand(["serve"], {
              listen: "127.0.0.1:0",
              admin_listen: "127.0.0.1:0",
              data_dir: join(directory, `data-${sha256(setting + path).slice(0, 8)}`),
              [setting]: `unix:${path}`,
            }),
          ),
        ),
      );
      for (const [index, { code, stderr }] of results.entries()) {
        const [path, reason] = cases[Math.floor(index / 2)]!;
        const setting = index % 2 === 0 ? "listen" : "admin_listen";
        expect([path, code]).toEqual([path, 2]);
        expect(stderr).toMatch(new RegExp(`- (HOLDPOINT_)?${setting}: `, "i"));
        expect(stderr).toMatch(reason);
        expect(stderr).not.toMatch(/\n\s+at /);
      }
      expect(lstatSync(file).size).toBe("precious".length);
      expect(lstatSync(live).isSocket()).toBe(true);
    } finally {
      server.close();
    }
  });
});

/** As a process that was killed leaves it: bound, and nobody listening. */
async function leaveSocket(path: string): Promise<void> {
  const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  const { spawn } = await import("node:child_process");
  await once(spawn(process.execPath, ["-e", code]), "close");
  expect(lstatSync(path).isSocket()).toBe(true);
}
