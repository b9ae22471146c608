import { expect, test } from "vitest";
import { jsonLine, shown, spoken } from "../../src/cli/terminal.ts";

test.each([
  ["an escape sequence", "a\u001b[2Jb", '"a\\u001b[2Jb"'],
  ["a right-to-left override", "a\u202eb", '"a\\u202eb"'],
  ["a space without width", "a\u200bb", '"a\\u200bb"'],
  ["a mark that strikes through", "5\u0336", '"5\\u0336"'],
  ["a mark that encloses", "5\u20dd", '"5\\u20dd"'],
  ["a filler", "a\u3164", '"a\\u3164"'],
  ["a no-break space", "a\u00a0b", '"a\\u00a0b"'],
])("shown() spells out %s", (_, text, expected) => {
  expect(shown(text)).toBe(expected);
  expect(jsonLine(text)).toBe(expected);
  expect(spoken(text)).toBe(expected.slice(1, -1));
});

test.each(["Grüße", "注文", "e\u0301té", "ord_7/ä", "👩"])("shown() leaves %s as it is", (text) => {
  expect(shown(text)).toBe(text);
});
