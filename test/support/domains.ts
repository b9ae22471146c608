/** Domain files for tests: written where a real compiler finds them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type CompiledDomains, compileDomains } from "../../src/policy/domain/compile-domains.ts";
import { findingLine } from "../../src/policy/domain/finding.ts";

/** One type, three states, two actions; nothing to find in it. */
export const ORDER = `domain: refunds
entity: Order
events: [ORDER_PLACED, ORDER_PAID, ORDER_REFUNDED]
states: [CREATED, PAID, REFUNDED]
transitions:
  - { on: ORDER_PLACED, to: CREATED }
  - { on: ORDER_PAID, from: CREATED, to: PAID }
  - { on: ORDER_REFUNDED, from: PAID, to: REFUNDED }
attributes:
  total: { on: ORDER_PLACED, set: /total }
  refunded: { on: ORDER_REFUNDED, add: /amount }
actions:
  - name: MARK_PAID
    allowed_states: [CREATED]
  - name: REFUND_ORDER
    allowed_states: [PAID]
    required_parameters: [amount, reason]
    required_permissions: [orders.refund]
    risk: high
    approval: required
    executor: refund.issue_refund
    event: ORDER_REFUNDED
permissions:
  roles:
    ops_agent: [orders.refund]
`;

/** `text` with one place changed. @throws where it is not in there exactly once */
export function changed(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) throw new Error(`${JSON.stringify(from)} is not there once`);
  return text.replace(from, () => to);
}

export interface Compiled extends CompiledDomains {
  /** As `domain check` prints them, without the folder. */
  readonly lines: readonly string[];
  // biome-ignore lint/suspicious/noExplicitAny: looked into member by member
  readonly holdpoint: any;
}

/** By path below a folder that is gone afterwards. */
export function compileFiles(files: Readonly<Record<string, string | Uint8Array>>): Compiled {
  const directory = mkdtempSync(join(tmpdir(), "holdpoint-domains-"));
  try {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(dirname(join(directory, name)), { recursive: true });
      writeFileSync(join(directory, name), content);
    }
    const compiled = compileDomains([directory]);
    const lines = compiled.findings.map((finding) => findingLine(finding).replaceAll(`${directory}/`, ""));
    const holdpoint = compiled.dataText === undefined ? undefined : JSON.parse(compiled.dataText).holdpoint;
    return { ...compiled, lines, holdpoint };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export function compileText(text: string | Uint8Array): Compiled {
  return compileFiles({ "domain.yaml": text });
}
