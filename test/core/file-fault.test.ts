import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, test } from "vitest";
import { fileFault } from "../../src/core/file-fault.ts";

const thrownBy = (act: () => unknown): unknown => {
  try {
    act();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("Nothing was thrown");
};

test.each([
  ["/nowhere", () => readFileSync("/nowhere"), "/nowhere: does not exist"],
  ["a directory", () => readFileSync(tmpdir()), "a directory: is a directory, expected a file"],
  ["below", () => readFileSync("/dev/null/x"), "below: is not a directory, or lies below a file"],
])("fileFault() says of %s what is wrong with it", (path, act, sentence) => {
  expect(fileFault(path, thrownBy(act))).toBe(sentence);
});

test("fileFault() knows LMDB's error numbers, and keeps the first line of what it does not know", () => {
  expect(fileFault("p", Object.assign(new Error("x"), { code: 28 }))).toMatch(/^p: no space is left on the device/);
  expect(fileFault("p", Object.assign(new Error("odd\nmore"), { code: -30_000 }))).toBe("p: odd");
  expect(fileFault("p", "a string")).toBe("p: a string");
});
