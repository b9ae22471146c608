import fc from "fast-check";
import { expect, test } from "vitest";
import { parseTraceparent } from "../../src/core/trace.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = "00f067aa0ba902b7";

test.each([
  [`00-${TRACE}-${PARENT}-01`],
  [`00-${TRACE}-${PARENT}-00`],
  [`00-${TRACE}-${PARENT}-ff`],
  [`01-${TRACE}-${PARENT}-01`],
  [`cc-${TRACE}-${PARENT}-01-what-the-future-adds`],
  [`fe-${TRACE}-${PARENT}-01-`],
])("parseTraceparent() finds the trace id in %s", (header) => {
  expect(parseTraceparent(header)).toBe(TRACE);
});

test.each([
  [undefined],
  [""],
  [`ff-${TRACE}-${PARENT}-01`],
  [`00-${TRACE}-${PARENT}-01-more`],
  [`00-${TRACE}-${PARENT}-01-`],
  [`01-${TRACE}-${PARENT}-01more`],
  [`00-${"0".repeat(32)}-${PARENT}-01`],
  [`00-${TRACE}-${"0".repeat(16)}-01`],
  [`00-${TRACE.toUpperCase()}-${PARENT}-01`],
  [`00-${TRACE.slice(1)}-${PARENT}-01`],
  [`00-${TRACE}0-${PARENT}-01`],
  [`00-${TRACE}-${PARENT}`],
  [`00-${TRACE}-${PARENT}-1`],
  [`00-${TRACE}-${PARENT}-0g`],
  [`0-${TRACE}-${PARENT}-01`],
  [` 00-${TRACE}-${PARENT}-01`],
  [`00-${TRACE}-${PARENT}-01\n`],
  [`00-${TRACE}-${PARENT}-01,00-${TRACE}-${PARENT}-01`],
  [`00_${TRACE}_${PARENT}_01`],
])("parseTraceparent() starts anew for %j", (header) => {
  expect(parseTraceparent(header)).toBeUndefined();
});

test("parseTraceparent() gives what stands in the header, or nothing", () => {
  const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`));
  const headers = fc.oneof(
    fc.string({ unit: "binary" }),
    fc
      .tuple(hex(2), hex(32), hex(16), hex(2), fc.constantFrom("", "-", "-x", "x"))
      .map(([version, trace, parent, flags, rest]) => `${version}-${trace}-${parent}-${flags}${rest}`),
  );
  fc.assert(
    fc.property(headers, (header) => {
      const found = parseTraceparent(header);
      const [version, trace, parent, flags, ...rest] = header.split("-");
      const isValid =
        /^[0-9a-f]{2}$/.test(version ?? "") &&
        version !== "ff" &&
        /^(?!0+$)[0-9a-f]{32}$/.test(trace ?? "") &&
        /^(?!0+$)[0-9a-f]{16}$/.test(parent ?? "") &&
        /^[0-9a-f]{2}$/.test(flags ?? "") &&
        (version !== "00" || rest.length === 0) &&
        !/[\n\r\u2028\u2029]/.test(header);
      expect(found).toBe(isValid ? trace : undefined);
    }),
    { seed: 20_261_120, numRuns: 2_000 },
  );
});
