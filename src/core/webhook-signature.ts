/**
 * Whether a webhook comes from who holds its secret, and lately. Two schemes: Stripe's, and Standard Webhooks 1.0 with a
 * symmetric key. Pure: the time is an argument.
 */
import { createHmac, timingSafeEqual } from "node:crypto";

export type SignatureKind = "stripe" | "standard_webhooks";

/** By lower-case name, as node:http has them. One that came as a list counts as absent. */
export type WebhookHeaders = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface SignedDelivery {
  readonly headers: WebhookHeaders;
  /** The bytes that arrived: nothing else is what was signed. */
  readonly rawBody: Uint8Array;
  /** Unix milliseconds. */
  readonly nowMs: number;
}

export interface SignatureRules {
  readonly kind: SignatureKind;
  /** From parseWebhookSecret. Any of them will do, while an old one is replaced by a new one. */
  readonly secrets: readonly Uint8Array[];
  /** How far the time that was signed may lie before or after ours; the bound itself is good. */
  readonly toleranceSeconds: number;
}

export type SignatureAnswer =
  /** `id` is undefined where the scheme signs none (Stripe). `timestamp` in Unix seconds. */
  | { readonly kind: "valid"; readonly id: string | undefined; readonly timestamp: number }
  | {
      readonly kind: "refused";
      readonly code: "webhook_signature_invalid" | "webhook_signature_expired";
      readonly message: string;
    };

/** Signatures in one header: some secrets in rotation, some schemes. */
export const SIGNATURES_MAX = 16;
export const WEBHOOK_SECRETS_MAX = 5;
const HEADER_CHARS_MAX = 4_096;
const ID_CHARS_MAX = 256;

const STANDARD_SECRET_BYTES_MIN = 24;
const STANDARD_SECRET_BYTES_MAX = 64;
const STRIPE_SECRET = /^[\x21-\x7e]{16,256}$/;

const TIMESTAMP = /^[0-9]{1,12}$/;

interface Claim {
  readonly id: string | undefined;
  readonly timestamp: string;
  /** As the sender spelled them; one signature has one spelling. */
  readonly signatures: readonly string[];
}

/** The key that the text stands for, or what is wrong with it (never the text itself). */
export function parseWebhookSecret(kind: SignatureKind, text: string): Uint8Array | { readonly fault: string } {
  if (kind === "stripe") {
    // Stripe's key is the text as it stands, "whsec_" included.
    if (STRIPE_SECRET.test(text)) return Buffer.from(text);
    return { fault: "expected a Stripe secret: 16 to 256 visible ASCII characters" };
  }
  const base64 = text.replace(/^whsec_/, "");
  const key = Buffer.from(base64, "base64");
  const isInRange = key.length >= STANDARD_SECRET_BYTES_MIN && key.length <= STANDARD_SECRET_BYTES_MAX;
  if (isInRange && key.toString("base64") === base64) return key;
  return {
    fault: `expected whsec_ and the base64 of ${STANDARD_SECRET_BYTES_MIN} to ${STANDARD_SECRET_BYTES_MAX} bytes`,
  };
}

/** The signature is looked at first: what is said of the time is said of one that is genuine. */
export function verifyWebhookSignature(rules: SignatureRules, delivery: SignedDelivery): SignatureAnswer {
  const claim = rules.kind === "stripe" ? readStripe(delivery.headers) : readStandard(delivery.headers);
  if (typeof claim === "string") return { kind: "refused", code: "webhook_signature_invalid", message: claim };
  const expected = rules.secrets.map((secret) => sign(rules.kind, secret, claim, delivery.rawBody));
  if (!hasMatch(expected, claim.signatures)) {
    const message =
      "No signature of this webhook was made with a secret that is known here, over the body that arrived";
    return { kind: "refused", code: "webhook_signature_invalid", message };
  }
  const timestamp = Number(claim.timestamp);
  const aheadSeconds = timestamp - Math.floor(delivery.nowMs / 1_000);
  if (Math.abs(aheadSeconds) > rules.toleranceSeconds) {
    const where = aheadSeconds > 0 ? "ahead of" : "behind";
    const message = `Signed ${Math.abs(aheadSeconds)} s ${where} this clock, expected at most ${rules.toleranceSeconds} s: it is old, or a clock is wrong`;
    return { kind: "refused", code: "webhook_signature_expired", message };
  }
  return { kind: "valid", id: claim.id, timestamp };
}

/** `Stripe-Signature: t=1492774577,v1=<hex>,v1=<hex>`; other schemes, such as v0, are passed over. */
function readStripe(headers: WebhookHeaders): Claim | string {
  const text = headerOf(headers, "stripe-signature");
  if (text === undefined) return "Missing header stripe-signature";
  const items = text.split(",").map((item) => item.trim());
  const valuesOf = (key: string) =>
    items.filter((item) => item.startsWith(`${key}=`)).map((item) => item.slice(key.length + 1));
  const times = valuesOf("t");
  if (times.length !== 1 || !TIMESTAMP.test(times[0]!)) return "Expected one t=<Unix seconds> in stripe-signature";
  return claimOf({ id: undefined, timestamp: times[0]!, signatures: valuesOf("v1") }, "stripe-signature");
}

/** `webhook-signature: v1,<base64> v1,<base64>`; other versions, such as v1a, are passed over. */
function readStandard(headers: WebhookHeaders): Claim | string {
  const id = headerOf(headers, "webhook-id");
  const timestamp = headerOf(headers, "webhook-timestamp");
  const text = headerOf(headers, "webhook-signature");
  if (id === undefined) return "Missing header webhook-id";
  if (timestamp === undefined) return "Missing header webhook-timestamp";
  if (text === undefined) return "Missing header webhook-signature";
  // A dot separates what is signed: with one inside, two deliveries could share a signature.
  if (id.includes(".") || id.length > ID_CHARS_MAX)
    return `Expected webhook-id without a dot, of at most ${ID_CHARS_MAX} characters`;
  if (!TIMESTAMP.test(timestamp)) return "Expected Unix seconds in webhook-timestamp";
  const signatures = text
    .split(" ")
    .filter((item) => item.startsWith("v1,"))
    .map((item) => item.slice("v1,".length));
  return claimOf({ id, timestamp, signatures }, "webhook-signature");
}

function claimOf(claim: Claim, header: string): Claim | string {
  if (claim.signatures.length === 0) return `There is no v1 signature in ${header}`;
  if (claim.signatures.length > SIGNATURES_MAX) return `Expected at most ${SIGNATURES_MAX} signatures in ${header}`;
  return claim;
}

function headerOf(headers: WebhookHeaders, name: string): string | undefined {
  const value = Object.hasOwn(headers, name) ? headers[name] : undefined;
  return typeof value === "string" && value !== "" && value.length <= HEADER_CHARS_MAX ? value : undefined;
}

function sign(kind: SignatureKind, secret: Uint8Array, { id, timestamp }: Claim, rawBody: Uint8Array): Buffer {
  const before = id === undefined ? `${timestamp}.` : `${id}.${timestamp}.`;
  const mac = createHmac("sha256", secret).update(before).update(rawBody);
  return Buffer.from(mac.digest(kind === "stripe" ? "hex" : "base64"));
}

/** Every pair is compared, each in constant time. */
function hasMatch(expected: readonly Buffer[], signatures: readonly string[]): boolean {
  let isFound = false;
  for (const signature of signatures.map((text) => Buffer.from(text))) {
    for (const one of expected) {
      if (one.length === signature.length && timingSafeEqual(one, signature)) isFound = true;
    }
  }
  return isFound;
}
