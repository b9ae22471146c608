import { expect, test } from "vitest";
import { effectiveSettings } from "../../src/config/print-config.ts";

const printed = (key: string, variable: string, text: string) =>
  JSON.stringify(effectiveSettings(undefined, { [variable]: text }).find((setting) => setting.key === key)?.value);

test.each([
  ["redis://user:hunter2@host:6379/0", "redis://user:REDACTED@host:6379/0"],
  ["redis://:pa/ss@host", "redis://:REDACTED@host"],
  ["redis://:hunt#er2@host", "redis://:REDACTED@host"],
  ["redis://:p@ss@host?db=1", "redis://:REDACTED@host?db=1"],
  ["redis://host?sentinelPassword=hunter2&waitMs=5", "redis://host?sentinelPassword=REDACTED&waitMs=5"],
  ["redis://host?whatever=hunter2", "redis://host?whatever=REDACTED"],
])("effectiveSettings() prints no password of the store %s", (store, expected) => {
  expect(printed("store", "HOLDPOINT_STORE", store)).toBe(JSON.stringify(expected));
});
