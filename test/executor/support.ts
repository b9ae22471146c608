/** Servers that executors are asked to reach, honest and otherwise, on sockets of this machine. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from "node:net";
import type { ExecuteAnswer, ExecuteRequest } from "../../src/core/executor.ts";
import {
  createHttpExecutors,
  type HttpExecutorConfig,
  type HttpExecutorsOptions,
} from "../../src/executor/create-http-executors.ts";

export const SECRET = "Bearer hunter2-hunter2";

const CONFIG: Omit<HttpExecutorConfig, "url"> = {
  timeout_ms: 5_000,
  idempotent: false,
  retries: 0,
  response_bytes_max: 1_024,
  headers: { authorization: SECRET },
  allow_http: false,
  concurrency_max: 4,
};

/** Ends the waits that a hostile server provokes; long enough for an honest part to arrive on a busy machine. */
export const SHORT_MS = 400;

export const REQUEST: ExecuteRequest = {
  executor: "payments",
  bodyText: '{"action":{"arguments":{"amount":4900,"note":"é"},"name":"ISSUE_REFUND"}}',
  permit: "eyJhbGciOiJFZERTQSJ9.e30.c2ln",
  idempotencyKey: "exec_10abc_1",
  traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
};

export interface Setup extends Partial<HttpExecutorsOptions> {
  readonly config?: Partial<HttpExecutorConfig>;
  readonly addresses?: readonly string[];
}

export function executorsAt(url: string, { config, addresses, ...options }: Setup = {}) {
  return createHttpExecutors(
    { executors: { payments: { ...CONFIG, url, ...config } }, addresses: addresses ?? ["127.0.0.0/8", "::1/128"] },
    options,
  );
}

export function executeAt(url: string, setup: Setup = {}): Promise<ExecuteAnswer> {
  return executorsAt(url, setup).execute(REQUEST);
}

export interface Received {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const open = new Set<{ readonly server: Server; readonly sockets: Set<Socket> }>();

/** For `afterEach`. */
export async function closeServers(): Promise<void> {
  for (const { server, sockets } of open) {
    for (const socket of sockets) socket.destroy();
    const closed = once(server, "close");
    server.close();
    await closed;
  }
  open.clear();
}

async function listening(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.add({ server, sockets });
  return (server.address() as AddressInfo).port;
}

/** Reads every request to its end before it answers. */
export async function startHttp(
  answer: (response: ServerResponse, count: number) => void,
  tls?: { readonly key: string; readonly cert: string },
) {
  const received: Received[] = [];
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method, url: path, headers } = request;
      received.push({ method, path, headers, body: Buffer.concat(chunks).toString() });
      answer(response, received.length);
    });
  };
  const port = await listening(tls === undefined ? createServer(listener) : createTlsServer(tls, listener));
  return { port, url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}/run?a=1`, received };
}

/** Bytes as they are: `begin` gets the socket once a request has arrived, its body included. */
export async function startRaw(begin: (socket: Socket) => void) {
  const state = { connections: 0, closed: Promise.resolve() };
  const server = createTcpServer((socket) => {
    state.connections += 1;
    state.closed = new Promise((resolve) => socket.once("close", () => resolve()));
    let text = "";
    socket.on("data", (chunk) => {
      const isComplete = text.includes("ISSUE_REFUND");
      text += chunk.toString("latin1");
      if (!isComplete && text.includes("ISSUE_REFUND")) begin(socket);
    });
  });
  const port = await listening(server);
  return { port, url: `http://127.0.0.1:${port}/run`, state };
}

/** Accepts, and says nothing. */
export async function startSilent() {
  const state = { connections: 0 };
  const server = createTcpServer(() => {
    state.connections += 1;
  });
  return { port: await listening(server), state };
}

/** A port that nobody listens on any more. */
export async function closedPort(): Promise<number> {
  const server = createTcpServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Self-signed for payments.example, until 2124. For tests alone: its key is public. */
export const TLS = {
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTgd7cqAfrqj2ayg0
ule0F4hJmKB4aFjtW4frXf2KITShRANCAARUIC9BWOzUH5ZDq/49AMSUvQ0JmQst
9/W4UwQlfcZ8hXKZZbPElebO+a96ihouIDNTu8ux9ijA3He5bzc8u3J/
-----END PRIVATE KEY-----
`,
  cert: `-----BEGIN CERTIFICATE-----
MIIBdjCCARygAwIBAgIBATAKBggqhkjOPQQDAjAbMRkwFwYDVQQDDBBwYXltZW50
cy5leGFtcGxlMCAXDTI0MDEwMTAwMDAwMFoYDzIxMjQwMTAxMDAwMDAwWjAbMRkw
FwYDVQQDDBBwYXltZW50cy5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAEVCAvQVjs1B+WQ6v+PQDElL0NCZkLLff1uFMEJX3GfIVymWWzxJXmzvmveooa
LiAzU7vLsfYowNx3uW83PLtyf6NPME0wGwYDVR0RBBQwEoIQcGF5bWVudHMuZXhh
bXBsZTAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBT3Zp6zgiKcNEX86QDSf8cB
vp4myjAKBggqhkjOPQQDAgNIADBFAiAfcVyfdgPpwcxT6Zg3nuttxNsmjz3PjGDT
czRu3tVxuQIhAOTwYoRMaAukOKJf995ilqp0Q19e9RBchq8nlolHG/0k
-----END CERTIFICATE-----
`,
};
