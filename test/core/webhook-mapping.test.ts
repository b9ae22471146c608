import { describe, expect, test } from "vitest";
import { readJson } from "../../src/core/read-json.ts";
import { schemaFaults } from "../../src/core/schema.ts";
import type { Json } from "../../src/core/types.ts";
import { createAdapter } from "../../src/core/webhook-adapter.ts";
import {
  DATA_MEMBERS_MAX,
  MAPPED_TYPES_MAX,
  mapWebhook,
  webhookActorSchema,
  webhookMappingSchema,
} from "../../src/core/webhook-mapping.ts";
import type { WebhookHeaders } from "../../src/core/webhook-signature.ts";

const MAPPING = {
  id: { pointer: "/id" },
  type: { pointer: "/type", map: { "invoice.paid": "ORDER_PAID", "charge.refunded": "REFUNDED" } },
  entity: { type: { value: "order" }, id: { pointer: "/data/object/metadata/order" } },
  time: { pointer: "/created" },
  data: { amount: { pointer: "/data/object/amount" }, note: { pointer: "/data/object/note", optional: true } },
};
const ACTOR = { id: { value: "stripe" }, type: { value: "service" } };
const BODY = {
  id: "evt_1",
  type: "invoice.paid",
  created: 1_700_000_000,
  data: { object: { amount: 4_900, metadata: { order: "ord-7" } } },
};

const map = (of: { mapping?: object; actor?: object; body?: Json; headers?: WebhookHeaders } = {}) =>
  mapWebhook(webhookMappingSchema.parse({ ...MAPPING, ...of.mapping }), webhookActorSchema.parse(of.actor ?? ACTOR), {
    body: of.body ?? BODY,
    headers: of.headers ?? {},
  });
const eventOf = (of: Parameters<typeof map>[0] = {}) => {
  const answer = map(of);
  if (answer.kind !== "event") throw new Error(JSON.stringify(answer));
  return answer.event;
};
const refusal = (of: Parameters<typeof map>[0]) => {
  const answer = map(of);
  if (answer.kind !== "refused") throw new Error(JSON.stringify(answer));
  expect(answer.code).toBe("webhook_mapping_failed");
  return { pointer: answer.pointer, message: answer.message };
};

describe("mapWebhook()", () => {
  test("makes an event of ours", () => {
    expect(map()).toEqual({
      kind: "event",
      event: {
        id: "evt_1",
        type: "ORDER_PAID",
        entity: { type: "order", id: "ord-7" },
        actor: { id: "stripe", type: "service" },
        time: "2023-11-14T22:13:20.000Z",
        data: { amount: 4_900 },
      },
    });
    expect(eventOf({ actor: { id: { pointer: "/type" } } }).actor).toEqual({ id: "invoice.paid" });
  });

  test("takes members from headers, from numbers and as they are set", () => {
    const mapping = {
      id: { header: "webhook-id" },
      type: { value: "PAID" },
      entity: { type: { pointer: "/type" }, id: { pointer: "/created" } },
    };
    expect(eventOf({ mapping, headers: { "webhook-id": "msg_1" } })).toMatchObject({
      id: "msg_1",
      type: "PAID",
      entity: { type: "invoice.paid", id: "1700000000" },
    });
    expect(eventOf({ mapping: { type: { header: "x-event" } }, headers: { "x-event": "push" } }).type).toBe("push");
  });

  test("takes data whole, member by member, or not at all", () => {
    expect(eventOf({ mapping: { data: { pointer: "/data/object" } } }).data).toEqual(BODY.data.object);
    expect(eventOf({ mapping: { data: { pointer: "" } } }).data).toEqual(BODY);
    expect(eventOf({ mapping: { data: undefined } }).data).toEqual({});
    const data = { pointer: { pointer: "/type" }, all: { pointer: "/data" }, by: { value: "us" } };
    expect(eventOf({ mapping: { data } }).data).toEqual({ pointer: "invoice.paid", all: BODY.data, by: "us" });
    const body = { ...BODY, data: { object: { ...BODY.data.object, note: null } } };
    expect(eventOf({ body }).data).toEqual({ amount: 4_900, note: null });
  });

  test("passes types on where it maps none", () => {
    expect(eventOf({ mapping: { type: { pointer: "/type" } } }).type).toBe("invoice.paid");
  });

  test.each([
    ["ignore", { kind: "ignored", reason: 'Type "customer.created" is none that the mapping has' }],
    ["refuse", { kind: "refused", pointer: "/type" }],
    [undefined, { kind: "refused", pointer: "/type" }],
  ])("of a type that it does not map: %s", (unmapped, expected) => {
    const type = { ...MAPPING.type, ...(unmapped === undefined ? {} : { unmapped }) };
    expect(map({ mapping: { type }, body: { ...BODY, type: "customer.created" } })).toMatchObject(expected);
    expect(map({ mapping: { type } }).kind).toBe("event");
  });

  test("ignores a type before it looks for anything else", () => {
    const type = { ...MAPPING.type, unmapped: "ignore" };
    expect(map({ mapping: { type }, body: { type: "customer.created" } }).kind).toBe("ignored");
  });

  test.each(["constructor", "__proto__", "toString"])("has no type %s unless it is mapped", (type) => {
    expect(map({ body: { ...BODY, type } })).toMatchObject({ kind: "refused", pointer: "/type" });
  });

  test.each([
    [1_700_000_000, "2023-11-14T22:13:20.000Z"],
    [1_700_000_000.001, "2023-11-14T22:13:20.001Z"],
    [0, "1970-01-01T00:00:00.000Z"],
    [253_402_300_799, "9999-12-31T23:59:59.000Z"],
    ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"],
    ["2024-02-29T00:00:00.123456+05:30", "2024-02-29T00:00:00.123456+05:30"],
  ])("reads the time %j", (created, time) => {
    expect(eventOf({ body: { ...BODY, created } }).time).toBe(time);
  });

  test.each([
    [1_700_000_000_000, "another number"],
    [253_402_300_800, "another number"],
    [-1, "another number"],
    ["1700000000", "another string"],
    ["2023-11-14", "another string"],
    ["2023-11-14T22:13:20", "another string"],
    ["2023-02-29T00:00:00Z", "another string"],
    ["2023-11-14T25:00:00Z", "another string"],
    ["", "another string"],
    [null, "null"],
    [true, "a boolean"],
    [[], "an array"],
    [{}, "an object"],
  ])("refuses the time %j", (created, found) => {
    expect(refusal({ body: { ...BODY, created } })).toEqual({
      pointer: "/created",
      message: `Expected an RFC 3339 time or Unix seconds for time, found ${found}`,
    });
  });

  test.each<[string, object, Json, string, string]>([
    ["no id", {}, { ...BODY, id: null }, "/id", "Expected a text or a whole number for id, found null"],
    ["half an id", {}, { ...BODY, id: 1.5 }, "/id", "Expected a text or a whole number for id, found a number"],
    ["an object as id", {}, { ...BODY, id: {} }, "/id", "Expected a text or a whole number for id, found an object"],
    [
      "a flag as type",
      {},
      { ...BODY, type: true },
      "/type",
      "Expected a text or a whole number for type, found a boolean",
    ],
    [
      "nothing where the entity is",
      {},
      { ...BODY, data: { object: { amount: 1 } } },
      "/data/object/metadata/order",
      'There is nothing at "/data/object/metadata/order", where the mapping looks for entity.id',
    ],
    [
      "nothing where a datum is",
      {},
      { ...BODY, data: { object: { metadata: { order: "o" } } } },
      "/data/object/amount",
      'There is nothing at "/data/object/amount", where the mapping looks for data.amount',
    ],
    [
      "a list as data",
      { data: { pointer: "/list" } },
      { ...BODY, list: [] },
      "/list",
      "Expected an object for data, found an array",
    ],
    ["no body to speak of", {}, [], "/type", 'There is nothing at "/type", where the mapping looks for type'],
    [
      "a member of a prototype",
      { id: { pointer: "/constructor/name" } },
      BODY,
      "/constructor/name",
      'There is nothing at "/constructor/name", where the mapping looks for id',
    ],
  ])("names the place that has %s", (_, mapping, body, pointer, message) => {
    expect(refusal({ mapping, body })).toEqual({ pointer, message });
  });

  test.each(["", "a b", "a{b}", "a\u202eb", "x".repeat(257)])("refuses the id %j, which is no name", (id) => {
    const { pointer, message } = refusal({ body: { ...BODY, id } });
    expect(pointer).toBe("/id");
    expect(message.length).toBeLessThan(250);
  });

  test("takes an id as long as it may be", () => {
    expect(eventOf({ body: { ...BODY, id: "x".repeat(256) } }).id).toHaveLength(256);
  });

  test("names a header that is missing, or came twice", () => {
    const mapping = { id: { header: "webhook-id" } };
    const missing = { pointer: undefined, message: "There is no header webhook-id, which the mapping takes for id" };
    expect(refusal({ mapping })).toEqual(missing);
    expect(refusal({ mapping, headers: { "webhook-id": ["a", "b"] } })).toEqual(missing);
    expect(refusal({ mapping, headers: Object.create({ "webhook-id": "a" }) })).toEqual(missing);
    expect(refusal({ mapping, headers: { "webhook-id": "a b" } }).pointer).toBeUndefined();
  });
});

describe("webhookMappingSchema", () => {
  const faultsOf = (mapping: object) => {
    const parsed = webhookMappingSchema.safeParse({ ...MAPPING, ...mapping }, { reportInput: true });
    return parsed.success ? [] : schemaFaults(parsed.error).map(({ pointer }) => pointer);
  };
  const many = (count: number, value: unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, value]));

  test.each<[string, object, string[]]>([
    ["a pointer that is none", { id: { pointer: "id" } }, ["/id/pointer"]],
    ["two sources", { id: { pointer: "/id", value: "x" } }, ["/id"]],
    ["no source", { id: {} }, ["/id"]],
    ["a text as source", { id: "/id" }, ["/id"]],
    ["a value that is no name", { id: { value: "a b" } }, ["/id/value"]],
    ["a header in capitals", { id: { header: "Webhook-Id" } }, ["/id/header"]],
    ["a member that there is not", { subject: {} }, ["/subject"]],
    ["no time", { time: undefined }, ["/time"]],
    ["a time that is fixed", { time: { value: "2023-11-14T22:13:20Z" } }, ["/time/pointer", "/time/value"]],
    ["a time from a header", { time: { header: "webhook-timestamp" } }, ["/time/pointer", "/time/header"]],
    ["unmapped without map", { type: { pointer: "/type", unmapped: "ignore" } }, ["/type/unmapped"]],
    ["unmapped that is neither", { type: { ...MAPPING.type, unmapped: "drop" } }, ["/type"]],
    ["a type of ours that is no name", { type: { pointer: "/type", map: { a: "b c" } } }, ["/type/map/a"]],
    ["data from a header", { data: { a: { header: "x" } } }, ["/data"]],
    ["one datum too many", { data: many(DATA_MEMBERS_MAX + 1, { value: "x" }) }, ["/data"]],
    ["as many data as may be", { data: many(DATA_MEMBERS_MAX, { value: "x" }) }, []],
    ["one type too many", { type: { pointer: "/type", map: many(MAPPED_TYPES_MAX + 1, "A") } }, ["/type/map"]],
    ["as many types as may be", { type: { pointer: "/type", map: many(MAPPED_TYPES_MAX, "A") } }, []],
  ])("of %s", (_, mapping, faults) => {
    expect(faultsOf(mapping)).toEqual(faults);
  });
});

describe("createAdapter()", () => {
  const adapterOf = (signature: Parameters<typeof createAdapter>[0]["signature"], bytesMax = 1_000) =>
    createAdapter({
      tenant: "acme",
      source: "stripe",
      signature,
      mapping: webhookMappingSchema.parse(MAPPING),
      actor: webhookActorSchema.parse(ACTOR),
      limits: { bytesMax, depthMax: 8 },
    });
  const receive = (text: string, bytesMax?: number) =>
    adapterOf({ kind: "none" }, bytesMax).receive({ headers: {}, rawBody: Buffer.from(text), nowMs: 0 });
  const text = JSON.stringify(BODY);

  test("says whose it is, and whether somebody else has to say who sent it", () => {
    expect(adapterOf({ kind: "none" })).toMatchObject({ tenant: "acme", source: "stripe", needsCredential: true });
    const signed = adapterOf({ kind: "stripe", secrets: [Buffer.alloc(32)], toleranceSeconds: 300 });
    expect(signed.needsCredential).toBe(false);
  });

  test("makes the same event of the same body, whenever it comes", () => {
    const answers = [0, 1e12].map((nowMs) =>
      adapterOf({ kind: "none" }).receive({ headers: { "x-n": String(nowMs) }, rawBody: Buffer.from(text), nowMs }),
    );
    expect(answers[0]).toMatchObject({ kind: "event", event: { id: "evt_1" } });
    expect(answers[1]).toEqual(answers[0]);
  });

  test("looks at nothing that is not signed", () => {
    const signed = adapterOf({ kind: "stripe", secrets: [Buffer.alloc(32)], toleranceSeconds: 300 });
    expect(signed.receive({ headers: {}, rawBody: Buffer.from("no JSON"), nowMs: 0 })).toEqual({
      kind: "refused",
      code: "webhook_signature_invalid",
      message: "Missing header stripe-signature",
    });
  });

  test.each([
    ["{", "malformed_json", "/"],
    ["", "malformed_json", ""],
    ['{"id":1,"id":2}', "duplicate_key", "/id"],
    ['{"id":9007199254740993}', "inexact_number", "/id"],
    [`${"[".repeat(9)}${"]".repeat(9)}`, "depth_exceeded", "/0/0/0/0/0/0/0/0"],
  ])("reads strictly: %s", (body, code, pointer) => {
    expect(receive(body)).toMatchObject({ kind: "refused", code, pointer });
  });

  test("takes a body of as many bytes as it may have, and not one more", () => {
    expect(receive(text, text.length).kind).toBe("event");
    expect(receive(text, text.length - 1)).toMatchObject({ kind: "refused", code: "body_too_large" });
  });

  test("leaves out the place where a fault has none", () => {
    expect(readJson(text).value).toEqual(BODY);
    const adapter = createAdapter({
      tenant: "acme",
      source: "stripe",
      signature: { kind: "none" },
      mapping: webhookMappingSchema.parse({ ...MAPPING, id: { header: "x" } }),
      actor: webhookActorSchema.parse(ACTOR),
    });
    const answer = adapter.receive({ headers: {}, rawBody: Buffer.from(text), nowMs: 0 });
    expect(Object.keys(answer).sort()).toEqual(["code", "kind", "message"]);
  });
});
