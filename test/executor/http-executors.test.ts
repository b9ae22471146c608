import { afterEach, describe, expect, test } from "vitest";
import {
  closedPort,
  closeServers,
  executeAt,
  executorsAt,
  REQUEST,
  type Received,
  SECRET,
  SHORT_MS,
  startHttp,
  startRaw,
} from "./support.ts";

afterEach(closeServers);

const spanOf = ({ headers }: Received) => String(headers.traceparent).split("-")[2];

describe("createHttpExecutors()", () => {
  test("posts what was allowed, with the permit and the key of this execution", async () => {
    const server = await startHttp((response) => {
      response.setHeader("content-type", "application/json").end('{"refund":"re_1"}');
    });
    expect(await executeAt(server.url)).toEqual({ kind: "succeeded", status: 200, result: { refund: "re_1" } });
    const [received] = server.received;
    expect(server.received).toHaveLength(1);
    expect(received).toMatchObject({ method: "POST", path: "/run?a=1", body: REQUEST.bodyText });
    expect(received!.headers).toEqual({
      authorization: SECRET,
      host: `127.0.0.1:${server.port}`,
      accept: "application/json",
      "accept-encoding": "identity",
      "content-type": "application/json",
      "content-length": String(Buffer.byteLength(REQUEST.bodyText)),
      connection: "close",
      "holdpoint-permit": REQUEST.permit,
      "idempotency-key": REQUEST.idempotencyKey,
      traceparent: expect.stringMatching(new RegExp(`^00-${REQUEST.traceId}-[0-9a-f]{16}-01$`)),
    });
    expect(spanOf(received!)).not.toBe("0".repeat(16));
  });

  test("knows the executors that there are, and runs nothing for another", async () => {
    const executors = executorsAt("http://127.0.0.1:1/");
    expect(["payments", "constructor", "Payments"].map((name) => executors.has(name))).toEqual([true, false, false]);
    expect(await executors.execute({ ...REQUEST, executor: "constructor" })).toEqual({
      kind: "failed",
      status: undefined,
      message: 'There is no executor "constructor"',
    });
  });

  test("refuses an address list that is none", () => {
    expect(() => executorsAt("http://127.0.0.1:1/", { addresses: ["10.0.0.1"] })).toThrow(RangeError);
  });

  test.each([
    [400, "failed"],
    [401, "failed"],
    [404, "failed"],
    [409, "failed"],
    [422, "failed"],
    [425, "failed"],
    [429, "failed"],
    [499, "failed"],
    [408, "unknown"],
    [500, "unknown"],
    [502, "unknown"],
    [503, "unknown"],
    [504, "unknown"],
    [599, "unknown"],
    [300, "unknown"],
    [304, "unknown"],
  ])("takes the answer %i as %s, and tries no second time", async (status, kind) => {
    const server = await startHttp((response) => response.writeHead(status).end("{}"));
    const answer = await executeAt(server.url);
    expect(answer).toMatchObject({ kind, status, message: expect.stringContaining(`"payments" answered ${status}`) });
    expect(server.received).toHaveLength(1);
  });

  test.each([301, 302, 303, 307, 308])("follows no redirect: %i", async (status) => {
    const other = await startHttp((response) => response.end());
    const server = await startHttp((response) => response.writeHead(status, { location: other.url }).end());
    expect(await executeAt(server.url, { config: { idempotent: true, retries: 5 } })).toEqual({
      kind: "unknown",
      status,
      message: `Executor "payments" answered ${status}: redirects are not followed`,
    });
    expect([server.received.length, other.received.length]).toEqual([1, 0]);
  });

  test.each([
    ["an object", "application/json", '{"b":[1,{"a":null}]}', { b: [1, { a: null }] }],
    ["a scalar", "application/json", "7", 7],
    ["null", "application/json; charset=utf-8", "null", null],
    ["a kin of JSON", "application/vnd.example+json", "[]", []],
    ["an empty text", "application/json", "", undefined],
    ["a page", "text/html", "<p>ok</p>", undefined],
    ["JSON that says it is text", "text/plain", "{}", undefined],
    ["no JSON", "application/json", "{'a':1}", undefined],
    ["a key twice", "application/json", '{"a":1,"a":2}', undefined],
    ["a number no reader can be sure of", "application/json", "[9007199254740993]", undefined],
    ["half of a character", "application/json", Buffer.from([0x22, 0xc3, 0x22]), undefined],
    ["nesting without end", "application/json", "[".repeat(500), undefined],
  ])("keeps of %s what is strict JSON", async (_, type, body, result) => {
    const server = await startHttp((response) => response.setHeader("content-type", type).end(body));
    expect(await executeAt(server.url)).toEqual({ kind: "succeeded", status: 200, result });
  });

  test("needs no body", async () => {
    const server = await startHttp((response) => response.writeHead(204).end());
    expect(await executeAt(server.url)).toEqual({ kind: "succeeded", status: 204, result: undefined });
  });

  test.each([
    ["with its length", true],
    ["in chunks", false],
  ])("takes an answer of as many bytes as it may have, and not one more: %s", async (_, hasLength) => {
    const server = await startHttp((response, count) => {
      const body = JSON.stringify("x".repeat(1_024 - 2 + count - 1));
      if (hasLength) response.setHeader("content-length", body.length);
      response.setHeader("content-type", "application/json").write(body);
      response.end();
    });
    expect(await executeAt(server.url)).toMatchObject({ kind: "succeeded", result: "x".repeat(1_022) });
    expect(await executeAt(server.url, { config: { idempotent: true, retries: 5 } })).toEqual({
      kind: "unknown",
      status: 200,
      message: 'Executor "payments" gave an answer of more than 1024 bytes',
    });
    expect(server.received).toHaveLength(2);
  });

  test("runs as many at once as it may, and not one more", async () => {
    const held: (() => void)[] = [];
    let arrived = () => {};
    const all = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const server = await startHttp((response, count) => {
      held.push(() => response.writeHead(count % 2 === 0 ? 200 : 500).end());
      if (count === 4) arrived();
    });
    const { execute } = executorsAt(server.url);
    const running = Array.from({ length: 4 }, () => execute(REQUEST));
    await all;
    expect(await execute(REQUEST)).toEqual({
      kind: "failed",
      status: undefined,
      message: 'Executor "payments" is overloaded: 4 executions are running',
    });
    expect(server.received).toHaveLength(4);
    for (const answer of held.splice(0)) answer();
    expect((await Promise.all(running)).map(({ kind }) => kind).sort()).toEqual([
      "succeeded",
      "succeeded",
      "unknown",
      "unknown",
    ]);
    // Places are given back, however an execution ended.
    const again = Array.from({ length: 4 }, () => execute(REQUEST));
    const answering = setInterval(() => {
      for (const answer of held.splice(0)) answer();
    }, 1);
    expect((await Promise.all(again)).some(({ kind }) => kind === "failed")).toBe(false);
    clearInterval(answering);
  });
});

describe("retries", () => {
  const retrying = (waits: number[] = []) => ({
    config: { idempotent: true, retries: 3 },
    wait: async (ms: number) => waits.push(ms),
    random: () => 0.5,
  });

  test("ask again with the same key, after waits that double, until there is an answer", async () => {
    const server = await startHttp((response, count) => response.writeHead(count <= 3 ? 500 : 201).end());
    const waits: number[] = [];
    expect(await executeAt(server.url, retrying(waits))).toMatchObject({ kind: "succeeded", status: 201 });
    expect(waits).toEqual([100, 200, 400]);
    expect(server.received.map(({ headers }) => headers["idempotency-key"])).toEqual(
      Array(4).fill(REQUEST.idempotencyKey),
    );
    expect(new Set(server.received.map(({ body }) => body))).toEqual(new Set([REQUEST.bodyText]));
    expect(new Set(server.received.map(spanOf)).size).toBe(4);
  });

  test("end after as many as are set", async () => {
    const server = await startHttp((response) => response.writeHead(500).end());
    expect(await executeAt(server.url, retrying())).toMatchObject({ kind: "unknown", status: 500 });
    expect(server.received).toHaveLength(4);
  });

  test("wait by themselves", async () => {
    const server = await startHttp((response, count) => response.writeHead(count === 1 ? 500 : 200).end());
    const config = { idempotent: true, retries: 1 };
    expect(await executeAt(server.url, { config, random: () => 0.01 })).toMatchObject({ kind: "succeeded" });
    expect(server.received).toHaveLength(2);
  });

  test("end with the total time, where waits have used it up", async () => {
    const server = await startHttp((response) => response.writeHead(500).end());
    const wait = (_: number, signal: AbortSignal) =>
      new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    const config = { idempotent: true, retries: 5, timeout_ms: SHORT_MS };
    const answer = await executeAt(server.url, { config, wait, random: () => 0 });
    expect(answer).toMatchObject({ kind: "unknown", status: 500 });
    expect(server.received).toHaveLength(1);
  });

  test("are none where the executor is not idempotent", async () => {
    const server = await startHttp((response) => response.writeHead(500).end());
    const { config, ...options } = retrying();
    expect(await executeAt(server.url, { ...options, config: { ...config, idempotent: false } })).toMatchObject({
      kind: "unknown",
    });
    expect(server.received).toHaveLength(1);
  });

  test.each([400, 401, 403, 404, 409, 410, 422])("are none after %i", async (status) => {
    const server = await startHttp((response) => response.writeHead(status).end());
    expect(await executeAt(server.url, retrying())).toMatchObject({ kind: "failed", status });
    expect(server.received).toHaveLength(1);
  });

  test.each([408, 425, 429, 500, 502, 503, 504])("come after %i", async (status) => {
    const server = await startHttp((response, count) => response.writeHead(count === 1 ? status : 200).end());
    expect(await executeAt(server.url, retrying())).toMatchObject({ kind: "succeeded" });
    expect(server.received).toHaveLength(2);
  });

  test.each([
    [429, "2", 2_000],
    [503, "0", 0],
    [503, "Thu, 01 Jan 1970 00:00:00 GMT", 0],
    [503, "soon", 100],
    [503, "-5", 100],
  ])("after %i wait as Retry-After %s says", async (status, retryAfter, expected) => {
    const server = await startHttp((response, count) =>
      count === 1 ? response.writeHead(status, { "retry-after": retryAfter }).end() : response.end(),
    );
    const waits: number[] = [];
    expect(await executeAt(server.url, retrying(waits))).toMatchObject({ kind: "succeeded" });
    expect(waits).toEqual([expected]);
  });

  test.each(["6", "3600", "999999999", "Fri, 31 Dec 2399 23:59:59 GMT"])(
    "do not wait beyond the total time, as Retry-After %s would have it",
    async (retryAfter) => {
      const server = await startHttp((response) => response.writeHead(503, { "retry-after": retryAfter }).end());
      const waits: number[] = [];
      expect(await executeAt(server.url, retrying(waits))).toMatchObject({ kind: "unknown", status: 503 });
      expect([server.received.length, waits]).toEqual([1, []]);
    },
  );

  test("come where nobody was reached", async () => {
    const waits: number[] = [];
    const answer = await executeAt(`http://127.0.0.1:${await closedPort()}/`, retrying(waits));
    expect(answer).toMatchObject({ kind: "failed", message: expect.stringContaining("ECONNREFUSED") });
    expect(waits).toHaveLength(3);
  });

  test("leave it unknown where one attempt may have run, and the next was refused", async () => {
    const server = await startHttp((response, count) => response.writeHead(count === 1 ? 500 : 409).end());
    expect(await executeAt(server.url, retrying())).toEqual({
      kind: "unknown",
      status: 409,
      message: 'Executor "payments" answered 409; before that it answered 500',
    });
    expect(server.received).toHaveLength(2);
  });

  test("leave it unknown where one attempt may have run, and then nobody was there", async () => {
    const server = await startHttp((response) => response.writeHead(500).end());
    let isGone = false;
    const resolve = async () => {
      if (isGone) throw Object.assign(new Error("gone"), { code: "ENOTFOUND" });
      isGone = true;
      return [{ address: "127.0.0.1", family: 4 }];
    };
    const answer = await executeAt(`http://payments.example:${server.port}/`, { ...retrying(), resolve });
    expect(answer).toMatchObject({ kind: "unknown", message: expect.stringMatching(/ENOTFOUND; before .* 500$/) });
  });

  test("come after a connection that broke off", async () => {
    let count = 0;
    const server = await startRaw((socket) => {
      count += 1;
      if (count === 1) socket.resetAndDestroy();
      else socket.end("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    expect(await executeAt(server.url, retrying())).toMatchObject({ kind: "succeeded", status: 200 });
    expect(server.state.connections).toBe(2);
  });
});
