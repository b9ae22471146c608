/** `executors`: HTTP endpoints that run what was allowed. */
import { z } from "zod";
import { isWithin, parseIpAddress, parseIpNetwork } from "../core/ip-address.ts";
import { identifier } from "../core/schema.ts";
import { fromFile, fromVariable } from "./secret-source.ts";

const EXECUTORS_MAX = 200;
const HEADERS_MAX = 32;
const NETWORKS_MAX = 200;

/** Characters of one header's value: together with the permit they stay below what servers take. */
export const HEADER_VALUE_CHARS_MAX = 4_096;
/** Visible ASCII and spaces between: what every server reads alike. */
export const HEADER_VALUE = new RegExp(
  `^[\\x21-\\x7e](?:[\\x20-\\x7e]{0,${HEADER_VALUE_CHARS_MAX - 2}}[\\x21-\\x7e])?$`,
);

/** What says how a request is framed, and what we say ourselves. */
const RESERVED_HEADERS = new Set([
  "accept",
  "accept-encoding",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "expect",
  "host",
  "idempotency-key",
  "keep-alive",
  "proxy-connection",
  "te",
  "traceparent",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

const headerName = z
  .string()
  .regex(/^[a-z0-9-]{1,64}$/, "expected the name of a header, in lower case")
  .refine(
    (name) => !RESERVED_HEADERS.has(name) && !name.startsWith("holdpoint-"),
    "is a header that Holdpoint sets itself",
  );

const headerValue = z.union([z.string().regex(HEADER_VALUE), fromFile, fromVariable], {
  error: `expected a text of 1 to ${HEADER_VALUE_CHARS_MAX} visible ASCII characters, {file: …} or {env: …}`,
});

const executorUrl = z
  .string()
  .max(2_048)
  .refine((text) => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol), {
    error: "expected an https URL, or an http one",
    abort: true,
  })
  .refine((text) => new URL(text).username === "" && new URL(text).password === "", {
    error: "expected no user or password in the URL: they belong into headers",
    abort: true,
  })
  .refine((text) => new URL(text).hash === "", "expected no #fragment: it is never sent");

export const executorSchema = z
  .strictObject({
    url: executorUrl,
    /** All attempts together. */
    timeout_ms: z.int().min(10).max(120_000).default(10_000),
    /** It runs at most once what comes with the same `idempotency-key`. */
    idempotent: z.boolean().default(false),
    retries: z.int().min(0).max(5).default(0),
    response_bytes_max: z.int().min(1).max(16_777_216).default(1_048_576),
    headers: z
      .record(headerName, headerValue)
      .refine((headers) => Object.keys(headers).length <= HEADERS_MAX, `expected at most ${HEADERS_MAX} headers`)
      .default({}),
    allow_http: z.boolean().default(false),
    concurrency_max: z.int().min(1).max(1_000).default(64),
    /** PEM of the authorities of its certificate; those that Node believes where nothing is said. */
    ca_file: z.string().min(1).max(4_096).optional(),
  })
  .refine(({ retries, idempotent }) => retries === 0 || idempotent, {
    path: ["retries"],
    error: "need idempotent: true, which says that a second attempt runs nothing twice",
  })
  .refine(({ url, allow_http }) => allow_http || !/^http:/i.test(url) || isLoopback(url), {
    path: ["url"],
    error: "expected https: plain http is for loopback, unless allow_http: true",
  });

export type ExecutorSettings = z.infer<typeof executorSchema>;

export const executorsSchema = z
  .record(identifier, executorSchema)
  .refine((all) => Object.keys(all).length <= EXECUTORS_MAX, `expected at most ${EXECUTORS_MAX} executors`);

export const executorAddressesSchema = z
  .array(
    z
      .string()
      .refine(
        (text) => parseIpNetwork(text) !== undefined,
        "expected a network such as 10.0.0.0/8 or ::1/128, without bits past its prefix",
      ),
  )
  .max(NETWORKS_MAX);

const LOOPBACK = ["127.0.0.0/8", "::1/128"];

/** Executors whose URL is an address that no connection may go to: each of their executions would fail. */
export function unreachableExecutors(
  executors: Readonly<Record<string, ExecutorSettings>>,
  addresses: readonly string[],
): string[] {
  return Object.entries(executors)
    .map(([name, { url }]) => ({ name, host: hostOf(url) }))
    .filter(({ host }) => parseIpAddress(host) !== undefined && !isInside(host, addresses))
    .map(({ name, host }) => `executors/${name}/url: ${host} is outside executor_addresses`);
}

function isLoopback(url: string): boolean {
  const host = hostOf(url);
  return host === "localhost" || isInside(host, LOOPBACK);
}

function hostOf(url: string): string {
  return new URL(url).hostname.replace(/^\[(.*)\]$/, "$1");
}

function isInside(host: string, networks: readonly string[]): boolean {
  const address = parseIpAddress(host);
  return address !== undefined && networks.some((text) => isWithin(parseIpNetwork(text)!, address));
}
