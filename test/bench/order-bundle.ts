/** The bundle of the benches on the shared context: the policy library, and contracts of its own. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rootsWithDomains } from "../support/bundles.ts";
import { opaPath, projectRoot } from "../support/tools.ts";

/**
 * Actions that differ in what of the context they need, and in nothing else: `order.look` is allowed by its state alone,
 * `order.ship` takes a limit and a lock besides, and so a permit; `note.look` in data below rests on nothing.
 */
const DOMAIN = `domain: bench
entity: Order
events: [ORDER_PAID, ORDER_NOTED]
states: [PAID]
transitions:
  - { on: ORDER_PAID, to: PAID }
attributes:
  total: { on: ORDER_PAID, set: /total }
  notes: { on: ORDER_NOTED, count: true }
actions:
  - name: order.look
    allowed_states: [PAID]
    required_permissions: [bench]
    parameters: { amount: { type: number, required: true }, to: { type: string, required: true } }
  - name: order.ship
    allowed_states: [PAID]
    required_permissions: [bench]
    parameters: { amount: { type: number, required: true }, to: { type: string, required: true } }
    limits:
      - { key: shipped, by: [entity.id], limit: 1000000000, window_seconds: 3600, cost_parameter: amount }
    permit: { required: true }
    lock: { key: shipment, by: [arguments.to], ttl_seconds: 60 }
permissions:
  roles:
    operator: [bench]
`;

const DATA = {
  holdpoint: {
    contracts: {
      "note.look": {
        permissions: ["bench"],
        parameters: { amount: { type: "number", required: true }, to: { type: "string", required: true } },
      },
    },
  },
};

/** @returns the path of a bundle.tar.gz, compiled by the real opa */
export function orderBundle(): string {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-bench-orders-"));
  const source = join(directory, "source");
  mkdirSync(source);
  writeFileSync(join(source, "domain.yaml"), DOMAIN);
  writeFileSync(join(source, "data.json"), JSON.stringify(DATA));
  const bundle = join(directory, "bundle.tar.gz");
  const roots = rootsWithDomains(["rego/holdpoint", source], directory);
  const flags = ["-t", "wasm", "--capabilities", "rego/capabilities.json"];
  const ignored = ["--ignore", "*_test.rego", "--ignore", "domain.yaml"];
  execFileSync(opaPath(), ["build", ...flags, ...ignored, "-o", bundle, ...roots], { cwd: projectRoot });
  return bundle;
}
