import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { POINTER_CHARS_MAX, parsePointer, resolvePointer } from "../../src/core/json-pointer.ts";
import { escapePointer } from "../../src/core/read-json.ts";
import type { Json } from "../../src/core/types.ts";

/** RFC 6901, section 5. */
const DOCUMENT: Json = {
  foo: ["bar", "baz"],
  "": 0,
  "a/b": 1,
  "c%d": 2,
  "e^f": 3,
  "g|h": 4,
  "i\\j": 5,
  'k"l': 6,
  " ": 7,
  "m~n": 8,
};

const at = (pointer: string, value: Json = DOCUMENT) => resolvePointer(value, parsePointer(pointer)!);

describe("resolvePointer()", () => {
  test.each([
    ["", DOCUMENT],
    ["/foo", ["bar", "baz"]],
    ["/foo/0", "bar"],
    ["/", 0],
    ["/a~1b", 1],
    ["/c%d", 2],
    ["/e^f", 3],
    ["/g|h", 4],
    ["/i\\j", 5],
    ['/k"l', 6],
    ["/ ", 7],
    ["/m~0n", 8],
  ])("finds %j of the RFC's example", (pointer, value) => {
    expect(at(pointer)).toEqual(value);
  });

  test("unescapes once: ~01 is ~1, and no slash", () => {
    expect(at("/~01", { "~1": "tilde", "/": "slash" })).toBe("tilde");
  });

  test.each([
    "/foo/2",
    "/foo/-",
    "/foo/01",
    "/foo/1e0",
    "/foo/ 0",
    "/foo/length",
    "/foo/0/length",
    "/nothing",
    "/foo/0/0",
    "//",
  ])("finds nothing at %j", (pointer) => {
    expect(at(pointer)).toBeUndefined();
  });

  test.each(["/toString", "/constructor/name", "/__proto__", "/__proto__/x", "/hasOwnProperty"])(
    "finds nothing that every object has at %j",
    (pointer) => {
      expect(at(pointer, {})).toBeUndefined();
      expect(at(pointer, [])).toBeUndefined();
    },
  );

  test("finds such a name where it is a member", () => {
    expect(at("/__proto__/x", JSON.parse('{"__proto__": {"x": 1}}'))).toBe(1);
  });

  test("tells null that is there from nothing", () => {
    expect(at("/a", { a: null })).toBeNull();
    expect(at("/a/b", { a: null })).toBeUndefined();
  });

  test("finds whatever is at a path of any names", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 8 }), { maxLength: 6 }), fc.jsonValue(), (path, inner) => {
        const value = path.reduceRight<Json>((below, name) => Object.fromEntries([[name, below]]), inner as Json);
        expect(at(path.map((name) => `/${escapePointer(name)}`).join(""), value)).toEqual(inner);
      }),
      { seed: 1, numRuns: 500 },
    );
  });
});

describe("parsePointer()", () => {
  test.each(["a", "a/b", "#/a", "/~", "/~2", "/a~", " /a"])("refuses %j", (text) => {
    expect(parsePointer(text)).toBeUndefined();
  });

  test("takes as many characters as it may have, and not one more", () => {
    expect(parsePointer(`/${"a".repeat(POINTER_CHARS_MAX - 1)}`)).toHaveLength(1);
    expect(parsePointer(`/${"a".repeat(POINTER_CHARS_MAX)}`)).toBeUndefined();
  });
});
