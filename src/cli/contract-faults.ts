/** What the policy library would refuse at run time, said before that. */

import { suggest } from "../core/suggest.ts";
import { type ContractFault, checkContracts } from "../policy/check-contracts.ts";
import { readBundle } from "../policy/read-bundle.ts";
import { type RulePackages, rulePackages } from "../policy/rule-packages.ts";
import { shown } from "./terminal.ts";

export interface PolicyReport extends RulePackages {
  /** A sentence for each member and keyword that makes a contract deny everything. */
  readonly faults: readonly string[];
}

/**
 * Of a bundle that loads. @throws ConfigError where it does not
 * @param placeOf where an action is written, as far as that is known
 */
export async function policyReport(
  path: string,
  entrypoint: string,
  placeOf: (action: string) => string | undefined = () => undefined,
): Promise<PolicyReport> {
  const bundle = await readBundle(path);
  // Of another entrypoint the bundle's texts do not tell everything: its own rule is left out of them.
  const root = entrypoint === "holdpoint/decision" ? "holdpoint" : "";
  return {
    ...rulePackages(bundle.rego, root),
    faults: checkContracts(bundle, entrypoint).map((fault) => {
      const place = placeOf(fault.action);
      return place === undefined ? sentence(fault) : `${place}: error: ${sentence(fault)}`;
    }),
  };
}

function sentence({ action, place, kind, name, known }: ContractFault): string {
  const where = ["contract ", shown(action), ...(place === undefined ? [] : [": ", shown(place)])].join("");
  switch (kind) {
    case "no_object":
      return `${where}: expected an object`;
    case "unknown_member":
      return `${where}: unknown member ${shown(name)}${meant(name, known)}`;
    case "ill_typed_member":
      return `${where}: member ${shown(name)} is ${known.length === 0 ? "unknown or ill-typed" : "ill-typed"}`;
    case "unknown_keyword":
      return `${where}: unknown keyword ${shown(name)}${meant(name, known)}`;
    case "ill_typed_keyword":
      return `${where}: keyword ${shown(name)} is ill-typed, so no value passes`;
    case "no_type":
      return `${where}: its type is missing, so no value passes`;
  }
}

function meant(name: string, known: readonly string[]): string {
  const near = suggest(
    name,
    known.filter((one) => one !== name),
  );
  return near === undefined ? "" : `, did you mean ${near}?`;
}

/** What to say of packages that nothing consults. */
export function unconsultedWarning({ unconsulted }: RulePackages): string | undefined {
  if (unconsulted.length === 0) return undefined;
  const list = unconsulted.map(shown).join(", ");
  return `compiled in and never consulted: ${list}. Rules that decide are verdicts of a package holdpoint.rules.<name>, or used by one`;
}
