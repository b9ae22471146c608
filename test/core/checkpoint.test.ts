import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatCheckpoint, parseCheckpoint } from "../../src/core/checkpoint.ts";

const ROOT = Buffer.alloc(32, 7);
const ROOT_TEXT = ROOT.toString("base64");

describe("formatCheckpoint()", () => {
  test("writes origin, size, root and extension lines", () => {
    const text = formatCheckpoint({
      origin: "example.com/log",
      size: 20_852_163,
      root: ROOT,
      extensions: ["more", "— dash"],
    });
    expect(text).toBe(`example.com/log\n20852163\n${ROOT_TEXT}\nmore\n— dash\n`);
  });

  test("refuses what it could not read back", () => {
    const sound = { origin: "o", size: 1, root: ROOT, extensions: [] };
    for (const change of [
      { origin: "" },
      { origin: "a\nb" },
      { size: -1 },
      { size: 1.5 },
      { size: 2 ** 53 },
      { root: Buffer.alloc(31) },
      { extensions: [""] },
    ]) {
      expect(() => formatCheckpoint({ ...sound, ...change })).toThrow(RangeError);
    }
  });
});

describe("parseCheckpoint()", () => {
  test("reads what formatCheckpoint() wrote", () => {
    const line = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => !text.includes("\n"));
    const checkpoint = fc.record({
      origin: line,
      size: fc.maxSafeNat(),
      root: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      extensions: fc.array(line, { maxLength: 4 }),
    });
    const check = (given: { origin: string; size: number; root: Uint8Array; extensions: string[] }): void => {
      const parsed = parseCheckpoint(formatCheckpoint(given));
      expect({ ...parsed, root: [...(parsed?.root ?? [])] }).toEqual({ ...given, root: [...given.root] });
    };
    fc.assert(fc.property(checkpoint, check), { seed: 20_261_120 });
  });

  test.each([
    ["", "empty"],
    [`o\n1\n${ROOT_TEXT}`, "no final line break"],
    ["o\n1\n", "no root"],
    [`\n1\n${ROOT_TEXT}\n`, "empty origin"],
    [`o\n01\n${ROOT_TEXT}\n`, "leading zero"],
    [`o\n+1\n${ROOT_TEXT}\n`, "sign"],
    [`o\n-1\n${ROOT_TEXT}\n`, "negative"],
    [`o\n 1\n${ROOT_TEXT}\n`, "space"],
    [`o\n1e3\n${ROOT_TEXT}\n`, "exponent"],
    [`o\n9007199254740992\n${ROOT_TEXT}\n`, "past 2^53 - 1"],
    [`o\n18446744073709551615\n${ROOT_TEXT}\n`, "2^64 - 1"],
    [`o\n1\n${ROOT_TEXT.slice(0, -1)}\n`, "no padding"],
    [`o\n1\n${ROOT_TEXT.slice(0, -2)}d=\n`, "set bits behind the end"],
    [`o\n1\n${Buffer.alloc(31).toString("base64")}\n`, "31 bytes"],
    [`o\n1\n${ROOT_TEXT}\r\n`, "carriage return"],
    [`o\n1\n${ROOT_TEXT}\n\n`, "empty extension"],
  ])("refuses %j (%s)", (text) => {
    expect(parseCheckpoint(text)).toBeUndefined();
  });
});
