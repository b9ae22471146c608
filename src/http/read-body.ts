/** The one way a body comes in: limited while it arrives, checked for its type, read by the strict reader. */
import type { IncomingMessage } from "node:http";
import { InvalidRequestError } from "../core/errors.ts";
import { type Reading, type ReadLimits, readJson } from "../core/read-json.ts";

const JSON_TYPE = /^application\/(?:json|[a-z0-9.+-]+\+json)\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/** @throws InvalidRequestError */
export async function readBody(request: IncomingMessage, limits: ReadLimits): Promise<Reading> {
  requireJson(request);
  return readJson(await collect(request, limits.bytesMax), limits);
}

/** The bytes as they came, whatever they are: a signature is over them. @throws InvalidRequestError */
export function readBytes(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  return collect(request, bytesMax);
}

/** For routes whose body is optional: nothing at all reads as an empty object. */
export async function readOptionalBody(request: IncomingMessage, limits: ReadLimits): Promise<Reading> {
  const bytes = await collect(request, limits.bytesMax);
  if (bytes.length === 0) return readJson("{}");
  requireJson(request);
  return readJson(bytes, limits);
}

function requireJson(request: IncomingMessage): void {
  const encoding = request.headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new InvalidRequestError("wrong_content_encoding", "Bodies are taken as they are, without content-encoding");
  }
  const type = request.headers["content-type"];
  if (type === "application/json") return;
  if (type === undefined || !JSON_TYPE.test(type)) {
    throw new InvalidRequestError("wrong_content_type", "Expected content-type application/json, in UTF-8");
  }
}

function tooLarge(limit: number): InvalidRequestError {
  return new InvalidRequestError("body_too_large", `Body is larger than ${limit} bytes`, {
    pointer: "",
    facts: { limit },
  });
}

function cutShort(): InvalidRequestError {
  return new InvalidRequestError("malformed_json", "The body ended before its end");
}

function collect(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > bytesMax) return Promise.reject(tooLarge(bytesMax));
  // Whoever hung up while its credential was looked at has told so already, and will not again.
  if (request.destroyed) return Promise.reject(cutShort());
  return new Promise((resolve, reject) => {
    let first: Buffer | undefined;
    let chunks: Buffer[] | undefined;
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > bytesMax) {
        request.removeAllListeners("data");
        request.resume();
        reject(tooLarge(bytesMax));
      } else if (first === undefined) first = chunk;
      else {
        chunks ??= [first];
        chunks.push(chunk);
      }
    });
    request.on("end", () => resolve(chunks === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(chunks, length)));
    request.on("error", reject);
    request.on("aborted", () => reject(cutShort()));
  });
}
