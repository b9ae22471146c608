import { expect, test } from "vitest";
import { actionModeChanges, credentialChanges, tenantModeChanges } from "../../src/cli/configuration-changes.ts";
import type { Config } from "../../src/config/load-config.ts";

const key = (id: string, tenant: string, sha256: string | string[]) =>
  ({ id, tenant, sha256, scopes: ["decide"] }) as unknown as Config["api_keys"][number];
const changed = (before: Config["api_keys"], after: Config["api_keys"]) =>
  Object.fromEntries(credentialChanges({ api_keys: before }, { api_keys: after }));

test("credentialChanges() names what came and went under its tenant, and nothing that stayed", () => {
  const before = [key("stays", "a", ["1", "2"]), key("gone", "a", "3"), key("moves", "a", "4")];
  const after = [key("moves", "b", "4"), key("stays", "a", ["1", "2"]), key("new", "b", "5")];
  expect(changed(before, after)).toEqual({
    a: { added: [], removed: ["gone", "moves"] },
    b: { added: ["moves", "new"], removed: [] },
  });
  expect(changed(before, structuredClone(before))).toEqual({});
});

test("credentialChanges() says removed and added of a key that got a successor", () => {
  expect(changed([key("bot", "a", "1")], [key("bot", "a", ["1", "2"])])).toEqual({
    a: { added: ["bot"], removed: ["bot"] },
  });
});

test("mode changes are those of what is in effect: an entry that says what was so anyway is none", () => {
  const before = { mode: "enforce", actions: { PAY: { mode: "observe" } }, tenants: {} } as const;
  const after = {
    mode: "observe",
    actions: { LOOK: { mode: "enforce" } },
    tenants: { a: { mode: "enforce" } },
  } as const;
  expect(actionModeChanges(before, after)).toEqual({ "*": { from: "enforce", to: "observe" } });
  expect(tenantModeChanges(before, after)).toEqual({});
  expect(tenantModeChanges(after, { ...after, tenants: {} })).toEqual({ a: { from: "enforce", to: "observe" } });
});
