import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  parseWebhookSecret,
  SIGNATURES_MAX,
  type SignatureKind,
  verifyWebhookSignature,
  type WebhookHeaders,
} from "../../src/core/webhook-signature.ts";
import { vectorsPath } from "../support/tools.ts";

const secretOf = (kind: SignatureKind, text: string): Uint8Array => {
  const secret = parseWebhookSecret(kind, text);
  if ("fault" in secret) throw new Error(secret.fault);
  return secret;
};

interface Vectors {
  readonly sign: readonly { secret: string; id: string; timestamp: number; payload: string; signature: string }[];
  readonly verifyMustFail: readonly Case[];
  readonly verifyMustPass: readonly Case[];
}
interface Case {
  readonly name: string;
  readonly set?: Readonly<Record<string, string>>;
  readonly truncateSignatureTo?: number;
  readonly shiftSeconds?: number;
  readonly signatureList?: readonly string[];
}

const vectors = vectorsPath();

describe.skipIf(vectors === undefined)("the vectors of Standard Webhooks", () => {
  const { sign, verifyMustFail, verifyMustPass }: Vectors =
    vectors === undefined
      ? { sign: [], verifyMustFail: [], verifyMustPass: [] }
      : JSON.parse(readFileSync(`${vectors}/webhooks/standard-webhooks.json`, "utf8"));
  const [made] = sign;

  /** The published signature, of a time that is `shiftSeconds` from ours: whoever signs then signs so. */
  const headersOf = ({ name, set, truncateSignatureTo, signatureList }: Case): WebhookHeaders => {
    const valid = made!.signature;
    const headers: Record<string, string> = {
      "webhook-id": made!.id,
      "webhook-timestamp": String(made!.timestamp),
      "webhook-signature":
        signatureList?.map((one) => one.replace("<valid>", valid)).join(" ") ?? valid.slice(0, truncateSignatureTo),
    };
    // "v2,<valid>" is the signature under another version.
    for (const [header, value] of Object.entries(set ?? {})) headers[header] = value.replace("<valid>", valid.slice(3));
    const missing = /^missing (\S+)$/.exec(name)?.[1];
    if (missing !== undefined) delete headers[missing];
    return headers;
  };
  const verify = (one: Case, secret = made!.secret) =>
    verifyWebhookSignature(
      { kind: "standard_webhooks", secrets: [secretOf("standard_webhooks", secret)], toleranceSeconds: 300 },
      {
        headers: headersOf(one),
        rawBody: Buffer.from(made!.payload),
        nowMs: (made!.timestamp - (one.shiftSeconds ?? 0)) * 1_000,
      },
    );

  test("are there", () => {
    expect([sign.length, verifyMustFail.length, verifyMustPass.length]).toEqual([1, 10, 3]);
  });

  test.each(verifyMustPass)("pass: $name", (one) => {
    const valid = { kind: "valid", id: made!.id, timestamp: made!.timestamp };
    expect(verify(one)).toEqual(valid);
    expect(verify(one, made!.secret.replace("whsec_", ""))).toEqual(valid);
  });

  test.each(verifyMustFail)("fail: $name", (one) => {
    const code = one.shiftSeconds === undefined ? "webhook_signature_invalid" : "webhook_signature_expired";
    expect(verify(one)).toMatchObject({ kind: "refused", code });
  });
});

const NOW = 1_700_000_000;
const BODY = Buffer.from('{"id":"evt_1"}');
const STRIPE_SECRET = "whsec_0123456789abcdef0123456789abcdef";
const STANDARD_SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

const hex = (secret: string, signed: string) => createHmac("sha256", secret).update(signed).digest("hex");
const base64 = (secret: string, signed: string) =>
  createHmac("sha256", Buffer.from(secret.slice(6), "base64"))
    .update(signed)
    .digest("base64");

const STRIPE_V1 = hex(STRIPE_SECRET, `${NOW}.${BODY}`);
const STANDARD_V1 = base64(STANDARD_SECRET, `msg_1.${NOW}.${BODY}`);

const stripe = (header: string | readonly string[] | undefined, secrets = [STRIPE_SECRET], nowMs = NOW * 1_000) =>
  verifyWebhookSignature(
    { kind: "stripe", secrets: secrets.map((text) => secretOf("stripe", text)), toleranceSeconds: 300 },
    { headers: { "stripe-signature": header }, rawBody: BODY, nowMs },
  );
const standard = (headers: WebhookHeaders, secrets = [STANDARD_SECRET], rawBody: Uint8Array = BODY) =>
  verifyWebhookSignature(
    {
      kind: "standard_webhooks",
      secrets: secrets.map((text) => secretOf("standard_webhooks", text)),
      toleranceSeconds: 300,
    },
    { headers, rawBody, nowMs: NOW * 1_000 },
  );
const good = { "webhook-id": "msg_1", "webhook-timestamp": String(NOW), "webhook-signature": `v1,${STANDARD_V1}` };

describe("verifyWebhookSignature() of Stripe", () => {
  test("takes what openssl signed", () => {
    // printf '1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_0123456789abcdef0123456789abcdef
    const header = `t=${NOW},v1=360ea15129d758b8022576683ca927888b10e2349551846fddc284f76f1131ae`;
    expect(stripe(header)).toEqual({ kind: "valid", id: undefined, timestamp: NOW });
  });

  test.each([
    ["alone", `t=${NOW},v1=${STRIPE_V1}`],
    ["after another", `t=${NOW},v1=${"0".repeat(64)},v1=${STRIPE_V1}`],
    ["beside other schemes", `v0=abc,t=${NOW},v1=${STRIPE_V1},v9=x`],
    ["with spaces between", `t=${NOW}, v1=${STRIPE_V1}`],
    ["as the last of many", `t=${NOW},${`v1=${"0".repeat(64)},`.repeat(SIGNATURES_MAX - 1)}v1=${STRIPE_V1}`],
  ])("takes a good signature %s", (_, header) => {
    expect(stripe(header)).toMatchObject({ kind: "valid", timestamp: NOW });
  });

  test.each([
    ["none", undefined],
    ["an empty one", ""],
    ["two headers", [`t=${NOW},v1=${STRIPE_V1}`]],
    ["two headers made one", `t=${NOW},v1=${STRIPE_V1}, t=${NOW},v1=${STRIPE_V1}`],
    ["no time", `v1=${STRIPE_V1}`],
    ["a time that is none", `t=soon,v1=${STRIPE_V1}`],
    ["a time below zero", `t=-1,v1=${STRIPE_V1}`],
    ["another time", `t=${NOW + 1},v1=${STRIPE_V1}`],
    ["the time spelled otherwise", `t=0${NOW},v1=${STRIPE_V1}`],
    ["no signature", `t=${NOW}`],
    ["an empty signature", `t=${NOW},v1=`],
    ["the scheme of tests", `t=${NOW},v0=${STRIPE_V1}`],
    ["capitals", `t=${NOW},v1=${STRIPE_V1.toUpperCase()}`],
    ["a cut", `t=${NOW},v1=${STRIPE_V1.slice(0, 63)}`],
    ["more behind", `t=${NOW},v1=${STRIPE_V1}0`],
    ["one more than are looked at", `t=${NOW},${`v1=${"0".repeat(64)},`.repeat(SIGNATURES_MAX)}v1=${STRIPE_V1}`],
    ["more text than is looked at", `t=${NOW},v1=${STRIPE_V1},x=${"x".repeat(4_096)}`],
  ])("refuses a header with %s", (_, header) => {
    expect(stripe(header)).toMatchObject({ kind: "refused", code: "webhook_signature_invalid" });
  });

  test("takes any secret of several, and no other", () => {
    const header = `t=${NOW},v1=${STRIPE_V1}`;
    const other = "whsec_ffffffffffffffffffffffffffffffff";
    expect(stripe(header, [other, STRIPE_SECRET])).toMatchObject({ kind: "valid" });
    expect(stripe(header, [STRIPE_SECRET, other])).toMatchObject({ kind: "valid" });
    expect(stripe(header, [other])).toMatchObject({ kind: "refused", code: "webhook_signature_invalid" });
    expect(stripe(header, [])).toMatchObject({ kind: "refused", code: "webhook_signature_invalid" });
  });

  test.each([
    [300_999, undefined],
    [301_000, "Signed 301 s behind this clock, expected at most 300 s: it is old, or a clock is wrong"],
    [3_600_000, "Signed 3600 s behind this clock, expected at most 300 s: it is old, or a clock is wrong"],
    [-300_000, undefined],
    [-301_000, "Signed 301 s ahead of this clock, expected at most 300 s: it is old, or a clock is wrong"],
    [-3_600_000, "Signed 3600 s ahead of this clock, expected at most 300 s: it is old, or a clock is wrong"],
  ])("where our clock is %i ms off says by how much", (offMs, message) => {
    const answer = stripe(`t=${NOW},v1=${STRIPE_V1}`, [STRIPE_SECRET], NOW * 1_000 + offMs);
    if (message === undefined) expect(answer).toMatchObject({ kind: "valid" });
    else expect(answer).toEqual({ kind: "refused", code: "webhook_signature_expired", message });
  });

  test("says of a forgery that it is one, however old", () => {
    const answer = stripe(`t=1,v1=${STRIPE_V1}`);
    expect(answer).toMatchObject({ code: "webhook_signature_invalid" });
  });
});

describe("verifyWebhookSignature() of Standard Webhooks", () => {
  test("takes what openssl signed", () => {
    // printf 'msg_1.1700000000.{"id":"evt_1"}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07 -binary | base64
    expect(standard({ ...good, "webhook-signature": "v1,OfYBbTMQjx23nzFby2GX12DELJnhUnP1UgGG83IDgL8=" })).toEqual({
      kind: "valid",
      id: "msg_1",
      timestamp: NOW,
    });
  });

  test.each([
    ["another body", good, Buffer.from('{"id":"evt_2"}')],
    ["another spelling of the body", good, Buffer.from('{"id": "evt_1"}')],
    ["no body", good, Buffer.alloc(0)],
    ["another id", { ...good, "webhook-id": "msg_2" }, BODY],
    ["another time", { ...good, "webhook-timestamp": String(NOW + 1) }, BODY],
    ["a list as id", { ...good, "webhook-id": ["msg_1"] }, BODY],
    ["the asymmetric version", { ...good, "webhook-signature": `v1a,${STANDARD_V1}` }, BODY],
    ["no padding", { ...good, "webhook-signature": `v1,${STANDARD_V1.slice(0, -1)}` }, BODY],
    [
      "base64url",
      { ...good, "webhook-signature": `v1,${Buffer.from(STANDARD_V1, "base64").toString("base64url")}` },
      BODY,
    ],
    ["hexadecimal", { ...good, "webhook-signature": `v1,${Buffer.from(STANDARD_V1, "base64").toString("hex")}` }, BODY],
    ["commas between", { ...good, "webhook-signature": `v1,AAAA,v1,${STANDARD_V1}` }, BODY],
  ])("refuses %s", (_, headers, rawBody) => {
    expect(standard(headers, [STANDARD_SECRET], rawBody)).toMatchObject({ code: "webhook_signature_invalid" });
  });

  test("refuses an id with a dot, which would sign as another id and time", () => {
    const signature = `v1,${base64(STANDARD_SECRET, `a.1.${NOW}.${BODY}`)}`;
    const headers = { ...good, "webhook-id": "a.1", "webhook-signature": signature };
    expect(standard(headers)).toMatchObject({
      code: "webhook_signature_invalid",
      message: expect.stringContaining("without a dot"),
    });
  });

  test("takes an id as long as it may be, and not longer", () => {
    const of = (length: number) => {
      const id = "m".repeat(length);
      const signature = `v1,${base64(STANDARD_SECRET, `${id}.${NOW}.${BODY}`)}`;
      return standard({ ...good, "webhook-id": id, "webhook-signature": signature });
    };
    expect([of(256).kind, of(257).kind]).toEqual(["valid", "refused"]);
  });

  test("does not read headers from a prototype", () => {
    expect(standard(Object.create(good))).toMatchObject({ code: "webhook_signature_invalid" });
  });
});

describe("parseWebhookSecret()", () => {
  const ofBytes = (length: number) => `whsec_${Buffer.alloc(length, 1).toString("base64")}`;

  test.each([
    ["standard_webhooks", ofBytes(24), true],
    ["standard_webhooks", ofBytes(64), true],
    ["standard_webhooks", ofBytes(23), false],
    ["standard_webhooks", ofBytes(65), false],
    ["standard_webhooks", ofBytes(32).replace("whsec_", ""), true],
    ["standard_webhooks", ofBytes(32).replace("whsec_", "whsk_"), false],
    ["standard_webhooks", `${ofBytes(32)}\n`, false],
    ["standard_webhooks", ofBytes(32).replace("=", ""), false],
    ["standard_webhooks", "", false],
    ["stripe", "x".repeat(16), true],
    ["stripe", "x".repeat(256), true],
    ["stripe", "x".repeat(15), false],
    ["stripe", "x".repeat(257), false],
    ["stripe", "whsec_with a space in it", false],
    ["stripe", "", false],
  ] as const)("of %s and %j", (kind, text, isGood) => {
    const secret = parseWebhookSecret(kind, text);
    expect("fault" in secret).toBe(!isGood);
    if ("fault" in secret && text !== "") expect(secret.fault).not.toContain(text);
  });
});
