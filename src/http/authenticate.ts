/**
 * Who asks, on one listener. Identity, tenant and roles come from the credential and from nothing else in a request: not
 * from forwarded headers, not from the body.
 */
import type { IncomingMessage } from "node:http";
import { type Caller, type Reviewer, UNAUTHENTICATED_CALLER } from "../core/caller.ts";
import { InvalidRequestError } from "../core/errors.ts";
import type { BearerRefusal } from "../core/ports.ts";
import type { Tenant } from "../core/types.ts";
import type { FindKey } from "./api-keys.ts";
import type { AttemptLimiter } from "./attempt-limiter.ts";
import type { Credential, Scope } from "./credential.ts";
import type { FindJwt } from "./jwt-credentials.ts";

export interface Operator {
  readonly tenant: Tenant;
  readonly isAuthenticated: boolean;
}

/** Who does what neither proposes nor reviews: sends events, freezes, resolves. */
export interface Holder {
  readonly tenant: Tenant;
  /** Undefined without authentication. */
  readonly id: string | undefined;
}

export interface Authenticator {
  /** Who proposes and consumes. */
  caller(request: IncomingMessage): Caller | Promise<Caller>;
  /** Who reviews; undefined where authentication is off and the body must say. */
  reviewer(request: IncomingMessage): Promise<Reviewer | undefined>;
  /** A credential of the admin port with this very scope. */
  holder(request: IncomingMessage, scope: Scope): Promise<Holder>;
  /** Whose ledger, policy and approvals may be read: the tenant. */
  operator(request: IncomingMessage): Promise<Operator>;
  /** The same for a person with a browser, who may give the token as the password of HTTP Basic authentication. */
  visitor(request: IncomingMessage): Promise<Operator>;
  /** @throws where metrics are not for everybody */
  scraper(request: IncomingMessage): Promise<void>;
}

export type AuthWord = "none" | "api_key" | "jwt";

/** Why a credential was refused; also a metric's label. */
export type RefusalReason = BearerRefusal | "missing" | "unknown_token" | "scope_missing" | "claims_too_much";

export interface RefusedCredential {
  readonly port: "decision" | "admin";
  readonly reason: RefusalReason;
  /** The peer's address as the socket has it, or "unix". */
  readonly source: string;
  /** Whose it was and who, where that is known: a good credential at the wrong door. */
  readonly tenant: Tenant | undefined;
  readonly credentialId: string | undefined;
}

/** What may be exchanged while serving. */
export interface KnownCredentials {
  readonly findKey: FindKey;
  readonly findJwt: FindJwt;
}

export interface AuthenticatorOptions {
  readonly port: "decision" | "admin";
  readonly callers: readonly AuthWord[];
  readonly admins: readonly AuthWord[];
  readonly metrics: readonly AuthWord[];
  readonly known: () => KnownCredentials;
  readonly limiter: AttemptLimiter;
  readonly onRefused: (refused: RefusedCredential) => void;
}

/** Characters of an authorization header. A key is a few dozen; JWTs of some issuers carry long lists of groups. */
export const AUTHORIZATION_CHARS_MAX = 8_192;
const BEARER = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i;
const BASIC = /^Basic ([A-Za-z0-9+/=]+)$/i;
const JWT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/;

const isOpen = (words: readonly AuthWord[]) => words.includes("none");

export function createAuthenticator(of: AuthenticatorOptions): Authenticator {
  const authorize = async (
    request: IncomingMessage,
    words: readonly AuthWord[],
    scopes: readonly Scope[],
    acceptsBasic = false,
  ): Promise<Credential> => {
    const found = await find(of, request, words, acceptsBasic);
    if (scopes.some((scope) => found.scopes.has(scope))) return found;
    const { tenant, reviewer } = found;
    const source = sourceOf(request);
    of.onRefused({ port: of.port, reason: "scope_missing", source, tenant, credentialId: reviewer.id });
    throw new InvalidRequestError("forbidden", `This credential has none of the scopes ${scopes.join(", ")}`);
  };
  const operate = async (request: IncomingMessage, acceptsBasic: boolean): Promise<Operator> => {
    if (isOpen(of.admins)) return { tenant: UNAUTHENTICATED_CALLER.tenant, isAuthenticated: false };
    const { tenant } = await authorize(request, of.admins, ["operate", "review"], acceptsBasic);
    return { tenant, isAuthenticated: true };
  };
  return {
    caller: (request) =>
      isOpen(of.callers)
        ? UNAUTHENTICATED_CALLER
        : authorize(request, of.callers, ["decide"]).then(({ caller }) => caller),
    reviewer: async (request) =>
      isOpen(of.admins) ? undefined : (await authorize(request, of.admins, ["review"])).reviewer,
    holder: async (request, scope) => {
      if (isOpen(of.admins)) return { tenant: UNAUTHENTICATED_CALLER.tenant, id: undefined };
      const { tenant, reviewer } = await authorize(request, of.admins, [scope]);
      return { tenant, id: reviewer.id };
    },
    operator: (request) => operate(request, false),
    visitor: (request) => operate(request, true),
    scraper: async (request) => {
      if (!isOpen(of.metrics)) await authorize(request, of.metrics, ["operate"]);
    },
  };
}

async function find(
  of: AuthenticatorOptions,
  request: IncomingMessage,
  words: readonly AuthWord[],
  acceptsBasic: boolean,
): Promise<Credential> {
  const token = tokenOf(request, acceptsBasic);
  // A browser asks without a credential first, always: that is no attempt of anybody's.
  if (token.kind === "none" && acceptsBasic && request.headers.authorization === undefined)
    throw new InvalidRequestError("unauthenticated", token.message);
  if (token.kind === "none") throw refusal(of, request, "missing", token.message);
  const { findKey, findJwt } = of.known();
  const byKey = words.includes("api_key") ? findKey(token.text) : undefined;
  if (byKey !== undefined) return byKey;
  if (!words.includes("jwt") || !JWT.test(token.text))
    throw refusal(of, request, "unknown_token", "This bearer token is not known");
  const answer = await findJwt(token.text);
  if (answer.kind === "known") return answer.credential;
  throw refusal(of, request, answer.reason, answer.message);
}

function refusal(
  of: AuthenticatorOptions,
  request: IncomingMessage,
  reason: RefusalReason,
  message: string,
): InvalidRequestError {
  const source = sourceOf(request);
  of.onRefused({ port: of.port, reason, source, tenant: undefined, credentialId: undefined });
  return reason === "missing" || of.limiter.take(originOf(source))
    ? new InvalidRequestError("unauthenticated", message)
    : new InvalidRequestError("too_many_attempts", "Too many refused credentials: wait before the next one");
}

/** The socket's own peer: what a client says of its address in a header is nothing to go by. */
export function sourceOf(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? "unix";
}

/** Whoever is on this machine has every address of 127.0.0.0/8: to the limiter they are one source. */
function originOf(source: string): string {
  return /^(::ffff:)?127\./.test(source) ? "127.0.0.1" : source;
}

type Token = { readonly kind: "token"; readonly text: string } | { readonly kind: "none"; readonly message: string };

/** Two authorization headers could be read differently by a proxy and by us, so there may be one. */
function tokenOf(request: IncomingMessage, acceptsBasic: boolean): Token {
  const headers = request.headersDistinct.authorization;
  if (headers === undefined) return { kind: "none", message: "Expected an authorization header with a bearer token" };
  const header = headers.length === 1 && headers[0]!.length <= AUTHORIZATION_CHARS_MAX ? headers[0]! : "";
  const bearer = BEARER.exec(header)?.[1];
  if (bearer !== undefined) return { kind: "token", text: bearer };
  const password = acceptsBasic ? passwordOf(header) : undefined;
  if (password !== undefined) return { kind: "token", text: password };
  return {
    kind: "none",
    message: `Expected one authorization header of at most ${AUTHORIZATION_CHARS_MAX} characters: Bearer and a token`,
  };
}

/** RFC 7617: user, colon, password; the user's name means nothing here. */
function passwordOf(header: string): string | undefined {
  const encoded = BASIC.exec(header)?.[1];
  const pair = encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString("utf8");
  return pair?.includes(":") === true ? pair.slice(pair.indexOf(":") + 1) : undefined;
}
