import { describe, expect, test } from "vitest";
import { entityTag, traceTag } from "../../src/core/entry-index.ts";
import { consumptionKey, decisionKey, entryTags } from "../../src/core/entry-tags.ts";
import * as record from "../../src/gate/record.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER_TRACE = "ab".repeat(16);
const ORDER = { type: "order", id: "ord_1" };
const ofTrace = traceTag("default", TRACE);
const ofOrder = entityTag("default", "order", "ord_1");

const tagsOf = (body: object): readonly string[] =>
  entryTags(JSON.stringify({ kind: "any", tenant: "default", trace_id: TRACE, ...body })).tags;

describe("entryTags()", () => {
  const CASES: readonly (readonly [what: string, body: object, tags: readonly string[]])[] = [
    ["a decision's entity", { kind: "decision", input: { entity: { ...ORDER, state: "PAID" } } }, [ofTrace, ofOrder]],
    ["a decision on nothing", { kind: "decision", input: { entity: null } }, [ofTrace]],
    ["what a decision's data would say", { kind: "decision", input: {}, data: { entity: ORDER } }, [ofTrace]],
    ["a fact's entity", { data: { entity: ORDER } }, [ofTrace, ofOrder]],
    ["an approval's entity", { data: { approval: { entity: ORDER } } }, [ofTrace, ofOrder]],
    ["an event's entity", { data: { event: { entity: ORDER } } }, [ofTrace, ofOrder]],
    ["one entity once", { data: { entity: ORDER, event: { entity: ORDER } } }, [ofTrace, ofOrder]],
    ["no trace", { trace_id: "", data: { entity: ORDER } }, [ofOrder]],
    ["a trace of zeros", { trace_id: "0".repeat(32), data: { entity: ORDER } }, [ofOrder]],
    ["nobody's tenant", { tenant: "", data: { entity: ORDER } }, []],
    [
      "another tenant's",
      { tenant: "other", data: { entity: ORDER } },
      [traceTag("other", TRACE), entityTag("other", "order", "ord_1")],
    ],
    [
      "a fact that was left behind, by its payload",
      {
        trace_id: "0".repeat(32),
        data: { recovered: true, payload: { approval: { subject: { entity: ORDER, traceId: OTHER_TRACE } } } },
      },
      [traceTag("default", OTHER_TRACE), ofOrder],
    ],
    ["a payload of what was not left behind", { data: { payload: { event: { entity: ORDER } } } }, [ofTrace]],
    [
      "a frozen entity, by every reading of its subject",
      { kind: "freeze_set", data: { freeze: { kind: "entity", subject: "a/b/c" } } },
      [ofTrace, entityTag("default", "a", "b/c"), entityTag("default", "a/b", "c")],
    ],
    ["a frozen actor", { kind: "freeze_set", data: { freeze: { kind: "actor", subject: "order/ord_1" } } }, [ofTrace]],
    [
      "a subject that is too long to be one",
      { kind: "freeze_set", data: { freeze: { kind: "entity", subject: "/".repeat(1_026) } } },
      [ofTrace],
    ],
    ["an entity that is half one", { data: { entity: { type: "order" } } }, [ofTrace]],
    ["texts where objects should be", { data: "data", input: [], entity: 7 }, [ofTrace]],
    ["numbers where texts should be", { tenant: 7, trace_id: 7, data: { entity: { type: 1, id: 2 } } }, []],
  ];

  test.each(CASES)("reads %s", (_, body, tags) => {
    expect([...tagsOf(body)].sort()).toEqual([...tags].sort());
  });

  test("takes a subject of two identifiers at their longest", () => {
    const type = "𝒜".repeat(256);
    const data = { freeze: { kind: "entity", subject: `${type}/${type}` } };
    expect(tagsOf({ data })).toContain(entityTag("default", type, type));
  });

  test.each(["", "{", "null", "7", "[]", '"text"', "\u0000"])("finds nothing in %j", (text) => {
    expect(entryTags(text)).toEqual({ tags: [], sharesEntityOf: [] });
  });

  test("names where else to look only for what says of no entity itself", () => {
    const ids = { decision_id: "dec_1", permit_id: "perm_1" };
    const report = { kind: "execution_reported", tenant: "default", trace_id: TRACE };
    const keys = ["decision:default:dec_1", "consumed:default:perm_1"];
    expect(entryTags(JSON.stringify({ ...report, data: ids })).sharesEntityOf).toEqual(keys);
    expect(entryTags(JSON.stringify({ ...report, data: { ...ids, entity: ORDER } })).sharesEntityOf).toEqual([]);
    const hostile = { decision_id: "dec_1:proposal", permit_id: "x".repeat(129) };
    expect(entryTags(JSON.stringify({ ...report, data: hostile })).sharesEntityOf).toEqual([]);
  });

  test("looks under the keys that are written", () => {
    expect(decisionKey("default", "dec_1")).toBe(record.decisionKey("default", "dec_1"));
    expect(consumptionKey("default", "perm_1")).toBe(record.consumptionKey("default", "perm_1"));
  });
});
