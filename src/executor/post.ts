/** One request on a connection that is open, and what its answer means. */
import { request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import type { Socket } from "node:net";
import type { ExecuteAnswer } from "../core/executor.ts";
import { readJson } from "../core/read-json.ts";
import type { Json } from "../core/types.ts";
import { codeOf } from "./connect.ts";

/** Of a response, status line included. */
export const RESPONSE_HEADER_BYTES_MAX = 16 * 1024;

export interface Message {
  /** Path and query. */
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
  readonly responseBytesMax: number;
}

export interface Attempt {
  readonly answer: ExecuteAnswer;
  /** Whether another attempt could end otherwise. Whether one is permitted is the caller's to say. */
  readonly mayRetry: boolean;
  /** What the executor asked for. */
  readonly retryAfterMs?: number | undefined;
}

/** These say that nothing was done, and that it may be later (RFC 6585 section 4, RFC 8470 section 5.2). */
const REFUSED_FOR_NOW = new Set([425, 429]);
/** A proxy that gave up waiting says it, too, and then somebody may have run it (RFC 9110 section 15.5.9). */
const REQUEST_TIMEOUT = 408;

const JSON_TYPE = /^application\/(?:json|[a-z0-9.+-]+\+json)\s*(?:;|$)/i;

class TooLong extends Error {}

/** Never throws, and leaves the connection closed. Ends when `signal` aborts. */
export async function post(socket: Socket, message: Message, signal: AbortSignal): Promise<Attempt> {
  let status: number | undefined;
  try {
    const response = await send(socket, message, signal);
    status = response.statusCode ?? 0;
    return await read(response, status, message.responseBytesMax);
  } catch (thrown) {
    if (signal.aborted) return unknown("gave no complete answer in time", { status, mayRetry: false });
    if (thrown instanceof TooLong)
      return unknown(`gave an answer of more than ${message.responseBytesMax} bytes`, { status, mayRetry: false });
    return unknown(`broke off before its answer was complete: ${codeOf(thrown)}`, { status });
  } finally {
    socket.destroy();
  }
}

function send(socket: Socket, message: Message, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      method: "POST",
      path: message.path,
      headers: { ...message.headers, "content-length": message.body.length },
      setHost: false,
      createConnection: () => socket,
      maxHeaderSize: RESPONSE_HEADER_BYTES_MAX,
      signal,
    });
    // Once the response has begun, faults are told by the response, and these say nothing new.
    request.on("error", reject);
    request.on("close", () => reject(new Error("closed")));
    request.on("response", resolve);
    // 101 to a request that asked for no other protocol.
    request.on("upgrade", resolve);
    request.end(message.body);
  });
}

async function read(response: IncomingMessage, status: number, bytesMax: number): Promise<Attempt> {
  if (status >= 200 && status < 300) {
    const bytes = await collect(response, bytesMax);
    return { answer: { kind: "succeeded", status, result: resultOf(response, bytes) }, mayRetry: false };
  }
  const said = `answered ${status}`;
  if (status >= 300 && status < 400) return unknown(`${said}: redirects are not followed`, { status, mayRetry: false });
  const retryAfterMs = retryAfterOf(response.headers["retry-after"]);
  const isRefused = status >= 400 && status < 500 && status !== REQUEST_TIMEOUT;
  if (!isRefused) return unknown(said, { status, retryAfterMs });
  return { answer: { kind: "failed", status, message: said }, mayRetry: REFUSED_FOR_NOW.has(status), retryAfterMs };
}

function unknown(
  message: string,
  of: { readonly status: number | undefined; readonly mayRetry?: boolean; readonly retryAfterMs?: number | undefined },
): Attempt {
  const { status, mayRetry = true, retryAfterMs } = of;
  return { answer: { kind: "unknown", status, message }, mayRetry, retryAfterMs };
}

/** @throws TooLong; what the connection throws where it ends before the body does */
async function collect(response: IncomingMessage, bytesMax: number): Promise<Buffer> {
  if (Number(response.headers["content-length"] ?? 0) > bytesMax) throw new TooLong();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bytesMax) throw new TooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** Nothing is unpacked: what is not plain JSON, read strictly, is no result. The action has run all the same. */
function resultOf({ headers }: IncomingMessage, bytes: Buffer): Json | undefined {
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding !== "identity" || !JSON_TYPE.test(headers["content-type"] ?? "")) return undefined;
  try {
    return readJson(bytes, { bytesMax: bytes.length }).value;
  } catch {
    return undefined;
  }
}

const HTTP_DATE = /^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$/;

/** Seconds or a date (RFC 9110 section 10.2.3). */
function retryAfterOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(text)) return Number(text) * 1_000;
  const at = HTTP_DATE.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now());
}
