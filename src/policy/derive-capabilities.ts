/** What a policy may use: what the pinned OPA has, less what is not deterministic, less what this host does not answer as OPA does. */
import { HOST_BUILTINS } from "./builtins/registry.ts";
import { NATIVE_BUILTINS } from "./native-overrides.ts";

export interface Capabilities {
  readonly builtins: readonly { readonly name: string; readonly nondeterministic?: boolean }[];
  readonly [member: string]: unknown;
}

/** Names that the compiler resolves itself: no module ever calls them. */
const COMPILED_AWAY = new Set([
  "assign",
  "eq",
  "print",
  "internal.print",
  "rego.metadata.chain",
  "rego.metadata.rule",
  "internal.member_2",
  "internal.member_3",
]);

export function deriveCapabilities(current: Capabilities): Capabilities {
  const builtins = current.builtins.filter((builtin) => builtin.nondeterministic !== true && isAnswered(builtin.name));
  return { ...current, builtins };
}

function isAnswered(name: string): boolean {
  return HOST_BUILTINS.has(name) || NATIVE_BUILTINS.has(name) || COMPILED_AWAY.has(name);
}
