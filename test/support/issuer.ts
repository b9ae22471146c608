/**
 * An issuer of JWTs: a real HTTP server on loopback that publishes its keys and can misbehave while it does, and the keys
 * themselves, to sign what a test wants signed, right or wrong.
 */
import { generateKeyPairSync, type KeyObject, sign as signBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type JWK, SignJWT } from "jose";
import type { Body } from "./sidecar.ts";

export type Algorithm = "EdDSA" | "ES256" | "RS256" | "PS256";

export interface SigningKey {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** As it stands in the issuer's set: with kid, alg and use. */
  readonly jwk: JWK;
}

let keyCount = 0;

export function makeKey(alg: Algorithm = "EdDSA", kid = `key-${++keyCount}`): SigningKey {
  const { privateKey, publicKey } =
    alg === "EdDSA"
      ? generateKeyPairSync("ed25519")
      : alg === "ES256"
        ? generateKeyPairSync("ec", { namedCurve: "P-256" })
        : generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = { ...(publicKey.export({ format: "jwk" }) as JWK), kid, alg, use: "sig" };
  return { kid, alg, privateKey, publicKey, jwk };
}

/** A token as an honest issuer makes it. */
export function mint(key: SigningKey, claims: Body, header: Body = {}): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: "JWT", ...header })
    .sign(key.privateKey);
}

export const encoded = (part: unknown): string =>
  (part instanceof Uint8Array
    ? Buffer.from(part)
    : Buffer.from(typeof part === "string" ? part : JSON.stringify(part))
  ).toString("base64url");

/** Texts or values as header and payload, signed by the key whatever they say; text goes in as it is written. */
export function forge(key: Pick<SigningKey, "alg" | "privateKey">, header: unknown, payload: unknown): string {
  const input = `${encoded(header)}.${encoded(payload)}`;
  return `${input}.${signature(key, input).toString("base64url")}`;
}

export function signature(key: Pick<SigningKey, "alg" | "privateKey">, input: string): Buffer {
  const data = Buffer.from(input);
  switch (key.alg) {
    case "EdDSA":
      return signBytes(null, data, key.privateKey);
    case "ES256":
      return signBytes("sha256", data, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
    case "RS256":
      return signBytes("sha256", data, key.privateKey);
    case "PS256":
      return signBytes("sha256", data, { key: key.privateKey, padding: 6, saltLength: 32 });
  }
}

/** What the issuer does with whoever asks for its keys. */
export type Manner =
  | { readonly kind: "keys" }
  | { readonly kind: "hang" }
  | { readonly kind: "status"; readonly status: number }
  | { readonly kind: "redirect" }
  | { readonly kind: "huge" }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "cut" };

export interface Issuer {
  /** `iss` of its tokens. */
  readonly url: string;
  readonly jwksUrl: string;
  readonly port: number;
  /** How often its keys were asked for. */
  fetches(): number;
  /** Paths of all that was asked of it. */
  paths(): readonly string[];
  /** Bytes of the endless answer that went out. */
  hugeBytes(): number;
  key(): SigningKey;
  /** Publishes these keys, the first of them being the one it signs with. */
  publish(...keys: SigningKey[]): void;
  /** A new key in the place of the old ones. */
  rotate(alg?: Algorithm): SigningKey;
  behave(manner: Manner["kind"] | Manner): void;
  token(claims?: Body, header?: Body): Promise<string>;
  close(): Promise<void>;
}

/** @param port of an issuer that was closed; any where left out */
export async function startIssuer(of: { readonly port?: number; readonly key?: SigningKey } = {}): Promise<Issuer> {
  let keys = [of.key ?? makeKey()];
  let manner: Manner = { kind: "keys" };
  let hugeBytes = 0;
  const paths: string[] = [];
  const server = createServer((request, response) => {
    paths.push(request.url!);
    if (request.url !== "/jwks") return sendKeys(response, keys);
    switch (manner.kind) {
      case "keys":
        return sendKeys(response, keys);
      case "hang":
        return;
      case "status":
        return sendKeys(response, keys, manner.status);
      case "redirect":
        response.writeHead(302, { location: "/elsewhere" }).end();
        return;
      case "huge":
        return sendEndlessly(response, (bytes) => {
          hugeBytes += bytes;
        });
      case "text":
        response.writeHead(200, { "content-type": "application/json" }).end(manner.text);
        return;
      case "cut":
        response.writeHead(200, { "content-length": 10_000 });
        response.write('{"keys":[', () => response.destroy());
        return;
    }
  });
  server.listen(of.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const issuer: Issuer = {
    url,
    jwksUrl: `${url}/jwks`,
    port,
    fetches: () => paths.filter((path) => path === "/jwks").length,
    paths: () => paths,
    hugeBytes: () => hugeBytes,
    key: () => keys[0]!,
    publish: (...published) => {
      keys = published;
    },
    rotate: (alg) => {
      keys = [makeKey(alg)];
      return keys[0]!;
    },
    behave: (wanted) => {
      manner = typeof wanted === "string" ? ({ kind: wanted } as Manner) : wanted;
    },
    token: (claims = {}, header = {}) => {
      const now = Math.floor(Date.now() / 1000);
      return mint(keys[0]!, { iss: url, aud: "holdpoint", iat: now, exp: now + 300, ...claims }, header);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return issuer;
}

function sendKeys(response: ServerResponse, keys: readonly SigningKey[], status = 200): void {
  response.writeHead(status, { "content-type": "application/jwk-set+json" });
  response.end(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
}

/** A gigabyte of a string that never closes, as fast as it is taken. */
function sendEndlessly(response: ServerResponse, count: (bytes: number) => void): void {
  response.writeHead(200, { "content-type": "application/json" });
  const chunk = Buffer.alloc(64 * 1024, "a");
  response.write('{"keys":"');
  let left = 1024 ** 3;
  const more = () => {
    while (left > 0 && !response.destroyed) {
      left -= chunk.length;
      count(chunk.length);
      if (!response.write(chunk)) {
        response.once("drain", more);
        return;
      }
    }
    response.end('"}');
  };
  more();
}
