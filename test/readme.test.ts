/** The README's tables are the program's. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { SETTINGS, variableOf } from "../src/config/settings.ts";
import { projectRoot } from "./support/tools.ts";

const readme = readFileSync(`${projectRoot}README.md`, "utf8");

test("README lists every setting with its variable, default and meaning, and no other", () => {
  const rows = SETTINGS.map(
    ({ key, defaultText, meaning }) => `| \`${key}\` | \`${variableOf(key)}\` | \`${defaultText}\` | ${meaning} |`,
  );
  const [, section] = /## Settings\n([\s\S]*?)\n## /.exec(readme)!;
  expect(section!.split("\n").filter((line) => /^\| `/.test(line))).toEqual(rows);
});

test("README names the test command that the Makefile has", () => {
  expect(readme).toContain("**`make test`**");
  expect(readFileSync(`${projectRoot}Makefile`, "utf8")).toMatch(/^test:/m);
});
