import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { canonicalize } from "json-canonicalize";
import { describe, expect, test } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { isSameDecimal, readJson } from "../../src/core/read-json.ts";
import { vectorsPath } from "../support/tools.ts";

const SEED = 20261120;

function refusal(text: string | Uint8Array, limits = {}): HoldpointError {
  try {
    readJson(text, limits);
  } catch (error) {
    if (error instanceof HoldpointError) return error;
    throw error;
  }
  throw new Error(`accepted: ${text.toString().slice(0, 80)}`);
}

describe("readJson()", () => {
  test.each([
    ["4900.0", "4900"],
    ["1.10", "1.1"],
    ["6.022e23", "6.022e+23"],
    ["0.30000000000000004", "0.30000000000000004"],
    ["1E2", "100"],
    ["-0", "0"],
    ["-0.0e5", "0"],
    ["0e999999999999", "0"],
    ["9007199254740992", "9007199254740992"],
    ["999999999999999", "999999999999999"],
    ["1e-7", "1e-7"],
    ["100e-2", "1"],
    ["-1.5", "-1.5"],
    ["5e-324", "5e-324"],
    ["1.7976931348623157e308", "1.7976931348623157e+308"],
  ])("reads %s as exactly %s", (written, canonical) => {
    expect(readJson(written).canonical).toBe(canonical);
  });

  test.each([
    "9007199254740993",
    "12345678901234567890",
    "0.10000000000000001",
    "1e400",
    "-1e400",
    "1e-400",
    "1.0000000000000000001",
  ])("refuses %s, which is not what it would be read as", (written) => {
    expect(refusal(`{"a":[0,${written}]}`)).toMatchObject({ code: "inexact_number", pointer: "/a/1" });
  });

  test("keeps a zero a plain zero", () => {
    expect(Object.is(readJson("-0").value, 0)).toBe(true);
    expect(Object.is(readJson("-0.0").value, 0)).toBe(true);
  });

  test.each([
    ['{"a":1,"a":1}', "/a"],
    ['{"a":1,"\\u0061":2}', "/a"],
    ['{"x":{"k~/":[{"b":1,"b":2}]}}', "/x/k~0~1/0/b"],
    ['{"__proto__":1,"__proto__":2}', "/__proto__"],
    ['{"":1,"":2}', "/"],
  ])("refuses the duplicate key in %s at its place", (text, pointer) => {
    expect(refusal(text)).toMatchObject({ code: "duplicate_key", pointer });
  });

  test.each(['"\\ud800"', '"\\udc00\\ud800"', '{"\\ud83d":1}'])("refuses the lone surrogate in %s", (text) => {
    expect(refusal(text).code).toBe("ill_formed_unicode");
  });

  test.each([
    [[0x22, 0xff, 0x22]],
    [[0x22, 0xed, 0xa0, 0x80, 0x22]],
    [[0x22, 0xc0, 0xaf, 0x22]],
    [[0x22, 0xf4, 0x90, 0x80, 0x80, 0x22]],
    [[0x22, 0xe2, 0x82, 0x22]],
  ])("refuses ill-formed UTF-8 %j", (bytes) => {
    expect(refusal(Uint8Array.from(bytes)).code).toBe("ill_formed_unicode");
  });

  test("refuses a byte order mark", () => {
    expect(refusal(Uint8Array.from([0xef, 0xbb, 0xbf, 0x31])).code).toBe("malformed_json");
  });

  test("counts nesting at the limit and one past it", () => {
    const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    expect(readJson(nested(64)).canonical).toBe(nested(64));
    expect(refusal(nested(65)).code).toBe("depth_exceeded");
    expect(readJson('{"a":[{}]}', { depthMax: 3 }).canonical).toBe('{"a":[{}]}');
    expect(refusal('{"a":[{}]}', { depthMax: 2 })).toMatchObject({ code: "depth_exceeded", pointer: "/a/0" });
    expect(refusal("[".repeat(200_000)).code).toBe("depth_exceeded");
  });

  test("counts bytes at the limit and one past it", () => {
    expect(readJson('"é"', { bytesMax: 4 }).value).toBe("é");
    expect(refusal('"é"', { bytesMax: 3 }).code).toBe("body_too_large");
    expect(refusal(Buffer.from('"é"'), { bytesMax: 3 }).code).toBe("body_too_large");
  });

  test("reads keys that objects are born with as data", () => {
    const text = '{"__proto__":{"a":1},"constructor":2,"hasOwnProperty":3,"toJSON":4,"toString":5}';
    const { value, canonical } = readJson(text);
    expect(canonical).toBe(text);
    expect(Object.keys(value as object)).toHaveLength(5);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect((value as { a?: number }).a).toBeUndefined();
  });

  test("keeps the canonical text of members at two levels", () => {
    const { members } = readJson('{"b":{"d":[2, 1],"c":1.0},"a":null}');
    expect(members!.get("b")!.canonical).toBe('{"c":1,"d":[2,1]}');
    expect(members!.get("b")!.members!.get("d")).toMatchObject({ canonical: "[2,1]", value: [2, 1] });
    expect(members!.get("a")!.canonical).toBe("null");
  });

  test.each([
    "",
    " ",
    "{",
    "[1,]",
    "[1 2]",
    '{"a"}',
    '{"a":}',
    "{'a':1}",
    "nul",
    "1 1",
    "+1",
    "01",
    ".5",
    "1.",
    '"\u0001"',
    '"a',
    '"\\x"',
    "\u00a01",
    "[1]]",
    "NaN",
  ])("refuses the malformed %j", (text) => {
    expect(refusal(text).code).toBe("malformed_json");
  });

  test("gives value and canonical form of any JSON text, whatever its order and spacing", () => {
    const shuffled = (value: unknown): string =>
      typeof value !== "object" || value === null
        ? JSON.stringify(value)
        : Array.isArray(value)
          ? `[ ${value.map(shuffled).join(" ,\n")} ]`
          : `{${Object.keys(value)
              .reverse()
              .map((key) => `${JSON.stringify(key)} : ${shuffled((value as Record<string, unknown>)[key])}`)
              .join("\t,")}}`;
    const safeKey = fc.string({ unit: "binary" }).filter((key) => key !== "toJSON" && key.isWellFormed());
    const { json } = fc.letrec((tie) => ({
      json: fc.oneof(
        { depthSize: "medium" },
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.string({ unit: "binary" }).filter((text) => text.isWellFormed()),
        fc.array(tie("json"), { maxLength: 5 }),
        fc.dictionary(safeKey, tie("json"), { maxKeys: 6 }),
      ),
    }));
    fc.assert(
      fc.property(json, (value) => {
        const { canonical, value: read } = readJson(shuffled(value));
        expect(canonical).toBe(canonicalize(value));
        expect(readJson(canonical).canonical).toBe(canonical);
        expect(read).toEqual(JSON.parse(canonical));
      }),
      { seed: SEED, numRuns: 2_000 },
    );
  });

  test("never fails but with an error of its own, whatever the bytes", () => {
    const pieces = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      '"',
      "\\",
      "\\u",
      "d83d",
      "1",
      "e",
      "-",
      ".",
      "true",
      "null",
      " ",
      "é",
      "\u0000",
      "a",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 24 }), (parts) => {
        const text = parts.join("");
        try {
          readJson(text);
        } catch (error) {
          expect(error).toBeInstanceOf(HoldpointError);
          return;
        }
        expect(() => JSON.parse(text)).not.toThrow();
      }),
      { seed: SEED, numRuns: 20_000 },
    );
  });
});

describe("isSameDecimal()", () => {
  test("agrees with exact arithmetic on random decimals", () => {
    const digits = fc.integer({ min: -999_999, max: 999_999 });
    const power = fc.integer({ min: -30, max: 30 });
    const exact = (mantissa: number, exponent: number) => BigInt(mantissa) * 10n ** BigInt(exponent + 30);
    fc.assert(
      fc.property(digits, power, digits, power, (a, m, b, n) => {
        expect(isSameDecimal(`${a}e${m}`, `${b}e${n}`)).toBe(exact(a, m) === exact(b, n));
        expect(isSameDecimal(`${a}00e${m}`, `${a}e${m + 2}`)).toBe(true);
      }),
      { seed: SEED, numRuns: 5_000 },
    );
  });
});

const vectors = vectorsPath();

describe.skipIf(vectors === undefined)("readJson() on third-party vectors", () => {
  const jcs = `${vectors}/jcs`;
  const parsing = `${vectors}/json-parsing/test_parsing`;

  test("gives the canonical form of RFC 8785's test data, byte for byte", () => {
    const names = readdirSync(`${jcs}/input`);
    expect(names.length).toBeGreaterThanOrEqual(6);
    for (const name of names) {
      const hex = readFileSync(`${jcs}/outhex/${name.replace(".json", ".txt")}`, "utf8").replace(/\s+/g, "");
      const text = readFileSync(`${jcs}/input/${name}`, "utf8");
      // The one number in these files that is not what it would be read as: refused as it stands.
      if (text.includes("333333333.33333329")) expect(refusal(text).code).toBe("inexact_number");
      const exact = text.replace("333333333.33333329", "333333333.3333333");
      expect(Buffer.from(readJson(exact).canonical).toString("hex")).toBe(hex);
    }
  });

  test("writes a thousand ES6 numbers as RFC 8785 does", () => {
    const lines = readFileSync(`${jcs}/es6-numbers-1k.txt`, "utf8").trim().split("\n");
    expect(lines).toHaveLength(1_000);
    for (const line of lines) {
      const [, expected] = line.split(",");
      expect(readJson(expected!).canonical).toBe(expected);
    }
  });

  // Valid JSON, and refused by I-JSON (RFC 7493) or by the one rule on numbers.
  const STRICTER: Readonly<Record<string, string>> = {
    "y_object_duplicated_key.json": "duplicate_key",
    "y_object_duplicated_key_and_value.json": "duplicate_key",
  };

  test("accepts what must be accepted and refuses what must be refused", () => {
    let accepted = 0;
    let refused = 0;
    for (const name of readdirSync(parsing)) {
      const bytes = readFileSync(`${parsing}/${name}`);
      const stricter = STRICTER[name];
      if (name.startsWith("y_") && stricter === undefined) {
        expect(() => readJson(bytes), name).not.toThrow();
        accepted++;
      } else if (name.startsWith("n_") || stricter !== undefined) {
        const { code } = refusal(bytes);
        if (stricter !== undefined) expect(code).toBe(stricter);
        refused++;
      } else {
        try {
          readJson(bytes);
        } catch (error) {
          expect(error, name).toBeInstanceOf(HoldpointError);
        }
      }
    }
    expect(accepted).toBeGreaterThan(80);
    expect(refused).toBeGreaterThan(20);
  });
});
