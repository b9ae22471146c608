/** Texts to texts: base64, hex, query strings, digests. */
import { createHash, createHmac } from "node:crypto";
import { compareStrings, type RegoObject, RegoSet, type RegoValue, regoObject } from "../rego-value.ts";
import { asObject, asString, define, fail, type HostBuiltin, textOfBytes } from "./define.ts";

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Line breaks are skipped and unused bits are not looked at, as Go's decoder has it. */
function decodeBase64(text: string): Buffer | undefined {
  const plain = text.replace(/[\r\n]/g, "");
  return BASE64.test(plain) ? Buffer.from(plain, "base64") : undefined;
}

function decodeBase64Url(value: RegoValue): RegoValue {
  let text = asString(value);
  if (!text.endsWith("=")) {
    const over = Buffer.byteLength(text) % 4;
    if (over === 1) fail("illegal base64url");
    text += ["", "", "==", "="][over];
  }
  if (/[+/]/.test(text)) fail("illegal base64url");
  const bytes = decodeBase64(text.replaceAll("-", "+").replaceAll("_", "/"));
  return bytes === undefined ? fail("illegal base64url") : textOfBytes(bytes);
}

function base64Url(value: RegoValue): string {
  return Buffer.from(asString(value)).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
}

function decodeHex(value: RegoValue): RegoValue {
  const text = asString(value);
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) fail("not hexadecimal");
  return textOfBytes(Buffer.from(text, "hex"));
}

function escapeQuery(text: string): string {
  let out = "";
  for (const byte of Buffer.from(text)) {
    const char = String.fromCharCode(byte);
    if (/[A-Za-z0-9._~-]/.test(char)) out += char;
    else out += char === " " ? "+" : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

function unescapeQuery(text: string): string {
  if (/%(?![0-9a-fA-F]{2})/.test(text)) fail("invalid escape");
  const bytes = text.replaceAll("+", " ").split(/%([0-9a-fA-F]{2})/);
  return textOfBytes(
    Buffer.concat(bytes.map((part, i) => (i % 2 === 0 ? Buffer.from(part) : Buffer.from(part, "hex")))),
  );
}

function encodeObject(value: RegoValue): RegoValue {
  const entries = asObject(value).entries.map(([key, one]): [string, readonly string[]] => [
    asString(key),
    values(one),
  ]);
  entries.sort((a, b) => compareStrings(a[0], b[0]));
  return entries.flatMap(([key, all]) => all.map((one) => `${escapeQuery(key)}=${escapeQuery(one)}`)).join("&");
}

function values(value: RegoValue): readonly string[] {
  if (typeof value === "string") return [value];
  const items =
    value instanceof RegoSet ? value.items : Array.isArray(value) ? (value as readonly RegoValue[]) : fail();
  return items.map(asString);
}

function decodeObject(value: RegoValue): RegoObject {
  const found = new Map<string, string[]>();
  for (const part of asString(value).split("&")) {
    if (part.includes(";")) fail("invalid semicolon separator");
    if (part === "") continue;
    const at = part.indexOf("=");
    const key = unescapeQuery(at < 0 ? part : part.slice(0, at));
    const one = at < 0 ? "" : unescapeQuery(part.slice(at + 1));
    found.set(key, [...(found.get(key) ?? []), one]);
  }
  return regoObject(found);
}

function hash(name: string, algorithm: string): HostBuiltin {
  return define(name, 1, (a) => createHash(algorithm).update(asString(a)).digest("hex"));
}

function hmac(name: string, algorithm: string): HostBuiltin {
  return define(name, 2, (a, key) => createHmac(algorithm, asString(key)).update(asString(a)).digest("hex"));
}

export const ENCODING: readonly HostBuiltin[] = [
  define("base64.encode", 1, (a) => Buffer.from(asString(a)).toString("base64")),
  define("base64.decode", 1, (a) => textOfBytes(decodeBase64(asString(a)) ?? fail("illegal base64"))),
  define("base64.is_valid", 1, (a) => typeof a === "string" && decodeBase64(a) !== undefined),
  define("base64url.encode", 1, (a) => base64Url(a!)),
  define("base64url.encode_no_pad", 1, (a) => base64Url(a!).replace(/=+$/, "")),
  define("base64url.decode", 1, (a) => decodeBase64Url(a!)),
  define("hex.encode", 1, (a) => Buffer.from(asString(a)).toString("hex")),
  define("hex.decode", 1, (a) => decodeHex(a!)),
  define("urlquery.encode", 1, (a) => escapeQuery(asString(a))),
  define("urlquery.decode", 1, (a) => unescapeQuery(asString(a))),
  define("urlquery.encode_object", 1, (a) => encodeObject(a!)),
  define("urlquery.decode_object", 1, (a) => decodeObject(a!)),
  hash("crypto.md5", "md5"),
  hash("crypto.sha1", "sha1"),
  hash("crypto.sha256", "sha256"),
  hmac("crypto.hmac.md5", "md5"),
  hmac("crypto.hmac.sha1", "sha1"),
  hmac("crypto.hmac.sha256", "sha256"),
  hmac("crypto.hmac.sha512", "sha512"),
  define("crypto.hmac.equal", 2, (a, b) => asString(a) === asString(b)),
];
