/** Executors that misbehave in every way a server can: each execution ends, as unknown where something may have run. */
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import type { ResolvedAddress, ResolveHost } from "../../src/executor/connect.ts";
import {
  closedPort,
  closeServers,
  executeAt,
  REQUEST,
  SECRET,
  SHORT_MS,
  startHttp,
  startRaw,
  startSilent,
  TLS,
} from "./support.ts";

afterEach(closeServers);

const OK = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const IN_TIME = "gave no complete answer in time";
const BROKE_OFF = "broke off before its answer was complete: ";

/** Writes for as long as the other side takes it. */
function pour(socket: Socket, chunk: string): void {
  const more = () => {
    while (!socket.destroyed && socket.write(chunk));
  };
  socket.on("drain", more);
  more();
}

/** A byte now and then: each keeps a connection from being idle. */
function drip(socket: Socket, byte: string): void {
  const timer = setInterval(() => socket.write(byte), 5);
  socket.on("close", () => clearInterval(timer));
}

describe("an executor that", () => {
  test.each<[string, (socket: Socket) => void, string, (number | undefined)?]>([
    ["has a status that is none", (socket) => socket.write("HTTP/1.1 099 Hm\r\n\r\n"), "answered 99", 99],
    ["has another such status", (socket) => socket.write("HTTP/1.1 999 Hm\r\n\r\n"), "answered 999", 999],
    ["says nothing", () => {}, IN_TIME],
    ["begins its headers and stops", (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-ty"), IN_TIME],
    ["begins its body and stops", (socket) => socket.write(`${OK}content-length: 10\r\n\r\n{"a"`), IN_TIME, 200],
    [
      "never ends its last chunk",
      (socket) => socket.write(`${OK}transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n`),
      IN_TIME,
      200,
    ],
    [
      "drips its headers",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\nx: ");
        drip(socket, "x");
      },
      IN_TIME,
    ],
    [
      "drips its body",
      (socket) => {
        socket.write(`${OK}content-length: 1000\r\n\r\n`);
        drip(socket, " ");
      },
      IN_TIME,
      200,
    ],
    ["promises to go on", (socket) => drip(socket, "HTTP/1.1 102 Processing\r\n\r\n"), IN_TIME],
    [
      "streams without end",
      (socket) => {
        socket.write(`${OK}\r\n`);
        pour(socket, "x".repeat(65_536));
      },
      "gave an answer of more than 1024 bytes",
      200,
    ],
    [
      "streams chunks without end",
      (socket) => {
        socket.write(`${OK}transfer-encoding: chunked\r\n\r\n`);
        pour(socket, `400\r\n${"x".repeat(1_024)}\r\n`);
      },
      "gave an answer of more than 1024 bytes",
      200,
    ],
    [
      "announces more than it may send",
      (socket) => socket.write(`${OK}content-length: 1025\r\n\r\n`),
      "gave an answer of more than 1024 bytes",
      200,
    ],
    [
      "has headers without end",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\n");
        pour(socket, `x: ${"x".repeat(1_000)}\r\n`);
      },
      `${BROKE_OFF}HPE_HEADER_OVERFLOW`,
    ],
    ["hangs up", (socket) => socket.end(), `${BROKE_OFF}ECONNRESET`],
    ["resets the connection", (socket) => socket.resetAndDestroy(), `${BROKE_OFF}ECONNRESET`],
    [
      "hangs up within its body",
      (socket) => socket.end(`${OK}content-length: 10\r\n\r\n{"a"`),
      `${BROKE_OFF}ECONNRESET`,
      200,
    ],
    [
      "hangs up between its chunks",
      (socket) => socket.end(`${OK}transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n`),
      `${BROKE_OFF}ECONNRESET`,
      200,
    ],
    [
      "resets within its body",
      (socket) => {
        socket.write(`${OK}content-length: 10\r\n\r\n{"a"`, () => socket.resetAndDestroy());
      },
      `${BROKE_OFF}ECONNRESET`,
      200,
    ],
    ["speaks no HTTP", (socket) => socket.write("220 smtp.example ESMTP\r\n"), `${BROKE_OFF}HPE_INVALID_CONSTANT`],
    [
      "has a chunk that is none",
      (socket) => socket.write(`${OK}transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n`),
      `${BROKE_OFF}ECONNRESET`,
      200,
    ],
    [
      "gives two lengths",
      (socket) => socket.write(`${OK}content-length: 2\r\ncontent-length: 3\r\n\r\n{}`),
      `${BROKE_OFF}HPE_UNEXPECTED_CONTENT_LENGTH`,
    ],
    [
      "has a header with a line feed of its own",
      (socket) => socket.write(`${OK}x: a\rb\r\ncontent-length: 2\r\n\r\n{}`),
      `${BROKE_OFF}HPE_LF_EXPECTED`,
    ],
    [
      "changes the protocol",
      (socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
      "answered 101",
      101,
    ],
  ])("%s leaves it unknown, and its connection is closed", async (_, begin, said, status) => {
    const server = await startRaw(begin);
    const answer = await executeAt(server.url, { config: { timeout_ms: said === IN_TIME ? SHORT_MS : 5_000 } });
    expect(answer).toEqual({
      kind: "unknown",
      status,
      message: `Executor "payments" ${said}`,
    });
    expect(JSON.stringify(answer)).not.toContain("hunter2");
    await server.state.closed;
    expect(server.state.connections).toBe(1);
  });

  test("is cut off by the total time, whatever its retries", async () => {
    const server = await startRaw(() => {});
    const config = { timeout_ms: SHORT_MS, idempotent: true, retries: 5 };
    expect(await executeAt(server.url, { config })).toMatchObject({ kind: "unknown" });
    expect(server.state.connections).toBe(1);
  });

  test("refuses and never ends its body is taken at its word", async () => {
    const server = await startRaw((socket) => socket.write("HTTP/1.1 409 No\r\ncontent-length: 1000\r\n\r\nx"));
    expect(await executeAt(server.url)).toMatchObject({ kind: "failed", status: 409 });
    await server.state.closed;
  });

  test("says more after its answer is not listened to", async () => {
    const server = await startRaw((socket) => socket.write(`${OK}content-length: 2\r\n\r\n{}HTTP/1.1 500 No\r\n\r\n`));
    expect(await executeAt(server.url)).toMatchObject({ status: 200, result: {} });
    await server.state.closed;
  });

  test("answers a bomb has it left packed", async () => {
    const bomb = gzipSync(Buffer.alloc(10_000_000, " "));
    const server = await startHttp((response) => {
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" }).end(bomb);
    });
    const config = { response_bytes_max: bomb.length };
    expect(await executeAt(server.url, { config })).toEqual({ kind: "succeeded", status: 200, result: undefined });
    expect(await executeAt(server.url, { config: { response_bytes_max: bomb.length - 1 } })).toMatchObject({
      kind: "unknown",
    });
  });

  test.each(["gzip", "br", "deflate", "x", "gzip, identity"])(
    "claims to be packed (%s) gives no result",
    async (encoding) => {
      const server = await startHttp((response) => {
        response.writeHead(200, { "content-type": "application/json", "content-encoding": encoding }).end("{}");
      });
      expect(await executeAt(server.url)).toEqual({ kind: "succeeded", status: 200, result: undefined });
    },
  );
});

const v4 = (address: string): ResolvedAddress => ({ address, family: 4 });
const v6 = (address: string): ResolvedAddress => ({ address, family: 6 });
const leadsTo =
  (...addresses: ResolvedAddress[]): ResolveHost =>
  async () =>
    addresses;

describe("addresses", () => {
  test("the one that was checked is the one that is connected to, under the executor's own name", async () => {
    const server = await startHttp((response) => response.end());
    const asked: string[] = [];
    const resolve: ResolveHost = async (hostname) => {
      asked.push(hostname);
      // A second look would lead elsewhere.
      return [v4(asked.length === 1 ? "127.0.0.1" : "169.254.169.254")];
    };
    const answer = await executeAt(`http://payments.example:${server.port}/`, { resolve });
    expect(answer).toMatchObject({ kind: "succeeded" });
    expect(asked).toEqual(["payments.example"]);
    expect(server.received[0]!.headers.host).toBe(`payments.example:${server.port}`);
  });

  test.each<[string, ResolvedAddress[], string]>([
    ["one that is forbidden", [v4("169.254.169.254")], "169.254.169.254"],
    ["two, of which one is forbidden", [v4("127.0.0.1"), v4("10.0.0.1")], "10.0.0.1"],
    ["a forbidden one in the other family", [v4("127.0.0.1"), v6("fe80::1")], "fe80::1"],
    ["a forbidden one mapped to IPv6", [v6("::ffff:10.0.0.1")], "::ffff:10.0.0.1"],
    ["the same in hexadecimal", [v6("::ffff:a9fe:a9fe")], "::ffff:a9fe:a9fe"],
    ["loopback within the address of a gateway", [v6("64:ff9b::7f00:1")], "64:ff9b::7f00:1"],
    ["an address with a zone", [v6("::1%lo")], "::1%lo"],
    ["what is no address", [v4("payments.example")], "payments.example"],
    ["every address", [v4("0.0.0.0")], "0.0.0.0"],
  ])("a name that leads to %s is not connected to", async (_, addresses, shown) => {
    const server = await startHttp((response) => response.end());
    const config = { idempotent: true, retries: 3, allow_http: true };
    let looks = 0;
    const resolve: ResolveHost = async () => {
      looks += 1;
      return addresses;
    };
    expect(await executeAt(`http://payments.example:${server.port}/`, { config, resolve })).toEqual({
      kind: "failed",
      status: undefined,
      message: `Executor "payments" is not connected to: its name leads to ${shown}, which is outside executor_addresses`,
    });
    expect([server.received.length, looks]).toEqual([0, 1]);
  });

  test.each(["http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://2852039166/", "http://0xa9.254.43518/"])(
    "an executor at %s is not connected to either",
    async (url) => {
      expect(await executeAt(url, { config: { allow_http: true } })).toMatchObject({
        kind: "failed",
        message: expect.stringMatching(/outside executor_addresses$/),
      });
    },
  );

  test.each(["127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"])("loopback is taken spelled as %s", async (address) => {
    const server = await startHttp((response) => response.end());
    const resolve = leadsTo({ address, family: address.includes(":") ? 6 : 4 });
    expect(await executeAt(`http://payments.example:${server.port}/`, { resolve })).toMatchObject({
      kind: "succeeded",
    });
  });

  test("an address written into the URL needs no name server", async () => {
    const server = await startHttp((response) => response.end());
    const resolve = () => Promise.reject(new Error("asked"));
    expect(await executeAt(server.url, { resolve })).toMatchObject({ kind: "succeeded" });
  });

  test("localhost is found without help", async () => {
    const server = await startHttp((response) => response.end());
    expect(await executeAt(`http://localhost:${server.port}/`)).toMatchObject({ kind: "succeeded" });
  });

  test("the second of two allowed ones is tried where the first refuses", async () => {
    const server = await startHttp((response) => response.end());
    const resolve = leadsTo(v4("127.9.9.9"), v4("127.0.0.1"));
    expect(await executeAt(`http://payments.example:${server.port}/`, { resolve })).toMatchObject({
      kind: "succeeded",
    });
  });

  test("plain http leaves loopback only where it is allowed to", async () => {
    const server = await startHttp((response) => response.end());
    const url = `http://payments.example:${server.port}/`;
    // Linux connects to this machine for it, and it is not loopback by its number.
    const setup = { addresses: ["0.0.0.0/32"], resolve: leadsTo(v4("0.0.0.0")) };
    expect(await executeAt(url, setup)).toMatchObject({
      kind: "failed",
      message: expect.stringContaining("http is for loopback"),
    });
    expect(server.received).toHaveLength(0);
    expect(await executeAt(url, { ...setup, config: { allow_http: true } })).toMatchObject({ kind: "succeeded" });
  });
});

describe("nobody was reached", () => {
  const noName = () => Promise.reject(Object.assign(new Error("no such name"), { code: "ENOTFOUND" }));
  test.each<[string, ResolveHost, string]>([
    ["a name that nobody has", noName, "cannot be reached: ENOTFOUND"],
    ["a name without an address", async () => [], "cannot be reached: its name has no address"],
    ["a name server that is silent", () => new Promise(() => {}), "cannot be reached: no connection in time"],
    [
      "a resolver that throws",
      () => {
        throw new Error("no resolver");
      },
      "cannot be reached: it failed without a code",
    ],
  ])("%s has failed", async (_, resolve, said) => {
    const answer = await executeAt("http://payments.example/", { resolve, config: { timeout_ms: SHORT_MS } });
    expect(answer).toEqual({ kind: "failed", status: undefined, message: `Executor "payments" ${said}` });
  });

  test("a port that nobody listens on has failed", async () => {
    const answer = await executeAt(`http://127.0.0.1:${await closedPort()}/`);
    expect(answer).toMatchObject({ kind: "failed", message: expect.stringContaining("ECONNREFUSED") });
  });

  test("two addresses that refuse have failed", async () => {
    const resolve = leadsTo(v4("127.0.0.1"), v4("127.0.0.2"));
    const answer = await executeAt(`http://payments.example:${await closedPort()}/`, { resolve });
    expect(answer).toMatchObject({ kind: "failed", message: expect.stringContaining("ECONNREFUSED") });
  });

  test("a server that never shakes hands has failed: nothing was sent", async () => {
    const server = await startSilent();
    const config = { timeout_ms: SHORT_MS };
    expect(await executeAt(`https://127.0.0.1:${server.port}/`, { config })).toMatchObject({
      kind: "failed",
      message: 'Executor "payments" cannot be reached: no connection in time',
    });
    expect(server.state.connections).toBe(1);
  });
});

describe("TLS", () => {
  const resolve = leadsTo(v4("127.0.0.1"));

  test("is believed from the authorities that are set, for the executor's own name", async () => {
    const server = await startHttp((response) => {
      const { servername } = response.socket as unknown as { servername: string };
      response.setHeader("content-type", "application/json").end(JSON.stringify({ servername }));
    }, TLS);
    const answer = await executeAt(`https://payments.example:${server.port}/`, { resolve, config: { ca: TLS.cert } });
    expect(answer).toEqual({ kind: "succeeded", status: 200, result: { servername: "payments.example" } });
    expect(server.received[0]).toMatchObject({
      body: REQUEST.bodyText,
      headers: { host: `payments.example:${server.port}`, authorization: SECRET },
    });
  });

  test.each([
    ["an authority that nobody knows", "payments.example", undefined, "DEPTH_ZERO_SELF_SIGNED_CERT"],
    ["another's name", "refunds.example", TLS.cert, "ERR_TLS_CERT_ALTNAME_INVALID"],
    ["a name where an address was asked for", "127.0.0.1", TLS.cert, "ERR_TLS_CERT_ALTNAME_INVALID"],
  ])("with a certificate of %s has failed, and nothing was sent", async (_, name, ca, code) => {
    const server = await startHttp((response) => response.end(), TLS);
    const answer = await executeAt(`https://${name}:${server.port}/`, { resolve, config: { ca } });
    expect(answer).toMatchObject({ kind: "failed", message: expect.stringContaining(code) });
    expect(server.received).toHaveLength(0);
  });

  test("with a server that speaks plain HTTP has failed", async () => {
    const server = await startHttp((response) => response.end());
    expect(await executeAt(`https://127.0.0.1:${server.port}/`)).toMatchObject({ kind: "failed" });
    expect(server.received).toHaveLength(0);
  });
});
