/** A webhook as it arrives, to an event or a refusal: first who sent it, then what it says. Pure. */
import { type ErrorCode, InvalidRequestError } from "./errors.ts";
import { type Reading, type ReadLimits, readJson } from "./read-json.ts";
import type { Json, Tenant } from "./types.ts";
import { mapWebhook, type WebhookActor, type WebhookEvent, type WebhookMapping } from "./webhook-mapping.ts";
import { type SignatureRules, type SignedDelivery, verifyWebhookSignature } from "./webhook-signature.ts";

export interface AdapterConfig {
  readonly tenant: Tenant;
  /** The source of its events: together with an event's id it says which event it is. */
  readonly source: string;
  readonly signature: SignatureRules | { readonly kind: "none" };
  readonly mapping: WebhookMapping;
  readonly actor: WebhookActor;
  readonly limits?: Partial<ReadLimits>;
}

export type AdapterAnswer =
  | { readonly kind: "event"; readonly event: WebhookEvent }
  /** Genuine, and none of ours: to be acknowledged, or its sender would try for days. */
  | { readonly kind: "ignored"; readonly reason: string }
  | {
      readonly kind: "refused";
      readonly code: ErrorCode;
      readonly message: string;
      /** Into the body, where the fault is at one place of it. */
      readonly pointer?: string;
    };

export interface WebhookAdapter {
  readonly tenant: Tenant;
  readonly source: string;
  /** Nothing in the delivery says who sent it: a credential has to. */
  readonly needsCredential: boolean;
  /** Never throws. INVARIANT: a body whose signature does not hold is not read. */
  receive(delivery: SignedDelivery): AdapterAnswer;
}

export function createAdapter(config: AdapterConfig): WebhookAdapter {
  const { tenant, source, signature } = config;
  return {
    tenant,
    source,
    needsCredential: signature.kind === "none",
    receive: (delivery) => {
      const answer = signature.kind === "none" ? undefined : verifyWebhookSignature(signature, delivery);
      return answer?.kind === "refused" ? answer : readEvent(config, delivery);
    },
  };
}

function readEvent({ mapping, actor, limits }: AdapterConfig, delivery: SignedDelivery): AdapterAnswer {
  const body = readBody(delivery.rawBody, limits);
  if ("kind" in body) return body;
  const answer = mapWebhook(mapping, actor, { body: body.value, headers: delivery.headers });
  if (answer.kind !== "refused") return answer;
  const { pointer, ...refused } = answer;
  return pointer === undefined ? refused : { ...refused, pointer };
}

type Refused = Extract<AdapterAnswer, { readonly kind: "refused" }>;

function readBody(rawBody: Uint8Array, limits: Partial<ReadLimits> | undefined): { readonly value: Json } | Refused {
  let reading: Reading;
  try {
    reading = readJson(rawBody, limits);
  } catch (thrown) {
    if (!(thrown instanceof InvalidRequestError)) throw thrown;
    const { code, message, pointer } = thrown;
    return { kind: "refused", code, message, ...(pointer === undefined ? {} : { pointer }) };
  }
  return { value: reading.value };
}
