import fc from "fast-check";
import { canonicalize } from "json-canonicalize";
import { describe, expect, test } from "vitest";
import {
  actorText,
  type BindingParts,
  bindingText,
  entityText,
  envelopeBindingText,
  inputText,
  objectText,
} from "../../src/core/compose.ts";
import { readJson } from "../../src/core/read-json.ts";
import type { ActorRef, EntityRef } from "../../src/core/types.ts";

const SEED = 20_261_120;

type Any = null | boolean | number | string | Any[] | { [key: string]: Any };

/** RFC 8785 once more and as plainly as it goes, for the keys that the library takes for methods. */
function canonical(value: Any): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  // The default order of sort() is that of UTF-16 code units.
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonical(value[key]!)}`);
  return `{${members.join(",")}}`;
}

const well = fc.string({ unit: "grapheme", maxLength: 8 });
const key = fc.oneof(
  { weight: 3, arbitrary: well },
  fc.constantFrom(
    "__proto__",
    "constructor",
    "toJSON",
    "",
    "a",
    "ab",
    "\u20ac",
    "\r",
    "\ufb33",
    "\u{1f600}",
    "10",
    "9",
  ),
);
const json = fc.letrec<{ any: Any; object: { [key: string]: Any } }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(null, true, false, 0, 1e21, 1e-7, 0.1, -5),
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => (Object.is(number, -0) ? 0 : number)),
    well,
    fc.array(tie("any"), { maxLength: 3 }),
    tie("object"),
  ),
  object: fc.array(fc.tuple(key, tie("any")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
}));
const object = json.object;
const hasKey = (value: Any, name: string): boolean =>
  typeof value === "object" &&
  value !== null &&
  (Object.hasOwn(value, name) || Object.values(value).some((inner) => hasKey(inner as Any, name)));

const entity: fc.Arbitrary<EntityRef | null> = fc.option(
  fc.record({ type: well, id: well }, { noNullPrototype: true }),
  { nil: null },
);
const actor: fc.Arbitrary<ActorRef> = fc.letrec<{ actor: ActorRef }>((tie) => ({
  actor: fc.record(
    { id: well, type: well, roles: fc.array(well, { maxLength: 3 }), on_behalf_of: tie("actor") },
    { requiredKeys: ["id"], noNullPrototype: true },
  ) as fc.Arbitrary<ActorRef>,
})).actor;

const textOf = (value: object): string => readJson(JSON.stringify(value)).canonical;

const parts = fc.record({
  tenant: fc.stringMatching(/^[a-z0-9-]{1,8}$/),
  actorId: well,
  onBehalfOf: fc.option(actor, { nil: null }),
  action: well,
  entity,
});

/** Equal to the canonical form of the value, by both oracles where the library is one. */
function expectCanonical(text: string, value: Any): void {
  expect(text).toBe(canonical(value));
  if (!hasKey(value, "toJSON")) expect(text).toBe(canonicalize(value));
  expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
}

describe("a composed text is the canonical form of what it denotes:", () => {
  test("inputText()", () => {
    fc.assert(
      fc.property(
        fc.record({
          action: well,
          args: object,
          actor,
          approval: json.any,
          context: object,
          entity,
          session: json.any,
        }),
        (of) => {
          const tenant = "default";
          const time = "2026-11-20T10:00:00.000Z";
          const text = inputText({
            action: of.action,
            arguments: textOf(of.args),
            actor: textOf(of.actor),
            approval: readJson(JSON.stringify(of.approval)).canonical,
            context: textOf(of.context),
            entity: entityText(of.entity),
            session: readJson(JSON.stringify(of.session)).canonical,
            tenant,
            time,
          });
          expectCanonical(text, {
            action: { name: of.action, arguments: of.args },
            actor: of.actor,
            approval: of.approval,
            context: of.context,
            entity: of.entity,
            session: of.session,
            tenant,
            time,
          } as unknown as Any);
        },
      ),
      { seed: SEED, numRuns: 1_000 },
    );
  });

  const bound = (of: Omit<BindingParts, "argumentsText">) => ({
    tenant: of.tenant,
    actor: of.actorId,
    on_behalf_of: of.onBehalfOf,
    action: of.action,
    entity: of.entity,
  });

  test("bindingText() and envelopeBindingText()", () => {
    fc.assert(
      fc.property(parts, object, (of, inner) => {
        expectCanonical(bindingText({ ...of, argumentsText: textOf(inner) }), {
          ...bound(of),
          arguments: inner,
        } as unknown as Any);
        expectCanonical(envelopeBindingText(of, textOf(inner)), {
          ...bound(of),
          arguments: null,
          envelope: inner,
        } as unknown as Any);
      }),
      { seed: SEED, numRuns: 1_000 },
    );
  });

  test("entityText() and actorText()", () => {
    fc.assert(
      fc.property(entity, fc.option(actor, { nil: null }), (one, other) => {
        expectCanonical(entityText(one), one as unknown as Any);
        expectCanonical(actorText(other), other as unknown as Any);
      }),
      { seed: SEED, numRuns: 1_000 },
    );
  });

  test("objectText()", () => {
    expect(objectText([])).toBe("{}");
    expect(objectText([["a", undefined]])).toBe("{}");
    expect(
      objectText([
        ["a", "1"],
        ["b", undefined],
        ["c", '"x"'],
      ]),
    ).toBe('{"a":1,"c":"x"}');
    expect(
      objectText([
        ["a", undefined],
        ["b", "[]"],
      ]),
    ).toBe('{"b":[]}');
  });
});

describe("two bindings", () => {
  /** Few and near values, so that pairs often differ in one thing only. */
  const near = fc.constantFrom("a", "b", 'a","actor":"b', "a\\", "");
  const nearObject = fc.constantFrom<Any>(
    {},
    { a: 1 },
    { a: "1" },
    { a: null },
    { arguments: null },
    { envelope: {}, arguments: null },
    { envelope: { a: 1 } },
    { __proto__: 1 },
    JSON.parse('{"__proto__":{}}'),
  );
  const nearActor = fc.constantFrom<ActorRef | null>(
    null,
    { id: "a" },
    { id: "a", roles: [] },
    { id: "a", roles: ["a", "b"] },
    { id: "a", roles: ["b", "a"] },
    { id: "a", type: "a" },
    { id: "a", on_behalf_of: { id: "a" } },
    { id: "a", on_behalf_of: { id: "a", on_behalf_of: { id: "a" } } },
  );
  const nearEntity = fc.constantFrom<EntityRef | null>(null, { type: "a", id: "b" }, { type: "b", id: "a" });
  const binding = fc.record({
    parts: fc.record({
      tenant: fc.constantFrom("a", "b"),
      actorId: near,
      onBehalfOf: nearActor,
      action: near,
      entity: nearEntity,
    }),
    inner: nearObject,
    isEnvelope: fc.boolean(),
  });

  test("share a text only when they are the same", () => {
    const text = (of: { parts: Omit<BindingParts, "argumentsText">; inner: Any; isEnvelope: boolean }): string =>
      of.isEnvelope
        ? envelopeBindingText(of.parts, textOf(of.inner as object))
        : bindingText({ ...of.parts, argumentsText: textOf(of.inner as object) });
    fc.assert(
      fc.property(binding, binding, fc.subarray(["parts", "inner", "isEnvelope"] as const), (one, two, shared) => {
        const other = { ...two, ...Object.fromEntries(shared.map((name) => [name, one[name]])) };
        const isSame = canonical(one as unknown as Any) === canonical(other as unknown as Any);
        expect(text(one) === text(other)).toBe(isSame);
      }),
      { seed: SEED, numRuns: 5_000 },
    );
  });

  test("that are exact and an envelope differ whatever the arguments", () => {
    fc.assert(
      fc.property(parts, object, object, (of, args, schema) => {
        const exact = bindingText({ ...of, argumentsText: textOf(args) });
        expect(exact).not.toBe(envelopeBindingText(of, textOf(schema)));
        expect(JSON.parse(exact).arguments).not.toBeNull();
        expect(Object.hasOwn(JSON.parse(exact), "envelope")).toBe(false);
      }),
      { seed: SEED, numRuns: 500 },
    );
  });
});
